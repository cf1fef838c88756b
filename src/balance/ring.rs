//! Consistent hashing: points on a ring, 150 for each unit of weight unless told otherwise, placed by
//! backend *id*.
//!
//! Point `i` of a backend: SHA-256(id ‖ 0 ‖ i / 4 as u32, big-endian), cut into four numbers of 64
//! bits, of which it is number `i mod 4` (big-endian). Nothing else goes in, so every machine and
//! every release lays out the same ring, and neither list order nor address matter. A client's
//! place is a SipHash-2-4 of its key under the seed that is handed in; a client can aim at a backend
//! only if it knows the seed.

use super::digest::{Fingerprint, numbers};
use super::entrants::{Entrants, Walk};
use pingora_load_balancing::Backend as PingoraBackend;
use pingora_load_balancing::selection::{BackendIter, BackendSelection};
use siphasher::sip::SipHasher24;
use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;

/// Points for one unit of weight, where the operator does not say.
pub const POINTS_PER_WEIGHT: u32 = 150;

/// What a ring is built with besides its backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingConfig {
    /// What clients' places are computed with. Gateways with the same seed agree.
    pub seed: [u8; 16],
    /// Points for one unit of weight. More make the shares evener and the ring larger; 0 counts as
    /// 1, since a ring without points would turn everyone away.
    pub replicas: u32,
}

impl RingConfig {
    /// A ring of [`POINTS_PER_WEIGHT`].
    pub fn new(seed: [u8; 16]) -> Self {
        Self { seed, replicas: POINTS_PER_WEIGHT }
    }
}

/// The ring of one service.
pub struct Ring {
    /// By position, ascending.
    points: Box<[Point]>,
    /// For each value of a position's leading bits, the first point at or after it. Positions are
    /// evenly spread, so a look-up is one step here and about two in `points`, side by side. Of more
    /// bits it would be one, but with many backends this would not stay in a level 2 cache.
    starts: Box<[u32]>,
    /// How far a position is shifted to leave its leading bits.
    shift: u32,
    entrants: Entrants,
    place: SipHasher24,
}

/// One point. Packed, since a ring of many backends has so many that caches do not hold them.
#[derive(Clone, Copy)]
#[repr(C, packed(4))]
struct Point {
    position: u64,
    /// Whose it is, of the entrants.
    owner: u32,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ring({} points, {} backends)", self.points.len(), self.entrants.len())
    }
}

impl BackendSelection for Ring {
    type Iter = RingWalk<Arc<Self>>;
    type Config = RingConfig;

    fn build(backends: &BTreeSet<PingoraBackend>) -> Self {
        Self::build_with_config(backends, &RingConfig::new([0; 16]))
    }

    fn build_with_config(backends: &BTreeSet<PingoraBackend>, config: &RingConfig) -> Self {
        let entrants = Entrants::of(backends);
        let mut placed: Vec<(u64, u32)> = Vec::new();
        for (owner, member) in (0_u32..).zip(entrants.members()) {
            let count = member.backend.weight.saturating_mul(config.replicas.max(1));
            let points = points(member.backend.id.as_str(), count);
            placed.extend(points.map(|point| (point, owner)));
        }
        // equal positions (one in billions) go to the lesser id, on every machine
        placed.sort_unstable();
        placed.dedup_by_key(|(point, _)| *point);

        let bits = (usize::BITS - placed.len().leading_zeros()).saturating_sub(2).max(1);
        let shift = u64::BITS - bits;
        let mut starts = Vec::with_capacity(1 << bits);
        let mut at = 0_u32;
        let mut ahead = placed.iter().map(|(point, _)| point >> shift).peekable();
        for leading in 0..(1_u64 << bits) {
            while ahead.next_if(|point| *point < leading).is_some() {
                at += 1;
            }
            starts.push(at);
        }
        Self {
            points: placed.iter().map(|&(position, owner)| Point { position, owner }).collect(),
            starts: starts.into(),
            shift,
            entrants,
            place: SipHasher24::new_with_key(&config.seed),
        }
    }

    fn iter(self: &Arc<Self>, key: &[u8]) -> Self::Iter {
        RingWalk::new(Arc::clone(self), key)
    }
}

impl Ring {
    /// How many points there are.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether no backend has a weight.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Equal for two rings that place all clients alike, on whatever machine; computed anew each
    /// time, in a time that grows with the points.
    pub fn fingerprint(&self) -> u64 {
        let mut whole = Fingerprint::new(self.place, "ring", &self.entrants);
        for Point { position, owner } in self.points.iter().copied() {
            whole.number(position);
            whole.number(u64::from(owner));
        }
        whole.finish()
    }

    /// The candidates for a client with this key.
    pub(super) fn walk(&self, key: &[u8]) -> RingWalk<&Self> {
        RingWalk::new(self, key)
    }

    fn first_at_or_after(&self, place: u64) -> usize {
        let leading = usize::try_from(place >> self.shift).unwrap_or(usize::MAX);
        let start = self.starts.get(leading).copied().unwrap_or(0) as usize;
        let ahead = self.points.get(start..).unwrap_or_default();
        start + ahead.iter().take_while(|point| { point.position } < place).count()
    }
}

/// The points of one backend, in no order.
fn points(id: &str, count: u32) -> impl Iterator<Item = u64> {
    (0..count.div_ceil(4)).flat_map(move |quad| numbers(id, quad)).take(count as usize)
}

/// The candidates for one client, clockwise from its place; each point once, so a backend comes
/// again and again.
pub struct RingWalk<R> {
    ring: R,
    at: usize,
    left: usize,
}

impl<R: Deref<Target = Ring>> RingWalk<R> {
    fn new(ring: R, key: &[u8]) -> Self {
        let (at, left) = (ring.first_at_or_after(ring.place.hash(key)), ring.points.len());
        Self { ring, at, left }
    }
}

impl<R: Deref<Target = Ring>> Walk for RingWalk<R> {
    fn entrants(&self) -> &Entrants {
        &self.ring.entrants
    }

    fn step(&mut self) -> Option<u32> {
        self.left = self.left.checked_sub(1)?;
        if self.at >= self.ring.points.len() {
            self.at = 0;
        }
        let point = *self.ring.points.get(self.at)?;
        self.at += 1;
        Some(point.owner)
    }
}

impl BackendIter for RingWalk<Arc<Ring>> {
    fn next(&mut self) -> Option<&PingoraBackend> {
        let owner = self.step()?;
        self.entrants().backend(owner)
    }
}

#[cfg(test)]
mod tests;
