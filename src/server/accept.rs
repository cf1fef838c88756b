//! The loop that takes clients in at one listener, instead of Pingora's: that one loses a connection
//! when it is told to stop at the wrong moment, and sleeps a second when descriptors have run out.

use super::descriptors;
use crate::proxy::{Front, Open};
use crate::snapshot::Live;
use pingora::server::ShutdownWatch;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::{GetSocketDigest, SocketDigest, l4};
use socket2::Socket;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

/// How long idle connections are left open for a successor's sake: whoever asks something meanwhile is
/// answered and told to come anew, where a connection that is closed may lose a request that is on its
/// way. The rest is closed, as `idleTimeout` would do.
const PARTING: Duration = Duration::from_secs(10);
/// How long a full house waits before it looks whether somebody has left.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
const NOBODY_LEFT: Duration = Duration::from_millis(20);
/// Who comes while nothing can be accepted waits in the kernel's queue.
const OUT_OF_RESOURCES: Duration = Duration::from_millis(100);

/// Whether the process takes anybody in, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It does.
    Not,
    /// It has been told to stop.
    Stopping,
    /// Another process serves.
    HandedOver,
}

/// One listener at work.
pub(super) struct Accept {
    pub(super) listener: Listener,
    pub(super) front: Arc<Front>,
    pub(super) live: Arc<Live>,
    /// Turns true when this listener takes nobody in any more.
    pub(super) closed: ShutdownWatch,
    pub(super) leaving: watch::Receiver<Leaving>,
}

/// A socket in the hands of the runtime.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Takes over a socket that listens and does not block.
    pub(super) fn new(socket: Socket) -> io::Result<Self> {
        Ok(if socket.local_addr()?.is_unix() {
            Self::Unix(UnixListener::from_std(socket.into())?)
        } else {
            Self::Tcp(TcpListener::from_std(socket.into())?)
        })
    }

    /// Nobody is lost when this is given up half-way.
    async fn accept(&self) -> io::Result<Stream> {
        let (stream, address): (Stream, _) = match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // what fails on a connection that has ended already shows when it is read
                let _ = stream.set_nodelay(true);
                (stream.into(), Some(l4::socket::SocketAddr::from(address)))
            }
            Self::Unix(listener) => {
                let (stream, address) = listener.accept().await?;
                (stream.into(), l4::socket::SocketAddr::try_from(address).ok())
            }
        };
        let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
        let _ = digest.peer_addr.set(address);
        let mut stream = stream;
        stream.set_socket_digest(digest);
        Ok(stream)
    }
}

impl Accept {
    /// Serves until the listener is closed, and as long as its idle connections are wanted.
    pub(super) async fn run(self) {
        let mut closed = self.closed.clone();
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => {}
            () = self.take_in() => {}
        }
        let Self { listener, front, live, mut leaving, .. } = self;
        drop(listener);
        // where only that one was removed, its idle connections stay; an error: the process is ending
        let why = leaving.wait_for(|why| *why != Leaving::Not).await.map(|why| *why);
        if matches!(why, Ok(Leaving::HandedOver)) {
            let _ = tokio::time::timeout(PARTING, nobody_is_left(&live)).await;
        }
        front.close_idle().await;
    }

    async fn take_in(&self) {
        loop {
            while self.is_full() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            match self.listener.accept().await {
                Ok(stream) => {
                    // counted here, so that nobody is accepted beyond the limit
                    let open = Open::new(&self.live.metrics);
                    let (front, closed) = (Arc::clone(&self.front), self.closed.clone());
                    // boxed: a task is copied several times on its way, and once more when it is done
                    tokio::spawn(Box::pin(async move {
                        front.serve(Box::new(stream), open, &closed).await;
                    }));
                }
                Err(why) if is_of_one_connection(&why) => {}
                Err(why) => {
                    self.live.metrics.refused("accept");
                    tracing::warn!(%why, "clients cannot be accepted; they wait");
                    tokio::time::sleep(OUT_OF_RESOURCES).await;
                }
            }
        }
    }

    /// `limits.maxConnections`: beyond it clients wait in the kernel's queue, where they cost us
    /// nothing, instead of being turned away.
    fn is_full(&self) -> bool {
        let most = self.live.pin().limits.max_connections.min(descriptors::connections());
        self.live.metrics.connections.get() >= i64::from(most)
    }
}

/// Whether accepting goes on with the next one.
#[allow(clippy::wildcard_enum_match_arm, reason = "the list of kinds is open")]
fn is_of_one_connection(why: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(why.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

async fn nobody_is_left(live: &Live) {
    while live.metrics.connections.get() > 0 {
        tokio::time::sleep(NOBODY_LEFT).await;
    }
}
