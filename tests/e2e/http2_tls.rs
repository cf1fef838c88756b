//! HTTP/2 over TLS, agreed on by ALPN, from clients and to backends.

use crate::harness::{
    Authority, Backend, Files, Gateway, Http2, Http2Backend, Pair, Request, Setup, TlsClient, until,
};
use std::time::Duration;

struct Encrypted {
    gateway: Gateway,
    client: TlsClient,
    _files: Files,
}

/// A gateway that speaks both versions over TLS.
fn encrypt(setup: &Setup) -> Encrypted {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let pair = files.pair("app", &authority.issue(&["app.test"]));
    let setup = setup.clone().encrypted(&format!("certificates: [{{ {pair} }}]"));
    let gateway = Gateway::start(&setup.listener("http2: true"));
    let client = TlsClient::new(gateway.address(), &authority);
    Encrypted { gateway, client, _files: files }
}

#[test]
fn a_client_chooses_by_alpn_and_gets_http_1_1_without() {
    let backend = Backend::start("b");
    let Encrypted { gateway: _serving, client, .. } = encrypt(&Setup::of(&[&backend]));
    for (offers, expected) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let mut wire = client.clone().offers(offers).connect().unwrap();
        assert_eq!(wire.protocol(), expected, "{offers:?}");
        if expected != Some("h2") {
            assert_eq!(wire.send(&Request::get("/")).unwrap().backend(), "b", "{offers:?}");
        }
    }
    assert!(client.offers(&["spdy/3"]).connect().is_err(), "nothing in common");
}

#[test]
fn a_client_of_http_2_stays_and_its_cookie_is_secure() {
    let backends = ["b1", "b2", "b3"].map(Backend::start);
    let all: Vec<_> = backends.iter().collect();
    let Encrypted { gateway, client, .. } = encrypt(&Setup::of(&all).sticky());
    let mut client = Http2::connect_tls(&client);
    let first = client.get("/first", &[]);
    assert_eq!(first.seen_fields("x-forwarded-proto"), ["https"]);
    assert_eq!(first.seen_fields("host"), ["app.test"]);
    assert!(first.cookies()[0].contains("; Secure"), "{:?}", first.cookies());
    let key = first.cookies()[0].split(';').next().unwrap().to_owned();
    for _ in 0..6 {
        assert_eq!(client.get("/", &[("cookie", &key)]).backend(), first.backend());
    }
    assert_eq!(gateway.verdict_of("/first"), "NI");
}

#[test]
fn prior_knowledge_does_not_stand_in_for_alpn() {
    let backend = Backend::start("b");
    let Encrypted { gateway: _serving, client, .. } = encrypt(&Setup::of(&[&backend]));
    let mut wire = client.offers(&["http/1.1"]).connect().unwrap();
    wire.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    wire.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 400");
}

#[test]
fn those_who_are_idle_or_stay_when_it_stops_are_told_to_go() {
    let backend = Backend::start("b");
    let setup = Setup::of(&[&backend]).server("limits: { idleTimeout: 300ms }");
    let Encrypted { gateway: _serving, client, .. } = encrypt(&setup);
    let mut idle = Http2::connect_tls(&client);
    idle.get("/", &[]);
    idle.wait_for_farewell();

    let Encrypted { mut gateway, client, .. } = encrypt(&Setup::of(&[&backend]));
    let before = backend.requests();
    let mut busy = Http2::connect_tls(&client);
    let slow = busy.start("/sleep/700");
    until("it is under way", || (backend.requests() > before).then_some(()));
    gateway.signal("TERM");
    assert_eq!(busy.finish(slow).status, 200);
    busy.wait_for_farewell();
    assert!(gateway.wait_for_exit(Duration::from_secs(10)).expect("it ends").success());
}

/// A gateway before a backend that shows `pair` and offers `protocols`.
fn before(pair: &Pair, ca: &str, protocols: &[&str]) -> (Gateway, Http2Backend) {
    let backend = Http2Backend::start_tls("b", pair, protocols);
    let setup = Setup::of(&[backend.at()])
        .listener("http2: true")
        .option("http2: true")
        .option(&format!("tls: {{ ca: \"{ca}\", sni: app.test }}"));
    (Gateway::start(&setup), backend)
}

#[test]
fn a_backend_is_spoken_to_in_http_2_over_tls_too() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let ca = files.put("ca.pem", &authority.pem());
    let pair = authority.issue(&["app.test"]);
    let (gateway, backend) = before(&pair, &ca, &["h2"]);
    let mut client = Http2::connect(gateway.address());
    for _ in 0..5 {
        assert_eq!(client.get("/trailers", &[]).field("x-toy-trailer"), Some("last"));
        assert_eq!(gateway.client().get("/").backend(), "b");
    }
    assert_eq!(backend.connections(), 1);

    let (gateway, backend) = before(&pair, &ca, &["http/1.1"]);
    let answer = gateway.client().get("/");
    assert_eq!((answer.status, answer.reason()), (502, Some("backend-tls")));
    assert_eq!(backend.connections(), 0);
}
