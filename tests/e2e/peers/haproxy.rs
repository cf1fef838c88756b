//! HAProxy's `cookie`, in every mode that puts a server into a value.

mod announced;

use super::{Peer, clients_stay, clients_stay_who_send, each, setup, three};
use crate::harness::{Backend, Client, Gateway, Request, until};

/// HAProxy with these lines before servers that have `cookie` values of their own, their ids, or
/// none.
fn haproxy(backends: &[Backend; 3], lines: &str, own: bool) -> Peer {
    let servers = each(backends, |backend| {
        let (id, address) = (backend.id(), backend.address());
        let cookie = if own { format!("cookie {id}") } else { String::new() };
        format!("  server server-{id} {address} {cookie}")
    });
    let file = format!(
        "global\n  nbthread 1\n\
         defaults\n  mode http\n  timeout connect 10s\n  timeout client 1m\n  timeout server 1m\n\
         listen peer\n  bind 127.0.0.1:PEER_PORT\n  balance roundrobin\n{lines}\n{servers}"
    );
    Peer::start("haproxy", &[("haproxy.cfg", &file)], &["-db", "-f", "haproxy.cfg"])
}

#[test]
#[ignore = "starts HAProxy: make test-peers"]
fn clients_with_an_inserted_cookie_stay() {
    let backends = three();
    let peer = haproxy(&backends, "  cookie SRV insert indirect nocache", true);
    clients_stay(&peer, &backends, "SRV", "{ format: haproxy, cookie: SRV }");
}

#[test]
#[ignore = "starts HAProxy: make test-peers"]
fn clients_with_dates_in_their_cookie_stay() {
    let backends = three();
    for (dates, bars) in [("maxidle 30m", 1), ("maxlife 8h", 2), ("maxidle 30m maxlife 8h", 2)] {
        let cookie = format!("  cookie SRV insert indirect nocache {dates}");
        let peer = haproxy(&backends, &cookie, true);
        let mut client = Client::new(peer.address());
        client.get("/");
        let value = client.cookie("SRV").expect("a cookie");
        assert_eq!(value.matches('|').count(), bars, "{dates}: {value}");
        clients_stay(&peer, &backends, "SRV", "{ format: haproxy, cookie: SRV }");
    }
}

#[test]
#[ignore = "starts HAProxy: make test-peers"]
fn a_client_who_was_silent_for_longer_than_our_idle_time_is_placed_anew() {
    let backends = three();
    let peer = haproxy(&backends, "  cookie SRV insert indirect nocache maxidle 30m", true);
    let gateway = Gateway::start(
        &setup(&backends)
            .sticky_with("idleTimeout: 3s")
            .sticky_with("adopt: [{ format: haproxy, cookie: SRV }]"),
    );
    let mut client = Client::new(peer.address());
    client.get("/");
    client.goes_to(gateway.address());
    client.clone().get("/fresh");
    assert_eq!(gateway.verdict_of("/fresh"), "VU");
    let mut visits = 0;
    until("the date is too old", || {
        visits += 1;
        let visit = format!("/visit/{visits}");
        client.clone().get(&visit);
        (gateway.verdict_of(&visit) == "NI").then_some(())
    });
}

#[test]
#[ignore = "starts HAProxy: make test-peers"]
fn clients_with_a_dynamic_cookie_stay() {
    let backends = three();
    let lines = "  cookie SRV insert indirect nocache dynamic\n  dynamic-cookie-key MYKEY";
    let peer = haproxy(&backends, lines, false);
    clients_stay(&peer, &backends, "SRV", "{ format: haproxy, cookie: SRV, secret: MYKEY }");
}

#[test]
#[ignore = "starts HAProxy: make test-peers"]
fn clients_with_a_prefixed_cookie_stay_and_the_application_sees_its_own_value() {
    let backends = three();
    for value in ["A1B2", "light~dark", ""] {
        let peer = haproxy(&backends, "  cookie SID prefix nocache", true);
        let first = Request::get("/").with("X-Toy-Field", &format!("Set-Cookie: SID={value}"));
        let adopt = "{ format: haproxy-prefix, cookie: SID }";
        clients_stay_who_send(&first, &peer, &backends, "SID", adopt, |client| {
            let sent = client.cookie("SID").expect("the prefixed cookie");
            assert!(sent.starts_with('b') && sent.ends_with(&format!("~{value}")), "{sent}");
            vec![format!("SID={value}; a=1")]
        });
    }
}
