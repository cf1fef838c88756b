//! Clients that mean harm, or do it: each gets so much and no more, and others notice nothing.

use crate::harness::{Backend, Gateway, Http2, Page, Setup, Wire, until, within};
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn beyond_the_limit_connections_wait_until_one_ends() {
    let backend = Backend::start("b");
    let gateway = Gateway::start(&Setup::of(&[&backend]).server("limits: { maxConnections: 3 }"));
    let mut held: Vec<Wire> = (0..3).map(|_| gateway.connect()).collect();
    for wire in &mut held {
        wire.write(GET).unwrap();
        assert_eq!(wire.answer().unwrap().unwrap().status, 200);
    }
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let mut client = gateway.client();
            thread::spawn(move || {
                let answer = client.get("/");
                client.hang_up();
                (answer.status, Instant::now())
            })
        })
        .collect();
    let served = || waiting.iter().any(thread::JoinHandle::is_finished).then_some(());
    assert_eq!(within(Duration::from_millis(300), served), None);
    assert_eq!(backend.requests(), 3);
    let freed = Instant::now();
    drop(held.pop());
    for client in waiting {
        let (status, at) = client.join().unwrap();
        assert!(status == 200 && at > freed);
    }
    // those who were there are served on
    held[0].write(GET).unwrap();
    assert_eq!(held[0].answer().unwrap().unwrap().status, 200);
}

#[test]
fn one_address_has_so_many_connections_and_others_have_theirs() {
    let backend = Backend::start("b");
    let limits = "limits: { maxConnectionsPerAddress: 2 }";
    let gateway = Gateway::start(&Setup::of(&[&backend]).server(limits));
    let mut held: Vec<Wire> = (0..2).map(|_| gateway.connect()).collect();
    for wire in &mut held {
        wire.write(GET).unwrap();
        assert_eq!(wire.answer().unwrap().unwrap().status, 200);
    }
    let mut third = gateway.connect();
    // it may be gone before we have written
    let _ = third.write(GET);
    assert!(third.rest().is_ok_and(|rest| rest.is_empty()));
    let labels = [("reason", "too-many-connections")];
    gateway.wait_for_metric("stickfast_refusals_total", &labels, 1.0);
    let mut other = gateway.client().at([127, 0, 0, 2].into());
    assert_eq!(other.get("/").status, 200);
    drop(held);
    let served = within(Duration::from_secs(10), || {
        gateway.client().try_send(&crate::harness::Request::get("/")).ok()
    });
    assert_eq!(served.expect("there is room again").status, 200);
}

#[test]
fn a_body_that_drips_is_cut_off_and_one_that_flows_is_not() {
    let backend = Backend::start("b");
    let limits = "limits: { minBodyRate: 1KB }";
    let gateway = Gateway::start(&Setup::of(&[&backend]).server(limits));
    let post = |length: usize| {
        let mut wire = gateway.connect();
        let head = format!("POST /d HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        wire.write(head.as_bytes()).unwrap();
        wire
    };
    let (mut drips, mut flows) = (post(1_000_000), post(40_000));
    let began = Instant::now();
    let mut flowed = 0;
    while began.elapsed() < Duration::from_secs(9) {
        // it is cut off meanwhile
        let _ = drips.write(b"x");
        if flowed < 40_000 {
            flows.write(&[b'x'; 1000]).unwrap();
            flowed += 1000;
        }
        // how fast they flow is what this is about
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(flows.answer().unwrap().unwrap().status, 200);
    let answer = drips.answer().unwrap().expect("an answer");
    assert_eq!((answer.status, answer.reason()), (408, Some("body-timeout")));
}

#[test]
fn a_header_of_too_many_fields_or_bytes_is_told_so() {
    let backend = Backend::start("b");
    let gateway = Gateway::start(&Setup::of(&[&backend]));
    let mut many = "GET / HTTP/1.1\r\nHost: a\r\n".to_owned();
    // with Host one more than Pingora takes
    for nth in 0..256 {
        let _ = write!(many, "x-{nth}: 1\r\n");
    }
    let most = many.replace("x-255: 1\r\n", "") + "\r\n";
    let mut wire = gateway.connect();
    wire.write(most.as_bytes()).unwrap();
    assert_eq!(wire.answer().unwrap().expect("an answer").status, 200);
    let mut long = "GET / HTTP/1.1\r\nHost: a\r\nx: ".to_owned();
    long.push_str(&"x".repeat(200_000));
    for header in [many + "\r\n", long] {
        let mut wire = gateway.connect();
        let _ = wire.write(header.as_bytes());
        let answer = wire.answer().unwrap().expect("an answer");
        assert_eq!((answer.status, answer.reason()), (431, Some("header-too-large")));
    }
    let mut wire = gateway.connect();
    wire.write(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n").unwrap();
    assert_eq!(wire.answer().unwrap().unwrap().status, 400);
    let labels = [("reason", "header-too-large")];
    gateway.wait_for_metric("stickfast_refusals_total", &labels, 2.0);
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// GET, http, `/`, and `a` as the authority.
const REQUEST: &[u8] = b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x01\x01a";

/// Connects, says the preface, these settings, and asks for `/`.
fn ask_by_http2(gateway: &Gateway, settings: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    let wait = Some(Duration::from_secs(20));
    stream.set_write_timeout(wait).unwrap();
    stream.set_read_timeout(wait).unwrap();
    stream.write_all(&[PREFACE, settings, REQUEST].concat()).unwrap();
    stream
}

#[test]
fn one_who_floods_with_frames_that_ask_for_nothing_is_cut_off() {
    let backend = Backend::start("b");
    let gateway = Gateway::start(&Setup::of(&[&backend]).listener("http2: true"));
    let mut client = Http2::connect(gateway.address());
    let floods: [&[u8]; 4] = [
        // PING, SETTINGS, a window for the connection, one that nobody knows
        b"\0\0\x08\x06\0\0\0\0\0pingpong",
        b"\0\0\0\x04\0\0\0\0\0",
        b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01",
        b"\0\0\0\x77\0\0\0\0\0",
    ];
    for (nth, frame) in (1_u8..).zip(floods) {
        let mut stream = ask_by_http2(&gateway, b"\0\0\0\x04\0\0\0\0\0");
        let mut reads = stream.try_clone().unwrap();
        let reader = thread::spawn(move || reads.read_to_end(&mut Vec::new()));
        let flood = frame.repeat(100);
        let sent = (0..10_000).take_while(|_| stream.write_all(&flood).is_ok()).count();
        assert!(sent < 5000, "{sent} times {} bytes", flood.len());
        let _ = reader.join().unwrap();
        let labels = [("reason", "frame-flood")];
        gateway.wait_for_metric("stickfast_refusals_total", &labels, nth.into());
        assert_eq!(client.get("/", &[]).status, 200);
    }
}

/// More than kernels keep of an answer that nobody takes.
const LARGE: usize = 24_000_000;

/// Who takes less than 20 KB in a second gets 5 seconds for each piece.
fn with_a_large_page() -> (Backend, Gateway) {
    let backend = Backend::start("b");
    backend.shows("/", Page::html(&"x".repeat(LARGE)));
    let limits = "limits: { minBodyRate: 20KB, idleTimeout: 1s }";
    let gateway = Gateway::start(&Setup::of(&[&backend]).server(limits).listener("http2: true"));
    (backend, gateway)
}

#[test]
fn an_answer_that_is_not_taken_is_cut_off_and_one_that_is_taken_slowly_is_not() {
    let (_backend, gateway) = with_a_large_page();
    let began = Instant::now();
    let mut wires = [(); 2].map(|()| gateway.connect());
    for wire in &mut wires {
        wire.write(GET).unwrap();
    }
    let [takes_none, mut takes_some] = wires;
    let mut taken = 0;
    let cut = within(Duration::from_secs(20), || {
        taken += takes_some.bytes(100_000).unwrap().len();
        // slowly
        thread::sleep(Duration::from_millis(100));
        (gateway.metric("stickfast_connections", &[]) < 1.5).then(|| began.elapsed())
    });
    assert!(cut.expect("it is cut off") > Duration::from_secs(4), "{cut:?}");
    let rest = takes_some.rest().unwrap().len();
    assert!(taken + rest > LARGE, "{taken} + {rest}");
    drop(takes_none);
}

#[test]
fn a_stream_whose_window_stays_shut_is_reset() {
    let (_backend, gateway) = with_a_large_page();
    // SETTINGS_INITIAL_WINDOW_SIZE is 0
    let mut stream = ask_by_http2(&gateway, b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0");
    let began = Instant::now();
    let reset = until("the stream is reset", || {
        let mut head = [0; 9];
        stream.read_exact(&mut head).expect("a frame, or the wait was too long");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length.try_into().unwrap()]).unwrap();
        (head[3] == 3).then(|| began.elapsed())
    });
    assert!(reset > Duration::from_secs(4), "{reset:?}");
    // and the connection, which does nothing else, goes
    gateway.wait_for_metric("stickfast_connections", &[], 0.0);
}

/// As `ulimit -n` says.
const FILES: usize = 256;

#[test]
fn without_files_left_those_who_are_there_are_served_and_nothing_spins() {
    let backend = Backend::start("b");
    let gateway = Gateway::start(&Setup::of(&[&backend]));
    let mut client = gateway.client();
    assert_eq!(client.get("/").status, 200);
    gateway.limit_files(FILES);
    let crowd: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(gateway.address()).unwrap();
            stream.write_all(b"GET").unwrap();
            stream
        })
        .collect();
    let open = || gateway.metric("stickfast_connections", &[]);
    until("it takes in as many as it can serve", || (open() > 90.0).then_some(()));
    let (worked, began) = (gateway.worked(), Instant::now());
    let mut slowest = Duration::ZERO;
    while began.elapsed() < Duration::from_secs(3) {
        let asked = Instant::now();
        assert_eq!(client.get("/").status, 200);
        slowest = slowest.max(asked.elapsed());
        // a client that asks without end would keep it busy itself
        thread::sleep(Duration::from_millis(20));
    }
    let worked = gateway.worked().saturating_sub(worked);
    assert!(worked < Duration::from_secs(1), "worked {worked:?} of 3 s");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert!(gateway.files() < FILES * 3 / 4, "the rest is for backends: {}", gateway.files());
    drop(crowd);
    assert_eq!(gateway.client().get("/").status, 200);
}
