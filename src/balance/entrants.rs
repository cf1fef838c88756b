//! Who takes part in a layout, and how a walk over one calls them: apart, since all layouts must agree.

use crate::pool::Member;
use pingora_load_balancing::Backend as PingoraBackend;
use std::collections::BTreeSet;

/// The backends that have a weight, by id: in an order that neither the list as written nor the
/// addresses can change.
#[derive(Debug)]
pub(super) struct Entrants {
    backends: Box<[PingoraBackend]>,
    /// Where each is among all members of its pool, also where those of one version are laid out. Requests
    /// go by this: what a Pingora backend carries takes a look-up of its own to get at.
    places: Box<[u32]>,
}

impl Entrants {
    pub(super) fn of(backends: &BTreeSet<PingoraBackend>) -> Self {
        let mut entrants: Vec<_> = backends
            .iter()
            .filter_map(|backend| Some((Member::of(backend)?, backend)))
            .filter(|(member, _)| member.backend.weight > 0)
            .collect();
        entrants.sort_by(|(a, _), (b, _)| a.backend.id.cmp(&b.backend.id));
        // no pool has four billion members
        let place = |member: &Member| u32::try_from(member.place()).unwrap_or(u32::MAX);
        Self {
            places: entrants.iter().map(|(member, _)| place(member)).collect(),
            backends: entrants.into_iter().map(|(_, backend)| backend.clone()).collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.backends.len()
    }

    /// Them, in order: the owners of a layout are numbers of this.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.backends.iter().filter_map(Member::of).map(|member| &**member)
    }

    /// The one with this number, for Pingora.
    pub(super) fn backend(&self, owner: u32) -> Option<&PingoraBackend> {
        self.backends.get(owner as usize)
    }

    /// Whether this is the one with this number.
    pub(super) fn is(&self, owner: u32, member: &Member) -> bool {
        self.backend(owner).and_then(Member::of).is_some_and(|own| own.is(member))
    }

    /// Where the one with this number is among the members of its pool.
    pub(super) fn place(&self, owner: u32) -> Option<usize> {
        self.places.get(owner as usize).map(|place| *place as usize)
    }
}

/// The candidates for one request, one after the other.
pub(super) trait Walk {
    /// Whose numbers it yields.
    fn entrants(&self) -> &Entrants;

    /// The next candidate.
    fn step(&mut self) -> Option<u32>;
}
