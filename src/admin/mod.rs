//! The operators' listener: metrics and probes.

mod access;

use crate::pool::Health;
use crate::snapshot::Live;
use access::Access;
use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::Mutex;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use std::net::TcpListener;
use std::sync::Arc;

pub use access::Guard;

/// Serves the operators' listener, on a thread of its own so that a scrape never waits for traffic
/// nor traffic for a scrape.
pub struct Admin {
    live: Arc<Live>,
    guard: Guard,
    /// Taken when the service starts.
    listener: Mutex<Option<TcpListener>>,
}

impl Admin {
    /// Serves `live` on a listener that is bound already.
    pub fn new(live: Arc<Live>, guard: Guard, listener: TcpListener) -> Self {
        Self { live, guard, listener: Mutex::new(Some(listener)) }
    }

    fn routes(&self) -> Router {
        Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(|| async { "alive\n" }))
            .route("/readyz", get(ready))
            .with_state((Arc::clone(&self.live), self.guard.clone()))
    }
}

#[async_trait]
impl BackgroundService for Admin {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let Some(listener) = self.listener.lock().take() else { return };
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(why) => return tracing::error!(%why, "the admin listener does not work"),
        };
        let until = async move {
            // an error means that the sender is gone, which is the end as well
            let _ = shutdown.wait_for(|over| *over).await;
        };
        if let Err(why) = axum::serve(listener, self.routes()).with_graceful_shutdown(until).await {
            tracing::error!(%why, "the admin listener has ended");
        }
    }
}

async fn ready(State((live, _)): State<(Arc<Live>, Guard)>) -> Response {
    if live.serving() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
    }
}

async fn metrics(State((live, guard)): State<(Arc<Live>, Guard)>, headers: HeaderMap) -> Response {
    match guard.metrics(&headers) {
        Access::Granted => {}
        Access::Denied => {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
            return (StatusCode::UNAUTHORIZED, challenge, "a bearer token is needed\n")
                .into_response();
        }
    }
    for service in live.pin().services() {
        service.metrics.pending.set(i64::from(service.crowd.waiting()));
        for member in service.pool.members() {
            member.metrics.up.set(i64::from(member.health() == Health::Healthy));
            member.metrics.in_flight.set(i64::from(member.seats().taken()));
        }
    }
    match live.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n")).into_response(),
    }
}
