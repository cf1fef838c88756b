//! Clients that mean harm, or do it: each gets so much and no more, and others notice nothing.

use crate::harness::{Backend, Gateway, Setup, Wire, until, within};
use std::fmt::Write as _;
use std::io::Write as _;
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
    thread::sleep(Duration::from_millis(300));
    assert!(waiting.iter().all(|client| !client.is_finished()));
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
    for nth in 0..300 {
        let _ = write!(many, "x-{nth}: 1\r\n");
    }
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
        thread::sleep(Duration::from_millis(20));
    }
    let worked = gateway.worked().saturating_sub(worked);
    assert!(worked < Duration::from_secs(1), "worked {worked:?} of 3 s");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert!(gateway.files() < FILES * 3 / 4, "the rest is for backends: {}", gateway.files());
    drop(crowd);
    assert_eq!(gateway.client().get("/").status, 200);
}
