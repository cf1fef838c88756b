//! What the key of a request means: the three cases of session affinity (no key, a key that holds,
//! a key that does not), the third with every cause apart, since each has its own policy, letter
//! and count. What is done about it is [`super::course`](mod@super::course)'s.

use super::sealed::{Binding, Unreadable};
use super::stamp::{Home, Kept};
use crate::model::{BackendId, Cause, UnixTime};
use crate::pool::{Ability, Member, Pool};
use std::sync::Arc;

/// What the request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented<'k> {
    /// No key.
    Nothing,
    /// A key that opened, and the id of the key that had sealed it.
    Opened(Binding<'k>, u8),
    /// An unsealed key that names the backend at this place in the pool.
    Named(usize),
    /// An unsealed key that names nobody in the pool.
    NamesNobody,
    /// A key that says itself that it no longer holds.
    Expired,
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

/// What a key means.
#[derive(Debug)]
pub enum Resolution<'p> {
    /// Its backend serves.
    Bound {
        /// Its backend.
        member: &'p Arc<Member>,
        /// What of the key stays when it is written anew.
        kept: Kept,
        /// Whether it is due to be written anew.
        refresh: bool,
        /// Where the client belongs, if it had to leave there and that backend takes clients again.
        home: Option<&'p Arc<Member>>,
    },
    /// Its backend takes no new clients.
    Draining {
        /// Its backend.
        member: &'p Arc<Member>,
        /// What of the key stays when it is written anew.
        kept: Kept,
        /// Whether it is due to be written anew.
        refresh: bool,
        /// Whether the client has been silent since its key was due.
        idle: bool,
        /// Where the client belongs, as above.
        home: Option<&'p Arc<Member>>,
    },
    /// Its backend is known, but cannot serve.
    Down {
        /// Its backend.
        member: &'p Arc<Member>,
        /// What of the key stays.
        kept: Kept,
        /// Where the client belongs, as above.
        home: Option<&'p Arc<Member>>,
    },
    /// Its backend is no longer part of the service.
    Gone {
        /// As the key calls it, if it calls it anything.
        from: Option<BackendId>,
        /// The version that it was, where the key says so.
        version: Option<Arc<str>>,
    },
    /// Its backend was restarted since.
    Restarted {
        /// Its backend.
        member: &'p Arc<Member>,
    },
    /// It binds nobody.
    Place(Cause),
}

/// Tells what `presented` means in `pool` at `now`, for a request that may go to backends of the
/// version `subset` only, if it says so. `sealing` is the id of the key in force.
pub fn resolve<'p>(
    presented: &Presented<'_>,
    pool: &'p Pool,
    subset: Option<&str>,
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
        Presented::Expired => return Resolution::Place(Cause::IdleExpired),
        Presented::NamesNobody => return Resolution::Gone { from: None, version: None },
        Presented::Named(at) => {
            let Some(member) = pool.members().get(*at) else {
                return Resolution::Gone { from: None, version: None };
            };
            if is_outside(subset, &member.backend.version) {
                return Resolution::Place(Cause::OtherSubset);
            }
            let kept = Kept { issued: now, seen: now, tag: 0, home: None };
            return by_ability(member, kept, false, None, false);
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
    let member = pool.find(binding.backend);
    let version = member.map_or(binding.version, |member| &member.backend.version);
    if is_outside(subset, version) {
        return Resolution::Place(Cause::OtherSubset);
    }
    let Some(member) = member else {
        let from = Some(BackendId::from(binding.backend));
        let version = Some(binding.version).filter(|version| !version.is_empty());
        return Resolution::Gone { from, version: version.map(Arc::from) };
    };
    // a key from before the incarnation was known is not held against the client
    if !binding.incarnation.is_empty() && !member.is_incarnation(binding.incarnation) {
        return Resolution::Restarted { member };
    }
    let home = Home::read(binding.home);
    let returns_to = home.as_ref().and_then(|home| {
        let member = pool.find(home.id.as_str())?;
        let serves = member.ability() == Ability::Anyone
            && !member.is_full()
            && !is_outside(subset, &member.backend.version);
        // one that was restarted has lost what the client would return to
        let is_same = home.incarnation.is_empty() || member.is_incarnation(&home.incarnation);
        (serves && is_same).then_some(member)
    });
    let kept = Kept { issued: binding.issued, seen: binding.seen, tag: binding.tag, home };
    let refresh = silent >= terms.refresh || key_id != sealing;
    // an active client has its key written anew as soon as it is due, so one whose key is twice that
    // old has not been here
    let idle = silent >= terms.refresh.saturating_mul(2);
    by_ability(member, kept, refresh, returns_to, idle)
}

/// Whether a backend of this `version` is none that the request may go to.
fn is_outside(subset: Option<&str>, version: &str) -> bool {
    subset.is_some_and(|subset| subset != version)
}

fn by_ability<'p>(
    member: &'p Arc<Member>,
    kept: Kept,
    refresh: bool,
    home: Option<&'p Arc<Member>>,
    idle: bool,
) -> Resolution<'p> {
    match member.ability() {
        Ability::Anyone => Resolution::Bound { member, kept, refresh, home },
        Ability::BoundOnly => Resolution::Draining { member, kept, refresh, idle, home },
        Ability::Emergency | Ability::Nobody => Resolution::Down { member, kept, home },
    }
}

#[cfg(test)]
mod tests;
