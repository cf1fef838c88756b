//! The decisions of a request as functions of facts: whichever driver serves a request, it decides
//! here. Nothing in this file does I/O or looks at a clock.

use crate::affinity::cookies::{Candidate, MAX_CANDIDATES};
use crate::affinity::sealed::OpenBuffer;
use crate::affinity::stamp::Kept;
use crate::affinity::{Binding, Presented, Resolution, Stamp, Standing, resolve, stamp};
use crate::model::{Brought, Cause, UnixTime};
use crate::pool::{Health, Member};
use crate::snapshot::{Service, Snapshot, Stickiness};
use http::HeaderMap;
use http::header::{COOKIE, HeaderValue};
use smallvec::SmallVec;
use std::sync::Arc;

/// A binding that holds.
#[derive(Clone, Debug)]
pub struct Bond {
    /// Its backend.
    pub member: Arc<Member>,
    kept: Kept,
    refresh: bool,
}

/// What the cookies of a request say.
#[derive(Debug)]
pub struct Identified {
    /// The letter in the log.
    pub brought: Brought,
    /// Why the client is placed anew; `None` when it is with its backend, or without affinity.
    pub cause: Option<Cause>,
    /// The binding that its key holds, also while its backend is down.
    pub bond: Option<Bond>,
    /// The `Cookie` lines that the backend gets instead; `None` when they stay as they are.
    pub cookies: Option<SmallVec<[HeaderValue; 1]>>,
}

/// Cuts our cookies out of the request, opens the key for this rule and says what it means.
pub fn identify(
    snapshot: &Snapshot,
    rule: Option<(&Stickiness, &Service)>,
    headers: &HeaderMap,
    now: UnixTime,
) -> Identified {
    let wanted = rule.map(|(stickiness, _)| &stickiness.names);
    let mut candidates: SmallVec<[Candidate<'_>; MAX_CANDIDATES]> = SmallVec::new();
    let mut cookies: Option<SmallVec<[HeaderValue; 1]>> = None;
    for (nth, line) in headers.get_all(COOKIE).iter().enumerate() {
        let cut = snapshot.cutter.cut(line.as_bytes(), wanted);
        let room = MAX_CANDIDATES - candidates.len();
        candidates.extend(cut.found.into_iter().take(room));
        match (cut.rest, &mut cookies) {
            (None, None) => {}
            (None, Some(lines)) => lines.push(line.clone()),
            (Some(rest), lines) => {
                let before = || headers.get_all(COOKIE).iter().take(nth).cloned().collect();
                let lines = lines.get_or_insert_with(before);
                // a piece of a valid value is a valid value
                lines.extend(HeaderValue::from_bytes(&rest).ok().filter(|line| !line.is_empty()));
            }
        }
    }
    let Some((stickiness, service)) = rule else {
        return Identified { brought: Brought::Nothing, cause: None, bond: None, cookies };
    };
    match best(stickiness, service, &candidates, now) {
        Resolution::Bound { member, kept, refresh } => {
            let bond = Some(Bond { member: Arc::clone(member), kept, refresh });
            Identified { brought: Brought::Valid, cause: None, bond, cookies }
        }
        Resolution::Down { member, kept, refresh } => Identified {
            brought: Brought::Down,
            cause: Some(Cause::Unhealthy),
            bond: Some(Bond { member: Arc::clone(member), kept, refresh }),
            cookies,
        },
        Resolution::Place(cause) => {
            Identified { brought: cause.brought(), cause: Some(cause), bond: None, cookies }
        }
    }
}

/// What the keys of a request mean. Usually there is one; a browser sends several after a cookie
/// has changed its path, its domain or (with a second service) its name. The one that was written
/// last counts, an expired one only when all are.
fn best<'s>(
    stickiness: &Stickiness,
    service: &'s Service,
    candidates: &[Candidate<'_>],
    now: UnixTime,
) -> Resolution<'s> {
    let sealing = stickiness.keys.sealing_id(now);
    let mut best: Option<((u8, UnixTime, bool), Resolution<'s>)> = None;
    for candidate in candidates {
        let mut buffer = OpenBuffer::default();
        let presented = stickiness.open(candidate.key, now, &mut buffer);
        let resolution = resolve(&presented, &service.pool, stickiness.terms, now, sealing);
        let seen = match presented {
            Presented::Opened(binding, _) => binding.seen,
            Presented::Nothing | Presented::Unreadable(_) => UnixTime(0),
        };
        let worth = match &resolution {
            Resolution::Place(Cause::IdleExpired | Cause::TooOld) => 1,
            Resolution::Place(Cause::NoKey | Cause::Unreadable | Cause::UnknownKey) => 0,
            Resolution::Place(Cause::Gone | Cause::WrongIncarnation | Cause::Unhealthy)
            | Resolution::Bound { .. }
            | Resolution::Down { .. } => 2,
        };
        let rank = (worth, seen, candidate.current);
        if best.as_ref().is_none_or(|(other, _)| rank > *other) {
            best = Some((rank, resolution));
        }
    }
    best.map_or(Resolution::Place(Cause::NoKey), |(_, resolution)| resolution)
}

/// Who is asked next.
#[derive(Debug)]
pub enum Choice {
    /// The backend that the client is bound to.
    Bound(Arc<Member>),
    /// A healthy backend, by the service's policy.
    Placed(Arc<Member>),
    /// Nobody is healthy: one whose checks fail, better than nothing.
    Panic(Arc<Member>),
    /// Nobody is left.
    Nobody,
}

/// Chooses for a request that `tried` has failed on. `key` places it in hashing services.
pub fn choose(service: &Service, bond: Option<&Bond>, tried: &[Arc<Member>], key: &[u8]) -> Choice {
    let untried = |member: &Member| !tried.iter().any(|t| std::ptr::eq(Arc::as_ptr(t), member));
    let bound = bond.map(|bond| &bond.member).filter(|member| untried(member));
    if let Some(member) = bound.filter(|member| member.health() == Health::Healthy) {
        return Choice::Bound(Arc::clone(member));
    }
    let healthy = |member: &Member| member.health() == Health::Healthy && untried(member);
    if let Some(member) = service.pick(key, healthy) {
        return Choice::Placed(member);
    }
    // in a panic a client had best stay where its state is
    if let Some(member) = bound.filter(|member| member.health() == Health::Unhealthy) {
        return Choice::Panic(Arc::clone(member));
    }
    let checked = |member: &Member| member.health() == Health::Unhealthy && untried(member);
    service.pick(key, checked).map_or(Choice::Nobody, Choice::Panic)
}

/// What to write on a response of `answered`.
pub fn stamped(bond: Option<&Bond>, answered: &Member) -> Stamp {
    let standing = bond.map_or(Standing::Free, |bond| Standing::Bound {
        backend: bond.member.backend.id.as_str(),
        kept: bond.kept,
        refresh: bond.refresh,
    });
    stamp(standing, answered.backend.id.as_str())
}

/// Random numbers that a stamp needs.
#[derive(Clone, Copy, Debug)]
pub struct Dice {
    /// For the seal.
    pub nonce: [u8; 12],
    /// For a new binding.
    pub tag: u64,
}

/// The `Set-Cookie` value that carries out `stamp`; `None` when there is nothing to write.
pub fn set_cookie(
    stickiness: &Stickiness,
    stamp: Stamp,
    answered: &Member,
    now: UnixTime,
    dice: Dice,
    https: bool,
) -> Option<String> {
    let kept = match stamp {
        Stamp::Nothing => return None,
        Stamp::Bind => Kept { issued: now, tag: dice.tag },
        Stamp::Refresh(kept) => kept,
    };
    let binding = Binding {
        issued: kept.issued,
        seen: now,
        tag: kept.tag,
        backend: answered.backend.id.as_str(),
        incarnation: "",
        version: &answered.backend.version,
        home: "",
    };
    stickiness.set_cookie(&binding, dice.nonce, now, https)
}

#[cfg(test)]
mod tests;
