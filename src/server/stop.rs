//! The end of a process: SIGTERM lets open requests finish and ends as soon as nobody is left,
//! SIGINT (and a second signal) ends at once.
//!
//! Pingora hears of a signal only when all of that is done. It would always wait its whole grace
//! period, deaf to further signals.

use crate::snapshot::Live;
use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Over what time WebSockets are closed, at most: their clients come back as fast.
const SPREAD: Duration = Duration::from_secs(10);
/// How long the last of them may take for its reply, and a little more.
const PARTING: Duration = Duration::from_secs(3);

pub(super) struct Stop {
    live: Arc<Live>,
    /// Closes the listeners.
    closing: watch::Sender<bool>,
    drain_timeout: Duration,
}

impl Stop {
    pub(super) fn new(
        live: Arc<Live>,
        closing: watch::Sender<bool>,
        drain_timeout: Duration,
    ) -> Self {
        Self { live, closing, drain_timeout }
    }

    async fn drain(&self) {
        self.live.set_serving(false);
        self.closing.send_replace(true);
        tracing::info!(
            open = self.live.metrics.connections.get(),
            "stopping: no new clients, open requests finish"
        );
        let idle = async {
            while self.live.metrics.connections.get() > 0 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        if tokio::time::timeout(self.drain_timeout, idle).await.is_err() {
            tracing::warn!(
                open = self.live.metrics.connections.get(),
                "the drain timeout is over: connections are cut"
            );
            self.close_tunnels().await;
        }
    }

    /// WebSockets are told that they have to go elsewhere, one after the other.
    async fn close_tunnels(&self) {
        let tunnels = &self.live.tunnels;
        let spread = (self.drain_timeout / 10).min(SPREAD);
        tunnels.stop(spread);
        let closed = async {
            while tunnels.open() > 0 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let _ = tokio::time::timeout(spread + PARTING, closed).await;
    }
}

#[async_trait]
impl ShutdownSignalWatch for Stop {
    async fn recv(&self) -> ShutdownSignal {
        let (Ok(mut terminate), Ok(mut interrupt)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            tracing::error!("cannot listen to signals: only SIGKILL will end this process");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {
                tokio::select! {
                    () = self.drain() => {}
                    () = either(&mut terminate, &mut interrupt) => {
                        tracing::warn!("a second signal: connections are cut");
                    }
                }
            }
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopped");
        ShutdownSignal::FastShutdown
    }
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
