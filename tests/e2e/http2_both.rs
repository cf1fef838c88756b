//! HTTP/2 on both sides: what passes, what does not, and that nobody waits for another's stream.

use crate::harness::{
    Backend, Gateway, Http2, Http2Backend, PATIENCE, Page, Request, Setup, until,
};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Message, accept, client};

/// Larger than every window and buffer on the way.
const LARGE: usize = 10 << 20;

fn before(backend: &Backend) -> Setup {
    Setup::of(&[backend]).listener("http2: true").option("http2: true")
}

/// Waits until the backend gets rid of nothing more; how much it was.
fn until_held_back(backend: &Http2Backend) -> usize {
    let mut before = usize::MAX;
    until("the backend is held back", || {
        thread::sleep(Duration::from_millis(300));
        let now = backend.flooded();
        (std::mem::replace(&mut before, now) == now).then_some(now)
    })
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[test]
#[ignore = "Pingora's fault, one run in three: while it waits for room for the body at the backend, it takes \
            nothing of the answer, so that a backend which waits for room for its answer never makes any \
            (`bidirection_down_to_up`; see src/ARCHITECTURE.md)"]
fn a_large_body_comes_back_while_it_is_sent() {
    let backend = Http2Backend::start("b");
    let gateway = Gateway::start(&before(backend.at()));
    let sent = pattern(LARGE);
    let mut client = Http2::connect(gateway.address());
    // both directions are full by then
    let held_back = || {
        until_held_back(&backend);
    };
    let answer = client.read_late("/echo", &sent, held_back).unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.body == sent, "{} of {} bytes", answer.body.len(), sent.len());
}

#[test]
fn a_body_that_falls_silent_is_cut_off_and_its_neighbours_go_on() {
    let (one, two) = (Backend::start("b"), Http2Backend::start("b"));
    for setup in [Setup::of(&[&one]).listener("http2: true"), before(two.at())] {
        let setup = setup
            .option("timeouts: { read: 60s, write: 500ms }")
            .server("limits: { bodyTimeout: 500ms }");
        let gateway = Gateway::start(&setup);
        let mut client = Http2::connect(gateway.address());
        let grpc = [("content-type", "application/grpc")];
        let _call = client.send_unread_with("/call", &grpc, b"only this");
        let mut silent = client.send_unread("/silent", b"only this");
        let answer = client.drip("/drip", 30, Duration::from_millis(100));
        assert_eq!(answer.seen()["body_length"], 30);
        assert_eq!(client.wait_for_reset(&mut silent), h2::Reason::CANCEL);
        let labels = [("reason", "body-timeout")];
        gateway.wait_for_metric("stickfast_refusals_total", &labels, 1.0);
        let line = gateway.access_of("/silent");
        assert_eq!((&line["status"], &line["reason"]), (&0.into(), &"body-timeout".into()));
        assert_eq!((&line["backend"], &line["service"]), (&"b".into(), &"app".into()));
        assert_eq!(client.get("/", &[]).backend(), "b");
        // the call, which may be as silent as it likes
        gateway.wait_for_metric("stickfast_active_requests", &[], 1.0);
    }
}

#[test]
fn large_bodies_of_clients_of_http_1_1_pass_both_ways() {
    let backend = Http2Backend::start("b");
    let gateway = Gateway::start(&before(backend.at()));
    // such a client does not read while it writes
    for request in [Request::post("/", LARGE), Request::post("/", LARGE).chunked()] {
        assert_eq!(gateway.client().send(&request).seen()["body_length"], LARGE);
    }
    let answer = gateway.client().get(&format!("/large/{LARGE}"));
    assert!(answer.whole && answer.body.len() == LARGE, "{}", answer.body.len());
}

#[test]
fn large_bodies_pass_to_and_from_a_backend_of_http_1_1() {
    let backend = Backend::start("b");
    let sent = pattern(LARGE);
    for chunks in [None, Some(70_000)] {
        backend.shows("/large", Page { body: sent.clone(), chunks, ..Page::default() });
        let gateway = Gateway::start(&Setup::of(&[&backend]).listener("http2: true"));
        let mut client = Http2::connect(gateway.address());
        assert!(client.get("/large", &[]).body == sent, "{chunks:?}");
        assert_eq!(client.send("POST", "/", &[], &sent).seen()["body_length"], LARGE);
    }
}

#[test]
fn one_who_does_not_read_holds_up_nobody_else() {
    let backend = Http2Backend::start("b");
    let gateway = Gateway::start(&before(backend.at()));
    let mut client = Http2::connect(gateway.address());
    let _unread: Vec<_> = (0..8).map(|_| client.send_unread("/flood", b"")).collect();
    let kept = until_held_back(&backend);
    assert!(kept < 8 << 20, "what nobody reads is kept: {kept} bytes");
    // on their own connection, and on the shared one to the backend
    assert_eq!(client.get("/", &[]).backend(), "b");
    assert_eq!(gateway.client().get("/").backend(), "b");
    assert_eq!(backend.connections(), 1, "all share one");
}

#[test]
fn a_backend_that_does_not_read_holds_up_no_other_request_of_the_client() {
    let backend = Http2Backend::start("b");
    let gateway = Gateway::start(&before(backend.at()));
    let mut client = Http2::connect(gateway.address());
    let unread: Vec<_> = (0..4).map(|_| client.send_unread("/deaf", &pattern(1 << 20))).collect();
    for _ in 0..3 {
        assert_eq!(client.send("POST", "/", &[], &pattern(200_000)).seen()["body_length"], 200_000);
    }
    drop(unread);
    until("the backend is told that they were taken back", || {
        (backend.resets() == 4).then_some(())
    });
}

#[test]
fn trailers_of_an_answer_pass_and_those_of_a_request_do_not() {
    let backend = Http2Backend::start("b");
    let gateway = Gateway::start(&before(backend.at()));
    let mut client = Http2::connect(gateway.address());
    let answer = client.get("/trailers", &[]);
    assert_eq!((answer.backend().as_str(), answer.field("x-toy-trailer")), ("b", Some("last")));
    // one who speaks HTTP/1.1 gets the answer without them
    let answer = gateway.client().get("/trailers");
    assert_eq!((answer.backend().as_str(), answer.field("x-toy-trailer")), ("b", None));

    let answer = client.send_with_trailer("/", b"hello", ("x-checksum", "1234"));
    assert_eq!(answer.seen()["body_length"], 5, "the request is whole");
    assert_eq!(answer.seen()["trailers"], serde_json::json!([]), "but for its trailers");
}

#[test]
fn a_hint_is_not_passed_on_and_its_answer_is() {
    let backend = Http2Backend::start("b");
    let gateway = Gateway::start(&before(backend.at()));
    assert_eq!(Http2::connect(gateway.address()).get("/hint", &[]).backend(), "b");
    assert_eq!(gateway.client().get("/hint").backend(), "b");
}

#[test]
fn cookies_in_several_fields_are_one_for_the_backend_too() {
    let backends = ["b1", "b2", "b3"].map(Http2Backend::start);
    let start = Setup::of(&[]).listener("http2: true").option("http2: true").sticky();
    let setup = backends.iter().fold(start, |setup, backend| {
        setup.backend(backend.at().id(), &backend.address().to_string())
    });
    let gateway = Gateway::start(&setup);
    let mut client = Http2::connect(gateway.address());
    let first = client.get("/", &[]);
    let key = first.cookies()[0].split(';').next().unwrap().to_owned();
    for _ in 0..6 {
        let answer = client.get("/", &[("cookie", "a=1"), ("cookie", &key), ("cookie", "b=2")]);
        assert_eq!(answer.backend(), first.backend());
        assert_eq!(answer.seen_fields("cookie").join("; "), "a=1; b=2");
    }
}

#[test]
fn a_stream_that_breaks_off_leaves_the_others_alone() {
    let backend = Http2Backend::start("b");
    let gateway = Gateway::start(&before(backend.at()));
    let mut client = Http2::connect(gateway.address());
    for path in ["/reset", "/vanish"] {
        let broken = client.try_send("GET", path, &[], b"").expect_err("cut short, and told so");
        assert!(broken.is_reset(), "{path}: {broken}");
        assert_eq!(client.get("/", &[]).backend(), "b");
    }
}

#[test]
fn a_backend_that_says_goaway_loses_no_request() {
    let backend = Http2Backend::start("b");
    let gateway = Gateway::start(&before(backend.at()));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Http2::connect(gateway.address());
                for nth in 0..100 {
                    let path = if nth % 10 == 9 { "/goaway" } else { "/" };
                    assert_eq!(client.get(path, &[]).backend(), "b");
                }
            });
        }
    });
    assert!(backend.connections() > 1, "it did say so");
}

#[test]
fn what_a_backend_has_not_looked_at_is_sent_again_whatever_it_is() {
    let backend = Http2Backend::start("b");
    let gateway = Gateway::start(&before(backend.at()));
    let mut client = Http2::connect(gateway.address());
    for method in ["GET", "POST"] {
        let answer = client.send(method, "/refuse", &[], b"");
        assert_eq!((answer.status, answer.backend().as_str()), (200, "b"));
    }
}

#[test]
fn a_websocket_is_asked_for_in_http_1_1() {
    let backend = Http2Backend::start_or("b", |stream| {
        let Ok(mut socket) = accept(stream) else { return };
        while let Ok(message) = socket.read() {
            if message.is_text() && socket.send(message).is_err() {
                return;
            }
        }
    });
    let gateway = Gateway::start(&before(backend.at()).sticky());
    assert_eq!(Http2::connect(gateway.address()).get("/", &[]).backend(), "b");
    let stream = TcpStream::connect(gateway.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = ClientRequestBuilder::new("ws://app.test/chat".parse().unwrap());
    let (mut socket, answer) = client(request, stream).expect("a WebSocket");
    assert!(answer.headers().contains_key("set-cookie"), "stamped on the 101");
    socket.send(Message::text("hi")).unwrap();
    assert_eq!(socket.read().unwrap().into_text().unwrap(), "hi");
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_websocket_to_a_backend_of_http_2_alone_is_an_error_that_says_so() {
    let backend = Http2Backend::start("b");
    let gateway = Gateway::start(&before(backend.at()));
    let handshake = Request::get("/chat")
        .with("Connection", "Upgrade")
        .with("Upgrade", "websocket")
        .with("Sec-WebSocket-Version", "13")
        .with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let answer = gateway.client().send(&handshake);
    assert_eq!((answer.status, answer.reason()), (502, Some("backend-reset")));
}
