//! What the process holds for as long as it lives: the snapshot in force and all that outlives it.

use super::Snapshot;
use crate::affinity::{Bursts, Learned};
use crate::model::{Sharded, clock};
use crate::observe::{AccessLog, Metrics};
use crate::pool::Cells;
use crate::tls::{Challenges, Tickets};
use crate::websocket::Tunnels;
use ahash::AHashSet;
use arc_swap::ArcSwap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::sync::watch;

/// First requests that are remembered at a time.
const BURSTS: usize = 16_384;

/// A snapshot, held. Each thread has a handle of its own, on cache lines of its own, so that requests
/// do not all count their references in one word.
#[repr(align(64))]
pub struct Pinned(Arc<Snapshot>);

impl Pinned {
    fn for_each_thread(snapshot: &Arc<Snapshot>) -> Sharded<Arc<Self>> {
        Sharded::from_fn(|| Arc::new(Self(Arc::clone(snapshot))))
    }
}

impl From<Snapshot> for Pinned {
    fn from(snapshot: Snapshot) -> Self {
        Self(Arc::new(snapshot))
    }
}

impl Deref for Pinned {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0
    }
}

/// The living process.
pub struct Live {
    current: ArcSwap<Sharded<Arc<Pinned>>>,
    /// Tells the health checks that there is a new snapshot.
    changed: watch::Sender<()>,
    /// Health marks.
    pub cells: Cells,
    /// The keys of session tickets.
    pub tickets: Tickets,
    /// What certificate authorities are to be shown.
    pub challenges: Arc<Challenges>,
    /// Counters.
    pub metrics: Metrics,
    /// The line for each request.
    pub access_log: AccessLog,
    /// Sessions of applications, and who minted them.
    pub learned: Learned,
    /// First requests of the last moment.
    pub bursts: Bursts,
    /// WebSockets that are open.
    pub tunnels: Tunnels,
    /// When the process began.
    pub started: Instant,
    serving: AtomicBool,
}

impl Live {
    /// Takes the first snapshot into service; not [`Self::serving`] yet.
    pub fn new(
        first: Snapshot,
        cells: Cells,
        tickets: Tickets,
        metrics: Metrics,
        access_log: AccessLog,
    ) -> Self {
        metrics.generation.inc();
        show_fingerprints(&first, &metrics);
        Self {
            learned: Learned::new(first.max_learned, rand::random()),
            bursts: Bursts::new(BURSTS, rand::random()),
            tunnels: Tunnels::default(),
            started: clock::monotonic_now(),
            current: ArcSwap::from_pointee(Pinned::for_each_thread(&Arc::new(first))),
            changed: watch::Sender::new(()),
            cells,
            tickets,
            challenges: Arc::default(),
            metrics,
            access_log,
            serving: AtomicBool::new(false),
        }
    }

    /// The snapshot in force, to be held for as long as a request lasts.
    pub fn pin(&self) -> Arc<Pinned> {
        Arc::clone(self.current.load().own())
    }

    /// Puts `next` in force and forgets what only the old one had. Requests that are under way end
    /// on the old one.
    pub fn swap(&self, next: Snapshot) {
        let next = Arc::new(next);
        let old = self.current.swap(Arc::new(Pinned::for_each_thread(&next)));
        self.metrics.generation.inc();
        self.changed.send_replace(());
        if self.learned.capacity() != next.max_learned {
            self.learned.resize(next.max_learned);
        }
        self.forget(old.own(), &next);
        show_fingerprints(&next, &self.metrics);
        drop(old);
        self.cells.sweep();
    }

    /// Tells when the snapshot has changed.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Whether clients are welcome: not before the listeners are open, nor while draining.
    pub fn serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed)
    }

    /// Opens or closes the door that `/readyz` shows.
    pub fn set_serving(&self, serving: bool) {
        self.serving.store(serving, Ordering::Relaxed);
    }

    /// Metrics of what is gone would stay on the page for ever.
    fn forget(&self, old: &Snapshot, next: &Snapshot) {
        let rules: AHashSet<_> =
            next.rules().iter().map(|rule| (&rule.service.pool.service, &rule.id)).collect();
        for rule in old.rules() {
            if !rules.contains(&(&rule.service.pool.service, &rule.id)) {
                self.metrics.forget_rule(&rule.service.pool.service, &rule.id);
            }
        }
        let backends: AHashSet<_> = ids(next).collect();
        for (service, backend) in ids(old).filter(|gone| !backends.contains(gone)) {
            self.metrics.forget_backend(service, backend);
        }
        let services: AHashSet<_> = next.services().iter().map(|s| &s.pool.service).collect();
        for service in old.services() {
            if !services.contains(&service.pool.service) {
                self.metrics.forget_service(&service.pool.service);
            }
        }
    }
}

/// By what hash each service and each rule places clients. They were computed with the snapshot.
fn show_fingerprints(snapshot: &Snapshot, metrics: &Metrics) {
    for service in snapshot.services() {
        metrics.fingerprint(&service.pool.service, "", service.choices.fingerprint());
    }
    for rule in snapshot.rules() {
        let placement = rule.stickiness.as_ref().and_then(|s| s.placement.as_ref());
        let own = placement.and_then(|placement| placement.choices.fingerprint());
        metrics.fingerprint(&rule.service.pool.service, rule.id.as_str(), own);
    }
}

type BackendName<'s> = (&'s crate::model::ServiceId, &'s crate::model::BackendId);

fn ids(snapshot: &Snapshot) -> impl Iterator<Item = BackendName<'_>> {
    let services = snapshot.services().iter();
    services.flat_map(|s| s.pool.members().iter().map(|m| (&s.pool.service, &m.backend.id)))
}
