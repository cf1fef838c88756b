//! The closed set of policies, and the walk over candidates that they share.

use super::ring::Ring;
use super::round_robin::RoundRobin;
use crate::pool::Member;
use pingora_load_balancing::selection::{BackendIter, BackendSelection};
use std::sync::Arc;

/// How one service places new clients.
#[derive(Debug)]
pub enum Selection {
    /// In turn, by weight.
    RoundRobin(Arc<RoundRobin>),
    /// By a hash of the client.
    ConsistentHash(Arc<Ring>),
}

/// Steps after which a walk asks whether it can end well at all.
const PATIENCE: usize = 64;

impl Selection {
    /// The first candidate that `fits`, in the order of the policy; `None` when none does.
    /// Backends of weight 0 are no candidates. Allocates nothing.
    pub fn pick(
        &self,
        key: &[u8],
        members: &[Arc<Member>],
        fits: impl Fn(&Member) -> bool,
    ) -> Option<Arc<Member>> {
        match self {
            Self::RoundRobin(turns) => walk(turns.iter(key), members, fits),
            Self::ConsistentHash(ring) => walk(ring.iter(key), members, fits),
        }
    }
}

fn walk(
    mut candidates: impl BackendIter,
    members: &[Arc<Member>],
    fits: impl Fn(&Member) -> bool,
) -> Option<Arc<Member>> {
    let mut steps = 0;
    while let Some(member) = candidates.next().and_then(Member::of) {
        if fits(member) {
            return Some(Arc::clone(member));
        }
        steps += 1;
        if steps == PATIENCE && !members.iter().any(|m| m.backend.weight > 0 && fits(m)) {
            return None;
        }
    }
    None
}
