//! The clients' listeners as a service of Pingora's: opened when the first health round is over,
//! closed by a watch of our own, since Pingora's ends the process as well.

use super::bind::{BindError, Bound};
use crate::proxy::Front;
use crate::snapshot::Live;
use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use pingora::services::listening::Service as Listening;
use std::net::SocketAddr;
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use tokio::sync::watch;

use super::OnOpen;

pub(super) struct Gate {
    listening: Listening<Front>,
    sockets: Vec<Bound>,
    live: Arc<Live>,
    /// Each turns true when something is ready that clients (or their operators) rely on.
    awaited: Vec<watch::Receiver<bool>>,
    /// Turns true when clients are to go elsewhere.
    closing: ShutdownWatch,
    on_open: Mutex<Option<OnOpen>>,
}

impl Gate {
    pub(super) fn new(
        listening: Listening<Front>,
        sockets: Vec<Bound>,
        live: Arc<Live>,
        awaited: Vec<watch::Receiver<bool>>,
        closing: ShutdownWatch,
        on_open: OnOpen,
    ) -> Self {
        Self { listening, sockets, live, awaited, closing, on_open: Mutex::new(Some(on_open)) }
    }

    /// Lets clients in; Pingora finds the sockets in its table and takes them over. All listen
    /// before the first client is served, so that a failure leaves nobody half-served.
    fn open(&mut self, fds: &ListenFds) -> Result<Vec<SocketAddr>, BindError> {
        let listening = self.sockets.drain(..).map(|bound| Ok((bound.address, bound.listen()?)));
        let listening = listening.collect::<Result<Vec<_>, BindError>>()?;
        let mut opened = Vec::new();
        for (address, listener) in listening {
            let name = address.to_string();
            fds.lock().add(name.clone(), listener.into_raw_fd());
            self.listening.add_tcp(&name);
            opened.push(address);
        }
        Ok(opened)
    }
}

#[async_trait]
impl Service for Gate {
    async fn start_service(
        &mut self,
        fds: Option<ListenFds>,
        _end_of_process: ShutdownWatch,
        listeners_per_fd: usize,
    ) {
        for ready in &mut self.awaited {
            let _ = ready.wait_for(|ready| *ready).await;
        }
        let Some(table) = &fds else { return };
        match self.open(table) {
            Ok(addresses) => {
                for address in &addresses {
                    tracing::info!(%address, "listening");
                }
                self.live.set_serving(true);
                if let Some(on_open) = self.on_open.lock().take() {
                    on_open(&addresses);
                }
            }
            Err(why) => {
                // somebody else began to listen between our bind and now
                eprintln!("{why}");
                std::process::exit(1);
            }
        }
        let closing = self.closing.clone();
        self.listening.start_service(fds, closing, listeners_per_fd).await;
    }

    fn name(&self) -> &'static str {
        "listeners"
    }
}
