//! Whether an HTTP/2 client behaves: one that opens streams only to reset them costs the backends
//! much and itself nothing (CVE-2023-44487). The library below counts streams that are reset before
//! they are taken up; these here were.

use std::time::Duration;

/// Fewer resets than this are anybody's right: pages are left, downloads are stopped.
const TOLERATED: u32 = 200;

/// A request that is taken back later than this was meant.
const HASTY: Duration = Duration::from_secs(1);

/// What the streams of a connection came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conduct {
    ended: u32,
    taken_back: u32,
}

impl Conduct {
    /// Takes in how a stream ended; `false` when the client is to be sent away: when most of its
    /// many requests were taken back at once.
    pub(super) fn is_fair(&mut self, client_left: bool, after: Duration) -> bool {
        self.ended = self.ended.saturating_add(1);
        if client_left && after < HASTY {
            self.taken_back = self.taken_back.saturating_add(1);
        }
        self.taken_back < TOLERATED || self.taken_back <= self.ended / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_takes_everything_back_is_sent_away() {
        let mut conduct = Conduct::default();
        let fair = (0..1000).take_while(|_| conduct.is_fair(true, Duration::ZERO)).count();
        assert_eq!(fair, 199);
    }

    #[test]
    fn one_who_takes_back_what_took_too_long_stays() {
        let mut conduct = Conduct::default();
        assert!((0..10_000).all(|_| conduct.is_fair(true, HASTY)));
    }

    #[test]
    fn one_who_takes_back_every_third_stays() {
        let mut conduct = Conduct::default();
        assert!((0..10_000).all(|nth| conduct.is_fair(nth % 3 == 0, Duration::ZERO)));
    }
}
