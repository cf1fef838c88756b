//! Maglev hashing (Eisenbud et al., NSDI 2016, §3.4): a table in which every backend owns its share
//! of the entries almost exactly. Evener than the ring and one look-up, but when a backend comes or
//! goes a few clients of others move too.
//!
//! - **Preferences.** A backend prefers the entries `(offset + j × skip) mod size`, j = 0, 1, …, with
//!   `offset = first mod size`, `skip = second mod (size − 1) + 1`; first and second are the leading
//!   two of the four numbers SHA-256(id ‖ 0 ‖ 0 as u32). The size is a prime, so each backend comes
//!   past every entry once. Nothing else goes in: as on the ring, all machines agree.
//! - **Turns.** In turn each backend takes the entry it likes best of those left. Turn 0 of all comes
//!   first, so that everyone owns an entry; turn `k` is due at `(k + ½) / weight`; the lesser id goes
//!   first where two are due. With equal weights that is the paper's round robin.
//! - **Clients.** SipHash-2-4 of the key under the seed; its upper half, as a fraction of 2³², is the
//!   entry, and where the owner does not fit, its lower half, as such a fraction, is the step (1 to
//!   size − 1) to the next entry and on, each once. So the clients of one failed backend have ways
//!   of their own, and every other backend takes its share of them.

use super::digest::{Fingerprint, numbers};
use super::entrants::{Entrants, Walk};
use pingora_load_balancing::Backend as PingoraBackend;
use pingora_load_balancing::selection::{BackendIter, BackendSelection};
use siphasher::sip::SipHasher24;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::ops::Deref;
use std::sync::Arc;

/// What a table is built with besides its backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaglevConfig {
    /// What clients' places are computed with. Gateways with the same seed agree.
    pub seed: [u8; 16],
    /// Least number of entries. It is doubled until each backend can have 100, and the next prime
    /// taken. A new size moves almost every client, hence doubling: it is seldom.
    pub size: u32,
}

impl MaglevConfig {
    /// Entries, as in the paper: enough for 655 backends.
    pub const DEFAULT_SIZE: u32 = 65_537;

    /// A table of [`Self::DEFAULT_SIZE`].
    pub fn new(seed: [u8; 16]) -> Self {
        Self { seed, size: Self::DEFAULT_SIZE }
    }
}

/// Entries there must be for each backend: the paper's advice, for shares that differ by a hundredth
/// at most.
const ENTRIES_PER_BACKEND: u64 = 100;

/// The table of one service.
pub struct Maglev {
    table: Table,
    entrants: Entrants,
    place: SipHasher24,
}

/// Whose entry it is, of the entrants. Of 16 bits where that is enough, so that the usual
/// table takes half of a usual level 2 cache.
enum Table {
    Narrow(Box<[u16]>),
    Wide(Box<[u32]>),
}

impl std::fmt::Debug for Maglev {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Maglev({} entries, {} backends)", self.table.len(), self.entrants.len())
    }
}

impl BackendSelection for Maglev {
    type Iter = MaglevWalk<Arc<Self>>;
    type Config = MaglevConfig;

    fn build(backends: &BTreeSet<PingoraBackend>) -> Self {
        Self::build_with_config(backends, &MaglevConfig::new([0; 16]))
    }

    fn build_with_config(backends: &BTreeSet<PingoraBackend>, config: &MaglevConfig) -> Self {
        let entrants = Entrants::of(backends);
        let table = Table::new(fill(size(config.size, entrants.len()), &entrants));
        Self { table, entrants, place: SipHasher24::new_with_key(&config.seed) }
    }

    fn iter(self: &Arc<Self>, key: &[u8]) -> Self::Iter {
        MaglevWalk::new(Arc::clone(self), key)
    }
}

impl Maglev {
    /// How many entries there are; a prime, or 0 when no backend has a weight.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no backend has a weight.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Equal for two tables that place all clients alike, on whatever machine; computed anew each
    /// time, in a time that grows with the size.
    pub fn fingerprint(&self) -> u64 {
        let mut whole = Fingerprint::new(self.place, "maglev", &self.entrants);
        for owner in (0..self.len()).filter_map(|at| self.table.owner(at)) {
            whole.number(u64::from(owner));
        }
        whole.finish()
    }

    /// The candidates for a client with this key.
    pub(super) fn walk(&self, key: &[u8]) -> MaglevWalk<&Self> {
        MaglevWalk::new(self, key)
    }
}

impl Table {
    fn new(owners: Vec<u32>) -> Self {
        let narrow: Result<_, _> = owners.iter().map(|owner| u16::try_from(*owner)).collect();
        narrow.map_or_else(|_| Self::Wide(owners.into()), Self::Narrow)
    }

    fn len(&self) -> usize {
        match self {
            Self::Narrow(owners) => owners.len(),
            Self::Wide(owners) => owners.len(),
        }
    }

    fn owner(&self, at: usize) -> Option<u32> {
        match self {
            Self::Narrow(owners) => owners.get(at).map(|owner| u32::from(*owner)),
            Self::Wide(owners) => owners.get(at).copied(),
        }
    }
}

/// The number of entries for so many backends, at least `least`.
fn size(least: u32, backends: usize) -> u64 {
    let mut size = u64::from(least.max(2));
    while size < ENTRIES_PER_BACKEND * backends as u64 {
        size *= 2;
    }
    let prime = |n: &u64| (2..=n.isqrt()).all(|d| !n.is_multiple_of(d));
    // there is one before twice the size (Bertrand)
    (size..2 * size).find(prime).unwrap_or(size)
}

/// `bits` as a fraction of 2³², as a place among `size`.
fn part(bits: u64, size: usize) -> usize {
    usize::try_from((bits * size as u64) >> 32).unwrap_or_default()
}

/// One backend in the queue for its next turn, which the first two fields order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    /// In 2⁻³² of a round of weight 1: exact enough to tell any two turns apart.
    due: u64,
    owner: u32,
    /// Turns it has had.
    taken: u64,
    weight: u64,
    at: u64,
    skip: u64,
}

impl Turn {
    /// The entry it likes best of those it has not tried; tries it.
    fn preferred(&mut self, size: u64) -> usize {
        let at = self.at;
        self.at += self.skip;
        if self.at >= size {
            self.at -= size;
        }
        usize::try_from(at).unwrap_or(usize::MAX)
    }
}

/// Lets all backends take entries in turn until none is left.
fn fill(size: u64, entrants: &Entrants) -> Vec<u32> {
    let mut queue: BinaryHeap<Reverse<Turn>> = (0_u32..)
        .zip(entrants.members())
        .map(|(owner, member)| {
            let [first, second, ..] = numbers(member.backend.id.as_str(), 0);
            let (at, skip) = (first % size, second % (size - 1) + 1);
            let weight = u64::from(member.backend.weight);
            Reverse(Turn { due: 0, owner, taken: 0, weight, at, skip })
        })
        .collect();
    if queue.is_empty() {
        return Vec::new();
    }
    let mut table = vec![None; usize::try_from(size).unwrap_or_default()];
    for _ in 0..table.len() {
        let Some(mut first) = queue.peek_mut() else { break };
        let turn = &mut first.0;
        while let Some(entry) = table.get_mut(turn.preferred(size)) {
            if entry.is_none() {
                *entry = Some(turn.owner);
                break;
            }
        }
        turn.taken += 1;
        turn.due = ((2 * turn.taken + 1) << 31) / turn.weight;
    }
    table.into_iter().flatten().collect()
}

/// The candidates for one client: the owner of its entry, then those of the entries on its way.
pub struct MaglevWalk<M> {
    maglev: M,
    at: usize,
    step: usize,
    left: usize,
}

impl<M: Deref<Target = Maglev>> MaglevWalk<M> {
    fn new(maglev: M, key: &[u8]) -> Self {
        let (place, size) = (maglev.place.hash(key), maglev.len());
        Self {
            maglev,
            at: part(place >> 32, size),
            step: part(place & u64::from(u32::MAX), size.saturating_sub(1)) + 1,
            left: size,
        }
    }
}

impl<M: Deref<Target = Maglev>> Walk for MaglevWalk<M> {
    fn entrants(&self) -> &Entrants {
        &self.maglev.entrants
    }

    fn step(&mut self) -> Option<u32> {
        self.left = self.left.checked_sub(1)?;
        let owner = self.maglev.table.owner(self.at)?;
        self.at += self.step;
        if self.at >= self.maglev.len() {
            self.at -= self.maglev.len();
        }
        Some(owner)
    }
}

impl BackendIter for MaglevWalk<Arc<Maglev>> {
    fn next(&mut self) -> Option<&PingoraBackend> {
        let owner = self.step()?;
        self.entrants().backend(owner)
    }
}

#[cfg(test)]
mod tests;
