//! The clients' listeners, behind Pingora's back as one service: opened when the first health round is
//! over, each closed by a watch of its own, since Pingora's ends the process as well.

use super::OnOpen;
use super::accept::{Accept, Leaving, Listener};
use super::bind::{BindError, Bound, SocketFile};
use super::doors::{Doors, Move};
use super::takeover::Takeover;
use crate::model::Address;
use crate::proxy::{Census, Front, Gateway};
use crate::snapshot::Live;
use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use pingora_proxy::HttpProxy;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub(super) struct Gate {
    proxy: Arc<HttpProxy<Gateway>>,
    /// The connections of each address, whatever listener they came by.
    census: Arc<Census>,
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
        let census = Arc::default();
        Self { proxy, census, doors, live, bound, awaited, takeover, moves, leaving, on_open }
    }

    /// Lets clients in. All listen before the first client is served, so that a failure leaves nobody
    /// half-served.
    fn open(&self, bound: Vec<Bound>, tasks: &mut JoinSet<()>) -> Result<Vec<Address>, BindError> {
        let listening = bound.into_iter().map(Bound::listen);
        let listening = listening.collect::<Result<Vec<_>, BindError>>()?;
        let mut opened = Vec::new();
        for Bound { key, address, file, takes_file, socket, .. } in listening {
            let file = file.or_else(|| takes_file.then(|| inherited_file(&address))?);
            let added = self.doors.add(Arc::clone(&key), &socket, file);
            let added = added.and_then(|closed| Ok((closed, Listener::new(socket)?)));
            let (closed, listener) = match added {
                Ok(added) => added,
                Err(why) => {
                    tracing::error!(%address, %why, "the listener cannot be opened");
                    continue;
                }
            };
            // its connections know by which listener they came
            let (proxy, live) = (Arc::clone(&self.proxy), Arc::clone(&self.live));
            let front = Arc::new(Front::new(proxy, live, Arc::clone(&self.census), key));
            let (live, leaving) = (Arc::clone(&self.live), self.leaving.clone());
            tasks.spawn(Accept { listener, front, live, closed, leaving }.run());
            opened.push(address);
        }
        for address in &opened {
            tracing::info!(%address, "listening");
        }
        Ok(opened)
    }
}

/// The file of a socket that came from the process before this one, which has made way.
fn inherited_file(address: &Address) -> Option<SocketFile> {
    match address {
        Address::Inet(_) => None,
        Address::Unix(path) => SocketFile::at(Path::new(&**path)).ok(),
    }
}

#[async_trait]
impl Service for Gate {
    async fn start_service(
        &mut self,
        _fds: Option<ListenFds>,
        _end_of_process: ShutdownWatch,
        _tasks_per_socket: usize,
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
        match self.open(bound, &mut tasks) {
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
                    if let Err(why) = self.open(opens, &mut tasks) {
                        tracing::error!("{why}");
                    }
                    drop(done);
                }
                _ = leaving.wait_for(|why| *why != Leaving::Not) => break,
            }
        }
        let handed_over = *leaving.borrow() == Leaving::HandedOver;
        self.doors.close_all(handed_over);
        while tasks.join_next().await.is_some() {}
    }

    fn name(&self) -> &'static str {
        "listeners"
    }
}
