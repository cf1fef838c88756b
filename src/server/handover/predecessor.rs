//! The new process's side: takes over what the old one has, says when it could serve, and serves
//! when it is told to.

use super::lineage::Lineage;
use super::link::{Link, LinkError};
use super::message::{Entry, Message, PROTOCOL};
use crate::affinity::Learned;
use crate::model::{Secret, clock};
use crate::pool::Mark;
use crate::tls::TicketKeys;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The old process.
pub(in crate::server) struct Predecessor {
    link: Link,
}

/// What it hands over before anything is read.
pub(in crate::server) struct Inheritance {
    pub(in crate::server) key: Option<Secret>,
    pub(in crate::server) hash_key: [u8; 16],
    pub(in crate::server) marks: Vec<Mark>,
    /// Of session tickets; an older release tells none.
    pub(in crate::server) tickets: Option<TicketKeys>,
    /// Each with its name.
    pub(in crate::server) sockets: Vec<(String, socket2::Socket)>,
    pub(in crate::server) lineage: Lineage,
}

impl Predecessor {
    pub(super) fn of(link: Link) -> Self {
        Self { link }
    }

    /// Connects to the process that started this one.
    pub(in crate::server) fn meet(socket: &Path) -> Result<(Self, Inheritance), LinkError> {
        let stream = UnixStream::connect(socket)?;
        let peer = rustix::net::sockopt::socket_peercred(&stream).map_err(std::io::Error::from)?;
        if peer.uid != rustix::process::geteuid() && !peer.uid.is_root() {
            return Err(LinkError::Foreign("it runs as another user".to_owned()));
        }
        let this = Self::of(Link::new(stream)?);
        this.link.send(&Message::Hello { protocol: PROTOCOL })?;
        let (Message::State { key, hash_key, marks, tickets }, _) = this.next()? else {
            return Err(out_of_turn());
        };
        let key = key.map(Secret::new);
        let mut sockets = Vec::new();
        let mut ends = Vec::new();
        loop {
            match this.next()? {
                (Message::Socket { name }, Some(socket)) => sockets.push((name, socket.into())),
                (Message::Lineage, Some(end)) => ends.push(end),
                (Message::Prepare, None) => break,
                _ => return Err(out_of_turn()),
            }
        }
        let ends: [OwnedFd; 2] = ends.try_into().map_err(|_| out_of_turn())?;
        let [reader, writer] = ends;
        let lineage = Lineage::inherited(reader, writer);
        Ok((this, Inheritance { key, hash_key, marks, tickets, sockets, lineage }))
    }

    /// The old process gives up waiting by killing this one, so there is no other end to a wait.
    fn next(&self) -> Result<(Message, Option<OwnedFd>), LinkError> {
        self.link.receive(&mut || Ok(()))
    }

    /// Says that clients could come, and returns when they may.
    pub(in crate::server) fn may_serve(&self, learned: &Learned) -> Result<(), LinkError> {
        self.link.send(&Message::Prepared)?;
        loop {
            let message = self.next()?.0;
            if message == Message::Commit {
                return Ok(());
            }
            let Message::Learnt { entries } = message else { return Err(out_of_turn()) };
            take_in(learned, entries);
        }
    }

    /// Says that clients come, and returns when the old process takes nobody in any more.
    pub(in crate::server) fn serves(&self, learned: &Learned) {
        if self.link.send(&Message::Serving).is_ok() {
            self.follow(learned, |message| *message == Message::Released);
        }
    }

    /// Takes in what the old process still learns, until it ends.
    pub(in crate::server) fn follow_to_the_end(&self, learned: &Learned) {
        self.follow(learned, |_| false);
    }

    fn follow(&self, learned: &Learned, is_last: impl Fn(&Message) -> bool) {
        // an error is the end of the old process
        while let Ok((message, _)) = self.next() {
            if is_last(&message) {
                return;
            }
            if let Message::Learnt { entries } = message {
                take_in(learned, entries);
            }
        }
    }

    /// Says why this process gives up.
    pub(in crate::server) fn fail(&self, why: String) {
        // whether it hears that or sees the end of this process comes to the same
        let _ = self.link.send(&Message::Failed { why });
    }
}

fn take_in(learned: &Learned, entries: Vec<Entry>) {
    learned.import(entries.into_iter().filter_map(Entry::learnt), clock::unix_now());
}

fn out_of_turn() -> LinkError {
    LinkError::Foreign("a message came out of turn".to_owned())
}
