//! Caddy's `lb_policy cookie`.

use super::{Peer, clients_stay, each, three};

#[test]
#[ignore = "starts Caddy: make test-peers"]
fn clients_with_a_signed_cookie_stay() {
    let backends = three();
    let addresses = each(&backends, |backend| backend.address().to_string()).replace('\n', " ");
    for (secret, adopt) in [
        ("a-secret-of-caddy", "{ format: caddy, cookie: lb, secret: a-secret-of-caddy }"),
        ("", "{ format: caddy, cookie: lb }"),
    ] {
        let file = format!(
            "{{
\tadmin off
\tpersist_config off
\tauto_https off
}}
http://:PEER_PORT {{
\tbind 127.0.0.1
\treverse_proxy {addresses} {{
\t\tlb_policy cookie lb {secret} {{
\t\t\tfallback round_robin
\t\t}}
\t}}
}}
"
        );
        let arguments = ["run", "--adapter", "caddyfile", "--config", "Caddyfile"];
        let peer = Peer::start("caddy", &[("Caddyfile", &file)], &arguments);
        clients_stay(&peer, &backends, "lb", adopt);
    }
}
