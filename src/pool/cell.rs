//! What outlives a reload: the health mark of each backend, the count that leads to the next mark,
//! and the requests that it has. Separate from [`super::Member`], which is made anew with every snapshot.

use super::seats::{Crowd, Seats};
use crate::model::{BackendId, ServiceId};
use ahash::AHashMap;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// What health checks have said of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// No check has finished yet: takes nobody.
    Unchecked,
    /// Serves.
    Healthy,
    /// Failed as often in a row as the threshold says.
    Unhealthy,
}

/// The health of one backend at one address.
#[derive(Debug)]
pub struct Cell {
    mark: AtomicU8,
    /// Results in a row that contradict the mark.
    contrary: AtomicU32,
    /// The start of the backend that checks have met last; empty when they were not told.
    incarnation: ArcSwap<Arc<str>>,
    seats: Seats,
}

impl Cell {
    /// A cell that starts with `health`.
    pub fn new(health: Health) -> Self {
        Self {
            mark: AtomicU8::new(code(health)),
            contrary: AtomicU32::new(0),
            incarnation: ArcSwap::from_pointee(Arc::from("")),
            seats: Seats::default(),
        }
    }

    /// The requests that the backend has.
    pub fn seats(&self) -> &Seats {
        &self.seats
    }

    /// The mark in force.
    pub fn health(&self) -> Health {
        match self.mark.load(Ordering::Relaxed) {
            0 => Health::Unchecked,
            1 => Health::Healthy,
            _ => Health::Unhealthy,
        }
    }

    /// The start of the backend that checks have met last.
    pub fn incarnation(&self) -> Arc<str> {
        Arc::clone(&self.incarnation.load())
    }

    /// Takes in which start a check has met.
    pub fn note_incarnation(&self, incarnation: &str) {
        if ***self.incarnation.load() != *incarnation {
            self.incarnation.store(Arc::new(Arc::from(incarnation)));
        }
    }

    /// Takes in the result of one check; `Some` when it changes the mark. The first result of all
    /// decides at once, later ones when `threshold` of them in a row contradict the mark.
    ///
    /// Two checks at once (a reload checks new backends beside the running rounds) may lose a count,
    /// never a mark, so plain loads and stores suffice.
    pub fn record(&self, passed: bool, threshold: u32) -> Option<Health> {
        let said = if passed { Health::Healthy } else { Health::Unhealthy };
        let now = self.health();
        if said == now {
            self.contrary.store(0, Ordering::Relaxed);
            return None;
        }
        let contrary = self.contrary.load(Ordering::Relaxed) + 1;
        if now != Health::Unchecked && contrary < threshold {
            self.contrary.store(contrary, Ordering::Relaxed);
            return None;
        }
        self.contrary.store(0, Ordering::Relaxed);
        self.mark.store(code(said), Ordering::Relaxed);
        Some(said)
    }
}

fn code(health: Health) -> u8 {
    match health {
        Health::Unchecked => 0,
        Health::Healthy => 1,
        Health::Unhealthy => 2,
    }
}

/// A backend that moves to another address has to prove itself anew, hence the address.
type Key = (ServiceId, BackendId, SocketAddr);

/// All cells of the process.
#[derive(Debug, Default)]
pub struct Cells {
    backends: Mutex<AHashMap<Key, Arc<Cell>>>,
    crowds: Mutex<AHashMap<ServiceId, Arc<Crowd>>>,
}

impl Cells {
    /// The cell of a backend; a new one starts as `start`.
    pub fn cell(
        &self,
        service: &ServiceId,
        backend: &BackendId,
        address: SocketAddr,
        start: Health,
    ) -> Arc<Cell> {
        let key = (service.clone(), backend.clone(), address);
        Arc::clone(self.backends.lock().entry(key).or_insert_with(|| Arc::new(Cell::new(start))))
    }

    /// Those who wait for a backend of `service`.
    pub fn crowd(&self, service: &ServiceId) -> Arc<Crowd> {
        Arc::clone(self.crowds.lock().entry(service.clone()).or_default())
    }

    /// Forgets the cells that no pool holds any more.
    pub fn sweep(&self) {
        self.backends.lock().retain(|_, cell| Arc::strong_count(cell) > 1);
        self.crowds.lock().retain(|_, crowd| Arc::strong_count(crowd) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_result_decides_and_later_ones_need_a_row() {
        let cell = Cell::new(Health::Unchecked);
        assert_eq!(cell.record(false, 3), Some(Health::Unhealthy));
        assert_eq!(cell.record(true, 2), None);
        assert_eq!(cell.record(false, 3), None, "the row is broken");
        assert_eq!(cell.record(true, 2), None);
        assert_eq!(cell.record(true, 2), Some(Health::Healthy));
        assert_eq!(cell.record(false, 3), None);
        assert_eq!(cell.record(false, 3), None);
        assert_eq!(cell.record(false, 3), Some(Health::Unhealthy));
    }

    #[test]
    fn a_mark_stays_with_its_backend_until_nobody_holds_it() {
        let cells = Cells::default();
        let (service, backend) = (ServiceId::from("s"), BackendId::from("b"));
        let (here, there) = (SocketAddr::from(([127, 0, 0, 1], 1)), ([127, 0, 0, 1], 2).into());
        let held = cells.cell(&service, &backend, here, Health::Unchecked);
        held.record(false, 1);
        cells.sweep();
        let again = cells.cell(&service, &backend, here, Health::Unchecked);
        assert_eq!(again.health(), Health::Unhealthy);
        let moved = cells.cell(&service, &backend, there, Health::Unchecked);
        assert_eq!(moved.health(), Health::Unchecked, "another address proves itself anew");
        drop((held, again));
        cells.sweep();
        let fresh = cells.cell(&service, &backend, here, Health::Unchecked);
        assert_eq!(fresh.health(), Health::Unchecked);
    }
}
