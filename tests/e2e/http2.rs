//! HTTP/2 from clients: what is the same as over HTTP/1.1, what is different, and what is bounded.

use crate::harness::{Backend, Gateway, Http2, Page, Request, Setup, until};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const NO_SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

fn setup(backends: &[&Backend]) -> Setup {
    Setup::of(backends).listener("http2: true").server("threads: 1")
}

#[test]
fn a_backend_of_http_1_1_sees_a_usual_request() {
    let backend = Backend::start("b");
    let gateway = Gateway::start(&setup(&[&backend]));
    let mut client = Http2::connect(gateway.address());
    for _ in 0..3 {
        let answer = client.send("POST", "/a?b=c", &[("x-forwarded-for", "1.2.3.4")], b"hello");
        assert_eq!((answer.status, answer.seen_path().as_str()), (200, "/a?b=c"));
        assert_eq!(answer.seen_fields("host"), [gateway.address().to_string()]);
        assert_eq!(answer.seen_fields("x-forwarded-host"), [gateway.address().to_string()]);
        assert_eq!(answer.seen_fields("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(answer.seen_fields("via"), ["2 stickfast"]);
        assert_eq!(answer.seen()["body_length"], 5);
    }
    let line = gateway.access_of("/a");
    assert_eq!((&line["status"], &line["method"]), (&200.into(), &"POST".into()));
    assert_eq!(line["host"], "127.0.0.1");
    assert!((gateway.metric("stickfast_connections", &[]) - 1.0).abs() < f64::EPSILON);
}

#[test]
fn a_listener_takes_both_versions_and_one_without_the_key_only_one() {
    let backend = Backend::start("b");
    let gateway = Gateway::start(&setup(&[&backend]).another_listener("address: \"127.0.0.1:0\""));
    let mut wire = gateway.connect();
    // shorter than the preface, and the same at its start
    wire.write(b"P / HTTP/1.0\r\nHost:a\r\n\r\n").unwrap();
    assert_eq!(wire.answer().unwrap().unwrap().status, 200);
    assert_eq!(gateway.client().get("/").status, 200);

    let mut other = TcpStream::connect(gateway.announced()[1]).unwrap();
    other.write_all(PREFACE).unwrap();
    let mut answer = String::new();
    other.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn cookies_in_several_fields_are_one_line_before_anything_looks_at_them() {
    let backends = ["b1", "b2", "b3"].map(Backend::start);
    let all: Vec<_> = backends.iter().collect();
    let gateway = Gateway::start(&setup(&all).sticky());
    let mut client = Http2::connect(gateway.address());
    let first = client.get("/", &[]);
    let key = first.cookies()[0].split(';').next().unwrap().to_owned();
    for _ in 0..6 {
        let answer = client.get("/", &[("cookie", "a=1"), ("cookie", &key), ("cookie", "b=2")]);
        assert_eq!(answer.backend(), first.backend());
        assert!(answer.cookies().is_empty());
        assert_eq!(answer.seen_fields("cookie"), ["a=1; b=2"], "the key is ours alone");
    }
}

#[test]
fn first_requests_of_one_connection_go_to_one_backend() {
    let backends = ["b1", "b2", "b3"].map(Backend::start);
    let all: Vec<_> = backends.iter().collect();
    let setup = setup(&all).sticky_with("burst: { sameConnection: true, window: 0s }");
    let gateway = Gateway::start(&setup);
    let mut client = Http2::connect(gateway.address());
    let first = client.get("/", &[]).backend();
    assert!((0..6).all(|_| client.get("/", &[]).backend() == first));
}

#[test]
fn answers_without_a_body_have_none() {
    let backend = Backend::start("b");
    let gateway = Gateway::start(&setup(&[&backend]));
    let mut client = Http2::connect(gateway.address());
    assert_eq!(client.send("HEAD", "/", &[], b"").body, b"");
    for status in [204, 304] {
        let answer = client.get(&format!("/status/{status}"), &[]);
        assert_eq!((answer.status, answer.body), (status, Vec::new()));
    }
    assert_eq!(client.get("/", &[]).status, 200);
}

#[test]
fn what_is_refused_is_told_why_and_leaves_the_connection_alone() {
    let backend = Backend::start("b");
    let setup = setup(&[&backend])
        .rules(&[
            "id: r, hosts: [a.example], serviceName: app",
            "id: o, path: /o, serviceName: app",
        ])
        .server("limits: { maxBodyBytes: 1000, maxHeaderBytes: 4000 }");
    let gateway = Gateway::start(&setup);
    let mut client = Http2::connect(gateway.address());
    let answer = client.get("/", &[]);
    assert_eq!((answer.status, answer.reason()), (404, Some("no-route")));
    let answer = client.send("POST", "/o", &[], &[b'x'; 5000]);
    assert_eq!((answer.status, answer.reason()), (413, Some("body-too-large")));
    assert_eq!(client.get("/o", &[("x-long", &"x".repeat(10_000))]).status, 431);
    assert_eq!(client.get("/o", &[]).status, 200);
    backend.stop();
    let answer = client.get("/o", &[]);
    assert_eq!((answer.status, answer.reason()), (503, Some("connect-failed")));
    assert_eq!(client.send("HEAD", "/o", &[], b"").status, 503);
}

#[test]
fn as_many_requests_at_once_as_the_limit_says() {
    let backend = Backend::start("b");
    let setup = setup(&[&backend]).server("limits: { maxStreamsPerConnection: 7 }");
    let gateway = Gateway::start(&setup);
    assert_eq!(Http2::connect(gateway.address()).most_streams(), 7);
}

#[test]
fn an_idle_connection_is_told_to_go_and_a_busy_one_is_not() {
    let backend = Backend::start("b");
    let setup = setup(&[&backend]).server("limits: { idleTimeout: 300ms }");
    let gateway = Gateway::start(&setup);
    let mut client = Http2::connect(gateway.address());
    assert_eq!(client.get("/sleep/1000", &[]).status, 200);
    client.wait_for_farewell();
    gateway.wait_for_metric("stickfast_connections", &[], 0.0);
}

#[test]
fn a_connection_that_does_not_get_to_its_first_request_is_closed() {
    let backend = Backend::start("b");
    let setup = setup(&[&backend]).server("limits: { headerTimeout: 300ms }");
    let gateway = Gateway::start(&setup);
    for start in [&b""[..], b"PRI * HT", PREFACE, &[PREFACE, NO_SETTINGS].concat()] {
        let mut stream = TcpStream::connect(gateway.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(start).unwrap();
        stream.read_to_end(&mut Vec::new()).expect("it is closed");
    }
    gateway.wait_for_metric("stickfast_connections", &[], 0.0);
}

#[test]
fn a_connection_has_as_many_requests_as_the_limit_says() {
    let backend = Backend::start("b");
    let setup = setup(&[&backend]).server("limits: { maxRequestsPerConnection: 3 }");
    let gateway = Gateway::start(&setup);
    let mut client = Http2::connect(gateway.address());
    for _ in 0..3 {
        assert_eq!(client.get("/", &[]).status, 200);
    }
    client.wait_for_farewell();

    let mut client = gateway.client();
    let closes: Vec<_> = (0..3).map(|_| client.get("/").closes()).collect();
    assert_eq!(closes, [false, false, true]);
}

#[test]
fn one_who_does_not_heed_the_farewell_is_sent_away() {
    let backend = Backend::start("b");
    let limits = "limits: { maxRequestsPerConnection: 3, maxStreamsPerConnection: 4 }";
    let gateway = Gateway::start(&setup(&[&backend]).server(limits));
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(&[PREFACE, NO_SETTINGS].concat()).unwrap();
    let mut reads = stream.try_clone().unwrap();
    let reader = thread::spawn(move || reads.read_to_end(&mut Vec::new()));
    for nth in 0_u8..100 {
        // GET, http, `/`, and `a` as the authority; no PING is answered
        let id = 2 * nth + 1;
        let request = [0, 0, 6, 1, 5, 0, 0, 0, id, 0x82, 0x86, 0x84, 1, 1, b'a'];
        let _ = stream.write_all(&request);
        until("an answer, or an end", || {
            (backend.requests() > usize::from(nth) || reader.is_finished()).then_some(())
        });
    }
    assert_eq!(backend.requests(), 3 + 4);
    let labels = [("reason", "goaway-ignored")];
    gateway.wait_for_metric("stickfast_refusals_total", &labels, 1.0);
    assert_eq!(gateway.client().get("/").status, 200);
}

#[test]
fn one_who_says_a_little_behind_the_farewell_is_not_waited_for() {
    let backend = Backend::start("b");
    let gateway = Gateway::start(&setup(&[&backend]).server("limits: { idleTimeout: 100ms }"));
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.write_all(&[PREFACE, NO_SETTINGS].concat()).unwrap();
    // GET, http, `/`, and `a` as the authority
    stream.write_all(b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x01\x01a").unwrap();
    let mut reads = stream.try_clone().unwrap();
    let mut said = Vec::new();
    reads.read_to_end(&mut said).expect("an end of its side");
    let (stop, stopped) = mpsc::channel::<()>();
    let drip = thread::spawn(move || {
        while stopped.recv_timeout(Duration::from_millis(100)) == Err(RecvTimeoutError::Timeout) {
            let _ = stream.write_all(b"x");
        }
    });
    gateway.wait_for_metric("stickfast_connections", &[], 0.0);
    drop(stop);
    drip.join().unwrap();
}

#[test]
fn a_stopping_gateway_finishes_what_is_under_way() {
    let backend = Backend::start("b");
    let mut gateway = Gateway::start(&setup(&[&backend]));
    let (mut busy, mut idle) =
        (Http2::connect(gateway.address()), Http2::connect(gateway.address()));
    idle.get("/", &[]);
    let slow = busy.start("/sleep/700");
    until("it is under way", || (backend.requests() == 2).then_some(()));
    gateway.signal("TERM");
    idle.wait_for_farewell();
    assert_eq!(busy.finish(slow).status, 200);
    busy.wait_for_farewell();
    assert!(gateway.wait_for_exit(Duration::from_secs(10)).expect("it ends").success());
}

#[test]
fn one_who_reads_slowly_gets_every_answer_whole() {
    let backend = Backend::start("b");
    let length = 390_000;
    backend.shows("/page", Page::html(&"x".repeat(length)));
    let gateway = |limits: &str| {
        Gateway::start(&setup(&[&backend]).server(&format!("limits: {{ {limits} }}")))
    };
    let all = |gateway: &Gateway, end: &dyn Fn()| {
        // so that it takes some seconds
        let pause = Duration::from_millis(5);
        let mut client = Http2::connect_slow(gateway.address(), 32 << 10, pause);
        let pages: Vec<_> = (0..20).map(|_| client.start("/page")).collect();
        end();
        for page in pages {
            let page = client.finish(page);
            assert_eq!((page.status, page.body.len()), (200, length));
        }
        client.wait_for_farewell();
    };
    all(&gateway("idleTimeout: 200ms"), &|| {});
    let mut stopping = gateway("");
    let before = backend.requests();
    all(&stopping, &|| {
        until("they are under way", || (backend.requests() > before).then_some(()));
        stopping.signal("TERM");
    });
    assert!(stopping.wait_for_exit(Duration::from_secs(10)).expect("it ends").success());
}

#[test]
fn one_who_takes_nothing_is_cut_off_when_its_answers_are_through() {
    let backend = Backend::start("b");
    backend.shows("/page", Page::html(&"x".repeat(390_000)));
    let setup = setup(&[&backend]).server("limits: { bodyTimeout: 700ms }");
    let gateway = Gateway::start(&setup);
    let mut client = Http2::connect_slow(gateway.address(), 1 << 10, Duration::from_secs(2));
    let pages: Vec<_> = (0..40).map(|_| client.start("/page")).collect();
    gateway.wait_for_metric("stickfast_connections", &[], 1.0);
    gateway.wait_for_metric("stickfast_connections", &[], 0.0);
    drop(pages);
}

#[test]
fn one_who_opens_streams_only_to_reset_them_is_sent_away() {
    let backend = Backend::start("b");
    let gateway = Gateway::start(&setup(&[&backend]));
    let mut attacker = Http2::connect(gateway.address());
    let mut client = Http2::connect(gateway.address());
    // each is taken up before it is taken back
    let sent = (0..2000)
        .take_while(|_| attacker.take_back("/sleep/100", Duration::from_millis(2)).is_ok())
        .count();
    assert!(sent < 1000, "{sent}");
    let end = attacker.wait_for_end().expect_err("an error");
    assert_eq!(end.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM));
    assert_eq!(client.get("/", &[]).status, 200);
}

#[test]
fn a_header_that_never_ends_is_cut_off() {
    let backend = Backend::start("b");
    let gateway = Gateway::start(&setup(&[&backend]));
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(&[PREFACE, NO_SETTINGS, b"\0\0\x01\x01\x01\0\0\0\x01\x82"].concat()).unwrap();
    // frames of nothing, which belong to the header
    let flood = b"\0\0\0\x09\0\0\0\0\x01".repeat(1000);
    let began = Instant::now();
    let sent = (0..10_000).take_while(|_| stream.write_all(&flood).is_ok()).count();
    assert!(sent < 1000, "{sent} times {} bytes, {:?}", flood.len(), began.elapsed());
    assert_eq!(gateway.client().get("/").status, 200);
}

#[test]
fn a_request_that_names_no_host_is_refused() {
    let backend = Backend::start("b");
    let gateway = Gateway::start(&setup(&[&backend]));
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    // :method GET, :scheme http, :path /
    let header = b"\0\0\x03\x01\x05\0\0\0\x01\x82\x86\x84";
    stream.write_all(&[PREFACE, NO_SETTINGS, header].concat()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut answer = vec![0; 1000];
    // SETTINGS and ACK come first; 400 is 0x8c in the static table
    until("400", || {
        let read = stream.read(&mut answer).unwrap();
        answer[..read].windows(2).any(|pair| pair == [0x01, 0x8c] || pair[0] == 0x8c).then_some(())
    });
    assert_eq!(backend.requests(), 0);
    assert_eq!(gateway.client().send(&Request::get("/")).status, 200);
}

fn taken(gateway: &Gateway) -> f64 {
    gateway.metric("stickfast_hot_path_requests_total", &[])
}

#[test]
fn plain_requests_go_the_short_way_and_others_beside_them() {
    let backend = Backend::start("b");
    let setup = setup(&[&backend]).option("limits: { maxConnectionsPerBackend: 2 }");
    let gateway = Gateway::start(&setup);
    let mut client = Http2::connect(gateway.address());
    assert_eq!(client.send("POST", "/", &[], b"hello").status, 200);
    assert_eq!(client.get("/", &[("te", "trailers")]).status, 200);
    assert!(taken(&gateway) < 0.5);
    assert_eq!(client.get("/", &[]).seen_fields("via"), ["2 stickfast"]);
    assert!((taken(&gateway) - 1.0).abs() < 0.5);
    // no trailers are asked for, but it is a call all the same
    let call = client.get("/", &[("content-type", "application/grpc")]);
    assert_eq!(call.status, 200);
    assert!((taken(&gateway) - 1.0).abs() < 0.5);
    let answers = client.send_many(6, "/sleep/100", &[]);
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200)));
    gateway.wait_for_metric("stickfast_active_requests", &[], 0.0);
}

#[test]
fn one_who_leaves_or_takes_back_leaves_nothing_under_way() {
    let backend = Backend::start("b");
    let gateway = Gateway::start(&setup(&[&backend]));
    let mut client = Http2::connect(gateway.address());
    client.take_back("/sleep/10000", Duration::from_millis(50)).unwrap();
    let line = gateway.access_of("/sleep/10000");
    assert_eq!((&line["status"], &line["reason"]), (&0.into(), &"client-gone".into()));
    gateway.wait_for_metric("stickfast_active_requests", &[], 0.0);
    for _ in 0..5 {
        client.start("/sleep/20000");
    }
    gateway.wait_for_metric("stickfast_active_requests", &[], 5.0);
    drop(client);
    gateway.wait_for_metric("stickfast_active_requests", &[], 0.0);
    let line = gateway.access_of("/sleep/20000");
    assert_eq!((&line["status"], &line["reason"]), (&0.into(), &"client-gone".into()));
    assert!((taken(&gateway) - 6.0).abs() < 0.5);
}

#[test]
fn an_answer_that_is_not_read_holds_up_no_other() {
    let backend = Backend::start("b");
    backend.shows("/large", Page::html(&"x".repeat(8 << 20)));
    let gateway = Gateway::start(&setup(&[&backend]));
    let mut client = Http2::connect(gateway.address());
    let unread: Vec<_> = (0..3).map(|_| client.send_unread("/large", b"")).collect();
    assert!((0..20).all(|_| client.get("/", &[]).status == 200));
    let read = client.get("/large", &[]);
    assert_eq!((read.status, read.body.len()), (200, 8 << 20));
    drop(unread);
    gateway.wait_for_metric("stickfast_active_requests", &[], 0.0);
}

#[test]
fn one_whose_first_backend_refuses_waits_for_another_like_any() {
    let backends = ["a", "b", "c"].map(Backend::start);
    let all: Vec<_> = backends.iter().collect();
    let limits = "maxConnectionsPerBackend: 2, maxPending: 100, queueTimeout: 20s";
    let setup = setup(&all).sticky().option(&format!("limits: {{ {limits} }}"));
    let gateway = Gateway::start(&setup);
    backends[2].stop();
    let mut client = Http2::connect(gateway.address());
    let answers = client.send_many(6, "/sleep/300", &[]);
    let statuses: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().status).collect();
    assert_eq!(statuses, [200; 6]);
    assert!((taken(&gateway) - 6.0).abs() < 0.5);
}
