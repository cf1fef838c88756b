//! What a certificate authority wants to see before it issues (ACME): each is shown only while it is
//! pending. Filled by [`crate::acme`], shown by the listeners.

use super::provider;
use parking_lot::Mutex;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::{ClientHello, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What such an authority offers in ALPN, and nothing beside it (RFC 8737 §3).
const ACME_TLS: &[u8] = b"acme-tls/1";
const WELL_KNOWN: &str = "/.well-known/acme-challenge/";

/// All that are pending: as many as one order has names.
#[derive(Default)]
pub struct Challenges {
    pending: Mutex<Vec<(u64, Pending)>>,
    /// How many there are of each kind, so that clients do not pay for what is hardly ever there.
    by_http: AtomicUsize,
    by_tls: AtomicUsize,
    next: AtomicU64,
}

/// What is shown.
#[derive(Clone, Debug)]
pub enum Proof {
    /// This text below `/.well-known/acme-challenge/` (RFC 8555 §8.3).
    Http {
        /// The last segment of the path.
        token: String,
        /// The answer.
        text: String,
    },
    /// A certificate for this name with a digest in it (RFC 8737).
    Tls {
        /// In lower case.
        domain: String,
        /// SHA-256 of what [`Self::Http`] would answer.
        digest: [u8; 32],
    },
}

enum Pending {
    Http { path: String, text: Arc<str> },
    Tls { domain: String, config: Arc<ServerConfig> },
}

/// A challenge that is shown for as long as this is held.
pub struct Offer {
    challenges: Arc<Challenges>,
    id: u64,
}

/// The certificate of a challenge cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// By rcgen.
    #[error("cannot make the certificate of the challenge: {0}")]
    Make(#[from] rcgen::Error),
    /// By rustls.
    #[error("cannot show the certificate of the challenge: {0}")]
    Show(#[from] rustls::Error),
}

impl Challenges {
    /// Shows `proof` from now on, until what is returned is dropped.
    ///
    /// # Errors
    /// When its certificate cannot be made.
    pub fn offer(self: &Arc<Self>, proof: Proof) -> Result<Offer, ProofError> {
        let pending = match proof {
            Proof::Http { token, text } => {
                Pending::Http { path: format!("{WELL_KNOWN}{token}"), text: text.into() }
            }
            Proof::Tls { domain, digest } => {
                let config = Arc::new(proving(&domain, &digest)?);
                Pending::Tls { domain, config }
            }
        };
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.count(&pending).fetch_add(1, Ordering::SeqCst);
        self.pending.lock().push((id, pending));
        Ok(Offer { challenges: Arc::clone(self), id })
    }

    /// The answer to a request for this path of a plain listener, if a challenge that is pending asks
    /// for one.
    pub fn by_http(&self, path: &str) -> Option<Arc<str>> {
        if self.by_http.load(Ordering::SeqCst) == 0 || !path.starts_with(WELL_KNOWN) {
            return None;
        }
        self.pending.lock().iter().find_map(|(_, pending)| match pending {
            Pending::Http { path: asked, text } => (asked == path).then(|| Arc::clone(text)),
            Pending::Tls { .. } => None,
        })
    }

    /// Whether a client's first message has to be looked at at all.
    pub(super) fn any_by_tls(&self) -> bool {
        self.by_tls.load(Ordering::SeqCst) > 0
    }

    /// What to shake hands with, if it is an authority that has come for a challenge.
    pub(super) fn by_tls(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        if !hello.alpn()?.eq([ACME_TLS]) {
            return None;
        }
        // rustls has brought it into lower case
        let name = hello.server_name()?;
        self.pending.lock().iter().find_map(|(_, pending)| match pending {
            Pending::Tls { domain, config } => (domain == name).then(|| Arc::clone(config)),
            Pending::Http { .. } => None,
        })
    }

    fn count(&self, pending: &Pending) -> &AtomicUsize {
        match pending {
            Pending::Http { .. } => &self.by_http,
            Pending::Tls { .. } => &self.by_tls,
        }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        let mut pending = self.challenges.pending.lock();
        if let Some(at) = pending.iter().position(|(id, _)| *id == self.id) {
            let (_, gone) = pending.swap_remove(at);
            self.challenges.count(&gone).fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Challenges({})", self.pending.lock().len())
    }
}

/// A handshake that shows a certificate for `domain` alone, signed by nobody, with the digest in it.
fn proving(domain: &str, digest: &[u8; 32]) -> Result<ServerConfig, ProofError> {
    let mut params = CertificateParams::new(vec![domain.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    let key = provider().key_provider.load_private_key(key.into())?;
    // unchecked: rustls refuses a critical extension that it does not know
    let shown = CertifiedKey::new(vec![certificate.der().clone()], key);
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_answered_only_while_it_is_pending() {
        let challenges = Arc::new(Challenges::default());
        let path = "/.well-known/acme-challenge/abc";
        assert_eq!(challenges.by_http(path), None);
        let proof = |token: &str| Proof::Http { token: token.into(), text: format!("{token}.t") };
        let offer = challenges.offer(proof("abc")).unwrap();
        let other = challenges.offer(proof("x")).unwrap();
        assert_eq!(challenges.by_http(path).as_deref(), Some("abc.t"));
        for other in ["/abc", "/.well-known/acme-challenge/", "/.well-known/acme-challenge/ab"] {
            assert_eq!(challenges.by_http(other), None, "{other}");
        }
        drop(offer);
        assert_eq!(challenges.by_http(path), None);
        assert_eq!(challenges.by_http("/.well-known/acme-challenge/x").as_deref(), Some("x.t"));
        drop(other);
        assert_eq!(challenges.by_http.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_challenge_by_tls_leaves_nothing_behind() {
        let challenges = Arc::new(Challenges::default());
        let proof = Proof::Tls { domain: "a.test".into(), digest: [7; 32] };
        let offer = challenges.offer(proof).unwrap();
        assert!(challenges.any_by_tls());
        drop(offer);
        assert!(!challenges.any_by_tls());
        assert!(challenges.pending.lock().is_empty());
    }
}
