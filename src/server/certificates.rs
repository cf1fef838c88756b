//! Takes certificates up when their files change: a renewal needs no signal. Files that hold nothing
//! good change nothing, and are complained about once.

use crate::config::Fault;
use crate::model::clock;
use crate::snapshot::Live;
use crate::tls::Refreshed;
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use std::sync::Arc;
use std::time::Duration;

const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct CertificateFiles {
    live: Arc<Live>,
}

impl CertificateFiles {
    pub(super) fn new(live: Arc<Live>) -> Self {
        Self { live }
    }
}

/// Looks at every file of the snapshot in force.
fn refresh(live: &Live) {
    let (snapshot, now) = (live.pin(), clock::unix_now());
    for tls in snapshot.doors.iter().filter_map(|door| door.tls.as_ref()) {
        report(&tls.refresh(&live.tickets, now));
    }
    for tls in snapshot.services().iter().filter_map(|service| service.tls.as_ref()) {
        report(&tls.refresh(now));
    }
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
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                _ = end_of_process.changed() => return,
            }
            let live = Arc::clone(&self.live);
            // files may be on a slow disk
            if let Err(why) = tokio::task::spawn_blocking(move || refresh(&live)).await {
                tracing::error!(%why, "looking at certificates failed");
            }
        }
    }
}
