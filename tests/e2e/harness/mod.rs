//! A cluster in a test in four lines:
//!
//! ```text
//! let (b1, b2) = (Backend::start("b1"), Backend::start("b2"));
//! let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky());
//! let mut client = gateway.client();
//! assert_eq!(client.get("/").backend(), client.get("/").backend());
//! ```

mod acme;
mod backend;
mod client;
mod gateway;
mod http2;
mod http2_backend;
mod message;
mod program;
mod scrape;
mod setup;
mod speaking;
mod tests;
mod tls;
mod wire;

pub(crate) use acme::AcmeServer;
pub(crate) use backend::{Backend, Behaviour, Page};
pub(crate) use client::{Client, Request};
pub(crate) use gateway::Gateway;
pub(crate) use http2::Http2;
pub(crate) use http2_backend::Http2Backend;
pub(crate) use message::Answer;
pub(crate) use program::stickfast;
pub(crate) use scrape::Scrape;
pub(crate) use setup::{SECRET, Setup, check};
pub(crate) use speaking::{skip_head, speaking};
pub(crate) use tls::{Authority, Files, Pair, TlsBackend, TlsClient, TlsWire};
pub(crate) use wire::Wire;

use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for anything that is not itself a matter of time; the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Asks until there is an answer, or fails with `what` when [`PATIENCE`] has run out.
pub(crate) fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, ask).unwrap_or_else(|| panic!("after {PATIENCE:?} still not: {what}"))
}

/// Asks until there is an answer or the time has run out. Asks at least once.
pub(crate) fn within<T>(time: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + time;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(20));
    }
}
