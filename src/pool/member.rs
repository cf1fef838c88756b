//! One backend in one snapshot, with what outlives the snapshot.

use super::cell::{Cell, Health};
use super::idle::Idle;
use super::seats::{Crowd, Room, Seats};
use crate::model::{Backend, Duty};
use crate::observe::BackendMetrics;
use crate::tls::Outbound;
use pingora_load_balancing::Backend as PingoraBackend;
use std::ops::Deref;
use std::sync::Arc;

/// Whom a backend can serve: the rows of the state matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// New and bound clients, and retries.
    Anyone,
    /// Bound clients: it drains.
    BoundOnly,
    /// Anyone, but only while nobody else serves: its checks fail.
    Emergency,
    /// Nobody: in maintenance, or never checked.
    Nobody,
}

/// How a backend is spoken to by TLS.
#[derive(Clone, Debug)]
pub struct Encryption {
    /// As all backends of its service are.
    pub tls: Arc<Outbound>,
    /// The name that it must prove.
    pub name: Box<str>,
}

/// One backend of a pool. Each thread has a handle of its own, on a cache line of its own: requests hold
/// references to it, which threads would otherwise count in one word.
#[derive(Debug)]
pub struct Member {
    facts: Arc<Facts>,
    /// Its place in the pool.
    at: usize,
    /// With the two counts of an `Arc` it takes 64 bytes, which jemalloc (see `main.rs`) gives a line of
    /// their own. Were it aligned instead, the counts would lie on another one.
    _rest_of_line: [u64; 4],
}

/// The two counts of an `Arc`.
const COUNTS: usize = 2 * size_of::<usize>();
const _: () = assert!((COUNTS + size_of::<Member>()) == 64);
const _: () = assert!((COUNTS + size_of::<Facts>()).is_multiple_of(64));

/// What there is to know of one backend. Where there are many, none of it is in a cache when a request
/// comes, so that each line counts: what every request reads is in the first three.
#[derive(Debug)]
#[repr(C)]
pub struct Facts {
    /// Shared with the pools of earlier and later snapshots.
    cell: Arc<Cell>,
    /// Those who wait for a backend of this service; shared like the cell.
    crowd: Arc<Crowd>,
    room: Room,
    /// Without a health check a backend counts as healthy, whatever an earlier check has said.
    checked: bool,
    /// As configured.
    pub backend: Backend,
    /// Its counters.
    pub metrics: BackendMetrics,
    encryption: Option<Encryption>,
    /// So that all of them begin on a line: blocks of jemalloc lie one behind the other.
    _rest_of_line: [u64; 4],
}

impl Deref for Member {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

impl From<Facts> for Member {
    fn from(facts: Facts) -> Self {
        Self { facts: Arc::new(facts), at: 0, _rest_of_line: [0; 4] }
    }
}

impl Member {
    /// Another handle of the same backend, which is the one at this place.
    pub(super) fn twin(&self, at: usize) -> Self {
        Self { facts: Arc::clone(&self.facts), at, _rest_of_line: [0; 4] }
    }

    /// Whether both are handles of the same backend of one snapshot.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.facts, &other.facts)
    }

    /// Its place among the members of its pool.
    pub fn place(&self) -> usize {
        self.at
    }

    /// The member that a Pingora backend of ours stands for.
    pub fn of(backend: &PingoraBackend) -> Option<&Arc<Self>> {
        backend.ext.get::<Arc<Self>>()
    }
}

impl Facts {
    /// A backend whose mark lives in `cell`, of a service for whose backends `crowd` waits.
    pub fn new(
        backend: Backend,
        cell: Arc<Cell>,
        crowd: Arc<Crowd>,
        checked: bool,
        metrics: BackendMetrics,
    ) -> Self {
        let (room, encryption) = (Room::UNLIMITED, None);
        Self { cell, crowd, room, checked, backend, metrics, encryption, _rest_of_line: [0; 4] }
    }

    /// The same with limits.
    #[must_use]
    pub fn with_room(self, room: Room) -> Self {
        Self { room, ..self }
    }

    /// The same, spoken to by TLS.
    #[must_use]
    pub fn with_encryption(self, encryption: Option<Encryption>) -> Self {
        Self { encryption, ..self }
    }

    /// How it is spoken to; `None`: plain HTTP.
    pub fn encryption(&self) -> Option<&Encryption> {
        self.encryption.as_ref()
    }

    /// The requests that it has.
    pub fn seats(&self) -> &Seats {
        self.cell.seats()
    }

    /// Connections to it that nobody uses.
    pub fn idle(&self) -> &Idle {
        self.cell.idle()
    }

    /// Those who wait for a backend of its service.
    pub fn crowd(&self) -> &Arc<Crowd> {
        &self.crowd
    }

    /// What it may have to do at once.
    pub fn room(&self) -> Room {
        self.room
    }

    /// Whether it has all the requests that it may have.
    pub fn is_full(&self) -> bool {
        self.is_limited() && self.seats().taken() >= self.room.per_backend
    }

    /// Whether it has room for one who is not bound to it: those who wait for it come first.
    pub fn has_room(&self) -> bool {
        !self.is_limited() || self.seats().spoken_for() < self.room.per_backend
    }

    /// Without a limit nobody looks at what other threads count.
    fn is_limited(&self) -> bool {
        self.room.per_backend < u32::MAX
    }

    /// What its checks say.
    pub fn health(&self) -> Health {
        if self.checked { self.cell.health() } else { Health::Healthy }
    }

    /// Whom it can serve now. Weight 0 is not looked at: such a backend is no candidate for new
    /// clients in the first place.
    pub fn ability(&self) -> Ability {
        match (self.backend.duty, self.health()) {
            (Duty::Active, Health::Healthy) => Ability::Anyone,
            (Duty::Draining, Health::Healthy) => Ability::BoundOnly,
            (Duty::Active | Duty::Draining, Health::Unhealthy) => Ability::Emergency,
            (Duty::Maintenance, _) | (_, Health::Unchecked) => Ability::Nobody,
        }
    }

    /// The start that is running there: as the operator says, else as its checks have told; `None`
    /// when nobody knows.
    pub fn incarnation(&self) -> Option<Arc<str>> {
        if self.backend.incarnation.is_empty() {
            self.cell.incarnation()
        } else {
            Some(Arc::clone(&self.backend.incarnation))
        }
    }

    /// Whether `key` names the start that is running there. While that is not known, any does.
    pub fn is_incarnation(&self, key: &str) -> bool {
        if self.backend.incarnation.is_empty() {
            self.cell.is_incarnation(key)
        } else {
            &*self.backend.incarnation == key
        }
    }

    /// Takes in which start a check has met.
    pub fn note_incarnation(&self, incarnation: &str) {
        self.cell.note_incarnation(incarnation);
    }

    /// Takes in the result of a check; `Some` when it changes the mark.
    pub fn note_check(&self, passed: bool, threshold: u32) -> Option<Health> {
        self.cell.record(passed, threshold)
    }

    /// It in the next snapshot, without its limits.
    #[cfg(test)]
    pub(crate) fn made_anew(&self) -> Self {
        let (cell, crowd) = (Arc::clone(&self.cell), Arc::clone(&self.crowd));
        Self::new(self.backend.clone(), cell, crowd, self.checked, self.metrics.clone())
    }
}
