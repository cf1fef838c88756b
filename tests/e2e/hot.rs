//! The short way for plain requests, where it could go wrong by itself. What both ways have in common,
//! the other files show, and `drivers` that nobody can tell them apart.

use crate::harness::{Backend, Gateway, Page, Request, Setup, Wire, skip_head, speaking, until};
use std::io::{BufReader, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

/// More than the buffers of all sockets on the way.
const LARGE: usize = 32 << 20;

/// The short way leaves it to Pingora.
const CHUNKED: &str =
    "POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: app.test\r\n\r\n")
}

fn gateway(backend: &Backend, limits: &str) -> Gateway {
    let setup = Setup::of(&[backend]).server("threads: 1");
    Gateway::start(&setup.server(&format!("limits: {{ {limits} }}")))
}

fn taken(gateway: &Gateway) -> f64 {
    gateway.metric("stickfast_hot_path_requests_total", &[])
}

#[test]
fn a_client_that_takes_nothing_is_cut_off() {
    let backend = Backend::start("b");
    backend.shows("/", Page::html(&"x".repeat(LARGE)));
    let gateway = gateway(&backend, "bodyTimeout: 1s");
    let mut wire = gateway.connect();
    wire.write(get("/").as_bytes()).unwrap();
    until("it is cut off", || (taken(&gateway) > 0.5).then_some(()));
    gateway.wait_for_metric("stickfast_connections", &[], 0.0);
    gateway.wait_for_metric("stickfast_active_requests", &[], 0.0);
}

#[test]
fn the_time_for_a_header_begins_with_it_and_not_with_the_one_before() {
    let backend = Backend::start("b");
    let gateway = gateway(&backend, "headerTimeout: 500ms, maxHeaderBytes: 1KB");
    let mut wire = gateway.connect();
    wire.write(format!("{}{CHUNKED}", get("/sleep/900")).as_bytes()).unwrap();
    assert_eq!(
        [wire.answer(), wire.answer()].map(|answer| answer.unwrap().unwrap().status),
        [200; 2]
    );
    until("one took the short way", || (taken(&gateway) > 0.5).then_some(()));
}

#[test]
fn requests_that_come_in_one_piece_are_no_long_header() {
    let backend = Backend::start("b");
    let gateway = gateway(&backend, "maxHeaderBytes: 1KB");
    let mut wire = gateway.connect();
    let (start, end) = "GET /last HTTP/1.1\r\nHost: app.test\r\n\r\n".split_at(20);
    wire.write(format!("{}{start}", get("/").repeat(60)).as_bytes()).unwrap();
    let ok = |wire: &mut Wire| assert_eq!(wire.answer().unwrap().unwrap().status, 200);
    (0..60).for_each(|_| ok(&mut wire));
    wire.write(end.as_bytes()).unwrap();
    ok(&mut wire);
}

#[test]
fn a_request_that_takes_the_long_way_is_decided_once() {
    let (b1, b2) = (Backend::start("b1"), Backend::start("b2"));
    let setup = |backends: &[&Backend]| {
        Setup::of(backends)
            .sticky_with("learn: [{ header: Mcp-Session-Id }]")
            .sticky_with("onMissing: reject")
            .server("limits: { minBodyRate: 1 }")
    };
    let gateway = Gateway::start(&setup(&[&b1, &b2]));
    let minting = Request::get("/").with("X-Toy-Field", "Mcp-Session-Id: a");
    let home = gateway.client().send(&minting).backend();
    let other = if home == "b1" { &b2 } else { &b1 };
    gateway.reload(&setup(&[other]));
    let asking = Request::get("/").with("Mcp-Session-Id", "a");
    assert_eq!(gateway.client().send(&asking).status, 503);
    assert_eq!(gateway.client().send(&asking).status, 200);
    assert!(taken(&gateway) < 0.5);
}

#[test]
fn a_client_that_leaves_frees_the_seat() {
    let backend = Backend::start("b");
    let setup = Setup::of(&[&backend]).option("limits: { maxConnectionsPerBackend: 1 }");
    let gateway = Gateway::start(&setup);
    for _ in 0..5 {
        let mut wire = gateway.connect();
        wire.write(get("/sleep/10000").as_bytes()).unwrap();
        until("it is under way", || {
            (gateway.metric("stickfast_active_requests", &[]) > 0.5).then_some(())
        });
        drop(wire);
        gateway.wait_for_metric("stickfast_active_requests", &[], 0.0);
    }
    assert_eq!(gateway.client().get("/").status, 200);
}

#[test]
fn a_connection_that_ends_with_requests_unanswered_loses_no_answer() {
    let backend = Backend::start("b");
    let gateway = gateway(&backend, "maxRequestsPerConnection: 3");
    let mut wire = gateway.connect();
    wire.write(get("/").repeat(50).as_bytes()).unwrap();
    let rest = String::from_utf8(wire.rest().unwrap()).unwrap();
    assert_eq!(rest.matches("HTTP/1.1 200").count(), 3, "{rest}");
}

#[test]
fn requests_of_both_ways_count_towards_the_limit_of_a_connection() {
    let backend = Backend::start("b");
    let gateway = gateway(&backend, "maxRequestsPerConnection: 5");
    let mut wire = gateway.connect();
    wire.write(format!("{}{CHUNKED}{}", get("/").repeat(3), get("/").repeat(4)).as_bytes())
        .unwrap();
    let rest = String::from_utf8(wire.rest().unwrap()).unwrap();
    assert_eq!(rest.matches("HTTP/1.1 200").count(), 5, "{rest}");
}

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood";
const STRAY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray";

#[test]
fn bytes_behind_an_answer_to_head_are_nobodys_answer() {
    let ((say, says), (said, heard)) = (mpsc::channel(), mpsc::channel());
    let (says, said) = (Mutex::new(says), Mutex::new(said));
    let backend = speaking("b", move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        loop {
            let head = skip_head(&mut reader);
            if head.starts_with("GET") {
                stream.write_all(GOOD).unwrap();
            } else if head.is_empty() {
                return;
            } else {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 45\r\n\r\n").unwrap();
                says.lock().unwrap().recv().unwrap();
                stream.write_all(STRAY).unwrap();
                said.lock().unwrap().send(()).unwrap();
            }
        }
    });
    let gateway = gateway(&backend, "");
    let mut wire = gateway.connect();
    for _ in 0..20 {
        wire.write(get("/").replace("GET", "HEAD").as_bytes()).unwrap();
        assert_eq!(
            wire.answer_without_body().unwrap().unwrap().field("content-length"),
            Some("45")
        );
        say.send(()).unwrap();
        heard.recv().unwrap();
        wire.write(get("/").as_bytes()).unwrap();
        assert_eq!(wire.answer().unwrap().unwrap().text(), "good");
    }
}

/// A backend whose answers to `/odd` are `odd`, and whose others tell the number of their connection.
fn counting(odd: &'static str) -> Backend {
    let connections = AtomicUsize::new(0);
    speaking("b", move |mut stream| {
        let number = connections.fetch_add(1, Ordering::Relaxed);
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        loop {
            match skip_head(&mut reader) {
                head if head.is_empty() => return,
                head if head.contains(" /odd ") => stream.write_all(odd.as_bytes()).unwrap(),
                _ => {
                    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}").unwrap();
                }
            }
        }
    })
}

#[test]
fn a_204_that_announces_a_body_ends_its_connection() {
    for odd in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let odd = format!("HTTP/1.1 204 No Content\r\n{odd}\r\n\r\n");
        let backend = counting(odd.leak());
        let gateway = gateway(&backend, "");
        let mut wire = gateway.connect();
        wire.write(format!("{}{}", get("/odd"), get("/")).as_bytes()).unwrap();
        assert_eq!(wire.answer().unwrap().unwrap().status, 204);
        assert_eq!(wire.answer().unwrap().unwrap().text(), "1");
    }
}

#[test]
fn good_answers_without_a_body_keep_their_connection() {
    for (method, odd) in [
        ("HEAD", "200 OK\r\nContent-Length: 5"),
        ("HEAD", "200 OK\r\nTransfer-Encoding: chunked"),
        ("GET", "304 Not Modified\r\nContent-Length: 5"),
        ("GET", "204 No Content"),
    ] {
        let backend = counting(format!("HTTP/1.1 {odd}\r\n\r\n").leak());
        let gateway = gateway(&backend, "");
        let mut wire = gateway.connect();
        for _ in 0..3 {
            wire.write(get("/odd").replace("GET", method).as_bytes()).unwrap();
            assert!(wire.answer_without_body().unwrap().unwrap().status < 400);
            wire.write(get("/").as_bytes()).unwrap();
            assert_eq!(wire.answer().unwrap().unwrap().text(), "0", "{method} {odd}");
        }
        gateway.wait_for_metric("stickfast_hot_path_requests_total", &[], 6.0);
    }
}

#[test]
fn headers_may_come_byte_by_byte() {
    const ANSWER: &[u8] = b"HTTP/1.1 103 Hint\nA: b\n\nHTTP/1.1 200 OK\nContent-Length: 2\n\nok";
    let backend = speaking("b", |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while !skip_head(&mut reader).is_empty() {
            ANSWER.chunks(1).for_each(|byte| stream.write_all(byte).unwrap());
        }
    });
    let gateway = gateway(&backend, "");
    let mut wire = gateway.connect();
    for request in [get("/a"), get("/a").replace('\r', "")] {
        request.as_bytes().chunks(1).for_each(|byte| wire.write(byte).unwrap());
        assert_eq!(wire.answer().unwrap().unwrap().text(), "ok");
    }
    gateway.wait_for_metric("stickfast_hot_path_requests_total", &[], 2.0);
}

#[test]
fn a_connection_comes_back_from_pingora() {
    let backend = Backend::start("b");
    let gateway = gateway(&backend, "maxRequestsPerConnection: 30");
    let mut wire = gateway.connect();
    let mut ok = |request: &str| {
        wire.write(request.as_bytes()).unwrap();
        assert_eq!(wire.answer().unwrap().unwrap().status, 200);
    };
    ok(CHUNKED);
    (0..3).for_each(|_| ok(&get("/")));
    gateway.wait_for_metric("stickfast_hot_path_requests_total", &[], 3.0);
    // one that was sent ahead is with Pingora already
    wire.write(format!("{CHUNKED}{}", get("/")).as_bytes()).unwrap();
    (0..2).for_each(|_| assert_eq!(wire.answer().unwrap().unwrap().status, 200));
    wire.write(get("/").repeat(30).as_bytes()).unwrap();
    let rest = String::from_utf8(wire.rest().unwrap()).unwrap();
    assert_eq!(rest.matches("HTTP/1.1 200").count(), 24, "30 in all");
    gateway.wait_for_metric("stickfast_hot_path_requests_total", &[], 27.0);
}

#[test]
fn what_was_sent_ahead_outlasts_a_connection_that_goes_to_and_fro() {
    let backend = Backend::start("b");
    let rules = ["id: app, hosts: [app.test], path: /*, serviceName: app"];
    let gateway = Gateway::start(&Setup::of(&[&backend]).rules(&rules));
    let mut wire = gateway.connect();
    wire.write(get("/sleep/700").as_bytes()).unwrap();
    gateway.wait_for_metric("stickfast_active_requests", &[], 1.0);
    // each as long as what Pingora reads at once, so that it reads nothing ahead of the next; all of them
    // more than what is read at once on the short way
    let odd = "GET /odd HTTP/1.1\r\nHost: other.test\r\nTE: trailers\r\nX-Padding: ";
    let odd = format!("{odd}{}\r\n\r\n", "p".repeat(4096 - 4 - odd.len()));
    wire.write(format!("{}{}", odd.repeat(20), get("/end")).as_bytes()).unwrap();
    let mut next = || wire.answer().unwrap().expect("an answer");
    assert_eq!(next().seen_path(), "/sleep/700");
    for nth in 0..20 {
        assert_eq!(next().reason(), Some("no-route"), "{nth}");
    }
    assert_eq!(next().seen_path(), "/end");
}

#[test]
fn a_connection_that_came_back_may_be_idle_for_as_long_as_any() {
    let backend = Backend::start("b");
    let gateway = gateway(&backend, "idleTimeout: 300ms, headerTimeout: 1h");
    let mut wire = gateway.connect();
    wire.write(CHUNKED.as_bytes()).unwrap();
    assert_eq!(wire.answer().unwrap().unwrap().status, 200);
    assert_eq!(wire.rest().unwrap(), b"", "it ends");
}

#[test]
fn a_header_that_is_refused_is_read_to_its_end() {
    let backend = Backend::start("b");
    let gateway = gateway(&backend, "maxHeaderBytes: 16KB");
    let mut wire = gateway.connect();
    wire.write(get("/").as_bytes()).unwrap();
    assert_eq!(wire.answer().unwrap().unwrap().status, 200);
    wire.write(b"GET / HTTP/1.1\r\nHost: app.test\r\n").unwrap();
    for _ in 0..400 {
        wire.write(format!("X-Long: {}\r\n", "a".repeat(1000)).as_bytes()).unwrap();
    }
    assert_eq!(wire.answer().unwrap().unwrap().status, 431);
    assert_eq!(wire.rest().unwrap(), b"", "an orderly end");
}

#[test]
fn what_is_announced_without_a_length_keeps_no_promise() {
    let backend = speaking("b", |mut stream| {
        skip_head(&mut BufReader::new(stream.try_clone().unwrap()));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nabc");
    });
    let gateway = Gateway::start(&Setup::of(&[&backend]));
    let mut wire = gateway.connect();
    wire.write(b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 10\r\n\r\nab").unwrap();
    let said = String::from_utf8(wire.rest().unwrap()).unwrap();
    assert!(said.to_lowercase().contains("connection: close"), "{said}");
}

#[test]
fn the_time_for_an_answer_begins_when_the_wait_for_a_seat_is_over() {
    let backend = Backend::start("b");
    let setup = Setup::of(&[&backend])
        .option("limits: { maxConnectionsPerBackend: 1, maxPending: 9, queueTimeout: 20s }")
        .option("timeouts: { read: 1500ms }");
    let gateway = Gateway::start(&setup);
    let mut wires = [gateway.connect(), gateway.connect()];
    for wire in &mut wires {
        wire.write(get("/sleep/1000").as_bytes()).unwrap();
    }
    let statuses = wires.map(|mut wire| wire.answer().unwrap().unwrap().status);
    assert_eq!(statuses, [200; 2]);
    gateway.wait_for_metric("stickfast_hot_path_requests_total", &[], 2.0);
}

#[test]
fn those_who_are_there_leave_the_short_way_when_it_is_closed() {
    let backend = Backend::start("b");
    let setup = |hot_path| Setup::of(&[&backend]).server(&format!("hotPath: {hot_path}"));
    let gateway = Gateway::start(&setup("on"));
    let mut wire = gateway.connect();
    let mut ask = || {
        wire.write(get("/").as_bytes()).unwrap();
        assert_eq!(wire.answer().unwrap().unwrap().status, 200);
    };
    ask();
    until("it took the short way", || (taken(&gateway) > 0.5).then_some(()));
    gateway.reload(&setup("off"));
    (0..3).for_each(|_| ask());
    assert!(taken(&gateway) < 1.5);
}

#[test]
fn an_empty_line_behind_a_body_begins_no_header() {
    let backend = Backend::start("b");
    let gateway = gateway(&backend, "headerTimeout: 300ms, idleTimeout: 2s");
    let post = "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 2\r\n\r\nok\r\n";
    let mut wire = gateway.connect();
    for _ in 0..2 {
        wire.write(post.as_bytes()).unwrap();
        assert_eq!(wire.answer().unwrap().unwrap().status, 200);
    }
    assert_eq!(
        wire.rest().unwrap(),
        b"",
        "an idle connection is closed, and not told that it is late"
    );
    assert!(gateway.metric("stickfast_hot_path_requests_total", &[]) > 1.5);
    // nor do many of them, nor does one that comes by itself
    let mut wire = gateway.connect();
    wire.write(format!("{}\r\n\n\r\n{}", get("/"), get("/")).as_bytes()).unwrap();
    (0..2).for_each(|_| assert_eq!(wire.answer().unwrap().unwrap().status, 200));
    wire.write(b"\r\n").unwrap();
    assert_eq!(wire.rest().unwrap(), b"");
}
