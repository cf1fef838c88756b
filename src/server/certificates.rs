//! Takes certificates up when their files change: a renewal needs no signal. Files that hold nothing
//! good change nothing, and are complained about once.

use crate::config::Fault;
use crate::model::clock;
use crate::snapshot::Live;
use crate::tls::Refreshed;
use ahash::AHashMap;
use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use std::sync::Arc;
use std::time::Duration;

const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct CertificateFiles {
    live: Arc<Live>,
    /// What the metrics show.
    shown: Arc<Mutex<Ends>>,
}

impl CertificateFiles {
    pub(super) fn new(live: Arc<Live>) -> Self {
        Self { live, shown: Arc::default() }
    }
}

/// When each certificate ends, by its listener and its first name.
type Ends = AHashMap<(String, String), i64>;

/// Looks at every file of the snapshot in force.
fn refresh(live: &Live, shown: &mut Ends) {
    let (snapshot, now) = (live.pin(), clock::unix_now());
    let mut ends = Ends::new();
    for (listener, door) in snapshot.doors.iter() {
        let Some(tls) = &door.tls else { continue };
        report(&tls.refresh(&live.tickets, now));
        for (name, at) in tls.ends() {
            // of two with one name, the one that is sooner of interest
            let shown = ends.entry((listener.to_owned(), name)).or_insert(at);
            *shown = at.min(*shown);
        }
    }
    show(live, shown, ends);
    for tls in snapshot.services().iter().filter_map(|service| service.tls.as_ref()) {
        report(&tls.refresh(now));
    }
}

fn show(live: &Live, shown: &mut Ends, ends: Ends) {
    for (listener, name) in shown.keys().filter(|key| !ends.contains_key(*key)) {
        live.metrics.certificate_ends(listener, name, None);
    }
    for ((listener, name), at) in &ends {
        live.metrics.certificate_ends(listener, name, Some(*at));
    }
    *shown = ends;
}

fn report(refreshed: &Refreshed<Vec<Fault>>) {
    match refreshed {
        Refreshed::Unchanged => {}
        Refreshed::Taken => tracing::info!("changed certificates are in force"),
        Refreshed::Refused(faults) => {
            for fault in faults {
                tracing::error!(
                    "changed certificates were not taken, nothing has changed: {fault}"
                );
            }
        }
    }
}

#[async_trait]
impl BackgroundService for CertificateFiles {
    async fn start(&self, mut end_of_process: ShutdownWatch) {
        loop {
            let (live, shown) = (Arc::clone(&self.live), Arc::clone(&self.shown));
            // files may be on a slow disk
            let look = move || refresh(&live, &mut shown.lock());
            if let Err(why) = tokio::task::spawn_blocking(look).await {
                tracing::error!(%why, "looking at certificates failed");
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                _ = end_of_process.changed() => return,
            }
        }
    }
}
