//! What outlives a reload: the health mark of each backend, the count that leads to the next mark,
//! and the requests that it has. Separate from [`super::Member`], which is made anew with every snapshot.

use super::idle::Idle;
use super::seats::{Crowd, Seats};
use crate::model::{Address, BackendId, ServiceId};
use ahash::AHashMap;
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Instant;

/// What health checks have said of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// No check has finished yet: takes nobody.
    Unchecked,
    /// Serves.
    Healthy,
    /// Failed as often in a row as the threshold says.
    Unhealthy,
}

/// The health of one backend at one address. What requests read of it comes first, on one line.
#[derive(Debug)]
#[repr(C)]
pub struct Cell {
    mark: AtomicU8,
    /// Results in a row that contradict the mark.
    contrary: AtomicU32,
    /// The start of the backend that checks have met last, if they were told any.
    incarnation: ArcSwapOption<Arc<str>>,
    idle: Idle,
    seats: Seats,
    /// So that all of them begin on a line: blocks of jemalloc lie one behind the other.
    _rest_of_line: [u64; 3],
}

const _: () = assert!((2 * size_of::<usize>() + size_of::<Cell>()).is_multiple_of(64));

impl Cell {
    /// A cell that starts with `health`.
    pub fn new(health: Health) -> Self {
        Self {
            mark: AtomicU8::new(code(health)),
            contrary: AtomicU32::new(0),
            incarnation: ArcSwapOption::empty(),
            idle: Idle::default(),
            seats: Seats::default(),
            _rest_of_line: [0; 3],
        }
    }

    /// The requests that the backend has.
    pub fn seats(&self) -> &Seats {
        &self.seats
    }

    /// Connections to the backend that nobody uses.
    pub fn idle(&self) -> &Idle {
        &self.idle
    }

    /// The mark in force.
    pub fn health(&self) -> Health {
        match self.mark.load(Ordering::Relaxed) {
            0 => Health::Unchecked,
            1 => Health::Healthy,
            _ => Health::Unhealthy,
        }
    }

    /// The start of the backend that checks have met last, where that is known.
    pub fn incarnation(&self) -> Option<Arc<str>> {
        self.incarnation.load().as_deref().cloned()
    }

    /// Whether it is `key`, or not known. Asked for every bound request, so without a reference more,
    /// which all threads would count in one word.
    pub fn is_incarnation(&self, key: &str) -> bool {
        self.incarnation.load().as_deref().is_none_or(|running| **running == *key)
    }

    /// Takes in which start a check has met.
    pub fn note_incarnation(&self, incarnation: &str) {
        let known = self.incarnation.load();
        if known.as_deref().map_or("", |known| known) != incarnation {
            let told = (!incarnation.is_empty()).then(|| Arc::new(Arc::from(incarnation)));
            self.incarnation.store(told);
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
type Key = (ServiceId, BackendId, Address);

/// What another process is told of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    service: String,
    backend: String,
    address: String,
    health: Health,
    contrary: u32,
    incarnation: String,
}

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
        address: &Address,
        start: Health,
    ) -> Arc<Cell> {
        let key = (service.clone(), backend.clone(), address.clone());
        Arc::clone(self.backends.lock().entry(key).or_insert_with(|| Arc::new(Cell::new(start))))
    }

    /// Those who wait for a backend of `service`.
    pub fn crowd(&self, service: &ServiceId) -> Arc<Crowd> {
        Arc::clone(self.crowds.lock().entry(service.clone()).or_default())
    }

    /// Closes connections that nobody has used for long, and all beyond `most`.
    pub fn close_idle(&self, now: Instant, most: usize) {
        let cells: Vec<_> = self.backends.lock().values().map(Arc::clone).collect();
        let mut left = most;
        for cell in cells {
            left -= cell.idle.sweep(now, left);
        }
    }

    /// What is known of every backend, for the process that takes over.
    pub fn export(&self) -> Vec<Mark> {
        let cells = self.backends.lock();
        let mark = |((service, backend, address), cell): (&Key, &Arc<Cell>)| Mark {
            service: service.as_str().to_owned(),
            backend: backend.as_str().to_owned(),
            address: address.to_string(),
            health: cell.health(),
            contrary: cell.contrary.load(Ordering::Relaxed),
            incarnation: cell.incarnation().as_deref().unwrap_or_default().to_owned(),
        };
        cells.iter().map(mark).collect()
    }

    /// Takes over what another process has [exported](Self::export). Marks of backends that no pool
    /// asks for go with the next [sweep](Self::sweep).
    pub fn import(&self, marks: Vec<Mark>) {
        let mut cells = self.backends.lock();
        for mark in marks {
            let Ok(address) = mark.address.parse() else { continue };
            let cell = Cell::new(mark.health);
            cell.contrary.store(mark.contrary, Ordering::Relaxed);
            cell.note_incarnation(&mark.incarnation);
            let (service, backend) = (mark.service.as_str().into(), mark.backend.as_str().into());
            cells.insert((service, backend, address), Arc::new(cell));
        }
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
        let [here, there] = ["127.0.0.1:1", "127.0.0.1:2"].map(|a| a.parse::<Address>().unwrap());
        let held = cells.cell(&service, &backend, &here, Health::Unchecked);
        held.record(false, 1);
        cells.sweep();
        let again = cells.cell(&service, &backend, &here, Health::Unchecked);
        assert_eq!(again.health(), Health::Unhealthy);
        let moved = cells.cell(&service, &backend, &there, Health::Unchecked);
        assert_eq!(moved.health(), Health::Unchecked, "another address proves itself anew");
        drop((held, again));
        cells.sweep();
        let fresh = cells.cell(&service, &backend, &here, Health::Unchecked);
        assert_eq!(fresh.health(), Health::Unchecked);
    }

    #[test]
    fn a_mark_goes_over_to_another_process_with_its_row() {
        let (old, new) = (Cells::default(), Cells::default());
        let (service, backend) = (ServiceId::from("s"), BackendId::from("b"));
        let here = "unix:/run/app.sock".parse().unwrap();
        let cell = old.cell(&service, &backend, &here, Health::Healthy);
        cell.record(false, 3);
        cell.note_incarnation("second");
        new.import(old.export());
        cell.note_incarnation("");
        assert_eq!(cell.incarnation(), None, "it tells no more");
        assert!(cell.is_incarnation("second"));
        assert_eq!(old.export()[0].incarnation, "");
        let cell = new.cell(&service, &backend, &here, Health::Unchecked);
        assert_eq!(
            (cell.health(), cell.incarnation().as_deref()),
            (Health::Healthy, Some("second"))
        );
        assert_eq!(cell.record(false, 3), None);
        assert_eq!(cell.record(false, 3), Some(Health::Unhealthy), "the third in the row");
    }
}
