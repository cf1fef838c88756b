//! The clients' listeners as a service of Pingora's: opened when the first health round is over,
//! each closed by a watch of its own, since Pingora's ends the process as well.

use super::OnOpen;
use super::bind::{BindError, Bound};
use super::doors::{Doors, Move};
use super::entry::{Entry, Leaving};
use super::takeover::Takeover;
use crate::proxy::{Front, Gateway};
use crate::snapshot::Live;
use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::server::{Fds, ListenFds, ShutdownWatch};
use pingora::services::Service;
use pingora::services::listening::Service as Listening;
use pingora_proxy::HttpProxy;
use std::net::SocketAddr;
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub(super) struct Gate {
    proxy: Arc<HttpProxy<Gateway>>,
    doors: Arc<Doors>,
    live: Arc<Live>,
    bound: Vec<Bound>,
    /// Each turns true when something is ready that clients (or their operators) rely on.
    awaited: Vec<watch::Receiver<bool>>,
    /// What is still to be settled with the process before this one, and with systemd.
    takeover: Takeover,
    /// Listeners that a reload adds and removes.
    moves: mpsc::Receiver<Move>,
    /// Tells when clients are to go elsewhere.
    leaving: watch::Receiver<Leaving>,
    on_open: Mutex<Option<OnOpen>>,
}

/// What a gate is made of.
pub(super) struct Parts {
    pub(super) proxy: Arc<HttpProxy<Gateway>>,
    pub(super) doors: Arc<Doors>,
    pub(super) live: Arc<Live>,
    pub(super) bound: Vec<Bound>,
    pub(super) awaited: Vec<watch::Receiver<bool>>,
    pub(super) takeover: Takeover,
    pub(super) moves: mpsc::Receiver<Move>,
    pub(super) leaving: watch::Receiver<Leaving>,
    pub(super) on_open: OnOpen,
}

impl Gate {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { proxy, doors, live, bound, awaited, takeover, moves, leaving, on_open } = parts;
        let on_open = Mutex::new(Some(on_open));
        Self { proxy, doors, live, bound, awaited, takeover, moves, leaving, on_open }
    }

    /// Lets clients in. All listen before the first client is served, so that a failure leaves nobody
    /// half-served.
    fn open(
        &self,
        bound: Vec<Bound>,
        tasks: &mut JoinSet<()>,
        tasks_per_socket: usize,
    ) -> Result<Vec<SocketAddr>, BindError> {
        let listen = |bound: Bound| Ok((Arc::clone(&bound.key), bound.address, bound.listen()?));
        let listening = bound.into_iter().map(listen).collect::<Result<Vec<_>, BindError>>()?;
        let mut opened = Vec::new();
        for (key, address, listener) in listening {
            let closed = match self.doors.add(Arc::clone(&key), &listener) {
                Ok(closed) => closed,
                Err(why) => {
                    tracing::error!(%address, %why, "the listener cannot be opened");
                    continue;
                }
            };
            // its connections know by which listener they came
            let front = Front::new(Arc::clone(&self.proxy), Arc::clone(&self.live), key);
            let entry = Entry::new(Arc::new(front), Arc::clone(&self.live), self.leaving.clone());
            let mut service = Listening::new(address.to_string(), entry);
            // Pingora finds the socket in a table and takes it over; a table of its own, since
            // nothing is ever taken out of one
            let mut table = Fds::new();
            table.add(address.to_string(), listener.into_raw_fd());
            service.add_tcp(&address.to_string());
            tasks.spawn(async move {
                let table = Arc::new(Mutex::new(table));
                service.start_service(Some(table), closed, tasks_per_socket).await;
            });
            opened.push(address);
        }
        for address in &opened {
            tracing::info!(%address, "listening");
        }
        Ok(opened)
    }
}

#[async_trait]
impl Service for Gate {
    async fn start_service(
        &mut self,
        _fds: Option<ListenFds>,
        _end_of_process: ShutdownWatch,
        tasks_per_socket: usize,
    ) {
        for ready in &mut self.awaited {
            let _ = ready.wait_for(|ready| *ready).await;
        }
        if let Err(why) = self.takeover.wait(&self.live).await {
            eprintln!("the process before this one has not made way: {why}");
            std::process::exit(1);
        }
        let mut tasks = JoinSet::new();
        let bound = std::mem::take(&mut self.bound);
        match self.open(bound, &mut tasks, tasks_per_socket) {
            Ok(addresses) => {
                self.live.set_serving(true);
                self.doors.are_open();
                self.takeover.serves(&self.live);
                if let Some(on_open) = self.on_open.lock().take() {
                    on_open(&addresses);
                }
            }
            Err(why) => {
                // somebody else began to listen between our bind and now
                eprintln!("{why}");
                self.takeover.fail(why.to_string());
                std::process::exit(1);
            }
        }
        let mut leaving = self.leaving.clone();
        loop {
            tokio::select! {
                Some(Move { opens, closes, done }) = self.moves.recv() => {
                    for key in closes {
                        tracing::info!(address = %key, "no longer listening");
                        self.doors.close(&key);
                    }
                    if let Err(why) = self.open(opens, &mut tasks, tasks_per_socket) {
                        tracing::error!("{why}");
                    }
                    drop(done);
                }
                _ = leaving.wait_for(|why| *why != Leaving::Not) => break,
            }
        }
        self.doors.close_all();
        while tasks.join_next().await.is_some() {}
    }

    fn name(&self) -> &'static str {
        "listeners"
    }
}
