//! Smooth weighted round robin: a schedule laid out once, in which each backend appears as often as
//! its weight says and as evenly as can be, and a cursor that many threads move.
//!
//! The schedule orders the turns `(k + phase) / weight` of all backends, k = 0 … weight − 1 (earliest
//! deadline first), with phases by the golden ratio so that backends of equal weight do not come in
//! a heap; the result has no bursts, unlike blocks of one backend after the other.

use crate::pool::Member;
use pingora_load_balancing::Backend as PingoraBackend;
use pingora_load_balancing::selection::{BackendIter, BackendSelection};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The turns of one service.
#[derive(Debug)]
pub struct RoundRobin {
    /// One entry a turn.
    schedule: Box<[PingoraBackend]>,
    cursor: AtomicUsize,
    /// Turns that a backend cannot take are given away by a cursor of their own. Were they given
    /// to the next in the schedule, that one alone would carry the load of the failed one.
    spare: AtomicUsize,
}

impl BackendSelection for RoundRobin {
    type Iter = Turns;
    type Config = ();

    fn build(backends: &BTreeSet<PingoraBackend>) -> Self {
        let weighted: Vec<(&PingoraBackend, &Arc<Member>)> = backends
            .iter()
            .filter_map(|backend| Some((backend, Member::of(backend)?)))
            .filter(|(_, member)| member.backend.weight > 0)
            .collect();
        let unit = weighted.iter().fold(0, |unit, (_, m)| gcd(unit, m.backend.weight)).max(1);
        let mut turns = Vec::new();
        for (nth, (backend, member)) in (1_u32..).zip(weighted) {
            let weight = member.backend.weight / unit;
            let phase = (f64::from(nth) / std::f64::consts::GOLDEN_RATIO).fract();
            for k in 0..weight {
                let due = (f64::from(k) + phase) / f64::from(weight);
                turns.push((due, &member.backend.id, backend));
            }
        }
        turns.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
        Self {
            schedule: turns.into_iter().map(|(_, _, backend)| backend.clone()).collect(),
            cursor: AtomicUsize::new(0),
            spare: AtomicUsize::new(0),
        }
    }

    fn iter(self: &Arc<Self>, _key: &[u8]) -> Turns {
        Turns { of: Arc::clone(self), steps: 0, at: 0 }
    }
}

/// The candidates for one request: first who is due, then whoever takes spare turns.
pub struct Turns {
    of: Arc<RoundRobin>,
    steps: usize,
    at: usize,
}

impl BackendIter for Turns {
    fn next(&mut self) -> Option<&PingoraBackend> {
        let length = self.of.schedule.len();
        self.at = match self.steps {
            0 => self.of.cursor.fetch_add(1, Ordering::Relaxed),
            step if step <= length => self.of.spare.fetch_add(1, Ordering::Relaxed),
            // the shared cursor may have skipped someone under contention: one walk of our own
            step if step <= 2 * length => self.at.wrapping_add(1),
            _ => return None,
        };
        self.steps += 1;
        self.of.schedule.get(self.at.checked_rem(length)?)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
