//! The files read again and put in force, in this process. A fault changes nothing.

use super::bind::BindError;
use super::doors::{Doors, Move};
use super::generated_key::GeneratedKey;
use super::health::FIRST_ROUND;
use super::load::{self, Files, LoadError};
use super::needs_restart;
use crate::admin::{Refused, Reloaded};
use crate::config::Config;
use crate::pool::first_round;
use crate::snapshot::{Live, Snapshot};
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

pub(super) struct Reload {
    pub(super) files: Files,
    /// What the process was started with, to tell what a reload cannot change.
    pub(super) started_with: Config,
    pub(super) in_force: Arc<ArcSwap<Config>>,
    pub(super) key: Arc<GeneratedKey>,
    pub(super) live: Arc<Live>,
    pub(super) doors: Arc<Doors>,
    pub(super) moves: mpsc::Sender<Move>,
}

#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Bind(#[from] BindError),
}

struct Next {
    config: Config,
    snapshot: Snapshot,
    listeners: Move,
    needs_restart: Vec<&'static str>,
}

impl Reload {
    /// Reads the files again; tells whether they say that they are to be watched.
    pub(super) async fn reload(self: &Arc<Self>) -> (Result<Reloaded, Refused>, Option<bool>) {
        let this = Arc::clone(self);
        // reading files, looking up names and laying out rings may block
        let read = tokio::task::spawn_blocking(move || this.read()).await;
        let refused = match read {
            Ok(Ok(next)) => {
                let watch = next.config.server.watch;
                return (Ok(self.put_in_force(next).await), Some(watch));
            }
            Ok(Err(why)) => Refused { faults: faults(&why) },
            Err(why) => {
                Refused { faults: vec![format!("reading the configuration failed: {why}")] }
            }
        };
        self.live.metrics.reloaded(false);
        let faults = refused.faults.join("\n");
        tracing::error!("the configuration was not taken, nothing has changed:\n{faults}");
        (Err(refused), None)
    }

    async fn put_in_force(&self, next: Next) -> Reloaded {
        let Next { config, snapshot, mut listeners, needs_restart } = next;
        // a backend that is new takes clients only once its check has passed
        first_round(snapshot.pools(), FIRST_ROUND).await;
        let changed = self.in_force.load().merged.differences(&config.merged);
        self.live.swap(snapshot);
        self.in_force.store(Arc::new(config));
        let (done, moved) = oneshot::channel();
        listeners.done = Some(done);
        // errors: of the first the process is ending, of the second it is done
        if self.moves.send(listeners).await.is_ok() {
            let _ = moved.await;
        }
        self.live.metrics.reloaded(true);
        tracing::info!(changes = changed.len(), "the configuration was read again and is in force");
        for key in &needs_restart {
            tracing::warn!(key, "this change takes effect at the next start or upgrade");
        }
        Reloaded { changed, needs_restart }
    }

    fn read(&self) -> Result<Next, ReloadError> {
        let config = self.files.read()?;
        let generated = || self.key.get();
        let live = &self.live;
        let snapshot =
            load::snapshot(&config, &live.cells, &live.tickets, &live.metrics, &generated)?;
        load::warn(&snapshot);
        let needs_restart = needs_restart(&self.started_with, &config);
        let listeners = self.doors.prepare(&config.server.listeners)?;
        Ok(Next { config, snapshot, listeners, needs_restart })
    }
}

fn faults(why: &ReloadError) -> Vec<String> {
    match why {
        ReloadError::Load(LoadError::Faults(faults)) => {
            faults.iter().map(ToString::to_string).collect()
        }
        ReloadError::Load(LoadError::Metrics(_)) | ReloadError::Bind(_) => vec![why.to_string()],
    }
}
