//! A running load balancer of another make, killed when the value is dropped.

use crate::harness::{Backend, Client, Request, until};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use tempfile::TempDir;

/// A process, its files and its port.
pub(super) struct Peer {
    dir: TempDir,
    child: Child,
    /// Holds the port for as long as the peer lives, and never listens.
    claim: Backend,
}

impl Peer {
    /// Starts the program `name` in a directory with these files, and waits until it forwards
    /// requests. In files and arguments `PEER_PORT` stands for the port, on 127.0.0.1, that it is to
    /// listen on.
    pub(super) fn start(name: &str, files: &[(&str, &str)], arguments: &[&str]) -> Self {
        Self::start_when(name, files, arguments, |address| {
            let answer = Client::new(address).try_send(&Request::get("/healthz"));
            answer.is_ok_and(|answer| answer.status == 200)
        })
    }

    /// The same with another sign that it is up.
    pub(super) fn start_when(
        name: &str,
        files: &[(&str, &str)],
        arguments: &[&str],
        is_up: impl Fn(SocketAddr) -> bool,
    ) -> Self {
        let binary = binary(name);
        let claim = Backend::stopped(name);
        let port = claim.address().port().to_string();
        let filled = |text: &str| text.replace("PEER_PORT", &port);
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), filled(text)).unwrap();
        }
        let log = File::create(dir.path().join(LOG)).unwrap();
        let child = Command::new(&binary)
            .args(arguments.iter().map(|argument| filled(argument)))
            .current_dir(dir.path())
            // what it keeps between runs is not to be found by the next
            .env("HOME", dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", binary.display()));
        let mut peer = Self { dir, child, claim };
        until(&format!("{name} is up"), || {
            if let Some(status) = peer.child.try_wait().unwrap() {
                panic!("{name} ended with {status}");
            }
            is_up(peer.address()).then_some(())
        });
        peer
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.claim.address()
    }
}

const LOG: &str = "log";

/// Where `.ci/install-peers` puts it.
pub(super) fn binary(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp");
    let binary = target.join("peers/bin").join(name);
    assert!(binary.exists(), "there is no {}; make test-peers installs it", binary.display());
    binary
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Errors mean that it ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = fs::read(self.dir.path().join(LOG)).unwrap_or_default();
            eprintln!("--- log of {}\n{}", self.claim.id(), String::from_utf8_lossy(&log));
        }
    }
}
