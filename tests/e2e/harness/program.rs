//! One run of the binary to its end.

use super::{PATIENCE, within};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

/// What came out.
#[derive(Debug)]
pub(crate) struct Output {
    /// The exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

/// The binary under test, in a directory of the test's.
pub(crate) fn command(dir: &Path) -> Command {
    command_of(Path::new(env!("CARGO_BIN_EXE_stickfast")), dir)
}

/// The same by another name.
pub(crate) fn command_of(program: &Path, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).env("STICKFAST_TEST_DIR", dir).stdin(Stdio::null());
    command
}

/// Runs `stickfast` with arguments until it ends by itself.
pub(crate) fn stickfast(dir: &Path, arguments: &[&str]) -> Output {
    let (out, err) = (dir.join("stdout"), dir.join("stderr"));
    let mut child = command(dir)
        .args(arguments)
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .spawn()
        .expect("the binary starts");
    let status = within(PATIENCE, || child.try_wait().unwrap());
    if status.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (stdout, stderr) = (fs::read_to_string(out).unwrap(), fs::read_to_string(err).unwrap());
    let status = status.unwrap_or_else(|| panic!("{arguments:?} does not end: {stdout}{stderr}"));
    Output { code: status.code(), stdout, stderr }
}
