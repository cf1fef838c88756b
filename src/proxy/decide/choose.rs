//! Who is asked: the bound backend, or the next in the order of the policy.

use super::Bond;
use crate::pool::{Ability, Member};
use crate::snapshot::{Choices, Service, Split};
use siphasher::sip::SipHasher24;
use std::hash::Hasher;
use std::sync::Arc;

/// Who is asked next.
#[derive(Debug)]
pub enum Choice {
    /// The backend that the client is bound to.
    Bound(Arc<Member>),
    /// A healthy backend, by the service's policy.
    Placed(Arc<Member>),
    /// Nobody is healthy: one whose checks fail, better than nothing.
    Panic(Arc<Member>),
    /// The backend that the client is bound to serves no more.
    Lost(Arc<Member>),
    /// The backend that the client is bound to has all the requests that it may have.
    Full(Arc<Member>),
    /// All who could serve have all the requests that they may have.
    Crowded,
    /// Nobody is left.
    Nobody,
}

/// The versions that a request may go to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Within {
    /// Those that take new clients.
    #[default]
    Any,
    /// Rather this one, else as [`Self::Any`].
    Rather(Arc<str>),
    /// This one alone.
    Only(Arc<str>),
}

impl Within {
    /// Whether a request may go there at all.
    fn allows(&self, member: &Member, split: &Split) -> bool {
        let version = &member.backend.version;
        match self {
            Self::Only(only) => only == version,
            Self::Rather(first) => first == version || split.takes(version),
            Self::Any => split.takes(version),
        }
    }

    /// The versions to be looked through one after the other; `None` is all of them.
    fn in_turn(&self) -> impl Iterator<Item = Option<&str>> {
        let (first, then) = match self {
            Self::Any => (None, None),
            Self::Rather(version) => (Some(&**version), Some(None)),
            Self::Only(version) => (Some(&**version), None),
        };
        std::iter::once(first).chain(then)
    }
}

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Wish<'w> {
    /// The service.
    pub service: &'w Service,
    /// What places new clients: the rule's own, or the service's.
    pub choices: &'w Choices,
    /// What is hashed, where the policy hashes.
    pub key: &'w [u8],
    /// The versions that it may go to.
    pub within: &'w Within,
    /// Where the client belongs.
    pub bond: Option<&'w Bond>,
    /// Where others of the same burst went.
    pub company: Option<&'w Arc<Member>>,
    /// Who has failed already.
    pub tried: &'w [Arc<Member>],
}

/// The versions for a request: the one that it must go to, the one that it was bound to, or the one
/// that is drawn for it. `dice` is asked only where there is something to draw.
pub fn within(
    subset: Option<&Arc<str>>,
    bound: Option<&Arc<str>>,
    split: &Split,
    dice: impl FnOnce() -> u64,
) -> Within {
    let rather = || bound.or_else(|| split.is_on().then(|| split.draw(dice())).flatten());
    match subset {
        Some(version) => Within::Only(Arc::clone(version)),
        None => rather().map_or(Within::Any, |version| Within::Rather(Arc::clone(version))),
    }
}

/// Chooses for a request.
pub fn choose(wish: Wish<'_>) -> Choice {
    let Wish { service, choices, key, within, bond, company, tried } = wish;
    let members = service.pool.members();
    let untried = |member: &Member| !tried.iter().any(|t| t.is(member));
    let leaving = bond;
    let bond = bond.filter(|bond| untried(&bond.member));
    if let Some(bond) = bond.filter(|bond| bond.stays()) {
        let member = Arc::clone(&bond.member);
        return if member.is_full() { Choice::Full(member) } else { Choice::Bound(member) };
    }
    if let Some(bond) = bond.filter(|bond| !bond.leaves) {
        return Choice::Lost(Arc::clone(&bond.member));
    }
    let (allowed, serves) = (
        |m: &Member| within.allows(m, &service.split),
        |m: &Member| m.ability() == Ability::Anyone && untried(m),
    );
    let fits = |m: &Member| allowed(m) && serves(m) && m.has_room();
    if let Some(member) = company.filter(|member| fits(member)) {
        return Choice::Placed(Arc::clone(member));
    }
    let placed = within.in_turn().find_map(|version| {
        let fits = |m: &Member| version.is_none_or(|v| *m.backend.version == *v) && fits(m);
        // all requests of one client go the same way, be it for good or as a guest
        let host = leaving.and_then(|bond| host(members, tag(bond, key), fits));
        host.cloned().or_else(|| choices.pick(version, key, members, fits))
    });
    if let Some(member) = placed {
        return Choice::Placed(member);
    }
    if members.iter().any(|m| m.backend.weight > 0 && allowed(m) && serves(m)) {
        return Choice::Crowded;
    }
    // in a panic a client had best stay where its state is
    let in_need =
        |m: &Member| m.ability() != Ability::Nobody && untried(m) && allowed(m) && !m.is_full();
    if let Some(bond) = bond.filter(|bond| in_need(&bond.member)) {
        return Choice::Panic(Arc::clone(&bond.member));
    }
    let mut in_turn = within.in_turn();
    let panic = in_turn.find_map(|version| choices.pick(version, key, members, in_need));
    panic.map_or(Choice::Nobody, Choice::Panic)
}

/// What tells one client from another: an unsealed key has no tag, so its address has to do.
fn tag(bond: &Bond, key: &[u8]) -> u64 {
    match bond.kept.tag {
        0 => SipHasher24::new().hash(key),
        tag => tag,
    }
}

/// The backend that takes a client which cannot be where it belongs: the same for each of its
/// requests while it fits, and as often as its weight says (weighted rendezvous hashing over the tag
/// of the binding).
fn host(members: &[Arc<Member>], tag: u64, fits: impl Fn(&Member) -> bool) -> Option<&Arc<Member>> {
    let score = |member: &Arc<Member>| {
        let mut hash = SipHasher24::new_with_keys(tag, 0);
        hash.write(member.backend.id.as_str().as_bytes());
        // 53 bits, from above 0 to 1
        let part = f64::from_bits(0x3FF0_0000_0000_0000 | hash.finish() >> 12);
        -f64::from(member.backend.weight) / (2.0 - part).ln()
    };
    let fitting = members.iter().filter(|m| m.backend.weight > 0 && fits(m));
    fitting.max_by(|one, other| score(one).total_cmp(&score(other)))
}
