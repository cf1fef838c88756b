//! WebSockets: bound, relayed whatever the backend does first, and ended as they should be.

use crate::harness::{
    Backend, Behaviour, Gateway, PATIENCE, Request, Setup, Wire, skip_head, speaking, until, within,
};
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{
    self, ClientRequestBuilder, Error, Message, WebSocket, accept, client,
};

const AGREED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
/// A text frame of a server.
const HI: &[u8] = b"\x81\x02hi";
/// A text frame of a client, masked with zeros.
const HO: &[u8] = b"\x81\x82\0\0\0\0ho";

/// Says who it is, then sends back every message.
pub(crate) fn echoing(id: &'static str) -> Backend {
    speaking(id, move |stream| {
        let Ok(mut socket) = accept(stream) else { return };
        socket.send(Message::text(id)).unwrap();
        while let Ok(message) = socket.read() {
            if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
                return;
            }
        }
    })
}

fn handshake() -> Request {
    Request::get("/upgrade")
        .with("Connection", "Upgrade")
        .with("Upgrade", "websocket")
        .with("Sec-WebSocket-Version", "13")
        .with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// A WebSocket of a usual client, and the answer to its handshake.
pub(crate) fn open(gateway: &Gateway, cookie: Option<&str>) -> (WebSocket<TcpStream>, Response) {
    let stream = TcpStream::connect(gateway.address()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = ClientRequestBuilder::new("ws://app.test/chat".parse().unwrap());
    if let Some(cookie) = cookie {
        request = request.with_header("Cookie", cookie);
    }
    client(request, stream).expect("a WebSocket")
}

pub(crate) fn text(socket: &mut WebSocket<TcpStream>) -> String {
    socket.read().expect("a message").into_text().unwrap().to_string()
}

/// The code of the close frame that ends it.
pub(crate) fn closing(socket: &mut WebSocket<TcpStream>) -> Option<u16> {
    loop {
        match socket.read() {
            Ok(Message::Close(frame)) => return frame.map(|CloseFrame { code, .. }| code.into()),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

/// A raw WebSocket, past the 101.
fn upgraded(gateway: &Gateway) -> Wire {
    let mut wire = gateway.connect();
    wire.write(&handshake().bytes(&[])).unwrap();
    assert_eq!(wire.answer().unwrap().expect("an answer").status, 101);
    wire
}

fn key(answer: &Response) -> Option<String> {
    let cookie = answer.headers().get("set-cookie")?.to_str().unwrap();
    Some(cookie.split(';').next().unwrap().to_owned())
}

#[test]
fn messages_pass_both_ways_and_a_client_that_reconnects_finds_its_backend() {
    let (b1, b2) = (echoing("b1"), echoing("b2"));
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky());
    let (mut first, answer) = open(&gateway, None);
    let home = text(&mut first);
    for message in ["a", &"b".repeat(70_000), ""] {
        first.send(Message::text(message)).unwrap();
        assert_eq!(text(&mut first), message);
    }
    let cookie = key(&answer).expect("stamped on the 101");
    for _ in 0..6 {
        let (mut again, answer) = open(&gateway, Some(&cookie));
        assert_eq!(text(&mut again), home);
        assert_eq!(key(&answer), None, "bound already");
        again.close(None).unwrap();
        assert!(closing(&mut again).is_none_or(|code| code == 1005));
    }
    first.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })).unwrap();
    assert_eq!(closing(&mut first), Some(1000));
    let line = gateway.access_of("/chat");
    assert_eq!(line["status"], 101);
    until("the first one is logged", || {
        let first = |line: &serde_json::Value| line["affinity"] == "NI";
        let lines = gateway.access_lines();
        let bytes = lines.iter().find(|l| first(l)).and_then(|l| l["bytes"].as_u64());
        bytes.filter(|bytes| *bytes > 70_000)
    });
    gateway.wait_for_metric("stickfast_active_requests", &[], 0.0);
}

#[test]
fn frames_that_come_with_the_handshake_are_not_lost() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]));
    // more than what Pingora reads at once
    for frames in [2, 2000] {
        let mut wire = gateway.connect();
        wire.write(&[handshake().bytes(&[]), HO.repeat(frames)].concat()).unwrap();
        assert_eq!(wire.answer().unwrap().expect("an answer").status, 101);
        assert_eq!(wire.bytes(frames * HO.len()).unwrap(), HO.repeat(frames));
    }
}

#[test]
fn a_backend_that_agrees_before_it_has_read_the_request_loses_no_websocket() {
    let hasty = speaking("b1", |mut stream| {
        let hurry = [AGREED.as_bytes(), HI].concat();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        if stream.write_all(&hurry).is_ok() {
            skip_head(&mut reader);
            let _ = io::copy(&mut reader, &mut stream);
        }
    });
    let gateway = Gateway::start(&Setup::of(&[&hasty]));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..250 {
                    let mut wire = upgraded(&gateway);
                    assert_eq!(wire.bytes(HI.len()).unwrap(), HI);
                    wire.write(HO).unwrap();
                    assert_eq!(wire.bytes(HO.len()).unwrap(), HO);
                }
            });
        }
    });
}

#[test]
fn silence_ends_a_websocket_and_a_ping_is_no_silence() {
    let b1 = echoing("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]).websocket("idleTimeout: 600ms"));
    // before both: the silence of the first is not to seem shorter when the second takes its time
    let start = Instant::now();
    let (mut silent, _) = open(&gateway, None);
    let (mut lively, _) = open(&gateway, None);
    assert_eq!(text(&mut lively), "b1");
    let pinging = thread::spawn(move || {
        while start.elapsed() < Duration::from_secs(2) {
            lively.send(Message::Ping(tungstenite::Bytes::new())).unwrap();
            assert!(lively.read().unwrap().is_pong());
            // more often than `idleTimeout`, for longer
            thread::sleep(Duration::from_millis(100));
        }
        lively.send(Message::text("still there")).unwrap();
        assert_eq!(text(&mut lively), "still there");
    });
    assert_eq!(text(&mut silent), "b1");
    assert_eq!(closing(&mut silent), Some(1001));
    assert!(start.elapsed() >= Duration::from_millis(550), "{:?}", start.elapsed());
    pinging.join().unwrap();
}

#[test]
fn a_handshake_goes_on_to_the_next_backend() {
    for behaviour in [None, Some(Behaviour::HangUp)] {
        let (b1, b2) = (Backend::start("b1"), echoing("b2"));
        match behaviour {
            None => b1.stop(),
            Some(behaviour) => b1.behave(behaviour),
        }
        let gateway = Gateway::start(&Setup::of(&[&b1, &b2]));
        for _ in 0..4 {
            let (mut socket, _) = open(&gateway, None);
            assert_eq!(text(&mut socket), "b2");
        }
        let retries = [("service", "app"), ("backend", "b1")];
        assert!(gateway.metric("stickfast_retries_total", &retries) > 0.0, "{behaviour:?}");
    }
}

#[test]
fn a_backend_that_does_not_agree_is_heard_out() {
    let answers = [
        "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 4\r\n\r\nkey?",
        "HTTP/1.1 426 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nke\r\n2\r\ny?\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nkey?",
        "HTTP/1.0 200 OK\r\n\r\nkey?",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\nkey?",
    ];
    let next = AtomicUsize::new(0);
    let b1 = speaking("b1", move |mut stream| {
        skip_head(&mut BufReader::new(stream.try_clone().unwrap()));
        let nth = next.fetch_add(1, Ordering::SeqCst);
        stream.write_all(answers[nth % answers.len()].as_bytes()).unwrap();
    });
    let gateway = Gateway::start(&Setup::of(&[&b1]).sticky());
    // all over one connection of the client's
    let mut wire = gateway.connect();
    for status in [401, 426, 200, 200, 404] {
        wire.write(&handshake().bytes(&[])).unwrap();
        let answer = wire.answer().unwrap().expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (status, "key?"));
        assert!(answer.whole && !answer.closes(), "{:?}", answer.fields);
        assert_eq!(answer.cookies().len(), 1, "stamped as any response");
        assert_eq!(answer.field("www-authenticate").is_some(), status == 401);
    }
}

#[test]
fn an_answer_that_breaks_off_does_not_look_whole() {
    let b1 = speaking("b1", |mut stream| {
        skip_head(&mut BufReader::new(stream.try_clone().unwrap()));
        let cut = b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nke\r\n2\r\n";
        stream.write_all(cut).unwrap();
    });
    let gateway = Gateway::start(&Setup::of(&[&b1]));
    let mut wire = gateway.connect();
    wire.write(&handshake().bytes(&[])).unwrap();
    let answer = wire.answer().unwrap().expect("an answer");
    assert_eq!(answer.status, 403);
    assert!(!answer.whole);
}

#[test]
fn one_who_reads_slowly_costs_no_memory() {
    const ALL: usize = 64 << 20;
    let b1 = speaking("b1", |mut stream| {
        skip_head(&mut BufReader::new(stream.try_clone().unwrap()));
        let mut frame = vec![0x82, 127];
        frame.extend((ALL as u64).to_be_bytes());
        frame.resize(frame.len() + ALL, 7);
        stream.write_all(&[AGREED.as_bytes(), &frame].concat()).unwrap();
        let _ = stream.read(&mut [0]);
    });
    let gateway = Gateway::start(&Setup::of(&[&b1]));
    let before = gateway.memory_kb();
    let mut wire = upgraded(&gateway);
    assert_eq!(wire.bytes(10).unwrap()[..2], [0x82, 127]);
    let mut most = 0;
    within(Duration::from_millis(500), || {
        most = most.max(gateway.memory_kb());
        None::<()>
    });
    assert!(most < before + 8_000, "{before} kB, then {most} kB");
    assert!(wire.bytes(ALL).unwrap().iter().all(|byte| *byte == 7));
}

#[test]
fn a_client_that_vanishes_frees_its_seat_and_its_backend_is_told() {
    let (ended, end) = std::sync::mpsc::channel();
    let b1 = speaking("b1", move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        skip_head(&mut reader);
        stream.write_all(AGREED.as_bytes()).unwrap();
        let _ = io::copy(&mut reader, &mut stream);
        ended.send(()).unwrap();
    });
    let limits = "limits: { maxConnectionsPerBackend: 1, maxPending: 1, queueTimeout: 100ms }";
    let gateway = Gateway::start(&Setup::of(&[&b1]).option(limits));
    for _ in 0..3 {
        let mut wire = upgraded(&gateway);
        wire.write(HO).unwrap();
        assert_eq!(wire.bytes(HO.len()).unwrap(), HO);
        assert_eq!(gateway.client().get("/").reason(), Some("full"), "the seat is taken");
        drop(wire);
        end.recv_timeout(PATIENCE).expect("its backend sees the end");
        gateway.wait_for_metric("stickfast_active_requests", &[], 0.0);
    }
    gateway.wait_for_metric("stickfast_connections", &[], 0.0);
}

#[test]
fn a_client_learns_that_its_backend_has_vanished() {
    let b1 = speaking("b1", |stream| {
        let mut socket = accept(stream).unwrap();
        socket.send(Message::text("hi")).unwrap();
    });
    let gateway = Gateway::start(&Setup::of(&[&b1]));
    let (mut socket, _) = open(&gateway, None);
    assert_eq!(text(&mut socket), "hi");
    assert_eq!(closing(&mut socket), Some(1011));
}

#[test]
fn when_the_gateway_ends_both_sides_are_told_that_it_restarts() {
    let (told, code) = std::sync::mpsc::channel();
    let b1 = speaking("b1", move |stream| {
        let mut socket = accept(stream).unwrap();
        socket.send(Message::text("hi")).unwrap();
        told.send(closing(&mut socket)).unwrap();
    });
    let setup = Setup::of(&[&b1]).server("upgrade: { drainTimeout: 1s }");
    let mut gateway = Gateway::start(&setup);
    let mut sockets: Vec<_> = (0..5).map(|_| open(&gateway, None).0).collect();
    for socket in &mut sockets {
        assert_eq!(text(socket), "hi");
    }
    let start = Instant::now();
    gateway.signal("TERM");
    for socket in &mut sockets {
        assert_eq!(closing(socket), Some(1012));
        assert!(start.elapsed() >= Duration::from_millis(900), "not before the deadline");
        assert_eq!(code.recv_timeout(PATIENCE), Ok(Some(1012)));
    }
    let status = gateway.wait_for_exit(Duration::from_secs(4)).expect("it ends");
    assert_eq!(status.code(), Some(0));
    let logged = gateway.access_lines().iter().filter(|line| line["status"] == 101).count();
    assert_eq!(logged, 5, "each has its line");
}

#[test]
fn what_only_looks_like_a_handshake_is_a_usual_request() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]));
    let upgrade = |request: Request| request.with("Upgrade", "websocket");
    for request in [
        upgrade(Request::get("/upgrade")),
        upgrade(Request::get("/upgrade").with("Connection", "keep-alive")),
        upgrade(Request::post("/upgrade", 10).with("Connection", "Upgrade")),
    ] {
        let answer = gateway.client().send(&request);
        assert_eq!(answer.backend(), "b1");
        assert_eq!(answer.seen_fields("upgrade"), [""; 0]);
    }
    let mut wire = gateway.connect();
    let old =
        "GET /upgrade HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    wire.write(old.as_bytes()).unwrap();
    assert_eq!(wire.answer().unwrap().expect("an answer").seen_fields("upgrade"), [""; 0]);
    let steals = handshake().with("Connection", "X-Forwarded-For");
    assert_eq!(gateway.client().send(&steals).reason(), Some("bad-request"));
}

#[test]
fn handshakes_may_be_bound_where_requests_are_not() {
    let (b1, b2) = (echoing("b1"), echoing("b2"));
    let setup = Setup::of(&[&b1, &b2]);
    let never = |gateway: &Gateway| (0..4).all(|_| key(&open(gateway, None).1).is_none());
    assert!(never(&Gateway::start(&setup)));
    let on = setup.clone().websocket("sessionAffinity: { enabled: true, stickyReconnect: true }");
    let gateway = Gateway::start(&on);
    let (mut first, answer) = open(&gateway, None);
    let (home, cookie) = (text(&mut first), key(&answer).expect("bound"));
    for _ in 0..5 {
        assert_eq!(text(&mut open(&gateway, Some(&cookie)).0), home);
    }
    let off = "id: app, path: /*, serviceName: app, sessionAffinity: { enabled: false }";
    assert!(never(&Gateway::start(&on.rules(&[off]))), "a rule may stay out");
    let off = setup.sticky().websocket("sessionAffinity: { enabled: false }");
    assert!(never(&Gateway::start(&off)), "requests are bound, handshakes are not");
}

#[test]
fn without_sticky_reconnect_a_key_is_not_honoured_and_stays() {
    let (b1, b2) = (echoing("b1"), echoing("b2"));
    let anew = "sessionAffinity: { stickyReconnect: false }";
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky().websocket(anew));
    let (mut first, answer) = open(&gateway, None);
    let (home, cookie) = (text(&mut first), key(&answer).expect("a client without a key gets one"));
    let mut seen = Vec::new();
    for _ in 0..6 {
        let (mut again, answer) = open(&gateway, Some(&cookie));
        seen.push(text(&mut again));
        assert_eq!(key(&answer), None, "its other requests stay where they are");
    }
    assert!(seen.iter().any(|id| *id != home) && seen.contains(&home), "{seen:?}");
}

#[test]
fn a_failed_upgrade_names_its_reason() {
    let b1 = Backend::stopped("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]));
    let stream = TcpStream::connect(gateway.address()).unwrap();
    let request = ClientRequestBuilder::new("ws://app.test/".parse().unwrap());
    let Err(tungstenite::HandshakeError::Failure(Error::Http(answer))) = client(request, stream)
    else {
        panic!("an answer of the gateway's own");
    };
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["x-stickfast-reason"], "connect-failed");
}

#[test]
fn open_websockets_are_counted_for_each_service() {
    let (b1, b2) = (echoing("b1"), Backend::start("b2"));
    let setup = Setup::of(&[&b1]).service("other", &[&b2]);
    let gateway = Gateway::start(&setup.rules(&[
        "id: chat, path: /chat, serviceName: app",
        "id: rest, path: /*, serviceName: other",
    ]));
    let count = |service: &str, open: f64| {
        gateway.wait_for_metric("stickfast_websockets_open", &[("service", service)], open);
    };
    count("app", 0.0);
    let mut sockets: Vec<_> = (0..3).map(|_| open(&gateway, None).0).collect();
    count("app", 3.0);
    sockets[0].close(None).unwrap();
    count("app", 2.0);
    count("other", 0.0);
    // the same service in another snapshot
    gateway.reload(&Setup::of(&[&b1]).sticky());
    count("app", 2.0);
    drop(sockets);
    count("app", 0.0);
}
