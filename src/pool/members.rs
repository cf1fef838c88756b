//! The backends of one service in one snapshot, and the view of them that Pingora's load-balancing
//! parts take.

use super::check::Check;
use super::member::Member;
use crate::model::{Address, BackendId, ServiceId, Sharded};
use ahash::AHashMap;
use async_trait::async_trait;
use pingora_core::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::{Backend as PingoraBackend, Backends};
use std::collections::{BTreeSet, HashMap};
use std::os::unix::net::SocketAddr as UnixAddr;
use std::sync::Arc;

/// The backends of one service.
pub struct Pool {
    /// Whose backends these are.
    pub service: ServiceId,
    members: Sharded<Box<[Arc<Member>]>>,
    by_id: AHashMap<BackendId, usize>,
    /// What runs the checks, in parallel, through Pingora; `None` without a health check.
    pub(super) checked: Option<Checked>,
}

pub(super) struct Checked {
    pub(super) backends: Backends,
    pub(super) check: Check,
}

impl Pool {
    /// A pool of `members`, whose ids differ.
    pub fn new(service: ServiceId, members: &[Arc<Member>], check: Option<Check>) -> Self {
        let by_id = members.iter().enumerate().map(|(at, m)| (m.backend.id.clone(), at)).collect();
        let twins = || {
            let members = members.iter().enumerate();
            members.map(|(at, member)| Arc::new(member.twin(at))).collect()
        };
        let sharded: Sharded<Box<[Arc<Member>]>> = Sharded::from_fn(twins);
        let members = sharded.own();
        let checked = check.map(|check| {
            let mut backends = Backends::new(Box::new(Membership(pingora_view(members))));
            backends.set_health_check(check.probe());
            Checked { backends, check }
        });
        Self { service, members: sharded, by_id, checked }
    }

    /// All members, in the order written, as this thread has them.
    pub fn members(&self) -> &[Arc<Member>] {
        self.members.own()
    }

    /// The member with this id.
    pub fn find(&self, id: &str) -> Option<&Arc<Member>> {
        self.by_id.get(id).and_then(|at| self.members().get(*at))
    }

    /// The place of this backend among [`Self::members`]: that which it names, where it is one of them; of
    /// one of another snapshot that of the same id.
    pub fn place(&self, member: &Member) -> Option<usize> {
        let at = member.place();
        let is_own = self.members().get(at).is_some_and(|own| own.is(member));
        if is_own { Some(at) } else { self.by_id.get(member.backend.id.as_str()).copied() }
    }

    /// The members as a set that Pingora's selection and health checks take.
    pub fn pingora_view(&self) -> BTreeSet<PingoraBackend> {
        pingora_view(self.members())
    }
}

/// Pingora tells backends apart by address and weight, and forgets their health when the weight
/// changes. Weights are ours ([`Backend::weight`]), so that field only tells apart the backends
/// that share an address.
fn pingora_view(members: &[Arc<Member>]) -> BTreeSet<PingoraBackend> {
    let mut view = BTreeSet::new();
    let mut sharing: AHashMap<&Address, usize> = AHashMap::new();
    for member in members {
        let Some(addr) = pingora_address(&member.backend.address) else { continue };
        let nth = sharing.entry(&member.backend.address).or_insert(0);
        *nth += 1;
        let mut ext = http::Extensions::new();
        ext.insert(Arc::clone(member));
        view.insert(PingoraBackend { addr, weight: *nth, ext });
    }
    view
}

/// The address as Pingora has it; `None` for a path that is too long, which the reader refuses.
pub fn pingora_address(address: &Address) -> Option<PingoraAddr> {
    match address {
        Address::Inet(address) => Some(PingoraAddr::Inet(*address)),
        Address::Unix(path) => UnixAddr::from_pathname(&**path).ok().map(PingoraAddr::Unix),
    }
}

/// The members of one snapshot, which never change: a reload makes a new pool.
struct Membership(BTreeSet<PingoraBackend>);

#[async_trait]
impl ServiceDiscovery for Membership {
    async fn discover(
        &self,
    ) -> pingora_core::Result<(BTreeSet<PingoraBackend>, HashMap<u64, bool>)> {
        Ok((self.0.clone(), HashMap::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{Health, fixture};

    #[test]
    fn a_member_has_its_place_and_one_of_another_snapshot_that_of_its_id() {
        let now = fixture::pool(&[("a", 1), ("b", 1), ("c", 1)], Health::Healthy);
        let before = fixture::pool(&[("c", 1), ("gone", 1), ("a", 1)], Health::Healthy);
        let places = |of: &Pool| of.members().iter().map(|m| now.place(m)).collect::<Vec<_>>();
        assert_eq!(places(&now), [Some(0), Some(1), Some(2)]);
        assert_eq!(places(&before), [Some(2), None, Some(0)]);
    }
}
