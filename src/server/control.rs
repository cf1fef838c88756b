//! Signals that change a running process: SIGHUP reads the files again, SIGUSR1 opens the log file
//! anew.

use super::generated_key::GeneratedKey;
use super::health::FIRST_ROUND;
use super::load::{self, Files, LoadError};
use super::needs_restart;
use crate::config::Config;
use crate::pool::first_round;
use crate::snapshot::{Live, Snapshot};
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Takes over the signals before anything is read: by default one that comes early would end the
/// process. It changes nothing then, as the files are about to be read anyway.
pub(super) fn take_signals() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let Ok(runtime) = runtime else { return };
    let _inside = runtime.enter();
    for kind in [SignalKind::hangup(), SignalKind::user_defined1(), SignalKind::user_defined2()] {
        if let Err(why) = signal(kind) {
            eprintln!("cannot take over signal {}: {why}", kind.as_raw_value());
        }
    }
}

pub(super) struct Control {
    inner: Arc<Inner>,
    /// Turns true when signals are listened to, so that none is lost after the process says that it
    /// is ready.
    attentive: watch::Sender<bool>,
}

struct Inner {
    files: Files,
    /// What the process was started with, to tell what a reload cannot change.
    started_with: Config,
    key: GeneratedKey,
    live: Arc<Live>,
}

impl Control {
    pub(super) fn new(
        files: Files,
        config: Config,
        key: GeneratedKey,
        live: Arc<Live>,
        attentive: watch::Sender<bool>,
    ) -> Self {
        Self { inner: Arc::new(Inner { files, started_with: config, key, live }), attentive }
    }

    /// Reads the files again; a fault changes nothing.
    async fn reload(&self) {
        let inner = Arc::clone(&self.inner);
        // reading files, looking up names and laying out rings may block
        let read = tokio::task::spawn_blocking(move || inner.read()).await;
        match read {
            Ok(Ok(next)) => {
                // a backend that is new takes clients only once its check has passed
                first_round(next.pools(), FIRST_ROUND).await;
                self.inner.live.swap(next);
                self.inner.live.metrics.reloaded(true);
                tracing::info!("the configuration was read again and is in force");
            }
            Ok(Err(why)) => {
                self.inner.live.metrics.reloaded(false);
                tracing::error!("the configuration was not taken, nothing has changed:\n{why}");
            }
            Err(why) => {
                self.inner.live.metrics.reloaded(false);
                tracing::error!(%why, "reading the configuration failed, nothing has changed");
            }
        }
    }
}

impl Inner {
    fn read(&self) -> Result<Snapshot, LoadError> {
        let config = self.files.read()?;
        let generated = || self.key.get();
        let next = load::snapshot(
            &config,
            &self.live.cells,
            &self.live.tickets,
            &self.live.metrics,
            &generated,
        )?;
        load::warn(&next);
        for key in needs_restart(&self.started_with, &config) {
            tracing::warn!(key, "this change takes effect at the next start");
        }
        Ok(next)
    }
}

#[async_trait]
impl BackgroundService for Control {
    async fn start(&self, mut end_of_process: ShutdownWatch) {
        let (Ok(mut hangup), Ok(mut user1), Ok(mut user2)) = (
            signal(SignalKind::hangup()),
            signal(SignalKind::user_defined1()),
            signal(SignalKind::user_defined2()),
        ) else {
            return tracing::error!("cannot listen to signals: no reload is possible");
        };
        self.attentive.send_replace(true);
        loop {
            tokio::select! {
                _ = hangup.recv() => self.reload().await,
                _ = user1.recv() => self.inner.live.access_log.reopen(),
                _ = user2.recv() => {
                    tracing::warn!("SIGUSR2: handing over to a new process is not supported yet");
                }
                _ = end_of_process.changed() => return,
            }
        }
    }
}
