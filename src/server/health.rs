//! The one background service that runs the health checks of all services, for the snapshot in
//! force.

use crate::pool::{Rounds, first_round};
use crate::snapshot::Live;
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long a first round may keep clients waiting.
pub(super) const FIRST_ROUND: Duration = Duration::from_secs(5);

pub(super) struct HealthService {
    live: Arc<Live>,
    settled: watch::Sender<bool>,
}

impl HealthService {
    pub(super) fn new(live: Arc<Live>, settled: watch::Sender<bool>) -> Self {
        Self { live, settled }
    }
}

#[async_trait]
impl BackgroundService for HealthService {
    async fn start(&self, mut end_of_process: ShutdownWatch) {
        first_round(self.live.pin().pools(), FIRST_ROUND).await;
        self.settled.send_replace(true);
        let mut changes = self.live.changes();
        let mut rounds = Rounds::default();
        loop {
            rounds.follow(self.live.pin().pools());
            tokio::select! {
                _ = changes.changed() => {}
                _ = end_of_process.changed() => return,
            }
        }
    }
}
