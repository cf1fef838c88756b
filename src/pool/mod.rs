//! Who can serve: the backends of a service, what is known of each, and how it is found out.
//!
//! A [`Pool`] belongs to one snapshot; what must survive a reload (health marks, counts) lives in
//! [`Cells`], which the pools of successive snapshots share.

mod cell;
mod check;
mod idle;
mod member;
mod members;
mod probe;
mod rounds;
mod seats;
mod tongue;
mod wire;

pub use cell::{Cell, Cells, Health, Mark};
pub use check::{Check, Probe};
pub use idle::{Idle, Last};
pub use member::{Ability, Encryption, Facts, Member};
pub use members::{Pool, pingora_address};
pub use rounds::{Rounds, first_round};
pub use seats::{Crowd, For, Room, Seat, Seats, Waited, wait};
pub use tongue::{Ends, Tongue};
pub use wire::Wire;

/// Pools for the tests of this module and of those above it.
#[cfg(test)]
pub(crate) mod fixture {
    use super::*;
    use crate::model::{Address, Backend, BackendId, Duty, ServiceId};
    use crate::observe::Metrics;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;

    /// Members `(id, weight)` at ports from 9000 on, all with the same health.
    pub(crate) fn members(weights: &[(&str, u32)], health: Health) -> Vec<Arc<Member>> {
        members_with_room(weights, health, Room::UNLIMITED)
    }

    /// The same with limits.
    pub(crate) fn members_with_room(
        weights: &[(&str, u32)],
        health: Health,
        room: Room,
    ) -> Vec<Arc<Member>> {
        let crowd = Arc::new(Crowd::default());
        let metrics = Metrics::new().unwrap();
        let service = ServiceId::from("s");
        let member = |(port, (id, weight)): (u16, &(&str, u32))| {
            let id = BackendId::from(*id);
            let metrics = metrics.backend(&service, &id);
            let address = Address::from(SocketAddr::from(([127, 0, 0, 1], port)));
            let backend = Backend {
                id,
                written: address.to_string().into(),
                address,
                weight: *weight,
                version: "".into(),
                duty: Duty::Active,
                incarnation: "".into(),
            };
            let cell = Arc::new(Cell::new(health));
            let facts = Facts::new(backend, cell, Arc::clone(&crowd), true, metrics);
            Arc::new(Member::from(facts.with_room(room)))
        };
        (9000..).zip(weights).map(member).collect()
    }

    /// A pool of such members.
    pub(crate) fn pool(weights: &[(&str, u32)], health: Health) -> Pool {
        let check = Check {
            probe: Probe::Tcp,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            healthy_threshold: 1,
            unhealthy_threshold: 3,
            incarnation_header: "x-backend-incarnation".into(),
            tongue: Tongue::default(),
        };
        Pool::new(ServiceId::from("s"), &members(weights, health), Some(check))
    }
}
