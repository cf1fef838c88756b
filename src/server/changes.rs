//! Whether files have changed, for `server.watch`. They are looked at once a second: that also sees
//! what change notifications miss (a link that is pointed elsewhere, a network file system).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a file looked like; `None` while there is none.
type Look = Option<(u64, u64, u64, i64, i64)>;

/// The files as they were read.
#[derive(Default)]
pub(super) struct Changes {
    read: Vec<Look>,
    seen: Vec<Look>,
}

impl Changes {
    /// The files are about to be read.
    pub(super) fn note(&mut self, paths: &[PathBuf]) {
        self.read = looks(paths);
        self.seen.clone_from(&self.read);
    }

    /// Whether the files differ from what was read, and have been left alone since the last call: an
    /// editor may write in several steps. A change is told once.
    pub(super) fn settled(&mut self, paths: &[PathBuf]) -> bool {
        let now = looks(paths);
        let quiet = now == self.seen;
        self.seen = now;
        let changed = quiet && self.seen != self.read;
        if changed {
            self.read.clone_from(&self.seen);
        }
        changed
    }
}

fn looks(paths: &[PathBuf]) -> Vec<Look> {
    paths.iter().map(|path| look(path)).collect()
}

fn look(path: &Path) -> Look {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_and_when_it_has_settled() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().join("a"), folder.path().join("b")];
        fs::write(&paths[0], "1").unwrap();
        let mut changes = Changes::default();
        changes.note(&paths);
        assert!(!changes.settled(&paths));
        fs::write(&paths[0], "12").unwrap();
        assert!(!changes.settled(&paths), "just now");
        fs::write(&paths[1], "3").unwrap();
        assert!(!changes.settled(&paths), "and another");
        assert!(changes.settled(&paths));
        assert!(!changes.settled(&paths), "once");
        fs::remove_file(&paths[1]).unwrap();
        assert!(!changes.settled(&paths));
        assert!(changes.settled(&paths));
    }

    #[test]
    fn a_link_that_points_elsewhere_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("one"), "same").unwrap();
        fs::write(path("two"), "same").unwrap();
        let link = [path("link")];
        std::os::unix::fs::symlink(path("one"), &link[0]).unwrap();
        let mut changes = Changes::default();
        changes.note(&link);
        std::os::unix::fs::symlink(path("two"), path("next")).unwrap();
        fs::rename(path("next"), &link[0]).unwrap();
        assert!(!changes.settled(&link));
        assert!(changes.settled(&link));
    }
}
