//! The short way for plain requests, where it could go wrong by itself. What both ways have in common,
//! the other files show, and `drivers` that nobody can tell them apart.

use crate::harness::{Backend, Gateway, Page, Request, Setup, Wire, until};

/// More than the buffers of all sockets on the way.
const LARGE: usize = 32 << 20;

/// The short way leaves it to Pingora.
const CHUNKED: &str =
    "POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: app.test\r\n\r\n")
}

fn gateway(backend: &Backend, limits: &str) -> Gateway {
    Gateway::start(&Setup::of(&[backend]).server(&format!("limits: {{ {limits} }}")))
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
    assert!(taken(&gateway) > 0.5);
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
