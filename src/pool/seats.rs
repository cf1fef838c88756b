//! How many requests a backend has at once, and the queue before one that has all it may have.
//! Apart from [`super::Cell`]'s health mark, but kept in the same place: a reload changes the limit,
//! never the count.

use super::member::Member;
use crate::model::Sharded;
use crate::model::sharded::Place;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// The requests that one backend has now.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Seats {
    /// By whoever took them: one that stands at another thread's place in the end is given back there,
    /// so that no place is ever below zero.
    taken: Sharded<AtomicU32>,
    /// Clients that are bound to this backend and wait for it.
    awaited: AtomicU32,
    /// Wakes one of them.
    freed: Notify,
}

/// Those who wait for a backend of one service.
#[derive(Debug, Default)]
pub struct Crowd {
    waiting: AtomicU32,
    /// Wakes one client that anybody may serve.
    freed: Notify,
    /// Wakes all that only some may serve: a seat that is of no use to one may be to the next.
    freed_for_some: Notify,
}

/// The most that is allowed; `u32::MAX` for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Requests that a backend has at once.
    pub per_backend: u32,
    /// Requests that wait for a backend of the service.
    pub pending: u32,
    /// How long they wait.
    pub patience: Duration,
}

impl Room {
    /// No limit.
    pub const UNLIMITED: Self =
        Self { per_backend: u32::MAX, pending: u32::MAX, patience: Duration::ZERO };
}

impl Seats {
    /// How many there are.
    pub fn taken(&self) -> u32 {
        self.taken.all().map(|place| place.load(Ordering::SeqCst)).sum()
    }

    /// Takes one where there are fewer than `most`; tells where. All of a limited backend agree on
    /// one place. Others have something only right behind a reload that has set the limit: of requests
    /// that hold the snapshot before, which knows none.
    fn take(&self, most: u32) -> Option<Place> {
        if most == u32::MAX {
            let own = Place::own();
            self.taken.at(own).fetch_add(1, Ordering::SeqCst);
            return Some(own);
        }
        let agreed = self.taken.at(Place::FIRST);
        let elsewhere = || self.taken.all().skip(1).map(|place| place.load(Ordering::SeqCst));
        let one_more = |here: u32| (here + elsewhere().sum::<u32>() < most).then_some(here + 1);
        agreed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok()?;
        Some(Place::FIRST)
    }

    /// Those, and the clients that are bound to this backend and wait for it: what is there for new
    /// clients comes after both.
    pub fn spoken_for(&self) -> u32 {
        self.taken().saturating_add(self.awaited.load(Ordering::SeqCst))
    }
}

impl Crowd {
    /// How many there are.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// A request that a backend has; given back when it is dropped.
#[derive(Debug)]
pub struct Seat {
    member: Arc<Member>,
    /// Where it is counted. A request may end on another thread than it began on.
    place: Place,
}

impl Seat {
    /// Takes a seat at `member`; `None` when it has all the requests that it may have.
    pub fn take(member: &Arc<Member>) -> Option<Self> {
        let place = member.seats().take(member.room().per_backend)?;
        Some(Self { member: Arc::clone(member), place })
    }

    /// Whose it is.
    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let (seats, crowd) = (self.member.seats(), self.member.crowd());
        seats.taken.at(self.place).fetch_sub(1, Ordering::SeqCst);
        // One that waits has said so before it looked at the count. All of it is in one order
        // (`SeqCst`), so either it is seen here, or it looked at this place after the line above;
        // that holds for each place, hence for their sum.
        if crowd.waiting.load(Ordering::SeqCst) > 0 {
            seats.freed.notify_one();
            crowd.wake();
        }
    }
}

impl Crowd {
    fn wake(&self) {
        self.freed.notify_one();
        self.freed_for_some.notify_waiters();
    }
}

/// Counts one that waits, also if it goes away while it does.
struct Waiting<'c> {
    crowd: &'c Crowd,
    /// The backend that it is bound to.
    bound: Option<&'c Seats>,
}

impl<'c> Waiting<'c> {
    fn begin(crowd: &'c Crowd, bound: Option<&'c Seats>, most: u32) -> Option<Self> {
        let one_more = |now: u32| (now < most).then_some(now + 1);
        crowd.waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok()?;
        if let Some(seats) = bound {
            seats.awaited.fetch_add(1, Ordering::SeqCst);
        }
        Some(Self { crowd, bound })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(seats) = self.bound {
            seats.awaited.fetch_sub(1, Ordering::SeqCst);
        }
        let left = self.crowd.waiting.fetch_sub(1, Ordering::SeqCst) - 1;
        // what was kept for this one may be for others now
        if self.bound.is_some() && left > 0 {
            self.crowd.wake();
        }
    }
}

/// How a wait has ended.
#[derive(Debug)]
pub enum Waited {
    /// With a seat.
    Seated(Seat),
    /// Without one in time.
    InVain,
    /// At once, since too many wait already.
    TooMany,
}

/// For whom a request waits.
#[derive(Clone, Copy)]
pub enum For<'m> {
    /// For this backend.
    Backend(&'m Arc<Member>),
    /// For any of the service whose crowd this is.
    Anyone(&'m Crowd),
    /// For some of them only: those of one version, or those that it has not tried.
    Some(&'m Crowd),
}

/// Waits until `seat` finds one, for as long as `room` allows. `seat` is asked at once, and again
/// whenever a request has ended, and when the time is up.
pub async fn wait(whom: For<'_>, room: Room, seat: impl FnMut() -> Option<Seat>) -> Waited {
    let mut seat = seat;
    let (crowd, bound, freed) = match whom {
        For::Backend(member) => (&**member.crowd(), Some(member.seats()), &member.seats().freed),
        For::Anyone(crowd) => (crowd, None, &crowd.freed),
        For::Some(crowd) => (crowd, None, &crowd.freed_for_some),
    };
    let Some(_waiting) = Waiting::begin(crowd, bound, room.pending) else {
        return Waited::TooMany;
    };
    let seated = async {
        loop {
            let mut notified = pin!(freed.notified());
            // in the queue before the look: two that are woken at once must be two
            notified.as_mut().enable();
            if let Some(seat) = seat() {
                return seat;
            }
            notified.await;
        }
    };
    match timeout(room.patience, seated).await {
        Ok(seat) => Waited::Seated(seat),
        // nobody tells when a backend has become healthy
        Err(_) => seat().map_or(Waited::InVain, Waited::Seated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Health;
    use crate::pool::fixture::members_with_room;

    fn one(per_backend: u32, pending: u32) -> Arc<Member> {
        let room = Room { per_backend, pending, patience: Duration::from_mins(1) };
        members_with_room(&[("b1", 1)], Health::Healthy, room).remove(0)
    }

    #[test]
    fn a_backend_has_no_more_requests_than_it_may() {
        let member = one(2, 1);
        let seats: Vec<_> = (0..3).filter_map(|_| Seat::take(&member)).collect();
        assert_eq!((seats.len(), member.seats().taken()), (2, 2));
        drop(seats);
        assert_eq!(member.seats().taken(), 0);
        let free = one(u32::MAX, 1);
        let seats: Vec<_> = (0..100).filter_map(|_| Seat::take(&free)).collect();
        assert_eq!(seats.len(), 100);
    }

    #[test]
    fn a_seat_is_given_back_where_it_was_taken() {
        let member = one(u32::MAX, 1);
        let seats: Vec<_> = (0..9)
            .flat_map(|_| {
                let member = Arc::clone(&member);
                let two = move || [0, 1].map(|_| Seat::take(&member).unwrap());
                std::thread::spawn(two).join().unwrap()
            })
            .collect();
        assert_eq!(member.seats().taken(), 18);
        drop(seats);
        let places = member.seats().taken.all();
        assert!(places.map(|place| place.load(Ordering::SeqCst)).all(|taken| taken == 0));
    }

    #[test]
    fn a_limit_that_a_reload_sets_counts_the_requests_that_are_there_on_every_thread() {
        let before = one(u32::MAX, 1);
        let taken = |member: &Arc<Member>, count: usize| -> Vec<Seat> {
            let there = (0..count).filter_map(|_| {
                let member = Arc::clone(member);
                std::thread::spawn(move || Seat::take(&member)).join().unwrap()
            });
            there.collect()
        };
        let mut old = taken(&before, 6);
        let room = Room { per_backend: 8, ..Room::UNLIMITED };
        let after = Arc::new(Member::from(before.made_anew().with_room(room)));
        let new = taken(&after, 4);
        assert_eq!((old.len(), new.len(), after.seats().taken()), (6, 2, 8));
        old.truncate(3);
        assert_eq!(taken(&after, 9).len(), 3);
        drop((old, new));
        let member = &after;
        let at_once = std::sync::Barrier::new(4);
        let threads = std::thread::scope(|scope| {
            let take = || {
                at_once.wait();
                let seats: Vec<_> = (0..8).filter_map(|_| Seat::take(member)).collect();
                at_once.wait();
                seats.len()
            };
            let threads = [0; 4].map(|_| scope.spawn(take));
            threads.map(|thread| thread.join().unwrap())
        });
        assert_eq!(threads.iter().sum::<usize>(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_seated_when_another_leaves() {
        let member = one(1, 2);
        let held = Seat::take(&member).unwrap();
        let waiting = tokio::spawn({
            let member = Arc::clone(&member);
            async move {
                let seat = || Seat::take(&member);
                wait(For::Backend(&member), member.room(), seat).await
            }
        });
        while member.crowd().waiting() == 0 {
            tokio::task::yield_now().await;
        }
        drop(held);
        assert!(matches!(waiting.await.unwrap(), Waited::Seated(_)));
        assert_eq!((member.crowd().waiting(), member.seats().taken()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_frees_is_kept_for_who_is_bound_until_that_one_has_gone() {
        let member = one(1, 9);
        let held = Seat::take(&member).unwrap();
        let bound = tokio::spawn({
            let member = Arc::clone(&member);
            async move { wait(For::Backend(&member), member.room(), || None).await }
        });
        while member.crowd().waiting() == 0 {
            tokio::task::yield_now().await;
        }
        drop(held);
        assert!(!member.has_room() && !member.is_full());
        let new = tokio::spawn({
            let member = Arc::clone(&member);
            async move {
                let seat = || member.has_room().then(|| Seat::take(&member)).flatten();
                wait(For::Anyone(member.crowd()), member.room(), seat).await
            }
        });
        while member.crowd().waiting() == 1 {
            tokio::task::yield_now().await;
        }
        bound.abort();
        assert!(matches!(new.await.unwrap(), Waited::Seated(_)));
        assert_eq!((member.crowd().waiting(), member.seats().taken()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_seat_of_no_use_to_one_is_offered_to_all_that_are_choosy() {
        let member = one(1, 9);
        let held = Seat::take(&member).unwrap();
        let choosy = |wants: bool| {
            let member = Arc::clone(&member);
            tokio::spawn(async move {
                let seat = || wants.then(|| Seat::take(&member)).flatten();
                wait(For::Some(member.crowd()), member.room(), seat).await
            })
        };
        let (first, second) = (choosy(false), choosy(true));
        while member.crowd().waiting() < 2 {
            tokio::task::yield_now().await;
        }
        drop(held);
        assert!(matches!(second.await.unwrap(), Waited::Seated(_)));
        assert!(matches!(first.await.unwrap(), Waited::InVain));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_and_the_queue_is_bounded() {
        let member = one(1, 1);
        let _held = Seat::take(&member).unwrap();
        let queue = |member: Arc<Member>| async move {
            let seat = || Seat::take(&member);
            wait(For::Anyone(member.crowd()), member.room(), seat).await
        };
        let first = tokio::spawn(queue(Arc::clone(&member)));
        while member.crowd().waiting() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(queue(Arc::clone(&member)).await, Waited::TooMany));
        assert!(matches!(first.await.unwrap(), Waited::InVain));
        assert_eq!(member.crowd().waiting(), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_seats_that_free_at_once_wake_two() {
        let room = Room { per_backend: 2, pending: 9, patience: Duration::from_mins(10) };
        let member = members_with_room(&[("b1", 1)], Health::Healthy, room).remove(0);
        for _ in 0..500 {
            let held: Vec<_> = (0..2).filter_map(|_| Seat::take(&member)).collect();
            let queue = |member: Arc<Member>| async move {
                let seat = || Seat::take(&member);
                wait(For::Backend(&member), member.room(), seat).await
            };
            let waiting = [0, 1].map(|_| tokio::spawn(queue(Arc::clone(&member))));
            while member.crowd().waiting() < 1 {
                tokio::task::yield_now().await;
            }
            drop(held);
            let mut seats = Vec::new();
            for waiting in waiting {
                seats.push(waiting.await.unwrap());
            }
            assert!(seats.iter().all(|waited| matches!(waited, Waited::Seated(_))));
        }
    }
}
