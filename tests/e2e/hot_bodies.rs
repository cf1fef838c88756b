//! Bodies of requests on the short way: they arrive whole, what follows them is the next request, and
//! neither side waits for ever for the other.

use crate::harness::{Backend, Behaviour, Gateway, Setup, Wire, until};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// More than is kept at hand for another try.
const LARGE: usize = 100 * 1024;

fn head(method: &str, length: usize) -> String {
    format!("{method} /a HTTP/1.1\r\nHost: app.test\r\nContent-Length: {length}\r\n\r\n")
}

fn whole(method: &str, length: usize) -> Vec<u8> {
    [head(method, length).into_bytes(), vec![b'x'; length]].concat()
}

fn length_seen(wire: &mut Wire) -> u64 {
    let answer = wire.answer().unwrap().expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.seen()["body_length"].as_u64().unwrap()
}

/// Waits until so many requests have gone the short way; they are counted behind their answers.
fn wait_for_taken(gateway: &Gateway, requests: f64) {
    gateway.wait_for_metric("stickfast_hot_path_requests_total", &[], requests);
}

#[test]
fn bodies_of_every_size_arrive_and_the_connection_goes_on() {
    let backend = Backend::start("b");
    let gateway = Gateway::start(&Setup::of(&[&backend]));
    let mut wire = gateway.connect();
    let sizes = [0, 1, 1000, 16 * 1024, 65_000, LARGE, 5 << 20, 1];
    for size in sizes {
        wire.write(&whole("POST", size)).unwrap();
        assert_eq!(length_seen(&mut wire), size as u64);
    }
    wait_for_taken(&gateway, 8.0);
}

#[test]
fn what_follows_a_body_is_the_next_request() {
    let backend = Backend::start("b");
    let gateway = Gateway::start(&Setup::of(&[&backend]));
    let mut wire = gateway.connect();
    for size in [10, LARGE] {
        let all = [whole("POST", size), whole("PUT", 3), head("GET", 0).into_bytes()].concat();
        wire.write(&all).unwrap();
        let seen = [(); 3].map(|()| length_seen(&mut wire));
        assert_eq!(seen, [size as u64, 3, 0]);
    }
    wait_for_taken(&gateway, 6.0);
}

#[test]
fn a_body_may_come_byte_by_byte() {
    let backend = Backend::start("b");
    let gateway = Gateway::start(&Setup::of(&[&backend]));
    let mut wire = gateway.connect();
    for byte in whole("POST", 200) {
        wire.write(&[byte]).unwrap();
    }
    assert_eq!(length_seen(&mut wire), 200);
    wait_for_taken(&gateway, 1.0);
}

#[test]
fn a_client_that_falls_silent_inside_of_a_body_is_told_so() {
    let backend = Backend::start("b");
    let gateway = Gateway::start(&Setup::of(&[&backend]).server("limits: { bodyTimeout: 300ms }"));
    for size in [100, LARGE] {
        let mut wire = gateway.connect();
        wire.write(head("POST", size).as_bytes()).unwrap();
        wire.write(b"begun").unwrap();
        let answer = wire.answer().unwrap().unwrap();
        assert_eq!((answer.status, answer.reason()), (408, Some("body-timeout")));
        assert!(wire.rest().unwrap().is_empty(), "the connection is closed");
    }
    assert_eq!(gateway.client().get("/").status, 200);
}

#[test]
fn a_client_that_leaves_inside_of_a_body_frees_the_seat() {
    let backend = Backend::start("b");
    let setup = Setup::of(&[&backend]).option("limits: { maxConnectionsPerBackend: 1 }");
    let gateway = Gateway::start(&setup);
    let mut wire = gateway.connect();
    wire.write(head("POST", LARGE).as_bytes()).unwrap();
    until("it is under way", || {
        (gateway.metric("stickfast_active_requests", &[]) > 0.5).then_some(())
    });
    drop(wire);
    gateway.wait_for_metric("stickfast_active_requests", &[], 0.0);
    assert_eq!(gateway.client().get("/").status, 200);
}

/// A backend that answers as soon as it has read a header, and then neither reads nor stays.
fn hasty(answer: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut read = Vec::new();
            while !read.windows(4).any(|end| end == b"\r\n\r\n") {
                let mut part = [0; 4096];
                match stream.read(&mut part) {
                    Ok(count) if count > 0 => read.extend_from_slice(&part[..count]),
                    _ => break,
                }
            }
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn a_backend_that_answers_before_it_has_read_the_body_is_heard() {
    let address = hasty("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let setup = Setup::of(&[]).backend("hasty", &address.to_string());
    let gateway = Gateway::start(&setup);
    for _ in 0..20 {
        let mut wire = gateway.connect();
        // only begun: the backend's answer can come without a reset of what was not read
        wire.write(head("POST", 5 << 20).as_bytes()).unwrap();
        let answer = wire.answer().unwrap().unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
        assert!(wire.rest().unwrap().is_empty(), "what is left of the body is no request");
    }
}

/// A backend that answers as soon as it has read a header, and reads the body then; how many bytes
/// of bodies have come.
fn answers_first() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, come) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&come);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counted = Arc::clone(&counted);
            thread::spawn(move || {
                let mut reader = BufReader::new(&stream);
                loop {
                    let (mut line, mut length) = (String::new(), 0);
                    while line != "\r\n" {
                        line.clear();
                        if reader.read_line(&mut line).unwrap_or(0) == 0 {
                            return;
                        }
                        if let Some(told) = line.to_lowercase().strip_prefix("content-length: ") {
                            length = told.trim().parse().unwrap();
                        }
                    }
                    let mut writer = &stream;
                    let _ =
                        writer.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok");
                    let mut body = (&mut reader).take(length);
                    let mut part = [0; 4096];
                    while let Ok(count @ 1..) = body.read(&mut part) {
                        counted.fetch_add(count, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    (address, come)
}

#[test]
fn a_backend_that_answers_first_gets_the_rest_of_the_body() {
    let (address, come) = answers_first();
    let gateway = Gateway::start(&Setup::of(&[]).backend("first", &address.to_string()));
    let mut wire = gateway.connect();
    for nth in 1..=3 {
        wire.write(head("POST", LARGE).as_bytes()).unwrap();
        let answer = wire.answer().unwrap().unwrap();
        assert_eq!((answer.status, answer.closes()), (202, false));
        wire.write(&vec![b'x'; LARGE]).unwrap();
        until("the body has come", || (come.load(Ordering::SeqCst) == nth * LARGE).then_some(()));
    }
    wait_for_taken(&gateway, 3.0);
}

#[test]
fn a_backend_may_take_its_time_for_a_body_that_is_there() {
    let backend = Backend::start("slow");
    let gateway = Gateway::start(&Setup::of(&[&backend]).server("limits: { bodyTimeout: 300ms }"));
    let mut wire = gateway.connect();
    let request = "POST /sleep/900 HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\nhello";
    wire.write(request.as_bytes()).unwrap();
    assert_eq!(length_seen(&mut wire), 5);
}

#[test]
fn a_small_body_can_go_to_another_backend_and_a_large_one_cannot() {
    let (bad, good) = (Backend::start("bad"), Backend::start("good"));
    bad.behave(Behaviour::HangUp);
    let gateway = Gateway::start(&Setup::of(&[&bad, &good]));
    let statuses = |method: &str, size: usize| {
        let mut all: Vec<u16> = (0..4)
            .map(|_| {
                let mut wire = gateway.connect();
                wire.write(&whole(method, size)).unwrap();
                wire.answer().unwrap().unwrap().status
            })
            .collect();
        all.sort_unstable();
        all
    };
    assert_eq!(statuses("PUT", 100), [200; 4]);
    assert_eq!(statuses("PUT", LARGE), [200, 200, 502, 502]);
    assert_eq!(statuses("POST", 100), [200, 200, 502, 502]);
}

#[test]
fn a_body_that_nobody_wants_is_no_request() {
    let backend = Backend::start("b");
    let rule = "id: r, hosts: [app.test], path: /only, serviceName: app";
    let gateway = Gateway::start(&Setup::of(&[&backend]).rules(&[rule]));
    for size in [10, LARGE] {
        let mut wire = gateway.connect();
        wire.write(head("POST", size).as_bytes()).unwrap();
        let answer = wire.answer().unwrap().unwrap();
        assert_eq!((answer.status, answer.closes()), (404, true));
        // an error: the gateway was faster
        let _ = wire.write(head("GET", 0).as_bytes());
        assert!(wire.rest().unwrap().is_empty());
    }
}
