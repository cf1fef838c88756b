//! In front of Pingora's HTTP: an application that wraps each client connection in an IO type of our
//! own. Pingora's header timeout is for each read, so that one byte every few seconds holds a
//! connection for ever, and what it cannot parse it answers before any hook runs; both are dealt
//! with here.

mod io;

pub(super) use io::ClientIo;

use super::Gateway;
use crate::snapshot::Live;
use crate::tls::{HandshakeError, Inbound};
use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, ServerApp};
use pingora_core::protocols::Stream;
use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use prometheus::IntGauge;
use std::sync::Arc;
use std::time::Duration;

/// How long a stopping listener leaves idle kept-alive connections open: a request may already be
/// on its way there.
const LAME_DUCK: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The application behind a listener.
pub struct Front {
    proxy: Arc<HttpProxy<Gateway>>,
    live: Arc<Live>,
    /// What the snapshot calls this listener.
    key: Arc<str>,
    /// For clients that came just before a reload removed the listener.
    first: Option<Arc<Inbound>>,
}

impl Front {
    /// Serves `proxy`, which serves `live`, behind the listener of that key.
    pub fn new(proxy: Arc<HttpProxy<Gateway>>, live: Arc<Live>, key: Arc<str>) -> Self {
        let first = live.pin().doors.get(&key).and_then(|door| door.tls.clone());
        Self { proxy, live, key, first }
    }

    /// Shakes hands where the listener speaks TLS; `None`: the client was not let in. Runs in the
    /// task of the connection.
    async fn secure(&self, stream: Stream) -> Option<Stream> {
        let snapshot = self.live.pin();
        let tls = match snapshot.doors.get(&self.key) {
            Some(door) => door.tls.clone(),
            None => self.first.clone(),
        };
        let Some(tls) = tls else { return Some(stream) };
        let limit = snapshot.limits.header_timeout;
        drop(snapshot);
        let shaken = tls.accept(stream, limit).await;
        self.live.metrics.shook_hands(match &shaken {
            Ok(io) if io.was_resumed() => "resumed",
            Ok(_) => "full",
            Err(HandshakeError::Failed(_)) => "failed",
            Err(HandshakeError::TooSlow) => "timeout",
        });
        match shaken {
            Ok(io) => Some(Box::new(io)),
            Err(why) => {
                tracing::debug!(%why, "TLS with a client failed");
                None
            }
        }
    }
}

/// Counts a connection while it shakes hands, so that a stopping process waits for it.
struct Shaking(IntGauge);

impl Shaking {
    fn count(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Shaking {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[async_trait]
impl ServerApp for Front {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let shaking = Shaking::count(&self.live.metrics.connections);
        let stream = self.secure(stream).await?;
        let io = ClientIo::new(stream, Arc::clone(&self.live));
        drop(shaking);
        ServerApp::process_new(&self.proxy, Box::new(io), shutdown).await
    }

    /// Runs when the listener has stopped: gives requests that are on their way a chance, then
    /// closes idle connections. Open requests go on.
    async fn cleanup(&self) {
        let patience = async {
            while self.live.metrics.connections.get() > 0 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let _ = tokio::time::timeout(LAME_DUCK, patience).await;
        self.proxy.http_cleanup().await;
    }
}
