//! The old process's side: starts the successor, hands over, and watches it until it serves.

use super::lineage::Lineage;
use super::link::{Link, LinkError};
use super::message::{Entry, Message, PROTOCOL};
use super::nook::Nook;
use super::program::Program;
use crate::affinity::Learned;
use crate::model::{Secret, UnixTime, clock};
use crate::snapshot::Live;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How long the exit status of a process that has closed its connection is waited for.
const FAREWELL: Duration = Duration::from_secs(2);

/// Learnt sessions in one message.
const PORTION: usize = 4096;

/// Why the successor did not take over. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub(in crate::server) enum UpgradeError {
    /// The meeting place cannot be made.
    #[error("cannot open the upgrade socket: {0}")]
    Nook(std::io::Error),
    /// The sockets cannot be copied.
    #[error("cannot copy the listening sockets: {0}")]
    Sockets(std::io::Error),
    /// No process came of it.
    #[error("cannot start {path}: {why}")]
    Start { path: String, why: std::io::Error },
    /// It ended before it served.
    #[error("the new process ended before it was ready ({0})")]
    Ended(ExitStatus),
    /// It said why it cannot serve.
    #[error("{0}")]
    Refused(String),
    /// It was silent for too long.
    #[error("the new process was not ready after {0:?} (server.upgrade.startTimeout)")]
    TooSlow(Duration),
    /// This process has been told to stop.
    #[error("this process is stopping")]
    Stopping,
    /// It spoke out of turn, or the connection broke.
    #[error(transparent)]
    Link(LinkError),
}

/// What goes over.
pub(in crate::server) struct Estate<'a> {
    pub(in crate::server) live: &'a Live,
    /// The generated key, where it is in use.
    pub(in crate::server) key: Option<Secret>,
    /// Each with its name.
    pub(in crate::server) sockets: Vec<(String, socket2::Socket)>,
    pub(in crate::server) lineage: &'a Lineage,
}

/// A successor that serves.
pub(in crate::server) struct Heir {
    link: Link,
    /// Its process id.
    pub(in crate::server) pid: u32,
    /// When learnt sessions were last handed over.
    told: UnixTime,
}

/// Starts the successor and returns once it serves.
pub(in crate::server) fn hand_over(
    program: &Program,
    socket: Option<&Path>,
    patience: Duration,
    estate: &Estate<'_>,
) -> Result<Heir, UpgradeError> {
    let nook = Nook::open(socket).map_err(UpgradeError::Nook)?;
    let child = program
        .successor(nook.path())
        .spawn()
        .map_err(|why| UpgradeError::Start { path: program.path().display().to_string(), why })?;
    let mut successor = Successor {
        child,
        live: estate.live,
        patience,
        deadline: clock::monotonic_now() + patience,
    };
    let handed = successor.take(&nook, estate);
    if handed.is_err() {
        // it may hold the sockets, so it must be gone before anybody hears of the failure
        let _ = successor.child.kill();
        let _ = successor.child.wait();
    }
    handed
}

struct Successor<'a> {
    child: Child,
    live: &'a Live,
    patience: Duration,
    deadline: Instant,
}

impl Successor<'_> {
    fn take(&mut self, nook: &Nook, estate: &Estate<'_>) -> Result<Heir, UpgradeError> {
        let link = self.meet(nook)?;
        self.expect(&link, &Message::Hello { protocol: PROTOCOL })?;
        let key = estate.key.as_ref().map(|key| String::from_utf8_lossy(key.expose()).into_owned());
        let marks = self.live.cells.export();
        let hash_key = self.live.learned.hash_key();
        let tickets = Some(self.live.tickets.keys());
        self.say(&link, &Message::State { key, hash_key, marks, tickets })?;
        for (name, socket) in &estate.sockets {
            let message = Message::Socket { name: name.clone() };
            let sent = link.send_with(&message, socket.as_fd());
            sent.map_err(|why| self.explain(why))?;
        }
        let shown = estate.lineage.show(|ends| {
            ends.into_iter().try_for_each(|end| link.send_with(&Message::Lineage, end))
        });
        shown.ok_or(UpgradeError::Stopping)?.map_err(|why| self.explain(why))?;
        self.say(&link, &Message::Prepare)?;
        self.expect(&link, &Message::Prepared)?;
        let mut heir = Heir { link, pid: self.child.id(), told: UnixTime(0) };
        heir.tell(&self.live.learned).map_err(|why| self.explain(why))?;
        self.goes_on()?;
        self.say(&heir.link, &Message::Commit)?;
        self.expect(&heir.link, &Message::Serving)?;
        Ok(heir)
    }

    fn meet(&mut self, nook: &Nook) -> Result<Link, UpgradeError> {
        loop {
            let visitor = nook.visitor(self.child.id()).map_err(UpgradeError::Nook)?;
            if let Some(stream) = visitor {
                return Link::new(stream).map_err(UpgradeError::Nook);
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(UpgradeError::Ended(status));
            }
            self.goes_on()?;
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn goes_on(&self) -> Result<(), UpgradeError> {
        if !self.live.serving() {
            return Err(UpgradeError::Stopping);
        }
        if clock::monotonic_now() > self.deadline {
            return Err(UpgradeError::TooSlow(self.patience));
        }
        Ok(())
    }

    fn say(&mut self, link: &Link, message: &Message) -> Result<(), UpgradeError> {
        link.send(message).map_err(|why| self.explain(why))
    }

    fn expect(&mut self, link: &Link, expected: &Message) -> Result<(), UpgradeError> {
        if self.hear(link)? == *expected { Ok(()) } else { Err(out_of_turn()) }
    }

    fn hear(&mut self, link: &Link) -> Result<Message, UpgradeError> {
        let mut stop = None;
        let heard = link.receive(&mut || {
            self.goes_on().map_err(|why| {
                let said = why.to_string();
                stop = Some(why);
                said
            })
        });
        match (heard, stop) {
            (Err(_), Some(why)) => Err(why),
            (Ok((Message::Failed { why }, _)), _) => Err(UpgradeError::Refused(why)),
            (Ok((message, _)), _) => Ok(message),
            (Err(why), None) => Err(self.explain(why)),
        }
    }

    /// A connection that ends is best explained by the end of the process.
    fn explain(&mut self, why: LinkError) -> UpgradeError {
        let until = clock::monotonic_now() + FAREWELL;
        while clock::monotonic_now() < until {
            match self.child.try_wait() {
                Ok(Some(status)) => return UpgradeError::Ended(status),
                Ok(None) => std::thread::sleep(LOOK_AGAIN),
                Err(_) => break,
            }
        }
        UpgradeError::Link(why)
    }
}

/// Does not quote the message, which may hold keys.
fn out_of_turn() -> UpgradeError {
    UpgradeError::Link(LinkError::Foreign("a message came out of turn".to_owned()))
}

impl Heir {
    /// Hands over the sessions that were learnt, or used, since the last time.
    pub(in crate::server) fn tell(&mut self, learned: &Learned) -> Result<(), LinkError> {
        let now = clock::unix_now();
        let since = self.told;
        let mut entries = Vec::new();
        for entry in learned.export(now).filter(|(_, learnt)| learnt.seen >= since) {
            entries.push(Entry::of(&entry));
            if entries.len() == PORTION {
                let entries = std::mem::take(&mut entries);
                self.link.send(&Message::Learnt { entries })?;
            }
        }
        if !entries.is_empty() {
            self.link.send(&Message::Learnt { entries })?;
        }
        self.told = now;
        Ok(())
    }

    /// Tells it that this process takes nobody in any more.
    pub(in crate::server) fn release(&self) -> Result<(), LinkError> {
        self.link.send(&Message::Released)
    }
}

/// Whether a successor of this process has crashed, or was killed. Leaves it unreaped: systemd, whose main
/// process it is, gets to see its end when it becomes the parent.
pub(in crate::server) fn has_failed(pid: u32) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let ended = pid.and_then(|pid| waitid(WaitId::Pid(pid), options).ok().flatten());
    ended.is_some_and(|ended| ended.exit_status() != Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::affinity::{Found, Key, Learnt};
    use crate::server::handover::Predecessor;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    fn bind(table: &Learned, nth: usize, backend: &str) -> Key {
        let key = table.key("s", "header:id", &nth.to_be_bytes());
        let now = clock::unix_now();
        let learnt = Learnt {
            backend: backend.into(),
            incarnation: "i".into(),
            since: now,
            seen: now,
            idle: 60,
            tag: nth as u64,
        };
        table.bind(key, learnt);
        key
    }

    fn backend(table: &Learned, key: Key) -> Option<String> {
        match table.find(key, 60, clock::unix_now()) {
            Found::Entry(learnt) => Some(learnt.backend.as_str().to_owned()),
            Found::Nothing | Found::Expired => None,
        }
    }

    #[test]
    fn learnt_sessions_go_over_and_so_do_those_learnt_while_the_old_process_drains() {
        let old = Learned::new(100_000, [7; 16]);
        let new = Arc::new(Learned::new(100_000, old.hash_key()));
        let first: Vec<Key> = (0..10_000).map(|nth| bind(&old, nth, "b1")).collect();
        let (one, other) = UnixStream::pair().unwrap();
        let link = Link::new(one).unwrap();
        let predecessor = Predecessor::of(Link::new(other).unwrap());
        let table = Arc::clone(&new);
        let taking = std::thread::spawn(move || {
            predecessor.may_serve(&table).unwrap();
            predecessor.serves(&table);
            assert_eq!(table.len(), 10_000, "all are there before the first client");
            predecessor.follow_to_the_end(&table);
        });
        let mut heir = Heir { link, pid: 1, told: UnixTime(0) };
        let hear = |heir: &Heir| heir.link.receive(&mut || Ok(())).unwrap().0;
        assert!(hear(&heir) == Message::Prepared);
        heir.tell(&old).unwrap();
        heir.link.send(&Message::Commit).unwrap();
        assert!(hear(&heir) == Message::Serving);
        heir.release().unwrap();
        let late = bind(&old, 10_000, "b2");
        heir.tell(&old).unwrap();
        drop(heir);
        taking.join().unwrap();
        assert!(first.iter().all(|key| backend(&new, *key).as_deref() == Some("b1")));
        assert_eq!(backend(&new, late).as_deref(), Some("b2"));
    }
}
