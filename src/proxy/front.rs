//! In front of Pingora's HTTP: an application that wraps each client connection in an IO type of our
//! own. Pingora's header timeout is for each read, so that one byte every few seconds holds a
//! connection for ever, and what it cannot parse it answers before any hook runs; both are dealt
//! with here.

mod io;

pub(super) use io::ClientIo;

use super::Gateway;
use crate::snapshot::Live;
use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, ServerApp};
use pingora_core::protocols::Stream;
use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
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
}

impl Front {
    /// Serves `proxy`, which serves `live`.
    pub fn new(proxy: Arc<HttpProxy<Gateway>>, live: Arc<Live>) -> Self {
        Self { proxy, live }
    }
}

#[async_trait]
impl ServerApp for Front {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let io = ClientIo::new(stream, Arc::clone(&self.live));
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
