//! `acme` of a listener's `tls`: a certificate that the gateway orders and renews itself. It is
//! ordered by [`crate::acme`] and served by [`crate::tls`] like any other file.

use crate::config::place::At;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `acme`
#[derive(Clone, Debug)]
pub struct Acme {
    /// Where the section stands.
    pub at: At<()>,
    /// The names that the one certificate is for, in lower case; at least one.
    pub domains: Vec<At<String>>,
    /// `directory`: where the authority begins.
    pub directory: String,
    /// `contact`: whom the authority may write to, as `mailto:` URLs.
    pub contact: Vec<String>,
    /// How the authority is shown that the names are ours.
    pub challenge: ChallengeKind,
    /// `caFile`: who vouches for the directory itself; `None`: whom this machine trusts.
    pub ca: Option<At<PathBuf>>,
    /// `renewBefore`: how long before its end a certificate is renewed; `None`: when a third of its
    /// life is left.
    pub renew_before: Option<Duration>,
    /// The folder of the account and of the certificates of this authority, below `stateDir`.
    pub folder: PathBuf,
}

/// `challenge`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeKind {
    /// `http-01`: a file below `/.well-known/acme-challenge/` at port 80
    Http01,
    /// `tls-alpn-01`: a certificate of its own at port 443
    TlsAlpn01,
}

impl Acme {
    /// What the certificate is called in files, metrics and the log: the first of its names.
    pub fn name(&self) -> &str {
        self.domains.first().map_or("", |domain| &domain.value)
    }

    /// The one file that holds the certificate, the chain behind it and its key: so that they change
    /// together.
    pub fn file(&self) -> PathBuf {
        self.folder.join(format!("{}.pem", self.name()))
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.domains.iter().map(|domain| domain.value.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// Each authority has a folder of its own: that of its host, told apart by a digest of the URL.
    pub(in crate::config) fn folder_of(state_dir: &Path, directory: &str) -> PathBuf {
        let host = directory.split('/').nth(2).unwrap_or_default();
        let legible = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        let host: String = host.chars().map(legible).collect();
        let digest = Sha256::digest(directory);
        let digest: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        state_dir.join("acme").join(format!("{host}-{digest}"))
    }
}
