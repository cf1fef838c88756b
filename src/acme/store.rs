//! What is kept over restarts, in a folder for each authority below `stateDir`: the account, and for
//! each certificate one file with the chain and the key. For the owner's eyes only; a file is whole
//! or not there.

use crate::config::Acme;
use crate::tls::Leaf;
use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const ACCOUNT: &str = "account.json";
const LOCK: &str = "lock";
/// No file of ours is longer.
const LONGEST: u64 = 1 << 20;

/// The folder of one authority.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// Whoever holds it orders; nobody else does.
#[derive(Debug)]
pub struct Lock {
    /// Closing it frees the lock, also when the process dies.
    _file: File,
}

/// An account as it is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    /// Whom the authority was told it may write to.
    pub(super) contact: Vec<String>,
    pub(super) credentials: AccountCredentials,
}

impl Store {
    /// That of the authority of `acme`.
    pub fn of(acme: &Acme) -> Self {
        Self { folder: acme.folder.clone() }
    }

    /// The certificate that is kept for `acme`; `None` where there is none that is whole.
    pub fn leaf(acme: &Acme) -> Option<Leaf> {
        Leaf::of(&read(&acme.file()).ok()?)
    }

    /// Takes the right to order; `None`: another process has it.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn lock(&self) -> io::Result<Option<Lock>> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let path = self.folder.join(LOCK);
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(why)) => Err(why),
        }
    }

    /// The account, if there is one. A file that holds none is put aside.
    pub(super) fn account(&self) -> io::Result<Option<Kept>> {
        let path = self.folder.join(ACCOUNT);
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(why),
        };
        match serde_json::from_slice(&bytes) {
            Ok(kept) => Ok(Some(kept)),
            Err(why) => {
                tracing::warn!(path = %path.display(), %why, "the file holds no ACME account");
                self.put_account_aside()?;
                Ok(None)
            }
        }
    }

    pub(super) fn keep_account(&self, account: &Kept) -> io::Result<()> {
        self.put(&self.folder.join(ACCOUNT), &serde_json::to_vec_pretty(account)?)
    }

    /// For one that is of no use any more; nobody else has its key.
    pub(super) fn put_account_aside(&self) -> io::Result<()> {
        let path = self.folder.join(ACCOUNT);
        fs::rename(&path, path.with_extension("json.aside"))
    }

    pub(super) fn keep_certificate(&self, acme: &Acme, pem: &[u8]) -> io::Result<()> {
        self.put(&acme.file(), pem)
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // the lock keeps others from the same draft
        let draft = path.with_added_extension("next");
        let _ = fs::remove_file(&draft);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(&self.folder)?.sync_all()
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_are_whole_and_for_their_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store { folder: folder.path().join("acme/host") };
        let _lock = store.lock().unwrap().expect("nobody has it");
        let path = store.folder.join("a.test.pem");
        fs::write(path.with_added_extension("next"), "left by one that died").unwrap();
        for text in ["one", "two"] {
            store.put(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&store.folder), 0o700);
        assert_eq!(fs::read_dir(&store.folder).unwrap().count(), 2, "no draft is left behind");
    }

    #[test]
    fn one_at_a_time_orders() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store { folder: folder.path().to_owned() };
        let lock = store.lock().unwrap().expect("nobody has it");
        assert!(store.lock().unwrap().is_none());
        drop(lock);
        assert!(store.lock().unwrap().is_some());
    }

    #[test]
    fn a_file_that_holds_no_account_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store { folder: folder.path().to_owned() };
        assert!(store.account().unwrap().is_none());
        fs::write(folder.path().join(ACCOUNT), "{").unwrap();
        assert!(store.account().unwrap().is_none());
        assert!(folder.path().join("account.json.aside").exists());
    }
}
