//! Consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam 2016): a popular place
//! cannot overrun its backend, the walk goes on to the next that has room.

use crate::pool::Member;
use std::sync::Arc;

/// How many times its fair share a backend may carry: finite and at least 1, so that there is
/// always one with room.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadFactor(f64);

impl LoadFactor {
    /// `None` unless `factor` is finite and at least 1. 1.25 is usual; the nearer to 1, the evener
    /// the load and the more clients are placed elsewhere than their hash says.
    pub fn new(factor: f64) -> Option<Self> {
        (factor.is_finite() && factor >= 1.0).then_some(Self(factor))
    }
}

/// What each backend may carry when one client more is placed among all that fit.
///
/// Those that do not fit count neither with their load nor with their weight: the others have to
/// carry all there is, and room for it is never refused to them.
pub(super) struct Bound {
    /// Factor × (load of all + 1). Kept apart from `weights`, since a quotient would be rounded.
    offered: f64,
    weights: f64,
}

impl Bound {
    pub(super) fn new(
        factor: LoadFactor,
        members: &[Arc<Member>],
        fits: impl Fn(&Member) -> bool,
        load: impl Fn(&Member) -> u32,
    ) -> Self {
        let (mut total, mut weights) = (0.0, 0.0);
        for member in members.iter().filter(|m| m.backend.weight > 0 && fits(m)) {
            total += f64::from(load(member));
            weights += f64::from(member.backend.weight);
        }
        Self { offered: factor.0 * (total + 1.0), weights }
    }

    /// Whether one more stays within ⌈factor × (load of all + 1) × share of the weights⌉. A whole
    /// number `load` is less than ⌈x⌉ just when it is less than x.
    pub(super) fn has_room(&self, member: &Member, load: u32) -> bool {
        f64::from(load) * self.weights < self.offered * f64::from(member.backend.weight)
    }
}

#[cfg(test)]
mod tests;
