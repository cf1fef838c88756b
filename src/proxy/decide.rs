//! The decisions of a request as functions of facts: whichever driver serves a request, it decides
//! here. Nothing in this file does I/O or looks at a clock.

use crate::affinity::cookies::{Candidate, MAX_CANDIDATES};
use crate::affinity::course::{Failback, OnUnhealthy};
use crate::affinity::sealed::OpenBuffer;
use crate::affinity::stamp::{Elsewhere, Kept};
use crate::affinity::{
    Binding, Course, Policies, Presented, Resolution, Stamp, Standing, Terms, course, resolve,
    stamp,
};
use crate::model::{BackendId, Brought, Cause, UnixTime};
use crate::pool::{Ability, Member};
use crate::snapshot::{Service, Snapshot, Stickiness};
use http::HeaderMap;
use http::header::{COOKIE, HeaderValue};
use smallvec::SmallVec;
use std::sync::Arc;

/// A binding that a key holds.
#[derive(Clone, Debug)]
pub struct Bond {
    /// Its backend.
    pub member: Arc<Member>,
    /// What it means when another backend answers.
    pub elsewhere: Elsewhere,
    kept: Kept,
    refresh: bool,
    /// Whether the client is to leave it although it serves.
    leaves: bool,
}

/// What the cookies of a request say, and what is done about it.
#[derive(Debug)]
pub struct Identified {
    /// The letter in the log.
    pub brought: Brought,
    /// Why the client is placed anew; `None` when it is with its backend, or without affinity.
    pub cause: Option<Cause>,
    /// The backend that it has to leave, as its key calls it.
    pub from: Option<BackendId>,
    /// The binding that its key holds, also while its backend is down.
    pub bond: Option<Bond>,
    /// Whether the request is refused, as the policy for the cause says.
    pub rejected: bool,
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
    let nothing = Identified {
        brought: Brought::Nothing,
        cause: None,
        from: None,
        bond: None,
        rejected: false,
        cookies,
    };
    let Some((stickiness, service)) = rule else { return nothing };
    let meant = best(stickiness, service, &candidates, now);
    let policies = stickiness.policies;
    match course(meant, policies) {
        Course::Stay { member, kept, refresh } => {
            let elsewhere = if_refused(policies);
            let bond =
                Some(Bond { member: Arc::clone(member), elsewhere, kept, refresh, leaves: false });
            Identified { brought: Brought::Valid, bond, ..nothing }
        }
        Course::Move { cause, from, left } => {
            let bond = left.map(|(member, kept)| Bond {
                member: Arc::clone(member),
                elsewhere: moves(policies),
                kept,
                refresh: false,
                leaves: true,
            });
            Identified { brought: cause.brought(), cause: Some(cause), from, bond, ..nothing }
        }
        Course::Once { cause, member, kept } => {
            let elsewhere = Elsewhere::Visits;
            let bond =
                Bond { member: Arc::clone(member), elsewhere, kept, refresh: false, leaves: true };
            let bond = Some(bond);
            Identified { brought: cause.brought(), cause: Some(cause), bond, ..nothing }
        }
        Course::Reject(cause) => {
            Identified { brought: cause.brought(), cause: Some(cause), rejected: true, ..nothing }
        }
    }
}

/// What another backend means for a client whose own serves, but may refuse the connection.
fn if_refused(policies: Policies) -> Elsewhere {
    match policies.on_unhealthy {
        OnUnhealthy::ServeOnce => Elsewhere::Visits,
        OnUnhealthy::Redistribute | OnUnhealthy::Reject => moves(policies),
    }
}

fn moves(policies: Policies) -> Elsewhere {
    match policies.failback {
        Failback::Never => Elsewhere::Moves,
        Failback::Immediate => Elsewhere::MovesFromHome,
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
            Resolution::Place(_) => 0,
            Resolution::Bound { .. }
            | Resolution::Draining { .. }
            | Resolution::Down { .. }
            | Resolution::Gone { .. }
            | Resolution::Restarted { .. } => 2,
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
    let bond = bond.filter(|bond| untried(&bond.member));
    if let Some(bond) = bond.filter(|bond| bond.stays()) {
        return Choice::Bound(Arc::clone(&bond.member));
    }
    let anyone = |member: &Member| member.ability() == Ability::Anyone && untried(member);
    if let Some(member) = service.pick(key, anyone) {
        return Choice::Placed(member);
    }
    // in a panic a client had best stay where its state is
    let in_need = |member: &Member| member.ability() != Ability::Nobody && untried(member);
    if let Some(bond) = bond.filter(|bond| in_need(&bond.member)) {
        return Choice::Panic(Arc::clone(&bond.member));
    }
    service.pick(key, in_need).map_or(Choice::Nobody, Choice::Panic)
}

impl Bond {
    /// Whether the backend serves this client, now that it is to be asked.
    fn stays(&self) -> bool {
        !self.leaves && matches!(self.member.ability(), Ability::Anyone | Ability::BoundOnly)
    }
}

/// What to write on a response of `answered` at `now`, which may be long after the request.
pub fn stamped(bond: Option<&Bond>, answered: &Member, terms: Terms, now: UnixTime) -> Stamp {
    let standing = bond.map_or(Standing::Free, |bond| Standing::Bound {
        backend: &bond.member.backend.id,
        kept: &bond.kept,
        refresh: bond.refresh || now.seconds_since(bond.kept.seen) >= terms.refresh,
        elsewhere: bond.elsewhere,
    });
    stamp(standing, &answered.backend.id)
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
        Stamp::Bind(home) => Kept { issued: now, seen: now, tag: dice.tag, home },
        Stamp::Refresh(kept) => kept,
    };
    let incarnation = answered.incarnation();
    let binding = Binding {
        issued: kept.issued,
        seen: now,
        tag: kept.tag,
        backend: answered.backend.id.as_str(),
        incarnation: &incarnation,
        version: &answered.backend.version,
        home: kept.home.as_ref().map_or("", BackendId::as_str),
    };
    stickiness.set_cookie(&binding, dice.nonce, now, https)
}

#[cfg(test)]
mod tests;
