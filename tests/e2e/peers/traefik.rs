//! Traefik's sticky cookie.

use super::{Peer, clients_stay, each, three};
use std::net::SocketAddr;

#[test]
#[ignore = "starts Traefik: make test-peers"]
fn clients_with_a_sticky_cookie_stay_however_the_url_of_a_server_ends() {
    let backends = three();
    for end in ["", "/"] {
        let url = |address: SocketAddr| format!("          - url: http://{address}{end}");
        let servers = each(&backends, |backend| url(backend.address()));
        let file = format!(
            "http:
  routers:
    all: {{ rule: PathPrefix(`/`), service: app }}
  services:
    app:
      loadBalancer:
        sticky: {{ cookie: {{ name: _srv, httpOnly: true }} }}
        servers:
{servers}"
        );
        let arguments = [
            "--global.checkNewVersion=false",
            "--global.sendAnonymousUsage=false",
            "--entryPoints.web.address=127.0.0.1:PEER_PORT",
            "--providers.file.filename=services.yaml",
        ];
        let peer = Peer::start("traefik", &[("services.yaml", &file)], &arguments);
        clients_stay(&peer, &backends, "_srv", "{ format: traefik, cookie: _srv }");
    }
}
