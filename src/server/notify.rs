//! What systemd is told of this process (`sd_notify(3)`): one datagram for each change. Nothing where
//! no one listens.

use super::Environment;
use crate::model::clock;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Who is told.
pub(super) struct Notify {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// How often systemd wants a sign of life.
    watchdog: Option<Duration>,
}

impl Notify {
    /// As the environment says.
    pub(super) fn new(environment: &Environment) -> Self {
        let to = environment("NOTIFY_SOCKET").and_then(|path| {
            let address = match path.strip_prefix('@') {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(&path),
            };
            Some((UnixDatagram::unbound().ok()?, address.ok()?))
        });
        let number = |name: &str| environment(name)?.parse::<u64>().ok();
        // set for another process: then it is that one's affair
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let micros = number("WATCHDOG_USEC").filter(|micros| ours && *micros > 0);
        Self { to, watchdog: micros.map(Duration::from_micros) }
    }

    /// Whether there is a systemd that listens.
    pub(super) fn is_heard(&self) -> bool {
        self.to.is_some()
    }

    /// The process serves. Says which one it is: after a hand-over it is another.
    pub(super) fn ready(&self) {
        let pid = std::process::id();
        self.send(&format!("MAINPID={pid}\nREADY=1\nSTATUS=serving"));
    }

    /// The files are read again, or a successor is started.
    pub(super) fn reloading(&self) {
        let now = clock::monotonic_micros();
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
    }

    /// That is over, and this process serves on.
    pub(super) fn reloaded(&self, status: &str) {
        // a status is one line
        let status = status.lines().next().unwrap_or_default();
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// Another process is the one that counts.
    pub(super) fn succeeded_by(&self, pid: u32) {
        self.send(&format!("MAINPID={pid}"));
    }

    /// The process ends when its open requests have, in this time at most. A service whose main process
    /// has died cannot ask for it: whatever still drains then is soon ended, and the service is back.
    pub(super) fn stopping(&self, patience: Duration) {
        let micros = patience.as_micros();
        self.send(&format!(
            "STOPPING=1\nSTATUS=open requests finish\nEXTEND_TIMEOUT_USEC={micros}"
        ));
    }

    /// How often [`Self::alive`] is due: twice in the time that systemd grants.
    pub(super) fn heartbeat(&self) -> Option<Duration> {
        self.to.as_ref().and(self.watchdog).map(|limit| limit / 2)
    }

    /// A sign of life.
    pub(super) fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        let Some((socket, address)) = &self.to else { return };
        if let Err(why) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::debug!(%why, "systemd was not told");
        }
    }
}
