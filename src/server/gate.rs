//! The clients' listeners as a service of Pingora's: opened when the first health round is over,
//! closed by a watch of our own, since Pingora's ends the process as well.

use super::bind::{BindError, Bound};
use crate::proxy::{Front, Gateway};
use crate::snapshot::Live;
use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use pingora::services::listening::Service as Listening;
use pingora_proxy::HttpProxy;
use std::net::SocketAddr;
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::OnOpen;

/// Accepts at one listener, whose connections know which one it is.
type Doorman = Listening<Front>;

pub(super) struct Gate {
    proxy: Arc<HttpProxy<Gateway>>,
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
        proxy: Arc<HttpProxy<Gateway>>,
        sockets: Vec<Bound>,
        live: Arc<Live>,
        awaited: Vec<watch::Receiver<bool>>,
        closing: ShutdownWatch,
        on_open: OnOpen,
    ) -> Self {
        Self { proxy, sockets, live, awaited, closing, on_open: Mutex::new(Some(on_open)) }
    }

    /// Lets clients in; Pingora finds the sockets in its table and takes them over. All listen
    /// before the first client is served, so that a failure leaves nobody half-served.
    fn open(&mut self, fds: &ListenFds) -> Result<Vec<(SocketAddr, Doorman)>, BindError> {
        let listening = self.sockets.drain(..).map(|bound| {
            let (key, address) = (Arc::clone(&bound.key), bound.address);
            Ok((key, address, bound.listen()?))
        });
        let listening = listening.collect::<Result<Vec<_>, BindError>>()?;
        let mut opened = Vec::new();
        for (key, address, listener) in listening {
            let name = address.to_string();
            fds.lock().add(name.clone(), listener.into_raw_fd());
            let front = Front::new(Arc::clone(&self.proxy), Arc::clone(&self.live), key);
            let mut doorman = Listening::new("listeners".into(), front);
            doorman.add_tcp(&name);
            opened.push((address, doorman));
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
        let mut doormen = JoinSet::new();
        match self.open(table) {
            Ok(opened) => {
                let (addresses, all): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
                for address in &addresses {
                    tracing::info!(%address, "listening");
                }
                self.live.set_serving(true);
                if let Some(on_open) = self.on_open.lock().take() {
                    on_open(&addresses);
                }
                for mut doorman in all {
                    let (fds, closing) = (fds.clone(), self.closing.clone());
                    doormen.spawn(async move {
                        doorman.start_service(fds, closing, listeners_per_fd).await;
                    });
                }
            }
            Err(why) => {
                // somebody else began to listen between our bind and now
                eprintln!("{why}");
                std::process::exit(1);
            }
        }
        while doormen.join_next().await.is_some() {}
    }

    fn name(&self) -> &'static str {
        "listeners"
    }
}
