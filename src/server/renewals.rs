//! The background service that gets certificates for the listeners that want them (`acme`), and
//! renews them. Only in the process that serves: authorities look at the listeners, and whoever
//! leaves gives up what it has begun. What comes of it are files, which `certificates` takes up.

use super::accept::Leaving;
use super::doors::Doors;
use crate::acme::schedule::{Due, Why, due, pause};
use crate::acme::{AcmeError, Lock, Store, obtain};
use crate::config::Acme;
use crate::model::clock;
use crate::snapshot::{Live, Snapshot};
use crate::tls::Leaf;
use ahash::AHashMap;
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The clock may be set, and files may be changed by others.
const LOOK_AGAIN: Duration = Duration::from_mins(10);
/// While another process orders.
const BUSY: Duration = Duration::from_secs(2);
/// For one order.
const PATIENCE: Duration = Duration::from_mins(5);

pub(super) struct Renewals {
    live: Arc<Live>,
    doors: Arc<Doors>,
    leaving: watch::Receiver<Leaving>,
    /// Of this process, so that those which were started together do not all come at once.
    share: f64,
}

/// The certificates that are wanted, each by its file: listeners may share one.
type Wanted = AHashMap<PathBuf, Acme>;

/// Those that could not be had.
type Troubles = AHashMap<PathBuf, Trouble>;

struct Trouble {
    failures: u32,
    again: Instant,
    /// With other ones it may go better.
    settings: String,
}

/// Why an order came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Acme(#[from] AcmeError),
    #[error("it took longer than {PATIENCE:?}")]
    TooSlow,
    #[error("the authority issues certificates that are due at once")]
    DueAtOnce,
}

impl Renewals {
    pub(super) fn new(
        live: Arc<Live>,
        doors: Arc<Doors>,
        leaving: watch::Receiver<Leaving>,
    ) -> Self {
        Self { live, doors, leaving, share: rand::random() }
    }

    async fn renew(&self) {
        self.doors.wait_until_open().await;
        let mut changes = self.live.changes();
        let (mut wanted, mut troubles) = (Wanted::new(), Troubles::new());
        loop {
            let former = std::mem::replace(&mut wanted, all(&self.live.pin()));
            for (file, gone) in &former {
                if !wanted.contains_key(file) {
                    self.live.metrics.forget_renewals(gone.name());
                }
            }
            troubles.retain(|file, trouble| {
                wanted.get(file).is_some_and(|acme| settings(acme) == trouble.settings)
            });
            let mut rest = LOOK_AGAIN;
            for (file, acme) in &wanted {
                self.live.metrics.renewed(acme.name(), None);
                rest = rest.min(self.look_after(file, acme, &mut troubles).await);
            }
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                _ = changes.changed() => {}
            }
        }
    }

    /// Orders one certificate if it is due; tells when to look again.
    async fn look_after(&self, file: &PathBuf, acme: &Acme, troubles: &mut Troubles) -> Duration {
        if let Due::In(time) = self.due(acme, Store::leaf(acme).as_ref()) {
            return time;
        }
        let now = clock::monotonic_now();
        let again = troubles.get(file).map(|trouble| trouble.again.saturating_duration_since(now));
        if let Some(time) = again.filter(|time| !time.is_zero()) {
            return time;
        }
        let store = Store::of(acme);
        let done = match store.lock() {
            Ok(None) => return BUSY,
            Ok(Some(lock)) => match self.due(acme, Store::leaf(acme).as_ref()) {
                // another process has just done it
                Due::In(time) => return time,
                Due::Now(why) => {
                    if why == Why::Missing && !troubles.contains_key(file) {
                        tracing::warn!(
                            certificate = acme.name(),
                            "there is no certificate yet: until it has come, TLS clients get \
                             another one of the listener, or are turned away where it has none"
                        );
                    }
                    self.order(acme, &store, &lock, why).await
                }
            },
            Err(why) => Err(AcmeError::Store(why).into()),
        };
        self.live.metrics.renewed(acme.name(), Some(done.is_ok()));
        match done {
            Ok((leaf, time)) => {
                troubles.remove(file);
                let ends = leaf.until.saturating_sub(seconds_now());
                tracing::info!(
                    certificate = acme.name(),
                    ends_in_seconds = ends,
                    "the certificate has come"
                );
                time
            }
            Err(why) => {
                let failures = troubles.get(file).map_or(0, |trouble| trouble.failures);
                let failures = failures.saturating_add(1);
                let time = pause(failures, rand::random());
                tracing::error!(
                    certificate = acme.name(), %why, failures, again_in_seconds = time.as_secs(),
                    "no certificate has come; what is in force stays"
                );
                let again = clock::monotonic_now() + time;
                let trouble = Trouble { failures, again, settings: settings(acme) };
                troubles.insert(file.clone(), trouble);
                time
            }
        }
    }

    async fn order(
        &self,
        acme: &Acme,
        store: &Store,
        lock: &Lock,
        why: Why,
    ) -> Result<(Leaf, Duration), Failure> {
        tracing::info!(
            certificate = acme.name(),
            directory = acme.directory,
            why = why.label(),
            "ordering a certificate"
        );
        let order = obtain(acme, store, lock, &self.live.challenges);
        let leaf = tokio::time::timeout(PATIENCE, order).await.map_err(|_| Failure::TooSlow)??;
        match self.due(acme, Some(&leaf)) {
            Due::In(time) => Ok((leaf, time)),
            Due::Now(_) => Err(Failure::DueAtOnce),
        }
    }

    fn due(&self, acme: &Acme, leaf: Option<&Leaf>) -> Due {
        due(acme, leaf, seconds_now(), self.share)
    }
}

fn seconds_now() -> i64 {
    i64::from(clock::unix_now().0)
}

fn all(snapshot: &Snapshot) -> Wanted {
    let doors = snapshot.doors.iter().filter_map(|(_, door)| door.tls.as_ref()?.acme());
    doors.map(|acme| (acme.file(), acme.clone())).collect()
}

/// What an order depends on.
fn settings(acme: &Acme) -> String {
    let ca = acme.ca.as_ref().map(|ca| &ca.value);
    format!("{:?}", (acme.names(), &acme.contact, acme.challenge, ca))
}

#[async_trait]
impl BackgroundService for Renewals {
    async fn start(&self, mut end_of_process: ShutdownWatch) {
        let mut leaving = self.leaving.clone();
        tokio::select! {
            () = self.renew() => {}
            // the process that takes over goes on, and begins what is broken off here anew
            _ = leaving.wait_for(|why| *why != Leaving::Not) => {}
            _ = end_of_process.changed() => {}
        }
    }
}
