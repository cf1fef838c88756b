//! The PROXY protocol, from the proxy in front of us and to backends.

use crate::harness::{Backend, Gateway, Request, Setup, Wire, until};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

const GET: &[u8] = b"GET /p HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n";

fn v1(client: &str) -> Vec<u8> {
    let family = if client.contains(':') { "TCP6" } else { "TCP4" };
    let to = if client.contains(':') { "::1" } else { "127.0.0.1" };
    format!("PROXY {family} {client} {to} 4711 80\r\n").into_bytes()
}

fn v2(client: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13".to_vec();
    header.extend_from_slice(&client);
    header.extend_from_slice(b"\x7f\0\0\x01\x12\x67\0\x50");
    // and something that we have no use for
    header.extend_from_slice(b"\x05\0\x04\x01\x02\x03\x04");
    header
}

fn setup(backends: &[&Backend]) -> Setup {
    Setup::of(backends)
        .listener("proxyProtocol: true, http2: true")
        .server("trustedProxies: [127.0.0.1]")
}

/// What a backend sees of a client that is announced so.
fn seen(gateway: &Gateway, header: &[u8]) -> Vec<String> {
    let mut wire = gateway.connect();
    wire.write(header).unwrap();
    wire.write(GET).unwrap();
    let first = wire.answer().unwrap().expect("an answer").seen_fields("x-forwarded-for");
    // the connection is the client's for as long as it lasts
    wire.write(GET).unwrap();
    assert_eq!(wire.answer().unwrap().expect("an answer").seen_fields("x-forwarded-for"), first);
    first
}

#[test]
fn the_client_is_the_one_that_is_announced() {
    let backend = Backend::start("b");
    let gateway = Gateway::start(&setup(&[&backend]));
    // it is no trusted proxy, so what it says of others does not count
    assert_eq!(seen(&gateway, &v1("203.0.113.9")), ["203.0.113.9"]);
    assert_eq!(gateway.access_of("/p")["client"], "203.0.113.9");
    assert_eq!(seen(&gateway, &v1("2001:db8::9")), ["2001:db8::9"]);
    assert_eq!(seen(&gateway, &v2([203, 0, 113, 10])), ["203.0.113.10"]);
    // a proxy that speaks for itself is trusted
    for own in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        assert_eq!(seen(&gateway, own), ["9.9.9.9, 127.0.0.1"]);
    }
}

#[test]
fn http_2_may_follow() {
    let backend = Backend::start("b");
    let gateway = Gateway::start(&setup(&[&backend]));
    let mut wire = gateway.connect();
    wire.write(&v1("203.0.113.9")).unwrap();
    wire.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    // GET / of host "a"
    wire.write(b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a").unwrap();
    let line = gateway.access_of("/");
    assert_eq!((&line["client"], &line["host"]), (&"203.0.113.9".into(), &"a".into()));
}

#[test]
fn affinity_by_address_is_that_of_the_announced_client() {
    let backends = ["b1", "b2", "b3"].map(Backend::start);
    let all: Vec<_> = backends.iter().collect();
    let gateway = Gateway::start(&setup(&all).sticky_with("methods: [sourceIP]"));
    let backend = |client: u8| {
        let mut wire = gateway.connect();
        wire.write(&v2([203, 0, 113, client])).unwrap();
        wire.write(GET).unwrap();
        wire.answer().unwrap().unwrap().backend()
    };
    let first: Vec<_> = (0..20).map(backend).collect();
    let again: Vec<_> = (0..20).map(backend).collect();
    assert_eq!(first, again);
    assert!(first.iter().any(|b| *b != first[0]), "all are one client: {first:?}");
}

fn is_cut(gateway: &Gateway, bytes: &[u8]) {
    let mut wire = gateway.connect();
    wire.write(bytes).unwrap();
    assert_eq!(wire.rest().unwrap(), b"", "{bytes:?}");
}

#[test]
fn a_connection_that_is_not_announced_is_cut() {
    let backend = Backend::start("b");
    let gateway = Gateway::start(&setup(&[&backend]).server("limits: { headerTimeout: 300ms }"));
    for bytes in [
        GET,
        b"PROXY TCP4 1.2.3 1.2.3.4 1 1\r\n",
        b"PROXY TCP4 1.2",
        b"\r\n\r\n\0\r\nQUIT\n\x21",
        b"",
    ] {
        is_cut(&gateway, bytes);
    }
    gateway.wait_for_metric("stickfast_connections", &[], 0.0);
    assert_eq!(backend.requests(), 0);
    assert_eq!(seen(&gateway, &v1("203.0.113.9")), ["203.0.113.9"]);
}

#[test]
fn an_announcement_by_anybody_else_is_not_heard() {
    let backend = Backend::start("b");
    let gateway = Gateway::start(&setup(&[&backend]).server("trustedProxies: [10.0.0.0/8]"));
    is_cut(&gateway, &[&v1("203.0.113.9"), GET].concat());
    assert_eq!(backend.requests(), 0);
    let plain = Gateway::start(&Setup::of(&[&backend]));
    let mut wire = plain.connect();
    wire.write(&[&v1("203.0.113.9"), GET].concat()).unwrap();
    assert_eq!(wire.answer().unwrap().unwrap().status, 400);
}

/// What came on each connection of a backend, headers of PROXY and all.
struct Raw {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Raw {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let all = Arc::clone(&all);
                let nth = {
                    let mut all = all.lock().unwrap();
                    all.push(Vec::new());
                    all.len() - 1
                };
                thread::spawn(move || {
                    let mut reader = BufReader::new(&stream);
                    let mut line = Vec::new();
                    while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                        let ends = line == b"\r\n"
                            && all.lock().unwrap()[nth].ends_with(b"\n")
                            && all.lock().unwrap()[nth].windows(4).any(|w| w == b"GET ");
                        all.lock().unwrap()[nth].append(&mut line);
                        if ends {
                            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                            if (&stream).write_all(answer).is_err() {
                                return;
                            }
                        }
                    }
                });
            }
        });
        Self { address, connections }
    }

    fn connections(&self) -> Vec<Vec<u8>> {
        self.connections.lock().unwrap().clone()
    }
}

#[test]
fn a_backend_is_told_the_client_and_no_connection_serves_two() {
    let raw = Raw::start();
    let setup = Setup::of(&[]).backend("r", &raw.address.to_string()).option("proxyProtocol: v1");
    let gateway = Gateway::start(&setup);
    let mut clients = [gateway.client(), gateway.client()];
    for _ in 0..3 {
        for client in &mut clients {
            assert_eq!(client.send(&Request::get("/")).status, 200);
        }
    }
    let connections = raw.connections();
    assert_eq!(connections.len(), 2, "one for each client");
    for connection in connections {
        let text = String::from_utf8(connection).unwrap();
        let (header, rest) = text.split_once("\r\n").unwrap();
        assert!(header.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "), "{header}");
        assert!(header.ends_with(&format!(" {}", gateway.address().port())), "{header}");
        assert_eq!(rest.matches("GET / HTTP/1.1").count(), 3, "{rest}");
        assert!(!rest.contains("PROXY"), "{rest}");
    }
}

#[test]
fn the_binary_form_goes_out_too_and_checks_speak_for_themselves() {
    let raw = Raw::start();
    let setup =
        Setup::of(&[]).backend("r", &raw.address.to_string()).option("proxyProtocol: v2").checked();
    let gateway = Gateway::start(&setup);
    assert_eq!(gateway.client().get("/").status, 200);
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0GET /healthz ";
    let proxy = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01";
    until("both were seen", || {
        let all = raw.connections();
        let any = |start: &[u8]| all.iter().any(|c| c.starts_with(start));
        (any(local) && any(proxy)).then_some(())
    });
}

#[test]
fn two_gateways_tell_each_other_the_client() {
    let backend = Backend::start("b");
    let inner = Gateway::start(&setup(&[&backend]));
    for version in ["v1", "v2"] {
        let outer = Setup::of(&[])
            .backend("inner", &inner.address().to_string())
            .option(&format!("proxyProtocol: {version}"));
        let outer = Gateway::start(&outer);
        let mut wire = Wire::connect(outer.address(), Some([127, 0, 0, 77].into())).unwrap();
        wire.write(b"GET /p HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(wire.answer().unwrap().unwrap().status, 200);
        assert_eq!(inner.access_of("/p")["client"], "127.0.0.77");
    }
}
