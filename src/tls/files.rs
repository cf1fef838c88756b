//! Certificates and keys as they lie in files. Everything is parsed and matched here, so that what
//! reaches rustls and Pingora is known to be good; a fault points at the line that names the file.

use super::provider;
use crate::config::{At, CertificateFiles, Fault};
use crate::model::UnixTime;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore};
use std::path::PathBuf;
use std::sync::Arc;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What is not wrong enough to refuse a file, each with its place.
pub type Warnings = Vec<Fault>;

type Certificates = Vec<CertificateDer<'static>>;

/// A certificate with the chain behind it, and its key.
pub(super) struct Identity {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) key: PrivateKeyDer<'static>,
    /// The DNS names that it is for, in lower case; a wildcard keeps its `*.`.
    pub(super) names: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub(super) until: i64,
}

/// What a file says that holds a certificate, the chain behind it and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The DNS names that it is for, in lower case and sorted.
    pub names: Vec<String>,
    /// When it begins, in seconds since 1970.
    pub from: i64,
    /// When it ends.
    pub until: i64,
}

impl Leaf {
    /// `None` where the text is not whole, cannot be read, or the key is another one's.
    pub fn of(pem: &[u8]) -> Option<Self> {
        let chain: Result<Certificates, _> = CertificateDer::pem_slice_iter(pem).collect();
        let chain = chain.ok()?;
        let key = PrivateKeyDer::from_pem_slice(pem).ok()?;
        let first = chain.first()?.clone();
        let (mut names, until) = describe(&first)?;
        let (_, parsed) = X509Certificate::from_der(&first).ok()?;
        let from = parsed.validity().not_before.timestamp();
        CertifiedKey::from_der(chain, key, &provider()).ok()?;
        names.sort_unstable();
        names.dedup();
        Some(Self { names, from, until })
    }
}

impl Identity {
    pub(super) fn read(
        files: &CertificateFiles,
        now: UnixTime,
        warnings: &mut Warnings,
    ) -> Result<Self, Fault> {
        let chain = certificates(&files.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&bytes(&files.key)?).map_err(|_| {
            fault(&files.key, "holds no private key in PEM", "expected PKCS #8, PKCS #1 or SEC1")
        })?;
        let first = chain.first().ok_or_else(|| no_certificate(&files.cert))?;
        let (names, until) = describe(first).ok_or_else(|| unreadable(&files.cert))?;
        if until < i64::from(now.0) {
            warnings.push(fault(&files.cert, "the certificate has expired", "renew it"));
        }
        let certified = CertifiedKey::from_der(chain, key.clone_key(), &provider());
        let certified = certified.map_err(|why| {
            if matches!(why, Error::InconsistentKeys(_)) {
                let cert = files.cert.value.display();
                let problem = format!("is not the key of the certificate in {cert}");
                return fault(&files.key, &problem, "write the file that belongs to it");
            }
            fault(&files.key, &format!("cannot be used: {why}"), "")
        })?;
        Ok(Self { certified: Arc::new(certified), key, names, until })
    }
}

/// All certificates of a file, each of which can be read; at least one.
pub(super) fn certificates(file: &At<PathBuf>) -> Result<Certificates, Fault> {
    let bytes = bytes(file)?;
    let all: Result<Certificates, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let all = all.map_err(|_| unreadable(file))?;
    if all.is_empty() {
        return Err(no_certificate(file));
    }
    if all.iter().any(|one| describe(one).is_none()) {
        return Err(unreadable(file));
    }
    Ok(all)
}

/// Those certificates as the ones who vouch for others.
pub(super) fn roots(file: &At<PathBuf>, all: &Certificates) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    for one in all {
        let cure = "expected the certificate of an authority";
        roots.add(one.clone()).map_err(|why| fault(file, &format!("cannot vouch: {why}"), cure))?;
    }
    Ok(roots)
}

/// Those of a file as the ones who vouch for others.
pub(super) fn vouching(file: &At<PathBuf>) -> Result<RootCertStore, Fault> {
    roots(file, &certificates(file)?)
}

/// The names that a certificate is for, and when it ends; `None` if it cannot be read.
pub(super) fn describe(certificate: &CertificateDer<'_>) -> Option<(Vec<String>, i64)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let names = names.filter_map(|name| {
        if let GeneralName::DNSName(name) = name { Some(name.to_ascii_lowercase()) } else { None }
    });
    Some((names.collect(), parsed.validity().not_after.timestamp()))
}

fn bytes(file: &At<PathBuf>) -> Result<Vec<u8>, Fault> {
    std::fs::read(&file.value).map_err(|why| {
        let problem = format!("{} cannot be read: {why}", file.value.display());
        fault(file, &problem, "")
    })
}

fn no_certificate(file: &At<PathBuf>) -> Fault {
    fault(file, "holds no certificate in PEM", "expected -----BEGIN CERTIFICATE-----")
}

fn unreadable(file: &At<PathBuf>) -> Fault {
    fault(file, "holds a certificate that cannot be read", "expected X.509 in PEM")
}

fn fault(file: &At<PathBuf>, problem: &str, cure: &str) -> Fault {
    file.at.fault(problem, cure)
}
