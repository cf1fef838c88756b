//! The closed set of policies, and the walk over candidates that they share.

use super::bound::{Bound, LoadFactor};
use super::entrants::Walk;
use super::maglev::Maglev;
use super::ring::Ring;
use super::round_robin::RoundRobin;
use crate::pool::Member;
use std::cell::OnceCell;
use std::sync::Arc;

/// How one service places new clients.
#[derive(Debug)]
pub enum Selection {
    /// In turn, by weight.
    RoundRobin(Arc<RoundRobin>),
    /// By a hash of the client, on a ring.
    ConsistentHash(Arc<Ring>),
    /// By a hash of the client, in a table.
    Maglev(Arc<Maglev>),
}

/// Steps after which a walk asks whether it can end well at all.
const PATIENCE: usize = 64;

impl Selection {
    /// The first candidate that `fits`, in the order of the policy; `None` when none does. `members` are
    /// those of the pool over which this is laid out. Backends of weight 0 are no candidates. Allocates
    /// nothing.
    pub fn pick(
        &self,
        key: &[u8],
        members: &[Arc<Member>],
        fits: impl Fn(&Member) -> bool,
    ) -> Option<Arc<Member>> {
        match self {
            Self::RoundRobin(turns) => walk(turns.turns(), members, fits),
            Self::ConsistentHash(ring) => walk(ring.walk(key), members, fits),
            Self::Maglev(table) => walk(table.walk(key), members, fits),
        }
    }

    /// Equal for two that place all clients alike, on whatever machine, computed anew each time;
    /// `None` where nothing is hashed.
    pub fn fingerprint(&self) -> Option<u64> {
        match self {
            Self::RoundRobin(_) => None,
            Self::ConsistentHash(ring) => Some(ring.fingerprint()),
            Self::Maglev(table) => Some(table.fingerprint()),
        }
    }

    /// [`Self::pick`], but passing over those whose `load` is at its bound; `load` is what a backend
    /// carries now, in whatever unit one more client adds 1 to. Without a `factor` nobody is asked
    /// for a load; with one, everybody is where the first candidate carries something: one that is
    /// idle has room whatever the others carry.
    ///
    /// By arithmetic one that fits has room. Should loads or states have changed meanwhile so that
    /// none has, the bound yields: a client is placed above it rather than not at all.
    pub fn pick_bounded(
        &self,
        key: &[u8],
        members: &[Arc<Member>],
        fits: impl Fn(&Member) -> bool,
        factor: Option<LoadFactor>,
        load: impl Fn(&Member) -> u32,
    ) -> Option<Arc<Member>> {
        let Some(factor) = factor else { return self.pick(key, members, fits) };
        let bound = OnceCell::new();
        let has_room = |member: &Member| match load(member) {
            0 => true,
            carried => bound
                .get_or_init(|| Bound::new(factor, members, &fits, &load))
                .has_room(member, carried),
        };
        self.pick(key, members, |m| fits(m) && has_room(m))
            .or_else(|| self.pick(key, members, fits))
    }
}

fn walk(
    mut candidates: impl Walk,
    members: &[Arc<Member>],
    fits: impl Fn(&Member) -> bool,
) -> Option<Arc<Member>> {
    let mut steps = 0;
    while let Some(owner) = candidates.step() {
        let member = members.get(candidates.entrants().place(owner)?)?;
        debug_assert!(candidates.entrants().is(owner, member), "members of another pool");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::entrants::Entrants;
    use crate::balance::fixture::pool;
    use pingora_load_balancing::selection::{BackendIter, BackendSelection};

    const STEPS: usize = 500;

    /// The members that a request comes past.
    fn places(mut walk: impl Walk) -> Vec<usize> {
        let place = |of: &Entrants, owner| of.place(owner).unwrap();
        let mut next = || walk.step().map(|owner| place(walk.entrants(), owner));
        std::iter::from_fn(&mut next).take(STEPS).collect()
    }

    fn places_of_pingora(mut walk: impl BackendIter) -> Vec<usize> {
        let mut next = || Some(Member::of(walk.next()?).unwrap().place());
        std::iter::from_fn(&mut next).take(STEPS).collect()
    }

    #[test]
    fn a_request_comes_past_the_members_that_pingora_would() {
        let pool = pool(&[("c", 1), ("a", 2), ("idle", 0), ("b", 1), ("d", 3)]);
        let mut view = pool.pingora_view();
        // as where one version is laid out, while places are those of the whole pool
        view.retain(|backend| Member::of(backend).unwrap().backend.id.as_str() != "a");
        let (ring, table) = (Arc::new(Ring::build(&view)), Arc::new(Maglev::build(&view)));
        for key in 0..20_u32 {
            let key = key.to_be_bytes();
            let ours = places(ring.walk(&key));
            assert_eq!(ours, places_of_pingora(ring.iter(&key)));
            assert!(ours.iter().all(|place| [0, 3, 4].contains(place)) && ours.contains(&4));
            assert_eq!(places(table.walk(&key)), places_of_pingora(table.iter(&key)));
        }
        let [ours, theirs] = [(); 2].map(|()| Arc::new(RoundRobin::build(&view)));
        assert_eq!(places(ours.turns()), places_of_pingora(theirs.iter(b"")));
    }
}
