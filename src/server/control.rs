//! What changes a running process: SIGHUP, the operators' listener or a changed file reads the files
//! again; SIGUSR2 or the operators' listener hands over to a new process; SIGUSR1 opens the log file
//! anew. One after the other.

use super::changes::Changes;
use super::handover::{Estate, Heir, Lineage, Program, UpgradeError, hand_over};
use super::notify::Notify;
use super::reload::Reload;
use crate::admin::{Order, Refused, Reloaded, Upgraded};
use crate::config::Upgrade;
use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// How often the files are looked at, where they are watched.
const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Control {
    pub(super) reload: Arc<Reload>,
    /// What a successor is started with; `None` where that cannot be.
    pub(super) program: Option<Arc<Program>>,
    pub(super) upgrade: Upgrade,
    pub(super) lineage: Arc<Lineage>,
    /// Whether the files are watched.
    pub(super) watch: bool,
    pub(super) notify: Arc<Notify>,
    /// From the operators' listener; taken when the service starts.
    pub(super) orders: Mutex<Option<mpsc::Receiver<Order>>>,
    /// To whom a successor that serves is told.
    pub(super) heir: mpsc::Sender<Heir>,
    /// True while a successor starts, which must not outlive this process.
    pub(super) upgrading: watch::Sender<bool>,
    /// Turns true when signals are listened to, so that none is lost after the process says that it
    /// is ready.
    pub(super) attentive: watch::Sender<bool>,
}

/// What the loop of a control remembers.
struct Watched {
    on: bool,
    changes: Changes,
}

impl Control {
    async fn reload(&self, watched: &mut Watched) -> Result<Reloaded, Refused> {
        watched.changes.note(&self.reload.files.paths);
        self.notify.reloading();
        let (done, on) = self.reload.reload().await;
        watched.on = on.unwrap_or(watched.on);
        self.notify.reloaded(match &done {
            Ok(_) => "serving",
            Err(_) => "serving; the last configuration was refused",
        });
        done
    }

    /// Hands over. When that has succeeded, this process has nothing more to change.
    async fn hand_over(&self) -> Result<Heir, String> {
        let Some(program) = self.program.clone() else {
            return Err("this process cannot be upgraded: it is no `stickfast run`".to_owned());
        };
        self.notify.reloading();
        tracing::info!(program = %program.path().display(), "starting a successor");
        self.upgrading.send_replace(true);
        let handed = self.blocking_hand_over(program).await;
        self.upgrading.send_replace(false);
        match &handed {
            Ok(heir) => tracing::info!(pid = heir.pid, "the successor serves"),
            Err(why) => {
                tracing::error!("the upgrade failed, nothing has changed: {why}");
                self.notify.reloaded(&format!("serving; the last upgrade failed: {why}"));
            }
        }
        handed
    }

    async fn blocking_hand_over(&self, program: Arc<Program>) -> Result<Heir, String> {
        let reload = Arc::clone(&self.reload);
        let upgrade = self.upgrade.clone();
        let lineage = Arc::clone(&self.lineage);
        let handed = tokio::task::spawn_blocking(move || {
            let estate = Estate {
                live: &reload.live,
                key: reload.key.in_use(),
                sockets: reload.doors.copies().map_err(UpgradeError::Sockets)?,
                lineage: &lineage,
            };
            hand_over(&program, upgrade.socket.as_deref(), upgrade.start_timeout, &estate)
        });
        match handed.await {
            Ok(handed) => handed.map_err(|why| why.to_string()),
            Err(why) => Err(why.to_string()),
        }
    }

    /// Carries out what an operator asks for; tells whether this process is the one that serves.
    async fn carry_out(&self, order: Order, watched: &mut Watched) -> bool {
        match order {
            // an error when replying means that the operator has gone
            Order::Reload(reply) => {
                let _ = reply.send(self.reload(watched).await);
                true
            }
            Order::Upgrade(reply) => match self.hand_over().await {
                Ok(heir) => {
                    let _ = reply.send(Ok(Upgraded { pid: heir.pid }));
                    self.leave_to(heir).await;
                    false
                }
                Err(why) => {
                    let _ = reply.send(Err(why));
                    true
                }
            },
        }
    }

    async fn leave_to(&self, heir: Heir) {
        // an error means that the process is ending
        let _ = self.heir.send(heir).await;
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
        let Some(mut orders) = self.orders.lock().take() else { return };
        let live = Arc::clone(&self.reload.live);
        // on its own: an upgrade may take its time, and a log file that was moved away does not wait
        tokio::spawn(async move {
            while user1.recv().await.is_some() {
                live.access_log.reopen();
            }
        });
        let mut watched = Watched { on: self.watch, changes: Changes::default() };
        watched.changes.note(&self.reload.files.paths);
        self.attentive.send_replace(true);
        tokio::select! {
            () = self.reload.doors.wait_until_open() => {}
            _ = end_of_process.changed() => return,
        }
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut serves = true;
        while serves {
            tokio::select! {
                _ = hangup.recv() => drop(self.reload(&mut watched).await),
                Some(order) = orders.recv() => serves = self.carry_out(order, &mut watched).await,
                _ = user2.recv() => if let Ok(heir) = self.hand_over().await {
                    self.leave_to(heir).await;
                    serves = false;
                },
                _ = look.tick(), if watched.on => {
                    if watched.changes.settled(&self.reload.files.paths) {
                        drop(self.reload(&mut watched).await);
                    }
                }
                _ = end_of_process.changed() => return,
            }
        }
        drop(orders);
        // signals are still taken, and those who ask are told by the end of their connection
        let _ = end_of_process.changed().await;
    }
}
