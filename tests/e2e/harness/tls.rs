//! What tests of TLS are made of: authorities, a client, a backend. Certificates are made anew in
//! each test.

mod backend;
mod client;

pub(crate) use backend::TlsBackend;
pub(crate) use client::{TlsClient, TlsWire};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// Who vouches for others.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for these names, the first of which is its common name.
    pub(crate) fn issue(&self, names: &[&str]) -> Pair {
        self.issue_with(names, |_| {})
    }

    /// One that ended yesterday.
    pub(crate) fn issue_expired(&self, names: &[&str]) -> Pair {
        self.issue_with(names, |params| {
            let ago = |days: u64| SystemTime::now() - Duration::from_secs(days * 86_400);
            (params.not_before, params.not_after) = (ago(9).into(), ago(1).into());
        })
    }

    /// One for these names, whose subject has an organisation too.
    pub(crate) fn issue_to(&self, name: &str, organisation: &str) -> Pair {
        self.issue_with(&[name], |params| {
            params.distinguished_name.push(DnType::OrganizationName, organisation);
        })
    }

    fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, names[0].as_str());
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Pair { cert: cert.pem(), key: key.serialize_pem() }
    }

    /// A certificate for whoever asks for one, valid for so long from now on.
    pub(crate) fn sign(&self, mut csr: CertificateSigningRequestParams, life: Duration) -> String {
        let now = SystemTime::now();
        (csr.params.not_before, csr.params.not_after) = (now.into(), (now + life).into());
        csr.signed_by(&self.issuer).unwrap().pem()
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem().as_bytes()).unwrap()).unwrap();
        roots
    }
}

impl Pair {
    /// As rustls takes it.
    pub(crate) fn der(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_slice_iter(self.cert.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        (chain.map(Result::unwrap).collect(), key)
    }
}

/// Files that a gateway is told of.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes one file, whole from one moment to the next.
    pub(crate) fn put(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        let next = path.with_extension("next");
        fs::write(&next, text).unwrap();
        fs::rename(&next, &path).unwrap();
        path.display().to_string()
    }

    /// Writes a pair; the inside of a flow mapping that names it.
    pub(crate) fn pair(&self, name: &str, pair: &Pair) -> String {
        let cert = self.put(&format!("{name}.pem"), &pair.cert);
        let key = self.put(&format!("{name}.key"), &pair.key);
        format!("cert: \"{cert}\", key: \"{key}\"")
    }
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
