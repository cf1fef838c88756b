//! What the key of a request means: the three cases of session affinity (no key, a key that holds,
//! a key that does not), the third with every cause apart, since each has its own policy, letter
//! and count.

use super::sealed::{Binding, Unreadable};
use super::stamp::Kept;
use crate::model::{Cause, UnixTime};
use crate::pool::{Health, Member, Pool};
use std::sync::Arc;

/// What the request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented<'k> {
    /// No key.
    Nothing,
    /// A key that opened, and the id of the key that had sealed it.
    Opened(Binding<'k>, u8),
    /// Keys, none of which opens; why the first one does not.
    Unreadable(Unreadable),
}

/// How long a key holds, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Longest silence.
    pub idle: u32,
    /// Longest life.
    pub absolute: u32,
    /// A key that is older than this is written anew.
    pub refresh: u32,
}

/// What is to be done.
#[derive(Debug)]
pub enum Resolution<'p> {
    /// Send it to its backend.
    Bound {
        /// Its backend.
        member: &'p Arc<Member>,
        /// What of the key stays when it is written anew.
        kept: Kept,
        /// Whether it is due to be written anew.
        refresh: bool,
    },
    /// Its backend is known, but cannot serve.
    Down {
        /// Its backend, the first choice should nobody else be able to serve either.
        member: &'p Arc<Member>,
        /// What of the key stays.
        kept: Kept,
        /// Whether the key is due.
        refresh: bool,
    },
    /// Place it as a new client.
    Place(Cause),
}

/// Decides what `presented` means in `pool` at `now`. `sealing` is the id of the key in force.
pub fn resolve<'p>(
    presented: &Presented<'_>,
    pool: &'p Pool,
    terms: Terms,
    now: UnixTime,
    sealing: u8,
) -> Resolution<'p> {
    let (binding, key_id) = match presented {
        Presented::Nothing => return Resolution::Place(Cause::NoKey),
        Presented::Unreadable(Unreadable::Malformed) => {
            return Resolution::Place(Cause::Unreadable);
        }
        Presented::Unreadable(Unreadable::UnknownKey) => {
            return Resolution::Place(Cause::UnknownKey);
        }
        Presented::Opened(binding, key_id) => (binding, *key_id),
    };
    let silent = now.seconds_since(binding.seen);
    if now.seconds_since(binding.issued) > terms.absolute {
        return Resolution::Place(Cause::TooOld);
    }
    if silent > terms.idle {
        return Resolution::Place(Cause::IdleExpired);
    }
    let Some(member) = pool.find(binding.backend) else {
        return Resolution::Place(Cause::Gone);
    };
    // no backend tells its incarnation yet, so a key that names one is of another start
    if !binding.incarnation.is_empty() {
        return Resolution::Place(Cause::WrongIncarnation);
    }
    let kept = Kept { issued: binding.issued, tag: binding.tag };
    let refresh = silent >= terms.refresh || key_id != sealing;
    match member.health() {
        Health::Healthy => Resolution::Bound { member, kept, refresh },
        Health::Unhealthy | Health::Unchecked => Resolution::Down { member, kept, refresh },
    }
}

#[cfg(test)]
mod tests;
