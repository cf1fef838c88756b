//! A value for each thread, so that what all of them write for every request is no cache line that
//! they pass back and forth. It knows nothing of what it holds: counters, seats and idle connections
//! are kept in it alike.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// The most places; threads beyond that share them.
const MOST: usize = 16;

/// The same few values, one for each place and one for all who have none; a clone holds the same ones.
#[derive(Debug)]
pub struct Sharded<T>(Arc<[Line<T>]>);

/// Begins on a cache line of its own, which therefore nothing else is on.
#[derive(Debug)]
#[repr(align(64))]
struct Line<T>(T);

/// The place of a thread, to come back to it from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(usize);

impl Place {
    /// The first one, for what all threads have to agree on.
    pub const FIRST: Self = Self(0);

    /// That of this thread; of all who have taken none, the last one.
    pub fn own() -> Self {
        Self(OWN.get().unwrap_or_else(places))
    }

    /// Gives this thread a place, by turns, if it has none yet. For threads that serve requests: were
    /// places given to whoever asks, two of those could get the same, and others stay unused.
    pub fn take() {
        if OWN.get().is_none() {
            OWN.set(Some(THREADS.fetch_add(1, Ordering::Relaxed) % places()));
        }
    }
}

thread_local! {
    static OWN: Cell<Option<usize>> = const { Cell::new(None) };
}
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// As many as threads can run at once. Asked once: it reads files, and a `Place` must stay valid.
fn places() -> usize {
    static PLACES: OnceLock<usize> = OnceLock::new();
    *PLACES.get_or_init(|| std::thread::available_parallelism().map_or(1, |n| n.get().min(MOST)))
}

impl<T> Sharded<T> {
    /// That of this thread.
    pub fn own(&self) -> &T {
        self.at(Place::own())
    }

    /// That of a place.
    #[allow(clippy::indexing_slicing, reason = "no `Place` is above `places()`, the last")]
    pub fn at(&self, place: Place) -> &T {
        &self.0[place.0].0
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|line| &line.0)
    }

    /// All of them, this thread's first.
    pub fn own_first(&self) -> impl Iterator<Item = &T> {
        let (before, from_own) = self.0.split_at(Place::own().0);
        from_own.iter().chain(before).map(|line| &line.0)
    }
}

impl<T> Sharded<T> {
    /// What `make` makes, once for each place.
    pub fn from_fn(mut make: impl FnMut() -> T) -> Self {
        Self((0..=places()).map(|_| Line(make())).collect())
    }
}

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        Self::from_fn(T::default)
    }
}

impl<T> Clone for Sharded<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::atomic::AtomicU32;
    use std::thread;

    #[test]
    fn what_threads_write_stays_apart_and_adds_up() {
        let sharded = Sharded::<AtomicU32>::default();
        let count = || {
            Place::take();
            for _ in 0..1000 {
                sharded.own().fetch_add(1, Ordering::Relaxed);
            }
        };
        thread::scope(|scope| {
            for _ in 0..=MOST {
                scope.spawn(count);
            }
        });
        let sum: u32 = sharded.all().map(|place| place.load(Ordering::Relaxed)).sum();
        assert_eq!(sum, 1000 * u32::try_from(MOST + 1).unwrap());
        assert_eq!(sharded.all().count(), places() + 1);
        let lines: HashSet<_> =
            sharded.all().map(|at| std::ptr::from_ref(at) as usize / 64).collect();
        assert_eq!(lines.len(), places() + 1);
    }

    #[test]
    fn a_thread_keeps_its_place_and_threads_take_them_by_turns() {
        let own = || {
            assert_eq!(Place::own().0, places(), "who does not serve has none");
            Place::take();
            let place = Place::own();
            Place::take();
            assert_eq!(place, Place::own());
            place.0
        };
        // others take turns at the same time: so many that each place comes up all the same
        let seen: HashSet<_> = (0..100).map(|_| thread::spawn(own).join().unwrap()).collect();
        assert!(seen.iter().all(|place| *place < places()), "{seen:?}");
        assert_eq!(seen.len(), places());
    }

    #[test]
    fn own_first_visits_each_once() {
        let sharded = Sharded::<AtomicU32>::default();
        sharded.own().store(7, Ordering::Relaxed);
        let visited: Vec<_> =
            sharded.own_first().map(|at| at.fetch_add(1, Ordering::Relaxed)).collect();
        assert_eq!((visited[0], visited.iter().sum::<u32>()), (7, 7));
        assert!(sharded.all().all(|at| at.load(Ordering::Relaxed) > 0));
    }
}
