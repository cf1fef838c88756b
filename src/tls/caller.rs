//! TLS to somebody who is no backend: the certificate authority that is asked for certificates.

use super::files;
use super::outbound::Trust;
use super::provider;
use crate::config::{At, Fault};
use rustls::{ClientConfig, RootCertStore};
use std::path::PathBuf;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// Why nobody can be called.
#[derive(Debug, thiserror::Error)]
pub enum CallerError {
    /// The file of those who vouch has become bad.
    #[error(transparent)]
    File(#[from] Fault),
    /// There is no file, and the machine trusts nobody.
    #[error("this machine has no list of trusted authorities; install one, or set caFile")]
    NoTrust,
    /// By rustls.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Connects to whom `ca` vouches for; absent, to whom this machine trusts. Speaks HTTP/1.1.
///
/// # Errors
/// When nobody vouches for anybody.
pub fn caller(ca: Option<&At<PathBuf>>) -> Result<TlsConnector, CallerError> {
    let roots = match ca {
        Some(file) => files::vouching(file)?,
        None => whom_this_machine_trusts()?,
    };
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn whom_this_machine_trusts() -> Result<RootCertStore, CallerError> {
    let (trust, mut roots) = (Trust::default(), RootCertStore::empty());
    let (added, _) = roots.add_parsable_certificates(trust.certificates().iter().cloned());
    if added == 0 { Err(CallerError::NoTrust) } else { Ok(roots) }
}
