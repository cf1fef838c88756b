//! The file that holds the id of the process that serves. A successor writes its own; whoever ends
//! removes the file only if it is still his.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// Removed when it is dropped.
pub(super) struct PidFile(PathBuf);

impl PidFile {
    /// Writes the id of this process.
    pub(super) fn write(path: PathBuf) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        // placed whole: nobody ever reads half a number
        let draft = path.with_extension(format!("{}", std::process::id()));
        fs::write(&draft, format!("{}\n", std::process::id()))?;
        fs::rename(&draft, &path)?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let ours = |text: String| text.trim() == std::process::id().to_string();
        if fs::read_to_string(&self.0).is_ok_and(ours) {
            let _ = fs::remove_file(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_goes_with_its_process_but_not_with_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/pid");
        drop(PidFile::write(path.clone()).unwrap());
        assert!(!path.exists());
        let ours = PidFile::write(path.clone()).unwrap();
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        fs::write(&path, "1\n").unwrap();
        drop(ours);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    }
}
