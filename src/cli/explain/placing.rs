//! Where a client goes that is not bound: in words, since a service that takes turns has no answer
//! for one client.

use crate::balance::Selection;
use crate::pool::{Ability, Member};
use crate::snapshot::Service;
use std::sync::Arc;

/// What places this client.
pub(super) struct Placing<'a> {
    pub(super) service: &'a Service,
    pub(super) selection: &'a Selection,
    /// What is hashed.
    pub(super) key: Vec<u8>,
    /// What is hashed, in words.
    pub(super) by: String,
}

/// The policy as it is written.
pub(super) fn name(selection: &Selection) -> &'static str {
    match selection {
        Selection::RoundRobin(_) => "round-robin",
        Selection::ConsistentHash(_) => "consistent-hash",
        Selection::Maglev(_) => "maglev",
    }
}

/// Whether new clients may go to `member`.
pub(super) fn is_candidate(member: &Member) -> bool {
    member.backend.weight > 0 && member.ability() == Ability::Anyone
}

impl Placing<'_> {
    /// The backend, in words, that takes the client if `without` cannot; `None` when nobody can.
    pub(super) fn told(&self, without: Option<&str>) -> Option<String> {
        let fits = |m: &Member| is_candidate(m) && without != Some(m.backend.id.as_str());
        match self.selection {
            Selection::RoundRobin(_) => self.in_turn(fits),
            Selection::ConsistentHash(_) | Selection::Maglev(_) => {
                let member = self.selection.pick(&self.key, self.service.pool.members(), fits)?;
                Some(format!("{} ({} of {})", member.backend.id, name(self.selection), self.by))
            }
        }
    }

    fn in_turn(&self, fits: impl Fn(&Member) -> bool) -> Option<String> {
        let members = self.service.pool.members().iter();
        let fitting: Vec<&Arc<Member>> = members.filter(|member| fits(member)).collect();
        let shares: Vec<String> = fitting
            .iter()
            .map(|m| format!("{} (weight {})", m.backend.id, m.backend.weight))
            .collect();
        match fitting.as_slice() {
            [] => None,
            [only] => Some(only.backend.id.to_string()),
            [_, ..] => Some(format!("the next in turn of {}", shares.join(", "))),
        }
    }
}
