//! nginx's `sticky cookie`, which is free since 1.29; Debian's package is older, so this one comes
//! from a wheel.

use super::{Peer, clients_stay, each, three};
use crate::harness::Backend;

/// nginx with these parameters of each server and of the cookie.
fn nginx(backends: &[Backend; 3], server: impl Fn(&Backend) -> String, cookie: &str) -> Peer {
    let servers =
        each(backends, |backend| format!("    server {} {};", backend.address(), server(backend)));
    let file = format!(
        "daemon off;\nmaster_process off;\nerror_log stderr;\nevents {{}}\n\
         http {{\n  access_log off;\n  upstream app {{\n{servers}    \
         sticky cookie srv_id {cookie};\n  }}\n  \
         server {{\n    listen 127.0.0.1:PEER_PORT;\n    \
         location / {{ proxy_pass http://app; }}\n  }}\n}}\n"
    );
    Peer::start("nginx", &[("nginx.conf", &file)], &["-p", ".", "-c", "nginx.conf"])
}

const ADOPT: &str = "{ format: nginx, cookie: srv_id }";

#[test]
#[ignore = "starts nginx: make test-peers"]
fn clients_with_a_sticky_cookie_stay() {
    let backends = three();
    for cookie in ["", "expires=1h path=/ httponly"] {
        let peer = nginx(&backends, |_| String::new(), cookie);
        clients_stay(&peer, &backends, "srv_id", ADOPT);
    }
}

#[test]
#[ignore = "starts nginx: make test-peers"]
fn clients_with_the_route_of_a_server_in_their_cookie_stay() {
    let backends = three();
    let peer = nginx(&backends, |backend| format!("route={}", backend.id()), "");
    clients_stay(&peer, &backends, "srv_id", ADOPT);
}
