//! Smooth weighted round robin: a schedule laid out once, in which each backend appears as often as
//! its weight says and as evenly as can be, and a cursor that many threads move.
//!
//! The schedule orders the turns `(k + phase) / weight` of all backends, k = 0 … weight − 1 (earliest
//! deadline first), with phases by the golden ratio so that backends of equal weight do not come in
//! a heap; the result has no bursts, unlike blocks of one backend after the other.

use super::entrants::{Entrants, Walk};
use pingora_load_balancing::Backend as PingoraBackend;
use pingora_load_balancing::selection::{BackendIter, BackendSelection};
use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The turns of one service.
#[derive(Debug)]
pub struct RoundRobin {
    /// Whose turn it is, of the entrants.
    schedule: Box<[u32]>,
    entrants: Entrants,
    cursor: AtomicUsize,
    /// Turns that a backend cannot take are given away by a cursor of their own. Were they given
    /// to the next in the schedule, that one alone would carry the load of the failed one.
    spare: AtomicUsize,
}

impl BackendSelection for RoundRobin {
    type Iter = Turns<Arc<Self>>;
    type Config = ();

    fn build(backends: &BTreeSet<PingoraBackend>) -> Self {
        let entrants = Entrants::of(backends);
        let unit = entrants.members().fold(0, |unit, m| gcd(unit, m.backend.weight)).max(1);
        let mut turns = Vec::new();
        for (owner, member) in (0_u32..).zip(entrants.members()) {
            let weight = member.backend.weight / unit;
            let phase = (f64::from(owner + 1) / std::f64::consts::GOLDEN_RATIO).fract();
            for k in 0..weight {
                let due = (f64::from(k) + phase) / f64::from(weight);
                turns.push((due, owner));
            }
        }
        turns.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        Self {
            schedule: turns.into_iter().map(|(_, owner)| owner).collect(),
            entrants,
            cursor: AtomicUsize::new(0),
            spare: AtomicUsize::new(0),
        }
    }

    fn iter(self: &Arc<Self>, _key: &[u8]) -> Self::Iter {
        Turns { of: Arc::clone(self), steps: 0, at: 0 }
    }
}

impl RoundRobin {
    /// The candidates for one request.
    pub(super) fn turns(&self) -> Turns<&Self> {
        Turns { of: self, steps: 0, at: 0 }
    }
}

/// The candidates for one request: first who is due, then whoever takes spare turns.
pub struct Turns<R> {
    of: R,
    steps: usize,
    at: usize,
}

impl<R: Deref<Target = RoundRobin>> Walk for Turns<R> {
    fn entrants(&self) -> &Entrants {
        &self.of.entrants
    }

    fn step(&mut self) -> Option<u32> {
        let length = self.of.schedule.len();
        self.at = match self.steps {
            0 => self.of.cursor.fetch_add(1, Ordering::Relaxed),
            step if step <= length => self.of.spare.fetch_add(1, Ordering::Relaxed),
            // the shared cursor may have skipped someone under contention: one walk of our own
            step if step <= 2 * length => self.at.wrapping_add(1),
            _ => return None,
        };
        self.steps += 1;
        self.of.schedule.get(self.at.checked_rem(length)?).copied()
    }
}

impl BackendIter for Turns<Arc<RoundRobin>> {
    fn next(&mut self) -> Option<&PingoraBackend> {
        let owner = self.step()?;
        self.entrants().backend(owner)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
