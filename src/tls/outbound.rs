//! TLS to the backends of one service. Proxied requests go through Pingora's connector, which keeps
//! connections for reuse but takes no configuration of rustls: it gets the certificates. Health
//! checks connect themselves, with a configuration that lets them resume.

use super::files::{self, Identity};
use super::io::TlsIo;
use super::provider;
use super::watched::{Refreshed, Seen, Watched, digest};
use crate::config::{BackendTls, Fault};
use crate::model::UnixTime;
use pingora_core::protocols::Stream;
use pingora_core::protocols::tls::CaType;
use pingora_core::upstreams::peer::{HttpPeer, Scheme};
use pingora_core::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime as Moment};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::cell::OnceCell;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// Whom this machine trusts; looked up when the first service needs it.
#[derive(Default)]
pub struct Trust(OnceCell<Vec<CertificateDer<'static>>>);

impl Trust {
    pub(super) fn certificates(&self) -> &[CertificateDer<'static>] {
        self.0.get_or_init(|| {
            let found = rustls_native_certs::load_native_certs().certs.into_iter();
            found.filter(|one| files::describe(one).is_some()).collect()
        })
    }
}

/// TLS to the backends of one service.
#[derive(Debug)]
pub struct Outbound {
    written: BackendTls,
    current: Watched<Outward>,
}

/// What is in force.
pub struct Outward {
    /// For Pingora, which builds its own configuration for each connection.
    authorities: Arc<CaType>,
    client: Option<Arc<CertKey>>,
    verify: bool,
    /// Keeps connections that were made under other certificates from being used.
    generation: u64,
    /// For health checks.
    config: Arc<ClientConfig>,
}

/// Pingora wants an authority also where nobody is verified. This one has signed nothing, and its
/// key is lost.
const NOBODY: &[u8] = include_bytes!("nobody.der");

impl Outbound {
    /// Reads the files.
    ///
    /// # Errors
    /// The first fault of each file, and a machine that trusts nobody where it would have to.
    pub fn load(written: &BackendTls, trust: &Trust, now: UnixTime) -> Result<Self, Vec<Fault>> {
        let files = paths(written);
        let seen = Seen::now(&files);
        let current = Watched::new(build(written, trust, now)?, files, seen);
        Ok(Self { written: written.clone(), current })
    }

    /// Reads the files again if they have changed. New connections use what they hold; faults
    /// change nothing.
    pub fn refresh(&self, now: UnixTime) -> Refreshed<Vec<Fault>> {
        self.current.refresh(|| build(&self.written, &Trust::default(), now))
    }

    /// The name that a backend must prove, which `address` (as written) gives unless the operator
    /// does.
    pub fn name_of(&self, address: &str) -> String {
        // a socket in the file system names no host
        let address = if address.starts_with("unix:") { "" } else { address };
        let host = || address.rsplit_once(':').map_or(address, |(host, _)| host);
        let name = self.written.sni.as_deref().unwrap_or_else(host);
        name.trim_matches(['[', ']']).to_owned()
    }

    /// Whether this can be the name of anybody in TLS.
    pub fn can_prove(name: &str) -> bool {
        ServerName::try_from(name).is_ok()
    }

    /// Has Pingora connect to `peer` by TLS, where `name` must be proven.
    pub fn secure(&self, peer: &mut HttpPeer, name: &str) {
        let current = self.current.load();
        peer.scheme = Scheme::HTTPS;
        // never empty: Pingora would verify nothing
        name.clone_into(&mut peer.sni);
        peer.client_cert_key.clone_from(&current.client);
        peer.group_key = current.generation;
        peer.options.ca = Some(Arc::clone(&current.authorities));
        peer.options.verify_cert = current.verify;
        peer.options.verify_hostname = current.verify;
    }

    /// Connects by TLS over `stream`, for a health check.
    ///
    /// # Errors
    /// Whatever ends the handshake.
    pub async fn connect(&self, stream: Stream, name: &str, http2: bool) -> io::Result<TlsIo> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let mut config = Arc::clone(&self.current.load().config);
        if http2 {
            Arc::make_mut(&mut config).alpn_protocols = vec![b"h2".to_vec()];
        }
        let connector = TlsConnector::from(config);
        let stream = connector.connect(name, stream).await?;
        Ok(TlsIo::new(stream.into(), None))
    }
}

fn paths(written: &BackendTls) -> Vec<PathBuf> {
    let client = written.client.iter();
    let client = client.flat_map(|pair| [pair.cert.value.clone(), pair.key.value.clone()]);
    client.chain(written.ca.iter().map(|ca| ca.value.clone())).collect()
}

fn build(written: &BackendTls, trust: &Trust, now: UnixTime) -> Result<Outward, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut take = |fault: Fault| faults.push(fault);
    let authorities = authorities(written, trust).map_err(&mut take).ok();
    let client = written.client.as_ref().map(|pair| Identity::read(pair, now, &mut Vec::new()));
    let client = client.transpose().map_err(&mut take).ok();
    let (Some((authorities, roots)), Some(client)) = (authorities, client) else {
        return Err(faults);
    };
    let config = configure(written, roots, client.as_ref())
        .map_err(|why| vec![written.at.at.fault(format!("TLS cannot be set up: {why}"), "")])?;
    let files = digest(&paths(written));
    let generation = files.first_chunk().map_or(0, |start| u64::from_be_bytes(*start));
    Ok(Outward {
        authorities: authorities.iter().map(wrapped).collect(),
        client: client.map(|identity| {
            let chain = identity.certified.cert.iter().map(|one| one.to_vec()).collect();
            Arc::new(CertKey::new(chain, identity.key.secret_der().to_vec()))
        }),
        verify: written.verify,
        // one without files differs from one that is not encrypted by its scheme
        generation,
        config: Arc::new(config),
    })
}

/// `files::describe` has read each of them, so Pingora's parser will not panic.
fn wrapped(certificate: &CertificateDer<'static>) -> WrappedX509 {
    WrappedX509::new(certificate.to_vec(), parse_x509)
}

type Authorities = (Vec<CertificateDer<'static>>, RootCertStore);

fn authorities(written: &BackendTls, trust: &Trust) -> Result<Authorities, Fault> {
    if !written.verify {
        return Ok((vec![CertificateDer::from(NOBODY)], RootCertStore::empty()));
    }
    if let Some(file) = &written.ca {
        let certificates = files::certificates(file)?;
        let roots = files::roots(file, &certificates)?;
        return Ok((certificates, roots));
    }
    let mut roots = RootCertStore::empty();
    let usable = trust.certificates().iter().filter(|one| roots.add((*one).clone()).is_ok());
    let certificates: Vec<_> = usable.cloned().collect();
    if certificates.is_empty() {
        let problem = "this machine has no list of trusted authorities";
        return Err(written.at.at.fault(problem, "install one, or name a file as `ca`"));
    }
    Ok((certificates, roots))
}

fn configure(
    written: &BackendTls,
    roots: RootCertStore,
    client: Option<&Identity>,
) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions()?;
    let builder = if written.verify {
        builder.with_root_certificates(roots)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody))
    };
    let mut config = match client {
        Some(identity) => builder
            .with_client_auth_cert(identity.certified.cert.clone(), identity.key.clone_key())?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

impl std::fmt::Debug for Outward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outward").field("verify", &self.verify).finish_non_exhaustive()
    }
}

/// `verify: false`: who holds the key of the certificate is let in, whoever that is.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: Moment,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
