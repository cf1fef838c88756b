//! A backend with state to lose: it counts its requests, and can be stopped.

use axum::Router;
use axum::extract::State;
use axum::routing::{any, get};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;
use tokio::task::JoinSet;

struct Toy {
    id: String,
    served: AtomicU64,
    stop: Notify,
}

/// Starts a backend at each address, on a thread of their own.
pub(super) fn start(toys: Vec<(String, SocketAddr)>) -> anyhow::Result<()> {
    let mut bound = Vec::new();
    for (id, address) in toys {
        let listener = TcpListener::bind(address)
            .map_err(|why| anyhow::anyhow!("toy backend {id} cannot listen on {address}: {why}"))?;
        listener.set_nonblocking(true)?;
        bound.push((id, listener));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let serve = move || {
        runtime.block_on(async {
            let mut backends: JoinSet<()> =
                bound.into_iter().map(|(id, listener)| serve(id, listener)).collect();
            while backends.join_next().await.is_some() {}
        });
    };
    std::thread::Builder::new().name("toys".into()).spawn(serve)?;
    Ok(())
}

async fn serve(id: String, listener: TcpListener) {
    let toy = Arc::new(Toy { id, served: AtomicU64::new(0), stop: Notify::new() });
    let app =
        Router::new().route("/stop", get(stop)).fallback(any(answer)).with_state(Arc::clone(&toy));
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let until = async move { toy.stop.notified().await };
    if let Err(why) = axum::serve(listener, app).with_graceful_shutdown(until).await {
        eprintln!("a toy backend has ended: {why}");
    }
}

async fn answer(State(toy): State<Arc<Toy>>) -> String {
    let served = toy.served.fetch_add(1, Ordering::Relaxed) + 1;
    format!("{} answers; it has served {served} so far\n", toy.id)
}

async fn stop(State(toy): State<Arc<Toy>>) -> String {
    toy.stop.notify_one();
    format!("{} stops\n", toy.id)
}
