//! `/api/v1`: what the process serves, and orders to change it.

use super::Desk;
use super::access::{Access, Verb};
use super::orders::Order;
use super::problem::Problem;
use crate::explain::{self, ExplainError, Question, World};
use crate::model::{Duty, clock};
use crate::pool::{Ability, Health, Member};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Request, State};
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, http::Uri};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::oneshot;

/// The routes below `/api/v1`.
pub(super) fn routes(desk: &Arc<Desk>) -> Router<Arc<Desk>> {
    Router::new()
        .route("/status", get(status))
        .route("/config", get(config))
        .route("/backends", get(backends))
        .route("/explain", post(explain))
        .route("/reload", post(reload))
        .route("/upgrade", post(upgrade))
        .fallback(async |uri: Uri| Problem::new(StatusCode::NOT_FOUND, format!("no {uri} here")))
        .method_not_allowed_fallback(async |method: Method| {
            let detail = format!("{method} is not what this takes");
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
        })
        .layer(middleware::from_fn_with_state(Arc::clone(desk), admit))
}

async fn admit(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let verb = if request.method().is_safe() { Verb::Read } else { Verb::Write };
    let problem = match desk.guard.api(verb, request.headers()) {
        Access::Granted => return next.run(request).await,
        Access::Denied => Problem::new(StatusCode::UNAUTHORIZED, "a bearer token is needed"),
        Access::Foreign(why) => Problem::new(StatusCode::FORBIDDEN, why),
    };
    problem.into_response()
}

async fn status(State(desk): State<Arc<Desk>>) -> Json<Value> {
    let live = &desk.live;
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "serving": live.serving(),
        "uptime_seconds": clock::monotonic_now().duration_since(live.started).as_secs(),
        "generation": live.metrics.generation.get(),
        "connections": live.metrics.connections.get(),
        "active_requests": live.metrics.active_requests(),
        "learned_sessions": live.learned.len(),
    }))
}

async fn config(State(desk): State<Arc<Desk>>) -> Json<Value> {
    Json(desk.config.load().merged.masked())
}

async fn backends(State(desk): State<Arc<Desk>>) -> Json<Value> {
    let snapshot = desk.live.pin();
    let of = |service: &Arc<crate::snapshot::Service>| {
        let name = service.pool.service.as_str().to_owned();
        let members = service.pool.members().to_vec();
        members.into_iter().map(move |member| backend(&name, &member))
    };
    Json(snapshot.services().iter().flat_map(of).collect())
}

fn backend(service: &str, member: &Member) -> Value {
    let backend = &member.backend;
    json!({
        "service": service,
        "id": backend.id.as_str(),
        "address": backend.address.to_string(),
        "version": &*backend.version,
        "state": match backend.duty {
            Duty::Active => "active",
            Duty::Draining => "draining",
            Duty::Maintenance => "maintenance",
        },
        "health": match member.health() {
            Health::Unchecked => "unchecked",
            Health::Healthy => "healthy",
            Health::Unhealthy => "unhealthy",
        },
        "takes": match member.ability() {
            Ability::Anyone if member.is_full() => "nobody, full",
            Ability::Anyone => "anyone",
            Ability::BoundOnly => "bound clients",
            Ability::Emergency => "anyone, if no other can",
            Ability::Nobody => "nobody",
        },
        "weight": backend.weight,
        "in_flight": member.seats().taken(),
        "incarnation": member.incarnation().as_deref().unwrap_or_default(),
    })
}

/// What would happen to a request now. Takes JSON and tells JSON, or words to whoever accepts only
/// `text/plain`.
async fn explain(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    question: Result<Bytes, BytesRejection>,
) -> Response {
    let question = match question {
        Ok(question) => question,
        Err(why) => return Problem::new(why.status(), why.body_text()).into_response(),
    };
    let question: Question = match serde_json::from_slice(&question) {
        Ok(question) => question,
        Err(why) => return Problem::new(StatusCode::BAD_REQUEST, why.to_string()).into_response(),
    };
    let decided = move || {
        let (live, config) = (Arc::clone(&desk.live), desk.config.load_full());
        let world = World::of_process(live, config, (desk.generated_key)());
        explain::explain(&world, &question, clock::unix_now())
    };
    // compiles, which may take its time
    let (status, detail) = match tokio::task::spawn_blocking(decided).await {
        Ok(Ok(report)) if headers.get(ACCEPT).is_some_and(|kind| kind == "text/plain") => {
            return report.to_string().into_response();
        }
        Ok(Ok(report)) => return Json(report).into_response(),
        Ok(Err(why @ ExplainError::Question(_))) => (StatusCode::BAD_REQUEST, why.to_string()),
        Ok(Err(why @ (ExplainError::Faults(_) | ExplainError::Metrics(_)))) => {
            (StatusCode::INTERNAL_SERVER_ERROR, why.to_string())
        }
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, why.to_string()),
    };
    Problem::new(status, detail).into_response()
}

async fn reload(State(desk): State<Arc<Desk>>) -> Response {
    match desk.order(Order::Reload).await {
        Some(Ok(reloaded)) => Json(reloaded).into_response(),
        Some(Err(refused)) => {
            let detail = "the configuration was not taken, nothing has changed";
            let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
            problem.with_faults(refused.faults).into_response()
        }
        None => ending(),
    }
}

async fn upgrade(State(desk): State<Arc<Desk>>) -> Response {
    match desk.order(Order::Upgrade).await {
        Some(Ok(upgraded)) => Json(upgraded).into_response(),
        Some(Err(why)) => {
            let mut lines = why.lines().map(str::to_owned).peekable();
            let first = lines.peek().cloned().unwrap_or_default();
            let detail = format!("the upgrade failed, nothing has changed: {first}");
            Problem::new(StatusCode::CONFLICT, detail).with_faults(lines.collect()).into_response()
        }
        None => ending(),
    }
}

fn ending() -> Response {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "this process is ending").into_response()
}

impl Desk {
    /// Passes an order on; `None` when nobody carries it out any more.
    async fn order<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(order(reply)).await.ok()?;
        answer.await.ok()
    }
}
