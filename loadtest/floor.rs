//! The least that Pingora can do: one thread, backends by turn, no affinity, no log. What `make load`
//! sets Stickfast against, to tell Pingora's share of a request from ours. An example and no part of
//! the crate, so that nothing ships it.
//!
//! `floor LISTEN BACKEND…`, addresses as `127.0.0.1:8080`.

#![allow(clippy::print_stderr, reason = "it says how it is called, and nothing else")]

use async_trait::async_trait;
use pingora::prelude::{HttpPeer, Opt, Result, Server};
use pingora::server::configuration::ServerConf;
use pingora::{Error, ErrorType};
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

// as the gateway: the allocator is not what is compared
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Idle connections kept to backends, as the configurations of the other proxies say.
const POOL: usize = 256;

struct Floor {
    backends: Vec<SocketAddr>,
    turn: AtomicUsize,
}

#[async_trait]
impl ProxyHttp for Floor {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.backends.len();
        let backend =
            self.backends.get(turn).ok_or_else(|| Error::new(ErrorType::InternalError))?;
        Ok(Box::new(HttpPeer::new(*backend, false, String::new())))
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((listen, backends)) = arguments.split_first() else { return usage() };
    let backends: Vec<SocketAddr> = backends.iter().filter_map(|b| b.parse().ok()).collect();
    if backends.is_empty() || backends.len() + 1 != arguments.len() {
        return usage();
    }
    let conf = ServerConf {
        threads: 1,
        upstream_keepalive_pool_size: POOL,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(Opt::default(), conf);
    server.bootstrap();
    let floor = Floor { backends, turn: AtomicUsize::new(0) };
    let mut service = http_proxy_service(&Arc::clone(&server.configuration), floor);
    service.add_tcp(listen);
    server.add_service(service);
    server.run_forever()
}

fn usage() -> ExitCode {
    eprintln!("usage: floor LISTEN BACKEND…");
    ExitCode::from(2)
}
