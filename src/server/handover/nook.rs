//! Where the two processes meet: a socket in a directory that nobody else may enter. What is handed
//! over (keys, listening sockets) must go to the process that was started, and to no other.

use rustix::net::sockopt::socket_peercred;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Removed when it is dropped.
pub(super) struct Nook {
    listener: UnixListener,
    path: PathBuf,
    /// Made for this occasion.
    folder: Option<PathBuf>,
}

impl Nook {
    /// At the path that the operator gave, else in a fresh directory.
    pub(super) fn open(given: Option<&Path>) -> io::Result<Self> {
        let (path, folder) = if let Some(path) = given {
            private(path.parent().unwrap_or(Path::new("/")))?;
            // a former process may have died in the middle
            match fs::remove_file(path) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
                Ok(()) | Err(_) => {}
            }
            (path.to_owned(), None)
        } else {
            let name = format!("stickfast-{:016x}", rand::random::<u64>());
            let folder = std::env::temp_dir().join(name);
            DirBuilder::new().mode(0o700).create(&folder)?;
            (folder.join("upgrade.sock"), Some(folder))
        };
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path, folder })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The connection of the process with this id, if it has come. Others are turned away.
    pub(super) fn visitor(&self, pid: u32) -> io::Result<Option<UnixStream>> {
        match self.listener.accept() {
            Ok((stream, _)) => {
                let peer = socket_peercred(&stream)?.pid.as_raw_nonzero().get();
                if u32::try_from(peer) == Ok(pid) {
                    return Ok(Some(stream));
                }
                tracing::warn!(peer, "a process that was not started for it wanted to take over");
                Ok(None)
            }
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(why) => Err(why),
        }
    }
}

impl Drop for Nook {
    fn drop(&mut self) {
        // errors mean that somebody has tidied up already
        let _ = fs::remove_file(&self.path);
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Makes the directory, or sees to it that it is this user's alone to write to.
fn private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let found = fs::metadata(folder)?;
    let ours = found.uid() == rustix::process::geteuid().as_raw();
    if !ours || found.mode() & 0o022 != 0 {
        let folder = folder.display();
        return Err(io::Error::other(format!(
            "others may write to {folder}: server.upgrade.socket needs a private directory"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_directory_that_others_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let refused = Nook::open(Some(&open.join("s"))).err().unwrap();
        assert!(refused.to_string().contains("private"), "{refused}");
        let made = Nook::open(Some(&folder.path().join("made/s"))).unwrap();
        let mode = fs::metadata(folder.path().join("made")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
        drop(made);
        assert!(!folder.path().join("made/s").exists());
    }

    #[test]
    fn only_the_process_that_was_started_gets_in() {
        let nook = Nook::open(None).unwrap();
        assert!(nook.visitor(1).unwrap().is_none(), "nobody has come");
        let _visit = UnixStream::connect(nook.path()).unwrap();
        assert!(nook.visitor(1).unwrap().is_none(), "this process is not number 1");
        let _again = UnixStream::connect(nook.path()).unwrap();
        assert!(nook.visitor(std::process::id()).unwrap().is_some());
        let folder = nook.path().parent().unwrap().to_owned();
        drop(nook);
        assert!(!folder.exists());
    }
}
