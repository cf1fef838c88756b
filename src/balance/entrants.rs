//! Who takes part in a layout: apart, since the ring and the Maglev table must agree on it.

use crate::pool::Member;
use pingora_load_balancing::Backend as PingoraBackend;
use std::collections::BTreeSet;

/// The backends that have a weight, by id: in an order that neither the list as written nor the
/// addresses can change.
pub(super) fn entrants(backends: &BTreeSet<PingoraBackend>) -> Box<[PingoraBackend]> {
    let mut entrants: Vec<_> = backends
        .iter()
        .filter_map(|backend| Some((Member::of(backend)?, backend)))
        .filter(|(member, _)| member.backend.weight > 0)
        .collect();
    entrants.sort_by(|(a, _), (b, _)| a.backend.id.cmp(&b.backend.id));
    entrants.into_iter().map(|(_, backend)| backend.clone()).collect()
}
