//! HAProxy before us and behind us, with the PROXY protocol between: the client stays the client.

use crate::harness::{Authority, Backend, Client, Files, Gateway, Request, Setup, Wire};
use crate::peers::{Peer, setup, three};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// HAProxy with this way to its one server.
fn before(server: SocketAddr, how: &str) -> Peer {
    let file = format!(
        "{DEFAULTS}listen peer\n  bind 127.0.0.1:PEER_PORT\n  server gateway {server} {how}\n"
    );
    Peer::start("haproxy", &[("haproxy.cfg", &file)], &["-db", "-f", "haproxy.cfg"])
}

const DEFAULTS: &str = "global\n  nbthread 1\n\
     defaults\n  mode http\n  timeout connect 10s\n  timeout client 1m\n  timeout server 1m\n";

fn announced(setup: Setup) -> Setup {
    setup
        .listener("proxyProtocol: true, http2: true")
        .server("trustedProxies: [127.0.0.1]")
        .sticky_with("methods: [sourceIP]")
}

fn address(last: u8) -> IpAddr {
    [127, 0, 1, last].into()
}

/// Who comes by way of `peer` is in the log as who they are, and stays by their address.
fn are_told_apart(gateway: &Gateway, peer: &Peer) {
    let home = |last: u8| {
        let path = format!("/{last}");
        let mut client = Client::new(peer.address()).at(address(last));
        let answer = client.get(&path);
        assert_eq!(gateway.access_of(&path)["client"], address(last).to_string());
        assert_eq!(answer.seen_fields("x-forwarded-for"), [address(last).to_string()]);
        answer.backend()
    };
    let first: Vec<_> = (1..=20).map(home).collect();
    let again: Vec<_> = (1..=20).map(home).collect();
    assert_eq!(first, again);
    let homes: BTreeSet<_> = first.iter().collect();
    assert!(homes.len() > 1, "all are one client: {homes:?}");
}

#[test]
#[ignore = "starts HAProxy: make test-peers"]
fn clients_behind_it_keep_their_address() {
    let backends = three();
    let gateway = Gateway::start(&announced(setup(&backends)));
    for how in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proto h2", "send-proxy check"] {
        are_told_apart(&gateway, &before(gateway.address(), how));
    }
}

#[test]
#[ignore = "starts HAProxy: make test-peers"]
fn and_so_they_do_where_the_listener_speaks_tls() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let pair = files.pair("app", &authority.issue(&["app.test"]));
    let ca = files.put("ca.pem", &authority.pem());
    let backends = three();
    let setup = setup(&backends).encrypted(&format!("certificates: [{{ {pair} }}]"));
    let gateway = Gateway::start(&announced(setup));
    let tls = format!("ssl ca-file {ca} verify required verifyhost app.test sni str(app.test)");
    for how in ["send-proxy", "send-proxy-v2-ssl-cn alpn h2", "send-proxy-v2 alpn http/1.1"] {
        are_told_apart(&gateway, &before(gateway.address(), &format!("{tls} {how}")));
    }
}

/// HAProxy that takes only announced connections, and says of whom it has them.
fn behind(bind: &str) -> Peer {
    let file = format!(
        "{DEFAULTS}listen peer\n  bind 127.0.0.1:PEER_PORT accept-proxy {bind}\n  \
         http-request return status 200 content-type text/plain lf-string \"%[src] %[fc_rcvd_proxy]\"\n"
    );
    let arguments = ["-db", "-f", "haproxy.cfg"];
    Peer::start_when("haproxy", &[("haproxy.cfg", &file)], &arguments, |address| {
        // one who speaks for itself
        let Ok(mut wire) = Wire::connect(address, None) else { return false };
        let hello = match bind {
            "" => &b"PROXY UNKNOWN\r\nGET / HTTP/1.0\r\n\r\n"[..],
            _ => return true,
        };
        wire.write(hello).is_ok() && wire.answer().is_ok_and(|answer| answer.is_some())
    })
}

#[test]
#[ignore = "starts HAProxy: make test-peers"]
fn it_is_told_our_clients() {
    for (bind, option) in [("", "http2: false"), ("proto h2", "http2: true")] {
        let peer = behind(bind);
        for version in ["v1", "v2"] {
            let setup = Setup::of(&[])
                .backend("peer", &peer.address().to_string())
                .option(&format!("proxyProtocol: {version}"))
                .option(option)
                .checked();
            let gateway = Gateway::start(&setup);
            gateway.wait_for_health("peer", true);
            let mut clients =
                [1, 2, 3].map(|last| (last, Client::new(gateway.address()).at(address(last))));
            for _ in 0..3 {
                for (last, client) in &mut clients {
                    let answer = client.send(&Request::get("/"));
                    assert_eq!(answer.status, 200, "{bind} {version}");
                    assert_eq!(answer.text(), format!("{} 1", address(*last)), "{bind} {version}");
                }
            }
        }
    }
}

#[test]
#[ignore = "starts HAProxy: make test-peers"]
fn nobody_can_announce_himself_past_it() {
    let backend = Backend::start("b");
    let gateway = Gateway::start(&announced(Setup::of(&[&backend])));
    let peer = before(gateway.address(), "send-proxy-v2");
    let mut wire = Wire::connect(peer.address(), Some(address(1))).unwrap();
    wire.write(b"PROXY TCP4 9.9.9.9 127.0.0.1 1 1\r\nGET /p HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(wire.answer().unwrap().expect("an answer").status, 400, "HAProxy's own");
    let claimed = Request::get("/claimed").with("X-Forwarded-For", "9.9.9.9");
    Client::new(peer.address()).at(address(1)).send(&claimed);
    assert_eq!(gateway.access_of("/claimed")["client"], address(1).to_string());
}
