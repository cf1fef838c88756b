//! The decisions of a request as functions of facts: whichever driver serves a request, it decides
//! here. Nothing in this file does I/O or looks at a clock.

use crate::affinity::cookies::{Candidate, MAX_CANDIDATES};
use crate::affinity::course::{Failback, OnUnhealthy};
use crate::affinity::sealed::OpenBuffer;
use crate::affinity::stamp::{Elsewhere, Kept};
use crate::affinity::{
    Binding, Course, Policies, Presented, Resolution, Stamp, Standing, Terms, Wanted, course,
    resolve, stamp,
};
use crate::balance::Selection;
use crate::model::{BackendId, Brought, Cause, UnixTime};
use crate::pool::{Ability, Member};
use crate::snapshot::{Caller, Carrier, Place, PlaceKey, Service, Snapshot, Stickiness};
use http::HeaderMap;
use http::header::{COOKIE, HeaderName, HeaderValue};
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
    /// Where the client is while it is called home, should its home refuse.
    pub until_then: Option<Box<Bond>>,
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
    /// The header that held a key of ours, which the backend does not get.
    pub used_header: Option<HeaderName>,
    /// What places the client on the ring of the rule, instead of the service's policy.
    pub place: Option<PlaceKey>,
    /// Whether a response may write a key.
    pub stamps: bool,
}

/// The keys in the cookies of a request.
#[derive(Default)]
struct Found<'h> {
    ours: SmallVec<[Candidate<'h>; MAX_CANDIDATES]>,
    foreign: SmallVec<[(usize, &'h [u8]); 1]>,
}

/// Takes the cookies apart; tells the lines that the backend gets instead, if any differs.
fn cut<'h>(
    snapshot: &Snapshot,
    wanted: Wanted<'_>,
    headers: &'h HeaderMap,
    found: &mut Found<'h>,
) -> Option<SmallVec<[HeaderValue; 1]>> {
    let mut changed: Option<SmallVec<[HeaderValue; 1]>> = None;
    for (nth, line) in headers.get_all(COOKIE).iter().enumerate() {
        let cut = snapshot.cutter.cut(line.as_bytes(), wanted);
        let room = MAX_CANDIDATES - found.ours.len();
        found.ours.extend(cut.found.into_iter().take(room));
        found.foreign.extend(cut.foreign);
        match (cut.rest, &mut changed) {
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
    changed
}

/// What a request says of its client.
enum Read<'p, 'h> {
    /// A key, or that there is none.
    Key { meant: Resolution<'p>, header: Option<HeaderName> },
    /// The client's own name for its session.
    Name(&'h [u8]),
}

/// Tries the ways of a key in their order; the first that yields a readable one decides. Then come
/// the keys of other load balancers.
fn read<'p, 'h>(
    stickiness: &Stickiness,
    service: &'p Service,
    headers: &'h HeaderMap,
    found: &Found<'h>,
    now: UnixTime,
) -> Read<'p, 'h> {
    let mut unreadable = None;
    for carrier in &stickiness.carriers {
        let (candidates, header) = match &carrier.place {
            Place::Cookie => (found.ours.clone(), None),
            Place::Header(name) => {
                let lines = headers.get_all(name).iter().take(MAX_CANDIDATES);
                let keys = lines.map(|line| Candidate { key: line.as_bytes(), current: true });
                (keys.collect(), Some(name.clone()))
            }
        };
        match best(carrier, stickiness.terms, service, &candidates, now) {
            Resolution::Place(Cause::NoKey) => {}
            Resolution::Place(cause @ (Cause::Unreadable | Cause::UnknownKey)) => {
                let name = candidates.first().map(|candidate| candidate.key);
                match name.filter(|name| carrier.takes_names() && is_name(name)) {
                    Some(name) if cause == Cause::Unreadable => return Read::Name(name),
                    _ => unreadable = unreadable.or(Some((cause, header))),
                }
            }
            meant @ (Resolution::Place(_)
            | Resolution::Bound { .. }
            | Resolution::Draining { .. }
            | Resolution::Down { .. }
            | Resolution::Gone { .. }
            | Resolution::Restarted { .. }) => return Read::Key { meant, header },
        }
    }
    let mut foreign = found.foreign.iter().filter_map(|(at, value)| {
        stickiness.adopted.get(*at)?.backend(value, stickiness.terms, now)
    });
    if let Some(at) = foreign.next() {
        let named = Presented::Named(at);
        let meant = match resolve(&named, &service.pool, stickiness.terms, now, 0) {
            // it gets a key of ours with this response
            Resolution::Bound { member, kept, home, .. } => {
                Resolution::Bound { member, kept, refresh: true, home }
            }
            Resolution::Draining { member, kept, idle, .. } => {
                Resolution::Draining { member, kept, refresh: true, idle }
            }
            other @ (Resolution::Place(_)
            | Resolution::Down { .. }
            | Resolution::Gone { .. }
            | Resolution::Restarted { .. }) => other,
        };
        return Read::Key { meant, header: None };
    }
    let (cause, header) = unreadable.unwrap_or((Cause::NoKey, None));
    Read::Key { meant: Resolution::Place(cause), header }
}

/// Longer values are no names, and are left to the policy of the service.
fn is_name(value: &[u8]) -> bool {
    (1..=256).contains(&value.len())
}

/// Cuts our cookies out of the request, opens the key for this rule and says what it means.
pub fn identify(
    snapshot: &Snapshot,
    rule: Option<(&Stickiness, &Service)>,
    headers: &HeaderMap,
    caller: Caller,
    now: UnixTime,
) -> Identified {
    let wanted = rule.map(|(stickiness, _)| stickiness.wanted()).unwrap_or_default();
    let mut found = Found::default();
    let cookies = cut(snapshot, wanted, headers, &mut found);
    let nothing = Identified {
        brought: Brought::Nothing,
        cause: None,
        from: None,
        bond: None,
        rejected: false,
        cookies,
        used_header: None,
        place: None,
        stamps: false,
    };
    let Some((stickiness, service)) = rule else { return nothing };
    let (meant, used_header) = match read(stickiness, service, headers, &found, now) {
        Read::Key { meant, header } => (meant, header),
        // the name that a client gives its session places it, and is the application's
        Read::Name(name) => {
            let place = Some(PlaceKey::from_slice(name));
            return Identified { place, cause: Some(Cause::NoKey), ..nothing };
        }
    };
    let placement = stickiness.placement.as_ref();
    let place = placement.and_then(|placement| placement.by.key(caller, headers));
    let stamps = stickiness.may_write(headers);
    let nothing = Identified { used_header, place, stamps, ..nothing };
    let policies = stickiness.policies;
    match course(meant, policies) {
        Course::Stay { member, kept, refresh } => {
            let elsewhere = if_refused(policies);
            let bond = Some(Bond {
                member: Arc::clone(member),
                elsewhere,
                kept,
                refresh,
                leaves: false,
                until_then: None,
            });
            Identified { brought: Brought::Valid, bond, ..nothing }
        }
        Course::Return { home, from, kept } => {
            let elsewhere = if_refused(policies);
            let here = Bond {
                member: Arc::clone(from),
                elsewhere,
                kept: kept.clone(),
                refresh: false,
                leaves: false,
                until_then: None,
            };
            let bond = Some(Bond {
                member: Arc::clone(home),
                elsewhere,
                kept: Kept { home: None, ..kept },
                refresh: true,
                leaves: false,
                until_then: Some(Box::new(here)),
            });
            Identified { brought: Brought::Valid, bond, ..nothing }
        }
        Course::Move { cause, from, left } => {
            let bond = left.map(|(member, kept)| Bond {
                member: Arc::clone(member),
                elsewhere: moves(policies),
                kept,
                refresh: false,
                leaves: true,
                until_then: None,
            });
            Identified { brought: cause.brought(), cause: Some(cause), from, bond, ..nothing }
        }
        Course::Once { cause, member, kept } => {
            let elsewhere = Elsewhere::Visits;
            let bond = Bond {
                member: Arc::clone(member),
                elsewhere,
                kept,
                refresh: false,
                leaves: true,
                until_then: None,
            };
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
    carrier: &Carrier,
    terms: Terms,
    service: &'s Service,
    candidates: &[Candidate<'_>],
    now: UnixTime,
) -> Resolution<'s> {
    let sealing = carrier.sealing_id(now);
    let mut best: Option<((u8, UnixTime, bool), Resolution<'s>)> = None;
    for candidate in candidates {
        let mut buffer = OpenBuffer::default();
        let presented = carrier.open(candidate.key, now, &mut buffer);
        let resolution = resolve(&presented, &service.pool, terms, now, sealing);
        let seen = match presented {
            Presented::Opened(binding, _) => binding.seen,
            Presented::Nothing
            | Presented::Named(_)
            | Presented::NamesNobody
            | Presented::Expired
            | Presented::Unreadable(_) => UnixTime(0),
        };
        let worth = match &resolution {
            // an unsealed key has no time, so one that names nobody must not hide one that does
            Resolution::Place(Cause::IdleExpired | Cause::TooOld)
            | Resolution::Gone { from: None } => 1,
            Resolution::Place(_) => 0,
            Resolution::Bound { .. }
            | Resolution::Draining { .. }
            | Resolution::Down { .. }
            | Resolution::Gone { from: Some(_) }
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
pub fn choose(
    service: &Service,
    selection: &Selection,
    bond: Option<&Bond>,
    tried: &[Arc<Member>],
    key: &[u8],
) -> Choice {
    let members = service.pool.members();
    let untried = |member: &Member| !tried.iter().any(|t| std::ptr::eq(Arc::as_ptr(t), member));
    let bond = bond.filter(|bond| untried(&bond.member));
    if let Some(bond) = bond.filter(|bond| bond.stays()) {
        return Choice::Bound(Arc::clone(&bond.member));
    }
    let anyone = |member: &Member| member.ability() == Ability::Anyone && untried(member);
    if let Some(member) = selection.pick(key, members, anyone) {
        return Choice::Placed(member);
    }
    // in a panic a client had best stay where its state is
    let in_need = |member: &Member| member.ability() != Ability::Nobody && untried(member);
    if let Some(bond) = bond.filter(|bond| in_need(&bond.member)) {
        return Choice::Panic(Arc::clone(&bond.member));
    }
    selection.pick(key, members, in_need).map_or(Choice::Nobody, Choice::Panic)
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

/// The response header that carries out `stamp`; `None` when there is nothing to write.
pub fn written(
    (stickiness, service): (&Stickiness, &Service),
    stamp: Stamp,
    answered: &Member,
    now: UnixTime,
    dice: Dice,
    https: bool,
) -> Option<(HeaderName, String)> {
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
    let at = service.pool.place(answered.backend.id.as_str())?;
    stickiness.write(&binding, at, dice.nonce, now, https)
}

#[cfg(test)]
mod tests;
