//! The one home of time. Decisions are handed a [`UnixTime`] or an [`Instant`]; only the edge asks
//! for it here.
#![allow(clippy::disallowed_methods, reason = "the one place that may read the clocks")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Whole seconds since 1970, as affinity keys carry them (good until 2106).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub u32);

impl UnixTime {
    /// Seconds from `earlier` to `self`; 0 when `earlier` lies ahead.
    pub fn seconds_since(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The wall clock with its full precision, for log lines.
pub fn wall_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The wall clock in whole seconds.
pub fn unix_now() -> UnixTime {
    UnixTime(u32::try_from(wall_now().as_secs()).unwrap_or(u32::MAX))
}

/// The monotonic clock, for durations.
pub fn monotonic_now() -> Instant {
    Instant::now()
}

/// The monotonic clock in microseconds since a moment that all processes of this machine share, as
/// systemd counts.
pub fn monotonic_micros() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let part = |part: i64| u64::try_from(part).unwrap_or_default();
    part(now.tv_sec) * 1_000_000 + part(now.tv_nsec) / 1000
}
