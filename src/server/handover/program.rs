//! The command line of this process, to start its successor with.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What belongs to one process, and would mislead another that inherits it.
const OWN: [&str; 4] = ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// The option by which a process learns that it is a successor.
const OPTION: &str = "--upgrade";

/// How this process was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// From the arguments of this process, its own name first, and what the system says is running,
    /// which has to be asked at the start: later another file may have that name. The name wins where
    /// both are the same file, since it may be a link that will point elsewhere.
    pub fn new(arguments: impl IntoIterator<Item = OsString>, running: PathBuf) -> Self {
        let mut arguments = arguments.into_iter();
        let name = arguments.next().map(PathBuf::from).filter(|name| name.is_absolute());
        let same = |name: &PathBuf| name.canonicalize().is_ok_and(|real| real == running);
        let mut kept = Vec::new();
        while let Some(argument) = arguments.next() {
            if argument == OPTION {
                arguments.next();
            } else if !is_option(&argument) {
                kept.push(argument);
            }
        }
        Self { path: name.filter(same).unwrap_or(running), arguments: kept }
    }

    /// The file that is started.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A successor that is to connect to `meeting`.
    pub(super) fn successor(&self, meeting: &Path) -> Command {
        let mut option = OsString::from(OPTION);
        option.push("=");
        option.push(meeting);
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).arg(option);
        for name in OWN {
            command.env_remove(name);
        }
        command
    }
}

fn is_option(argument: &OsStr) -> bool {
    argument.as_bytes().strip_prefix(OPTION.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(given: &[&str]) -> Vec<OsString> {
        let program = Program::new(given.iter().map(OsString::from), "/proc/none".into());
        let command = program.successor(Path::new("/m"));
        command.get_args().map(OsStr::to_owned).collect()
    }

    #[test]
    fn a_successor_of_a_successor_gets_the_option_once() {
        let expected = ["run", "-c", "a.yaml", "--upgrade=/m"];
        assert_eq!(arguments(&["stickfast", "run", "-c", "a.yaml"]), expected);
        assert_eq!(arguments(&["stickfast", "run", "-c", "a.yaml", "--upgrade=/x"]), expected);
        assert_eq!(arguments(&["stickfast", "run", "--upgrade", "/x", "-c", "a.yaml"]), expected);
    }

    #[test]
    fn a_link_is_followed_anew_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap().join("real");
        let link = folder.path().join("link");
        std::fs::write(&real, "").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let named = Program::new([link.clone().into()], real.clone());
        assert_eq!(named.path(), link);
        assert_eq!(Program::new(["real".into()], real.clone()).path(), real);
        assert_eq!(Program::new(["/bin/sh".into()], real.clone()).path(), real);
    }

    #[test]
    fn what_belongs_to_one_process_is_not_inherited() {
        let program = Program::new([], "/x".into());
        let command = program.successor(Path::new("/m"));
        let removed: Vec<_> = command.get_envs().filter(|(_, value)| value.is_none()).collect();
        assert_eq!(removed.len(), OWN.len());
    }
}
