//! `tls` of a listener and of a service: which files, and what is asked of the other side. The files
//! themselves are read by [`crate::tls`].

use super::Acme;
use crate::config::place::At;
use std::path::PathBuf;

/// `tls` of a listener
#[derive(Clone, Debug)]
pub struct ListenerTls {
    /// At least one, or [`Self::acme`]; the first serves clients who name no host, or none of ours.
    pub certificates: Vec<CertificateFiles>,
    /// A certificate that the gateway gets for itself; taken after those.
    pub acme: Option<Acme>,
    /// `None`: clients are asked for no certificate.
    pub clients: Option<ClientCertificates>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
}

/// A certificate (the chain behind it may follow in the file) and its key, both in PEM.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// `cert`
    pub cert: At<PathBuf>,
    /// `key`
    pub key: At<PathBuf>,
}

/// What clients must show.
#[derive(Clone, Debug)]
pub struct ClientCertificates {
    /// `clientCa`: who vouches for them, in PEM.
    pub ca: At<PathBuf>,
    /// `clientAuth: required`: nobody gets in without one.
    pub required: bool,
    /// `clientCertHeader`: the request header that tells the backend the subject, in lower case.
    /// Empty: none does.
    pub header: String,
}

/// `minVersion`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// `"1.2"`
    Tls12,
    /// `"1.3"`
    Tls13,
}

/// `tls` of a service
#[derive(Clone, Debug)]
pub struct BackendTls {
    /// The name that backends must prove; `None`: the host of each one's address.
    pub sni: Option<String>,
    /// Who vouches for them, in PEM; `None`: whom this machine trusts.
    pub ca: Option<At<PathBuf>>,
    /// Where the section stands.
    pub at: At<()>,
    /// Whether they must prove their name at all.
    pub verify: bool,
    /// What we show them when they ask.
    pub client: Option<CertificateFiles>,
}
