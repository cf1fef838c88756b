//! The least pace of a request body (`limits.minBodyRate`). Separate from the connection, whose every
//! read it is told of.

use crate::model::clock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How fast a body comes. Only the time that is spent waiting for the client counts: a backend that
/// takes its time makes nobody slow.
#[derive(Default)]
pub(super) struct Pace {
    /// Bytes in a second; 0: any.
    rate: AtomicU32,
    /// What `bytes` and `waited` are for.
    measured: u32,
    bytes: u64,
    waited: Duration,
    since: Option<Instant>,
}

/// Nobody is slow before that: connections take a while to gather speed.
const GRACE: Duration = Duration::from_secs(5);

impl Pace {
    /// From now on so many bytes in a second have to come; 0: any number.
    pub(super) fn demand(&self, rate: u32) {
        self.rate.store(rate, Ordering::Relaxed);
    }

    /// Takes in the result of a read; `false` when the client is too slow.
    pub(super) fn is_enough(&mut self, read: usize) -> bool {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate != self.measured {
            (self.measured, self.bytes) = (rate, 0);
            (self.waited, self.since) = (Duration::ZERO, None);
        }
        if rate == 0 {
            return true;
        }
        if read == 0 {
            self.since.get_or_insert_with(clock::monotonic_now);
            return true;
        }
        if let Some(since) = self.since.take() {
            self.waited += clock::monotonic_now().saturating_duration_since(since);
        }
        self.bytes += read as u64;
        self.waited < GRACE || self.bytes >= self.waited.as_secs() * u64::from(rate)
    }
}
