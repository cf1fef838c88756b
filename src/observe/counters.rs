//! What every request counts: groups of numbers that are counted together, so that they lie side by
//! side, for each thread apart. Apart from the other metrics, which are Prometheus' own types: those
//! write one word from all threads, and keep its labels with each number.

use crate::model::{Brought, Cause, Did, Sharded, Verdict};
use prometheus::IntGauge;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Status classes in the label `code`; the first is for clients that left before an answer.
pub(super) const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// The upper ends of the buckets of durations, in nanoseconds: half a millisecond to half a minute.
pub(super) const BOUNDS: [u64; 13] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    30_000_000_000,
];

const CAUSES: usize = Cause::ALL.len();
const VERDICTS: usize = Brought::ALL.len() * Did::ALL.len();

/// Numbers of one place.
#[derive(Debug)]
pub(super) struct Counts<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Counts<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> Counts<N> {
    fn add(&self, at: usize, more: u64) {
        if let Some(count) = self.0.get(at) {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }

    fn inc(&self, at: usize) {
        self.add(at, 1);
    }
}

/// The sums over all places.
pub(super) fn totals<T, const N: usize>(
    places: &Sharded<T>,
    counts: impl Fn(&T) -> &Counts<N>,
) -> [u64; N] {
    let mut totals = [0u64; N];
    for place in places.all() {
        for (total, count) in totals.iter_mut().zip(&counts(place).0) {
            *total = total.wrapping_add(count.load(Ordering::Relaxed));
        }
    }
    totals
}

/// A number that only grows.
#[derive(Clone, Debug, Default)]
pub(super) struct Count(Sharded<Counts<1>>);

impl Count {
    /// One more.
    pub(super) fn inc(&self) {
        self.0.own().inc(0);
    }

    /// How many there were.
    pub(super) fn get(&self) -> u64 {
        let [total] = totals(&self.0, |own| own);
        total
    }
}

/// How many guards there are.
#[derive(Debug, Default)]
pub(super) struct Present(Sharded<Arc<Tally>>);

/// Aligned, so that each place's count of references, which lies before it, has a line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Tally;

/// One of them, until it is dropped. The references to its place are the count: a number beside them
/// would be two writes more, and a guard has to hold on to it anyway.
#[derive(Debug)]
#[must_use]
pub struct Guard {
    _counted: Arc<Tally>,
}

impl Present {
    /// One more, for as long as the guard lives.
    pub(super) fn enter(&self) -> Guard {
        Guard { _counted: Arc::clone(self.0.own()) }
    }

    /// How many there are.
    pub(super) fn get(&self) -> usize {
        self.0.all().map(|place| Arc::strong_count(place) - 1).sum()
    }
}

/// The counters of a rule: one cache line for each place.
#[derive(Clone, Debug, Default)]
pub struct RuleMetrics(Sharded<Counts<{ CLASSES.len() }>>);

impl RuleMetrics {
    /// Counts an answer; status 0 is a client that left before.
    pub fn answered(&self, status: u16) {
        self.0.own().inc(usize::from(status / 100).min(5));
    }

    /// Answers by [class](CLASSES).
    pub(super) fn by_class(&self) -> [u64; CLASSES.len()] {
        totals(&self.0, |own| own)
    }
}

/// What is counted for a service; that of most requests comes first and lies together.
#[derive(Debug, Default)]
pub(super) struct OfService {
    /// One for each of [`BOUNDS`], and those that took longer.
    pub(super) buckets: Counts<{ BOUNDS.len() + 1 }>,
    /// Of all of them; in nanoseconds they would be too many within weeks of many long connections.
    pub(super) microseconds: Counts<1>,
    pub(super) hits: Counts<1>,
    pub(super) verdicts: Counts<VERDICTS>,
    pub(super) misses: Counts<CAUSES>,
    pub(super) panic_picks: Counts<1>,
}

/// The counters of a service.
#[derive(Clone, Debug)]
pub struct ServiceMetrics {
    pub(super) counts: Sharded<OfService>,
    /// Requests that wait for a backend; as it was when metrics were asked for last.
    pub pending: IntGauge,
    /// WebSockets that are open.
    pub websockets: IntGauge,
}

impl ServiceMetrics {
    /// Counts a request that took so long from the header to the last byte.
    pub fn took(&self, duration: Duration) {
        // u64 has room for five centuries
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let counts = self.counts.own();
        counts.buckets.inc(BOUNDS.iter().take_while(|bound| nanoseconds > **bound).count());
        counts.microseconds.add(0, nanoseconds.saturating_add(500) / 1_000);
    }

    /// Counts a request that was sent to the backend it was bound to.
    pub fn hit(&self) {
        self.counts.own().hits.inc(0);
    }

    /// Counts a request that was placed anew.
    pub fn missed(&self, cause: Cause) {
        self.counts.own().misses.inc(cause as usize);
    }

    /// Counts what became of the affinity key of a request.
    pub fn verdict(&self, verdict: Verdict) {
        let at = verdict.brought as usize * Did::ALL.len() + verdict.did as usize;
        self.counts.own().verdicts.inc(at);
    }

    /// Counts a request that was sent to an unhealthy backend since none was healthy.
    pub fn panic_picked(&self) {
        self.counts.own().panic_picks.inc(0);
    }
}

/// What is counted for a backend.
#[derive(Debug, Default)]
pub(super) struct OfBackend {
    pub(super) requests: Counts<1>,
    pub(super) retries: Counts<1>,
}

/// The counters of a backend.
#[derive(Clone, Debug)]
pub struct BackendMetrics {
    pub(super) counts: Sharded<OfBackend>,
    /// 1 when it takes new clients.
    pub up: IntGauge,
    /// Requests that it has; as it was when metrics were asked for last.
    pub in_flight: IntGauge,
}

impl BackendMetrics {
    /// Counts a request that is sent there, each try.
    pub fn asked(&self) {
        self.counts.own().requests.inc(0);
    }

    /// Counts a try that failed there and went on.
    pub fn retried(&self) {
        self.counts.own().retries.inc(0);
    }
}
