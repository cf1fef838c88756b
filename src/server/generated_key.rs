//! The key of a gateway whose operator gives none: made once, kept in the state directory for its
//! owner's eyes only, so that clients stay bound through restarts.

use crate::model::Secret;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const FILE: &str = "affinity.key";

/// Made or read when it is first needed, and then the same for the life of the process.
pub(super) struct GeneratedKey {
    folder: PathBuf,
    key: OnceLock<Secret>,
}

impl GeneratedKey {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, key: OnceLock::new() }
    }

    /// The key of the process before this one, which clients are bound by, whatever stands in the
    /// file.
    pub(super) fn inherit(&self, key: Secret) {
        // an error means that there is one already, which nobody has asked for yet
        let _ = self.key.set(key);
    }

    /// The key, if anything has needed it.
    pub(super) fn in_use(&self) -> Option<Secret> {
        self.key.get().cloned()
    }

    pub(super) fn get(&self) -> Secret {
        self.key.get_or_init(|| read_or_make(&self.folder)).clone()
    }
}

/// The key that a gateway has kept in `folder`, if this user may read it. Makes none.
pub(crate) fn kept_key(folder: &Path) -> Option<Secret> {
    read(&folder.join(FILE)).ok()
}

fn read_or_make(folder: &Path) -> Secret {
    let path = folder.join(FILE);
    let kept = match read(&path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => make(folder, &path),
        other => other,
    };
    kept.unwrap_or_else(|why| {
        tracing::warn!(
            path = %path.display(), %why,
            "THE AFFINITY KEY CANNOT BE KEPT: every restart of this process will send all clients \
             to new backends. Set sessionAffinity.keys, or make server.stateDir writable."
        );
        fresh()
    })
}

/// A fresh secret of 32 random bytes.
pub(super) fn fresh() -> Secret {
    Secret::new(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
}

fn read(path: &Path) -> io::Result<Secret> {
    let mut text = String::new();
    OpenOptions::new().read(true).open(path)?.take(4096).read_to_string(&mut text)?;
    let key = text.trim();
    if key.len() < 16 {
        return Err(io::Error::other("the file holds no key (at least 16 characters)"));
    }
    Ok(Secret::new(key.to_owned()))
}

fn make(folder: &Path, path: &Path) -> io::Result<Secret> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let key = fresh();
    // written beside and linked into place: another process may be doing the same, and nobody ever
    // reads half a key
    let draft = folder.join(format!("{FILE}.{}", std::process::id()));
    let _ = std::fs::remove_file(&draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(key.expose())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    let placed = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match placed {
        Ok(()) => {
            tracing::info!(path = %path.display(), "made a new affinity key");
            Ok(key)
        }
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => read(path),
        Err(why) => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("a/b");
        let first = GeneratedKey::new(state.clone());
        assert_eq!(first.get(), first.get());
        assert_eq!(GeneratedKey::new(state.clone()).get(), first.get());
        let mode = std::fs::metadata(state.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&state).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn a_damaged_file_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "short").unwrap();
        let key = GeneratedKey::new(folder.path().to_owned()).get();
        assert!(key.expose().len() >= 16);
        assert_eq!(std::fs::read_to_string(folder.path().join(FILE)).unwrap(), "short");
    }
}
