//! The harness itself: a toy that does not misbehave as told would let every other test pass.

use super::message::{Framing, Head};
use super::{Answer, Backend, Behaviour, Client, Request, Scrape, Setup, Wire};
use std::io::{Cursor, ErrorKind};
use std::time::{Duration, Instant};

#[test]
fn a_toy_answers_with_its_id_and_with_what_it_saw() {
    let toy = Backend::start("b1");
    let mut client = Client::new(toy.address());
    let answer = client.send(&Request::post("/a?b=c", 1234).with("X-One", "a  \u{e4}"));
    assert_eq!(answer.backend(), "b1");
    assert_eq!(answer.seen_path(), "/a?b=c");
    assert_eq!(answer.seen()["method"], "POST");
    assert_eq!(answer.seen()["body_length"], 1234);
    assert_eq!(answer.seen_fields("x-one"), ["a  \u{e4}"]);
    let chunked = client.send(&Request::post("/", 5000).chunked());
    assert_eq!(chunked.seen()["body_length"], 5000);
    assert_eq!(client.send(&Request::new("HEAD", "/")).body.len(), 0);
    assert_eq!(client.get("/status/503").status, 503);
    assert_eq!(client.get("/status/304").body.len(), 0);
    assert_eq!(toy.requests(), 5);
    assert_eq!(client.get("/healthz").status, 200);
    toy.healthy(false);
    assert_eq!(client.get("/healthz").status, 500);
    assert_eq!((toy.requests(), toy.checks()), (5, 2));
}

#[test]
fn a_toy_takes_as_long_as_the_path_says() {
    let toy = Backend::start("b1");
    let start = Instant::now();
    assert_eq!(Client::new(toy.address()).get("/sleep/200").backend(), "b1");
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_stopped_toy_refuses_and_a_restarted_one_has_the_same_port() {
    let toy = Backend::start("b1");
    let mut client = Client::new(toy.address());
    client.get("/");
    toy.stop();
    assert!(client.try_send(&Request::get("/")).is_err(), "the kept connection is closed");
    let refused = client.try_send(&Request::get("/")).expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    toy.restart();
    assert_eq!(client.get("/").backend(), "b1");
}

#[test]
fn a_toy_hangs_up_or_breaks_off_as_told() {
    let toy = Backend::start("b1");
    let mut client = Client::new(toy.address());
    toy.behave(Behaviour::HangUp);
    assert!(client.try_send(&Request::get("/")).is_err());
    toy.behave(Behaviour::BreakOff);
    let answer = client.get("/");
    assert!(!answer.whole);
    assert_eq!(answer.text(), "from b1");
    toy.behave(Behaviour::Hint);
    let mut wire = Wire::connect(toy.address(), None).unwrap();
    wire.write(&Request::get("/").bytes(&[])).unwrap();
    assert!(wire.rest().unwrap().starts_with(b"HTTP/1.1 103 "));
    assert!(client.try_send(&Request::get("/")).is_err(), "an interim response is no answer");
    assert_eq!(toy.requests(), 4);
}

#[test]
fn a_toy_switches_protocols() {
    let toy = Backend::start("b1");
    let mut wire = Wire::connect(toy.address(), None).unwrap();
    wire.write(b"GET /upgrade HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n").unwrap();
    assert_eq!(wire.answer().unwrap().unwrap().status, 101);
    wire.write(b"hello").unwrap();
    assert_eq!(wire.bytes(5).unwrap(), b"hello");
}

#[test]
fn a_client_keeps_the_cookies_that_were_set_and_sends_them_back() {
    let toy = Backend::start("b1");
    let mut client = Client::new(toy.address());
    let set = Request::get("/")
        .with("X-Toy-Field", "Set-Cookie: a=1; Path=/")
        .with("X-Toy-Field", "Set-Cookie: b=2")
        .with("X-Toy-Field", "Set-Cookie: a=3");
    client.send(&set);
    assert_eq!(client.get("/").seen_fields("cookie"), ["a=3; b=2"]);
    assert_eq!(client.clone().get("/").seen_fields("cookie"), ["a=3; b=2"]);
}

#[test]
fn a_client_at_another_address_is_seen_there() {
    let toy = Backend::start("b1");
    let from = [127, 0, 9, 9].into();
    assert_eq!(Client::new(toy.address()).at(from).get("/").backend(), "b1");
}

#[test]
fn a_body_that_ends_early_is_not_whole() {
    for (message, whole) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", false),
        ("HTTP/1.1 200 OK\r\n\r\nabc", true),
        ("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n\r\nabc", true),
    ] {
        let answer = Answer::read(&mut Cursor::new(message), false).unwrap().unwrap();
        assert_eq!((answer.text().as_str(), answer.whole), ("abc", whole), "{message}");
    }
    let empty = Answer::read(&mut Cursor::new(""), false).unwrap();
    assert!(empty.is_none());
    let head = Head::read(&mut Cursor::new("GET / HTTP/1.1\r\nA: b\r\n\r\n")).unwrap().unwrap();
    assert_eq!((head.field("a"), head.framing()), (Some("b"), None));
    assert_eq!(Framing::Length(2).read(&mut Cursor::new("ab")), (b"ab".to_vec(), true));
}

#[test]
fn metrics_are_summed_over_the_labels_that_were_not_named() {
    let scrape =
        Scrape::read("# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"4\"} 5\nb 6\n");
    assert_eq!(scrape.get("a", &[("x", "1")]), Some(8.0));
    assert_eq!(scrape.get("a", &[("y", "4"), ("x", "1")]), Some(5.0));
    assert_eq!(scrape.get("a", &[("x", "2")]), None);
    assert_eq!(scrape.get("b", &[]), Some(6.0));
    assert_eq!(scrape.labels("a"), Some(vec!["x", "y"]));
}

#[test]
fn a_setup_is_yaml_with_what_was_asked_for() {
    let toy = Backend::stopped("b1");
    let setup = Setup::of(&[&toy])
        .weights(&[5])
        .checked()
        .service("shop", &[&toy])
        .server("log: { format: text }")
        .sticky_with("idleTimeout: 1s");
    let yaml: serde_json::Value = serde_yaml::from_str(&setup.to_string()).unwrap();
    let gateway = &yaml["gateway"];
    assert_eq!(gateway["server"]["log"]["format"], "text");
    let backend = &gateway["services"]["app"]["backends"][0];
    assert_eq!((&backend["id"], &backend["weight"]), (&"b1".into(), &5.into()));
    assert_eq!(backend["address"], toy.address().to_string());
    assert_eq!(gateway["services"]["app"]["healthCheck"]["path"], "/healthz");
    assert_eq!(gateway["router"]["rules"][1]["path"], "/shop/*");
    assert_eq!(gateway["router"]["sessionAffinity"]["idleTimeout"], "1s");
    assert_eq!(gateway["router"]["sessionAffinity"]["keys"][0]["id"], 1);
}
