//! The background service that forgets sessions of applications which fell silent, so that they hold
//! no memory. Apart from the table itself, which is right about each session without it.

use super::descriptors;
use crate::affinity::learned::Hand;
use crate::model::{UnixTime, clock};
use crate::snapshot::Live;
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use std::sync::Arc;
use std::time::Duration;

const PAUSE: Duration = Duration::from_secs(1);
/// Seconds that an entry stays after it has expired.
const LAG: u32 = 60;
/// Entries that are looked at while a part of the table is locked; well below a millisecond.
const STEP: usize = 2048;
/// Steps between two pauses: a table of a million is gone through within ten seconds.
const STEPS: usize = 64;

pub(super) struct Sweep {
    live: Arc<Live>,
}

impl Sweep {
    pub(super) fn new(live: Arc<Live>) -> Self {
        Self { live }
    }

    async fn sweep(&self, hand: &mut Hand) {
        let (learned, metrics) = (&self.live.learned, &self.live.metrics);
        // for a while a client is told that its session fell silent, not that there is none
        let now = UnixTime(clock::unix_now().0.saturating_sub(LAG));
        for _ in 0..STEPS {
            learned.sweep(hand, STEP, now);
            if *hand == Hand::default() {
                break;
            }
            tokio::task::yield_now().await;
        }
        metrics.learned_sessions.set(i64::try_from(learned.len()).unwrap_or(i64::MAX));
        let counted = metrics.learned_evicted.get();
        metrics.learned_evicted.inc_by(learned.evicted().saturating_sub(counted));
    }
}

#[async_trait]
impl BackgroundService for Sweep {
    async fn start(&self, mut end_of_process: ShutdownWatch) {
        let mut hand = Hand::default();
        loop {
            self.sweep(&mut hand).await;
            self.live.cells.close_idle(clock::monotonic_now(), descriptors::kept(usize::MAX));
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                _ = end_of_process.changed() => return,
            }
        }
    }
}
