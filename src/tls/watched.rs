//! What was made of files, and whether they have changed since. Polled, because a file that is
//! replaced behind a link (as Kubernetes and certbot do) tells a watcher nothing.

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

/// What looking at the files has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refreshed<E> {
    /// Nothing has changed.
    Unchanged,
    /// What they hold now is in force.
    Taken,
    /// They hold nothing good; what was in force stays. Said once for each content.
    Refused(E),
}

/// A value made of files.
#[derive(Debug)]
pub(super) struct Watched<T> {
    current: ArcSwap<T>,
    files: Vec<PathBuf>,
    seen: Mutex<Seen>,
}

/// How the files looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Times in nanoseconds, size and inode of each: cheap to ask for.
    marks: Vec<Option<[i64; 4]>>,
    /// Of all contents.
    digest: [u8; 32],
}

impl Seen {
    /// Looks at the files; to be done before they are read, so that no change is missed.
    pub(super) fn now(files: &[PathBuf]) -> Self {
        Self { marks: marks(files), digest: digest(files) }
    }
}

impl<T> Watched<T> {
    pub(super) fn new(first: T, files: Vec<PathBuf>, seen: Seen) -> Self {
        Self { current: ArcSwap::from_pointee(first), files, seen: Mutex::new(seen) }
    }

    /// What is in force.
    pub(super) fn load(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Makes it anew with `read` where the files have changed.
    pub(super) fn refresh<E>(&self, read: impl FnOnce() -> Result<T, E>) -> Refreshed<E> {
        let mut seen = self.seen.lock();
        let marks = marks(&self.files);
        if marks == seen.marks {
            return Refreshed::Unchanged;
        }
        seen.marks = marks;
        let digest = digest(&self.files);
        if digest == seen.digest {
            return Refreshed::Unchanged;
        }
        seen.digest = digest;
        match read() {
            Ok(next) => {
                self.current.store(Arc::new(next));
                Refreshed::Taken
            }
            Err(why) => Refreshed::Refused(why),
        }
    }
}

fn marks(files: &[PathBuf]) -> Vec<Option<[i64; 4]>> {
    let mark = |file: &PathBuf| {
        let about = std::fs::metadata(file).ok()?;
        let modified = about.mtime().wrapping_mul(1_000_000_000).wrapping_add(about.mtime_nsec());
        let changed = about.ctime().wrapping_mul(1_000_000_000).wrapping_add(about.ctime_nsec());
        Some([modified, changed, about.len().cast_signed(), about.ino().cast_signed()])
    };
    files.iter().map(mark).collect()
}

/// Of all contents, each with its length so that no two sets of files look alike.
pub(super) fn digest(files: &[PathBuf]) -> [u8; 32] {
    let mut all = Sha256::new();
    for file in files {
        let bytes = std::fs::read(file).unwrap_or_default();
        all.update((bytes.len() as u64).to_be_bytes());
        all.update(bytes);
    }
    all.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_value_changes_with_its_file_and_a_refusal_is_said_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        fs::write(&file, "1").unwrap();
        let files = vec![file.clone()];
        let seen = Seen::now(&files);
        let watched = Watched::new(1, files, seen);
        let refresh = || watched.refresh(|| fs::read_to_string(&file).unwrap().parse::<i32>());
        assert_eq!(refresh(), Refreshed::Unchanged);
        fs::write(&file, "23").unwrap();
        assert_eq!(refresh(), Refreshed::Taken);
        assert_eq!(*watched.load(), 23);
        fs::write(&file, "four").unwrap();
        assert!(matches!(refresh(), Refreshed::Refused(_)));
        assert_eq!(refresh(), Refreshed::Unchanged);
        assert_eq!(*watched.load(), 23);
        // the same content in a new file
        fs::write(dir.path().join("b"), "four").unwrap();
        fs::rename(dir.path().join("b"), &file).unwrap();
        assert_eq!(refresh(), Refreshed::Unchanged);
        fs::remove_file(&file).unwrap();
        assert!(matches!(watched.refresh(|| Err::<i32, _>("gone")), Refreshed::Refused("gone")));
    }

    #[test]
    fn what_is_moved_from_one_file_to_the_next_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let files = ["a", "b"].map(|name| dir.path().join(name));
        let of = |contents: [&str; 2]| {
            for (file, content) in files.iter().zip(contents) {
                fs::write(file, content).unwrap();
            }
            digest(&files)
        };
        assert_ne!(of(["ab", "c"]), of(["a", "bc"]));
    }
}
