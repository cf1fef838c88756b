//! What stands behind one listener: the front that all share, and when idle connections are closed.

use crate::proxy::Front;
use crate::snapshot::Live;
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::Stream;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long idle connections are left open for a successor's sake: whoever asks something meanwhile is
/// answered and told to come anew, where a connection that is closed may lose a request that is on its
/// way. The rest is closed, as `idleTimeout` would do.
const PARTING: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Whether the process takes anybody in, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It does.
    Not,
    /// It has been told to stop.
    Stopping,
    /// Another process serves.
    HandedOver,
}

pub(super) struct Entry {
    front: Arc<Front>,
    live: Arc<Live>,
    leaving: watch::Receiver<Leaving>,
}

impl Entry {
    pub(super) fn new(
        front: Arc<Front>,
        live: Arc<Live>,
        leaving: watch::Receiver<Leaving>,
    ) -> Self {
        Self { front, live, leaving }
    }

    async fn until_nobody_is_left(&self) {
        while self.live.metrics.connections.get() > 0 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

#[async_trait]
impl ServerApp for Entry {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        self.front.process_new(stream, shutdown).await
    }

    /// Runs when the listener has stopped. Where only that one was removed, its idle connections stay.
    async fn cleanup(&self) {
        let mut leaving = self.leaving.clone();
        // an error means that the process is ending anyway
        let why = leaving.wait_for(|why| *why != Leaving::Not).await.map(|why| *why);
        if matches!(why, Ok(Leaving::HandedOver)) {
            let _ = tokio::time::timeout(PARTING, self.until_nobody_is_left()).await;
        }
        self.front.cleanup().await;
    }
}
