//! Envoy's `stateful_session`, by cookie and by header: the one peer whose keys we write too, so that
//! both can stand before the same backends.

use super::{Bound, CLIENTS, Peer, bound_at, clients_stay, each, setup, three};
use crate::harness::{Backend, Client, Gateway, Request};
use std::collections::BTreeSet;
use std::net::SocketAddr;

const NAME: &str = "x-bound-to";

fn by_cookie(backends: &[Backend; 3], ttl: &str) -> Peer {
    let cookie = format!("cookie: {{ name: {NAME}, path: /{ttl} }}");
    envoy(backends, "cookie", "CookieBasedSessionState", &cookie)
}

fn by_header(backends: &[Backend; 3]) -> Peer {
    envoy(backends, "header", "HeaderBasedSessionState", &format!("name: {NAME}"))
}

fn envoy(backends: &[Backend; 3], kind: &str, message: &str, state: &str) -> Peer {
    let endpoints = each(backends, |backend| {
        let (ip, port) = (backend.address().ip(), backend.address().port());
        let address = format!("{{ socket_address: {{ address: {ip}, port_value: {port} }} }}");
        format!("          - endpoint: {{ address: {address} }}")
    });
    let of = "type.googleapis.com/envoy.extensions";
    let file = format!(
        r#"static_resources:
  listeners:
  - name: peer
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: PEER_PORT }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {of}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: peer
          route_config:
            virtual_hosts:
            - {{ name: all, domains: ["*"], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: app }} }}] }}
          http_filters:
          - name: envoy.filters.http.stateful_session
            typed_config:
              "@type": {of}.filters.http.stateful_session.v3.StatefulSession
              session_state:
                name: envoy.http.stateful_session.{kind}
                typed_config:
                  "@type": {of}.http.stateful_session.{kind}.v3.{message}
                  {state}
          - name: envoy.filters.http.router
            typed_config: {{ "@type": {of}.filters.http.router.v3.Router }}
  clusters:
  - name: app
    type: STATIC
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
{endpoints}"#
    );
    // One worker: each would take turns by itself.
    let arguments = ["-c", "envoy.yaml", "--concurrency", "1", "--disable-hot-restart"];
    Peer::start("envoy", &[("envoy.yaml", &file)], &arguments)
}

#[test]
#[ignore = "starts Envoy: make test-peers"]
fn clients_with_a_cookie_stay() {
    let backends = three();
    for ttl in ["", ", ttl: 120s"] {
        let peer = by_cookie(&backends, ttl);
        let adopt = format!("{{ format: envoy, cookie: {NAME} }}");
        clients_stay(&peer, &backends, NAME, &adopt);
    }
}

#[test]
#[ignore = "starts Envoy: make test-peers"]
fn a_cookie_of_either_is_good_for_both() {
    let backends = three();
    let plain = setup(&backends)
        .sticky_with("encoding: plain")
        .sticky_with(&format!("cookie: {{ name: {NAME} }}"));
    let gateway = Gateway::start(&plain);
    for ttl in ["", ", ttl: 120s"] {
        let peer = by_cookie(&backends, ttl);
        for (from, to) in [(peer.address(), gateway.address()), (gateway.address(), peer.address())]
        {
            for Bound { mut client, home } in bound_at(from, NAME, &Request::get("/")) {
                for place in [to, from, to] {
                    client.goes_to(place);
                    let answer = client.get("/both");
                    assert_eq!(answer.backend(), home, "{:?}", client.jar);
                    assert!(answer.cookies().is_empty(), "nobody writes it anew");
                }
            }
        }
    }
    assert_eq!(gateway.verdict_of("/both"), "VN");
}

#[test]
#[ignore = "starts Envoy: make test-peers"]
fn a_header_of_either_is_good_for_both() {
    let backends = three();
    let plain = setup(&backends)
        .sticky_with("encoding: plain")
        .sticky_with("method: header")
        .sticky_with(&format!("headerName: {NAME}"));
    let (gateway, peer) = (Gateway::start(&plain), by_header(&backends));
    let ask = |to: SocketAddr, key: &str| {
        Client::new(to).send(&Request::get("/both").with(NAME, key)).backend()
    };
    for (from, to) in [(peer.address(), gateway.address()), (gateway.address(), peer.address())] {
        let mut homes = BTreeSet::new();
        let first = |_| Client::new(from).get("/");
        for answer in (0..CLIENTS).map(first).collect::<Vec<_>>().iter().rev() {
            let key = answer.field(NAME).expect("the response carries the key");
            let home = answer.backend();
            assert_eq!((ask(from, key), ask(to, key)), (home.clone(), home.clone()), "{key}");
            homes.insert(home);
        }
        assert_eq!(homes.len(), 3, "new clients spread");
    }
    assert_eq!(gateway.verdict_of("/both"), "VN");
}
