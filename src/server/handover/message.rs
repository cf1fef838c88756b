//! What the two processes say to each other. They may be of different releases: unknown fields are
//! passed over, and [`PROTOCOL`] counts the changes that are more than that.

use crate::affinity::{Key, Learnt};
use crate::model::UnixTime;
use crate::pool::Mark;
use crate::tls::TicketKeys;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// The order and the meaning of the messages.
pub(super) const PROTOCOL: u32 = 1;

// not `Debug`: it holds keys
#[derive(PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "camelCase")]
pub(super) enum Message {
    /// From the new process, first of all.
    Hello { protocol: u32 },
    /// What clients are bound by.
    State {
        /// The generated key, where it is in use.
        key: Option<String>,
        /// Of the table of learnt sessions.
        hash_key: [u8; 16],
        marks: Vec<Mark>,
        /// Of session tickets; older releases tell none.
        #[serde(default)]
        tickets: Option<TicketKeys>,
    },
    /// A listening socket, which comes along with the message.
    Socket { name: String },
    /// An end of the pipe that all processes of the service hold, which comes along: the one to read
    /// from, then the one to write to.
    Lineage,
    /// That was all for now.
    Prepare,
    /// The new process could serve.
    Prepared,
    /// Learnt sessions, least recently used first.
    Learnt { entries: Vec<Entry> },
    /// Clients may come.
    Commit,
    /// They do.
    Serving,
    /// The old process is out of the way.
    Released,
    /// The new process gives up.
    Failed { why: String },
}

/// Key, backend, incarnation, since, seen, idle, tag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry(String, String, String, u32, u32, u32, u64);

impl Entry {
    pub(super) fn of((key, learnt): &(Key, Learnt)) -> Self {
        Self(
            URL_SAFE_NO_PAD.encode(key.to_bytes()),
            learnt.backend.as_str().to_owned(),
            learnt.incarnation.to_string(),
            learnt.since.0,
            learnt.seen.0,
            learnt.idle,
            learnt.tag,
        )
    }

    /// `None`: not one of ours.
    pub(super) fn learnt(self) -> Option<(Key, Learnt)> {
        let Self(key, backend, incarnation, since, seen, idle, tag) = self;
        let key = URL_SAFE_NO_PAD.decode(key).ok()?.try_into().ok()?;
        let learnt = Learnt {
            backend: backend.as_str().into(),
            incarnation: incarnation.into(),
            since: UnixTime(since),
            seen: UnixTime(seen),
            idle,
            tag,
        };
        Some((Key::from_bytes(key), learnt))
    }
}
