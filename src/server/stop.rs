//! The end of a process: SIGTERM, or a successor that serves, lets open requests finish and ends as
//! soon as nobody is left, here and in the processes before it; SIGINT (and a second signal) ends at once.
//!
//! Pingora hears of a signal only when all of that is done. It would always wait its whole grace
//! period, deaf to further signals.

use super::accept::Leaving;
use super::handover::{Heir, Lineage, has_failed};
use super::notify::Notify;
use super::signals::Ending;
use crate::model::clock;
use crate::snapshot::Live;
use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::server::{RunArgs, Server, ShutdownSignal, ShutdownSignalWatch};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, watch};

const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Over what time WebSockets are closed, at most: their clients come back as fast.
const SPREAD: Duration = Duration::from_secs(10);
/// How long the last of them may take for its reply, and a little more.
const PARTING: Duration = Duration::from_secs(3);
/// How long open requests of operators are waited for.
const OPERATORS: Duration = Duration::from_secs(2);

/// How long threads may take to end when all is done.
const THREADS: Duration = Duration::from_secs(1);

/// Telling the successor what was learnt may take one part in so many of this process's time.
const EFFORT: u32 = 20;

pub(super) struct Stop {
    live: Arc<Live>,
    notify: Arc<Notify>,
    /// Closes the listeners.
    leaving: watch::Sender<Leaving>,
    /// Closes the operators' listener.
    closing_admin: watch::Sender<bool>,
    /// True once no operator's request is open.
    admin_closed: watch::Receiver<bool>,
    /// True while a successor starts.
    upgrading: watch::Receiver<bool>,
    /// Tells when a successor serves.
    heir: Mutex<mpsc::Receiver<Heir>>,
    /// Taken when Pingora begins to ask.
    ending: Mutex<Option<Ending>>,
    lineage: Arc<Lineage>,
    drain_timeout: Duration,
}

/// What a stop is made of.
pub(super) struct Parts {
    pub(super) live: Arc<Live>,
    pub(super) notify: Arc<Notify>,
    pub(super) leaving: watch::Sender<Leaving>,
    pub(super) closing_admin: watch::Sender<bool>,
    pub(super) admin_closed: watch::Receiver<bool>,
    pub(super) upgrading: watch::Receiver<bool>,
    pub(super) heir: mpsc::Receiver<Heir>,
    pub(super) ending: Ending,
    pub(super) lineage: Arc<Lineage>,
    pub(super) drain_timeout: Duration,
}

/// Serves until the end.
pub(super) fn serve(pingora: Server, stop: Stop) -> io::Result<()> {
    let run = |stopped| {
        let shutdown_signal = Box::new(Announced { stop, stopped });
        pingora.run(RunArgs { shutdown_signal });
    };
    apart(run, THREADS)
}

/// Has `run` go on in a thread of its own, at most for `patience` behind its word that it has stopped. Where
/// threads do not steal, Pingora waits for each task that does not pause; the process does not.
fn apart(run: impl FnOnce(Sender<()>) + Send + 'static, patience: Duration) -> io::Result<()> {
    let (stopped, has_stopped) = std::sync::mpsc::channel();
    let (ended, has_ended) = std::sync::mpsc::channel::<()>();
    let serving = thread::Builder::new().name("pingora".to_owned()).spawn(move || {
        let _ended = ended;
        run(stopped);
    })?;
    // an error: it has ended by itself
    let _ = has_stopped.recv();
    if has_ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
        tracing::warn!("some task does not end: the process ends without it");
        return Ok(());
    }
    serving.join().map_err(|_| io::Error::other("Pingora has failed"))
}

/// A stop of which others hear, too.
struct Announced {
    stop: Stop,
    stopped: Sender<()>,
}

#[async_trait]
impl ShutdownSignalWatch for Announced {
    async fn recv(&self) -> ShutdownSignal {
        let signal = self.stop.recv().await;
        let _ = self.stopped.send(());
        signal
    }
}

impl Stop {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            live,
            notify,
            leaving,
            closing_admin,
            admin_closed,
            upgrading,
            heir,
            ending,
            lineage,
            drain_timeout,
        } = parts;
        let heir = Mutex::new(heir);
        let ending = Mutex::new(Some(ending));
        Self {
            live,
            notify,
            leaving,
            closing_admin,
            admin_closed,
            upgrading,
            heir,
            ending,
            lineage,
            drain_timeout,
        }
    }

    async fn drain(&self, why: Leaving) {
        self.live.set_serving(false);
        self.leaving.send_replace(why);
        tracing::info!(
            open = self.live.metrics.connections.get(),
            "stopping: no new clients, open requests finish"
        );
        if tokio::time::timeout(self.drain_timeout, self.idle()).await.is_err() {
            tracing::warn!(
                open = self.live.metrics.connections.get(),
                "the drain timeout is over: connections are cut"
            );
            self.close_tunnels().await;
        }
    }

    /// How long a stop takes at most.
    fn patience(&self) -> Duration {
        self.drain_timeout + SPREAD + PARTING + OPERATORS * 2
    }

    /// Drains, and waits for the processes before this one: when the main process has ended, systemd
    /// signals the others again, which would cut their connections.
    async fn drain_last(&self) {
        let stopped = async {
            self.drain(Leaving::Stopping).await;
            self.lineage.others_have_ended().await;
        };
        if tokio::time::timeout(self.patience(), stopped).await.is_err() {
            tracing::warn!("a process before this one has not ended, and is not waited for");
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

    async fn idle(&self) {
        while self.live.metrics.connections.get() > 0 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// No new operators: they are the successor's from now on.
    async fn close_admin(&self) {
        self.closing_admin.send_replace(true);
        let mut closed = self.admin_closed.clone();
        let closed = closed.wait_for(|closed| *closed);
        // an error is the end of the listener as well
        let _ = tokio::time::timeout(OPERATORS, closed).await;
    }

    /// Waits until a successor that is still starting has been ended: see
    /// [`super::handover::UpgradeError::Stopping`].
    async fn give_up_successor(&self) {
        self.live.set_serving(false);
        let mut upgrading = self.upgrading.clone();
        let ended = upgrading.wait_for(|upgrading| !*upgrading);
        let _ = tokio::time::timeout(OPERATORS, ended).await;
    }

    /// Waits until the successor crashes where there is a systemd to start the service again. That sees the
    /// end of its main process only when this one, the parent, has ended too: until then nobody serves,
    /// and afterwards all that still drain are ended anyway.
    async fn successor_fails(&self, pid: u32) {
        if !self.notify.is_heard() {
            return std::future::pending().await;
        }
        while !has_failed(pid) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Drains, and tells the successor which sessions are learnt meanwhile.
    async fn leave_to(&self, heir: Heir) {
        let released = heir.release();
        if let Err(why) = released {
            tracing::warn!(%why, "the successor was not told that it is on its own");
        }
        let live = Arc::clone(&self.live);
        let (ended, over) = watch::channel(false);
        let telling = tokio::task::spawn_blocking(move || tell(heir, &live, &over));
        tokio::join!(self.drain(Leaving::HandedOver), self.close_admin());
        ended.send_replace(true);
        let _ = telling.await;
    }
}

/// Tells the successor what is learnt until `over`, and once more then.
fn tell(mut heir: Heir, live: &Live, over: &watch::Receiver<bool>) {
    // without a sender this process is ending, whatever is still to be told
    while over.has_changed().is_ok() {
        let last = *over.borrow();
        let start = clock::monotonic_now();
        if heir.tell(&live.learned).is_err() {
            // it has ended, or has its own successor
            return;
        }
        if last {
            return;
        }
        let pause = LOOK_AGAIN.max(start.elapsed() * EFFORT);
        let until = clock::monotonic_now() + pause;
        while over.has_changed().is_ok() && !*over.borrow() && clock::monotonic_now() < until {
            thread::sleep(LOOK_AGAIN.min(pause));
        }
    }
}

impl Stop {
    async fn recv(&self) -> ShutdownSignal {
        let ending = self.ending.lock().take();
        let Some(Ending { mut terminate, mut interrupt }) = ending else {
            // asked before: the answer to that is still to come
            return std::future::pending().await;
        };
        let heir = std::future::poll_fn(|context| self.heir.lock().poll_recv(context));
        tokio::select! {
            _ = terminate.recv() => {
                self.notify.stopping(self.patience());
                tokio::select! {
                    () = self.drain_last() => {}
                    () = either(&mut terminate, &mut interrupt) => {
                        tracing::warn!("a second signal: connections are cut");
                    }
                }
                self.close_admin().await;
            }
            Some(heir) = heir => {
                let pid = heir.pid;
                self.notify.succeeded_by(pid);
                tokio::select! {
                    () = self.leave_to(heir) => {}
                    () = self.successor_fails(pid) => {
                        tracing::error!(
                            pid,
                            "the successor has died: this process makes way for a new start"
                        );
                    }
                    () = leave_at_once(&mut terminate, &mut interrupt) => {
                        tracing::warn!("a signal: connections are cut");
                    }
                }
            }
            _ = interrupt.recv() => {}
        }
        self.give_up_successor().await;
        tracing::info!("stopped");
        ShutdownSignal::FastShutdown
    }
}

/// A process that has a successor drains already: the first SIGTERM asks for no more than that.
/// systemd sends it to every process of a service that is stopped.
async fn leave_at_once(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {
            tracing::info!("stopping already; another signal ends this process at once");
            either(terminate, interrupt).await;
        }
        _ = interrupt.recv() => {}
    }
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_waits_for_no_task_that_never_ends() {
        let (_forever, never) = std::sync::mpsc::channel::<()>();
        let run = move |stopped: Sender<()>| {
            stopped.send(()).unwrap();
            let _ = never.recv();
        };
        assert!(apart(run, Duration::ZERO).is_ok());
    }

    #[test]
    fn what_ends_is_waited_for_whether_it_has_given_word_or_not() {
        for gives_word in [false, true] {
            for fails in [false, true] {
                let (ended, has_ended) = std::sync::mpsc::channel();
                let run = move |stopped: Sender<()>| {
                    if gives_word {
                        stopped.send(()).unwrap();
                    }
                    ended.send(()).unwrap();
                    if fails {
                        std::panic::resume_unwind(Box::new(()));
                    }
                };
                assert_eq!(apart(run, Duration::MAX).is_err(), fails);
                assert!(has_ended.try_recv().is_ok());
            }
        }
    }
}
