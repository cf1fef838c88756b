//! Connections to one backend that nobody uses at the moment. Each thread gives and takes at a place
//! of its own, so that no two of them wait for each other, or pass a cache line back and forth.

use super::wire::Wire;
use crate::model::Sharded;
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// How long a connection is kept when nobody uses it.
const KEPT: Duration = Duration::from_mins(1);

/// Connections of one place.
const MOST: usize = 1024;

/// Those to one backend.
#[derive(Debug, Default)]
pub struct Idle(Sharded<Mutex<Vec<Kept>>>);

#[derive(Debug)]
struct Kept {
    wire: Wire,
    last: Last,
    since: Instant,
}

/// The last response on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// It said itself where it ends.
    Framed,
    /// It has no body, whatever it says: an answer to HEAD, 204, 304. A backend that sends one all the
    /// same may do so late, and the next client would take it for its answer.
    Bodiless,
}

impl Idle {
    /// One that was used last of all and is still good, if there is one; `surely`: as far as the system
    /// knows, not only the runtime. Behind [`Last::Bodiless`] the system is always asked.
    pub fn take(&self, now: Instant, surely: bool) -> Option<Wire> {
        self.0.own_first().find_map(|place| {
            let mut kept = place.lock();
            while let Some(Kept { wire, last, since }) = kept.pop() {
                let fresh = now.saturating_duration_since(since) < KEPT;
                let surely = surely || last == Last::Bodiless;
                if fresh && wire.is_quiet() && !(surely && wire.has_news()) {
                    return Some(wire);
                }
            }
            None
        })
    }

    /// Keeps one for later.
    pub fn put(&self, wire: Wire, last: Last, now: Instant) {
        let mut kept = self.0.own().lock();
        if kept.len() < MOST {
            kept.push(Kept { wire, last, since: now });
        }
    }

    /// Closes those that nobody has used for long, or that the other end has closed, and all beyond
    /// `most`; tells how many are left.
    pub fn sweep(&self, now: Instant, most: usize) -> usize {
        let mut left = 0;
        for place in self.0.all() {
            let fresh = |kept: &Kept| {
                now.saturating_duration_since(kept.since) < KEPT && kept.wire.is_quiet()
            };
            let mut kept = place.lock();
            kept.retain(fresh);
            kept.truncate(most - left);
            left += kept.len();
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Address, clock};
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    async fn pair() -> (Wire, tokio::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::from(listener.local_addr().unwrap());
        let (wire, other) = tokio::join!(Wire::connect(&address), listener.accept());
        (wire.unwrap(), other.unwrap().0)
    }

    #[tokio::test]
    async fn what_was_kept_is_taken_once() {
        let (idle, now) = (Idle::default(), clock::monotonic_now());
        let (wire, _other) = pair().await;
        idle.put(wire, Last::Framed, now);
        assert!(idle.take(now, false).is_some());
        assert!(idle.take(now, false).is_none());
    }

    #[tokio::test]
    async fn one_that_the_other_end_has_left_is_not_taken() {
        let (idle, now) = (Idle::default(), clock::monotonic_now());
        let (wire, other) = pair().await;
        let (told, mut telling) = pair().await;
        telling.write_all(b"408").await.unwrap();
        drop(other);
        for wire in [&wire, &told] {
            let Wire::Tcp(stream) = wire else { panic!() };
            stream.readable().await.unwrap();
        }
        idle.put(wire, Last::Framed, now);
        idle.put(told, Last::Framed, now);
        assert!(idle.take(now, false).is_none());
    }

    #[tokio::test]
    async fn behind_a_response_without_a_body_the_system_is_asked() {
        let (idle, now) = (Idle::default(), clock::monotonic_now());
        for last in [Last::Framed, Last::Bodiless] {
            let (wire, other) = pair().await;
            idle.put(wire, last, now);
            let mut other = other.into_std().unwrap();
            other.set_nonblocking(false).unwrap();
            // the runtime hears of nothing before this test waits for it
            std::io::Write::write_all(&mut other, b"HTTP/1.1 200 OK").unwrap();
            assert_eq!(idle.take(now, false).is_some(), last == Last::Framed, "{last:?}");
        }
        let (wire, _other) = pair().await;
        idle.put(wire, Last::Bodiless, now);
        assert!(idle.take(now, false).is_some(), "a good one is used again");
    }

    #[tokio::test]
    async fn one_that_was_kept_for_long_is_closed() {
        let (idle, now) = (Idle::default(), clock::monotonic_now());
        let (wire, _other) = pair().await;
        idle.put(wire, Last::Framed, now);
        assert_eq!(idle.sweep(now, 1), 1);
        assert_eq!(idle.sweep(now + KEPT, 1), 0);
        assert!(idle.take(now, false).is_none());
    }
}
