//! What a process settles when it begins to serve: with the one before it, if there is one, then with
//! its pid file and systemd.

use super::handover::{LinkError, Predecessor};
use super::notify::Notify;
use super::pid_file::PidFile;
use crate::snapshot::Live;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// Where the pid file is kept until the process ends.
pub(super) type KeptPidFile = Arc<Mutex<Option<PidFile>>>;

pub(super) struct Takeover {
    pub(super) predecessor: Option<Arc<Predecessor>>,
    pub(super) notify: Arc<Notify>,
    /// Where the operator wants it.
    pub(super) pid_path: Option<PathBuf>,
    pub(super) pid_file: KeptPidFile,
    /// Opens the operators' listener, which is shared with the process before this one.
    pub(super) open_admin: watch::Sender<bool>,
}

impl Takeover {
    /// Returns when clients may come.
    pub(super) async fn wait(&self, live: &Arc<Live>) -> Result<(), LinkError> {
        if let Some(predecessor) = self.predecessor.clone() {
            let live = Arc::clone(live);
            let waited =
                tokio::task::spawn_blocking(move || predecessor.may_serve(&live.learned)).await;
            waited.unwrap_or(Err(LinkError::Gone))?;
        }
        self.open_admin.send_replace(true);
        Ok(())
    }

    /// Says that clients come. Does not wait: the process before this one may take its time to go.
    pub(super) fn serves(&self, live: &Arc<Live>) {
        let (announced, heard) = watch::channel(false);
        let installed = Installed {
            announced,
            notify: Arc::clone(&self.notify),
            pid_path: self.pid_path.clone(),
            pid_file: Arc::clone(&self.pid_file),
        };
        match self.predecessor.clone() {
            None => installed.announce(),
            Some(predecessor) => {
                let live = Arc::clone(live);
                // a thread of its own, since the other process may live for as long as this one
                std::thread::spawn(move || {
                    predecessor.serves(&live.learned);
                    tracing::info!("took over from the process before this one");
                    installed.announce();
                    predecessor.follow_to_the_end(&live.learned);
                    tracing::info!("the process before this one has ended");
                });
            }
        }
        if let Some(interval) = self.notify.heartbeat() {
            let notify = Arc::clone(&self.notify);
            let live = Arc::clone(live);
            // on the threads that serve: where they are stuck, the signs of life end
            tokio::spawn(async move {
                let mut heard = heard;
                // systemd listens to nobody but the main process
                let _ = heard.wait_for(|announced| *announced).await;
                while live.serving() {
                    notify.alive();
                    tokio::time::sleep(interval).await;
                }
            });
        }
    }

    /// Tells the process before this one why it does not come to that.
    pub(super) fn fail(&self, why: String) {
        if let Some(predecessor) = &self.predecessor {
            predecessor.fail(why);
        }
    }
}

struct Installed {
    /// Turns true when systemd knows that this is the main process.
    announced: watch::Sender<bool>,
    notify: Arc<Notify>,
    pid_path: Option<PathBuf>,
    pid_file: KeptPidFile,
}

impl Installed {
    fn announce(&self) {
        if let Some(path) = self.pid_path.clone() {
            match PidFile::write(path.clone()) {
                Ok(file) => *self.pid_file.lock() = Some(file),
                Err(why) => {
                    tracing::error!(path = %path.display(), %why, "the pid file cannot be written");
                }
            }
        }
        self.notify.ready();
        self.announced.send_replace(true);
    }
}
