//! Stickfast beside the load balancers that it can replace, each a real process before the same
//! backends: a client that one of them has bound comes to us and stays where it was. With Envoy
//! also the way back, with HAProxy the PROXY protocol. Besides, clients of others that no load
//! balancer can do without: nghttp2's.
//!
//! These tests are ignored unless asked for, so that every run counts and names them as skipped:
//! what they start is not part of the project. `make test-peers` puts the peers into `target/peers`
//! and runs them; there a peer that is missing is a failure. `make test-peers peers='envoy caddy'`
//! leaves the others out where they cannot be had.

mod caddy;
mod envoy;
mod haproxy;
mod nghttp2;
mod nginx;
mod peer;
mod traefik;

use crate::harness::{Backend, Client, Gateway, Request, Setup};
use peer::Peer;
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Enough for each of three backends to have several.
const CLIENTS: usize = 12;

/// A client and the backend that it was bound to.
struct Bound {
    client: Client,
    home: String,
}

fn three() -> [Backend; 3] {
    ["b1", "b2", "b3"].map(Backend::start)
}

fn setup([b1, b2, b3]: &[Backend; 3]) -> Setup {
    Setup::of(&[b1, b2, b3])
}

/// A line for each backend.
fn each(backends: &[Backend; 3], line: impl Fn(&Backend) -> String) -> String {
    backends.iter().map(|backend| line(backend) + "\n").collect()
}

/// New clients of the load balancer at an address, which binds them by a cookie. In the reverse of
/// their order: who takes turns without a look at the key lands elsewhere.
fn bound_at(to: SocketAddr, cookie: &str, first: &Request) -> Vec<Bound> {
    let bind = |_| {
        let mut client = Client::new(to);
        let answer = client.send(first);
        let home = answer.backend();
        assert!(client.cookie(cookie).is_some(), "no cookie {cookie}: {:?}", answer.cookies());
        Bound { client, home }
    };
    let mut all: Vec<_> = (0..CLIENTS).map(bind).rev().collect();
    let homes: BTreeSet<_> = all.iter().map(|bound| bound.home.clone()).collect();
    assert_eq!(homes.len(), 3, "new clients spread: {homes:?}");
    for Bound { client, home } in &mut all {
        assert_eq!(client.get("/").backend(), *home, "where the client was bound it stays");
    }
    all
}

/// Clients of a peer come to us with `cookie`, which is of no use to the application, stay, and need
/// it no longer. `adopt` is the entry that honours it.
fn clients_stay(peer: &Peer, backends: &[Backend; 3], cookie: &str, adopt: &str) {
    let sees = |_: &Client| vec!["a=1".to_owned()];
    clients_stay_who_send(&Request::get("/"), peer, backends, cookie, adopt, sees);
}

/// The same with a first request to the peer, and with the `Cookie` fields that the application sees
/// of a client.
fn clients_stay_who_send(
    first: &Request,
    peer: &Peer,
    backends: &[Backend; 3],
    cookie: &str,
    adopt: &str,
    sees: impl Fn(&Client) -> Vec<String>,
) {
    let gateway = Gateway::start(&setup(backends).sticky_with(&format!("adopt: [{adopt}]")));
    for (n, bound) in bound_at(peer.address(), cookie, first).into_iter().enumerate() {
        let Bound { mut client, home } = bound;
        client.goes_to(gateway.address());
        client.put("a", "1");
        let (expected, jar) = (sees(&client), format!("{:?}", client.jar));
        let adopted = format!("/adopted/{n}");
        let answer = client.get(&adopted);
        assert_eq!(answer.backend(), home, "adopted with {jar}");
        assert_eq!(gateway.verdict_of(&adopted), "VU", "{jar}");
        assert_eq!(answer.cookies().len(), 1, "it gets a key of ours");
        assert_eq!(answer.seen_fields("cookie"), expected, "the application's, of {jar}");
        client.jar.retain(|(name, _)| name != cookie);
        let own = format!("/own/{n}");
        let answer = client.get(&own);
        assert_eq!(answer.backend(), home, "by our own key alone");
        assert_eq!((gateway.verdict_of(&own).as_str(), answer.cookies().len()), ("VN", 0));
    }
}
