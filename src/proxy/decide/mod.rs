//! The decisions of a request as functions of facts: whichever driver serves a request, it decides
//! here. Nothing in this folder does I/O or looks at a clock.
//!
//! [`identify()`] says who the client is and where it belongs, [`choose()`] who is asked, [`stamped`]
//! what the response says about it.

mod choose;
mod familiar;
mod identify;
mod read;
mod write;

pub use choose::{Choice, Wish, Within, choose, within};
pub use familiar::Familiar;
pub use identify::{Asked, Changes, Identified, Recall, identify};
pub use write::{Written, stamped, written};

use crate::affinity::Policies;
use crate::affinity::course::{Failback, OnUnhealthy};
use crate::affinity::stamp::{Elsewhere, Kept};
use crate::pool::{Ability, Member};
use std::sync::Arc;

/// A binding that a key holds.
#[derive(Clone, Debug)]
pub struct Bond {
    /// Its backend.
    pub member: Arc<Member>,
    /// What it means when another backend answers.
    pub elsewhere: Elsewhere,
    pub(super) kept: Kept,
    refresh: bool,
    /// Whether the client is to leave it although it serves.
    leaves: bool,
    /// Where the client is while it is called home, should its home refuse.
    pub until_then: Option<Box<Bond>>,
}

impl Bond {
    /// Whether the backend serves this client, now that it is to be asked.
    fn stays(&self) -> bool {
        !self.leaves && matches!(self.member.ability(), Ability::Anyone | Ability::BoundOnly)
    }

    /// The client leaves it for this request, and comes back.
    pub fn visits_elsewhere(&mut self) {
        self.leaves = true;
        self.elsewhere = Elsewhere::Visits;
    }

    /// The client leaves it.
    pub fn moves_elsewhere(&mut self, policies: Policies) {
        self.leaves = true;
        self.elsewhere = moves(policies);
    }
}

/// What another backend means for a client whose own serves, but may refuse the connection.
fn if_refused(policies: Policies) -> Elsewhere {
    match policies.on_unhealthy {
        OnUnhealthy::ServeOnce => Elsewhere::Visits,
        OnUnhealthy::Redistribute | OnUnhealthy::Reject => moves(policies),
    }
}

fn moves(policies: Policies) -> Elsewhere {
    match policies.failback {
        Failback::Never => Elsewhere::Moves,
        Failback::Immediate => Elsewhere::MovesFromHome,
    }
}

#[cfg(test)]
mod tests;
