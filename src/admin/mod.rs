//! The operators' listener: metrics, probes, and the API behind `stickfast ctl`.

mod access;
mod api;
mod orders;
mod problem;

use crate::config::Config;
use crate::model::Secret;
use crate::pool::Health;
use crate::snapshot::Live;
use access::Access;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::Mutex;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use problem::Problem;
use std::net::TcpListener;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

pub use access::Guard;
pub use orders::{Order, Refused, Reloaded, Upgraded};

/// What the answers are made from.
pub struct Desk {
    /// The living process.
    pub live: Arc<Live>,
    /// Who may ask.
    pub guard: Guard,
    /// The configuration in force.
    pub config: Arc<ArcSwap<Config>>,
    /// The key that this process has made, if it has needed one.
    pub generated_key: Box<dyn Fn() -> Option<Secret> + Send + Sync>,
    /// To whoever carries orders out.
    pub orders: mpsc::Sender<Order>,
}

/// When the listener takes requests.
pub struct Hours {
    /// Turns true when requests are taken.
    pub open: watch::Receiver<bool>,
    /// Turns true when no more are taken.
    pub closing: watch::Receiver<bool>,
    /// Is told when the last answer is out.
    pub closed: watch::Sender<bool>,
}

/// Serves the operators' listener, on a thread of its own so that a scrape never waits for traffic
/// nor traffic for a scrape.
pub struct Admin {
    desk: Arc<Desk>,
    hours: Hours,
    /// Taken when the service starts.
    listener: Mutex<Option<TcpListener>>,
}

impl Admin {
    /// Serves on a listener that is bound already.
    pub fn new(desk: Desk, hours: Hours, listener: TcpListener) -> Self {
        Self { desk: Arc::new(desk), hours, listener: Mutex::new(Some(listener)) }
    }

    fn routes(&self) -> Router {
        Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(|| async { "alive\n" }))
            .route("/readyz", get(ready))
            .nest("/api/v1", api::routes(&self.desk))
            .with_state(Arc::clone(&self.desk))
    }
}

#[async_trait]
impl BackgroundService for Admin {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let Some(listener) = self.listener.lock().take() else { return };
        // an error means that the sender is gone, which is the end as well
        let _ = self.hours.open.clone().wait_for(|open| *open).await;
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(why) => return tracing::error!(%why, "the admin listener does not work"),
        };
        let mut closing = self.hours.closing.clone();
        let until = async move {
            tokio::select! {
                _ = shutdown.wait_for(|over| *over) => {}
                _ = closing.wait_for(|closing| *closing) => {}
            }
        };
        if let Err(why) = axum::serve(listener, self.routes()).with_graceful_shutdown(until).await {
            tracing::error!(%why, "the admin listener has ended");
        }
        self.hours.closed.send_replace(true);
    }
}

async fn ready(State(desk): State<Arc<Desk>>) -> Response {
    if desk.live.serving() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
    }
}

async fn metrics(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Response {
    match desk.guard.metrics(&headers) {
        Access::Granted => {}
        Access::Denied | Access::Foreign(_) => {
            let problem = Problem::new(StatusCode::UNAUTHORIZED, "a bearer token is needed");
            return problem.into_response();
        }
    }
    let live = &desk.live;
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
