//! Which certificate a client gets: by the name it asks for (SNI), exact before wildcard, and among
//! those of one name the first whose key the client can verify.

use super::files::Identity;
use ahash::AHashMap;
use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::Arc;

type Candidates = Vec<Arc<CertifiedKey>>;

/// The certificates of a listener.
#[derive(Debug, Default)]
pub(super) struct Names {
    exact: AHashMap<Box<str>, Candidates>,
    /// By what follows the `*.`; a wildcard stands for one label.
    below: AHashMap<Box<str>, Candidates>,
    /// For who asks for no name or for none of ours: the first of them, then the others.
    all: Candidates,
}

impl Names {
    pub(super) fn new(identities: &[Identity]) -> Self {
        let mut names = Self::default();
        for identity in identities {
            for name in &identity.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut names.below, parent),
                    None => (&mut names.exact, name.as_str()),
                };
                map.entry(name.into()).or_default().push(Arc::clone(&identity.certified));
            }
            names.all.push(Arc::clone(&identity.certified));
        }
        names
    }

    /// `name` in lower case.
    pub(super) fn find(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let wildcard = || self.below.get(name?.split_once('.')?.1);
        let asked = name.and_then(|name| self.exact.get(name)).or_else(wildcard);
        let fits = |one: &&Arc<CertifiedKey>| one.key.choose_scheme(schemes).is_some();
        let found = asked.and_then(|candidates| candidates.iter().find(fits));
        found.or_else(|| self.all.iter().find(fits)).cloned()
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls has brought it into lower case
        self.find(hello.server_name(), hello.signature_schemes())
    }
}
