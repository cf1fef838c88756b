//! nghttp2's clients: `h2load` at a hundred streams a connection, of which none may fail, and
//! `nghttp`, which shows the frames.

use super::peer::binary;
use crate::harness::{Authority, Backend, Files, Gateway, Http2Backend, Setup, until};
use std::process::{Child, Command, Stdio};

const REQUESTS: usize = 4000;

fn said(command: &mut Command) -> String {
    finished(command.stdout(Stdio::piped()).spawn().expect("it starts"))
}

fn finished(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Four connections of a hundred streams each, all with an answer, and a good one.
fn load(url: &str, more: &[&str]) {
    let count = REQUESTS.to_string();
    let mut h2load = Command::new(binary("h2load"));
    let said = said(h2load.args(["-n", &count, "-c", "4", "-m", "100"]).args(more).arg(url));
    let n = REQUESTS;
    for line in [
        format!("{n} total, {n} started, {n} done, {n} succeeded, 0 failed, 0 errored, 0 timeout"),
        format!("{n} 2xx, 0 3xx, 0 4xx, 0 5xx"),
    ] {
        assert!(said.contains(&line), "{url} {more:?}\n{said}");
    }
}

fn certificate(files: &Files) -> String {
    let pair = files.pair("app", &Authority::new("ca").issue(&["app.test"]));
    format!("certificates: [{{ {pair} }}]")
}

#[test]
#[ignore = "starts h2load: make test-peers"]
fn a_hundred_streams_a_connection_fail_nowhere() {
    let files = Files::new();
    let backends = ["b1", "b2", "b3"].map(Backend::start);
    let all: Vec<_> = backends.iter().collect();
    let setup = Setup::of(&all).sticky().server("log: { format: json, access: false }");
    let encrypted = setup.clone().encrypted(&certificate(&files));
    for (scheme, setup) in [("http", setup), ("https", encrypted)] {
        let gateway = Gateway::start(&setup.listener("http2: true"));
        let url = format!("{scheme}://{}/", gateway.address());
        load(&url, &[]);
        let body = files.put("body", &"x".repeat(20_000));
        load(&url, &["--data", &body]);
    }
}

#[test]
#[ignore = "starts h2load: make test-peers"]
fn a_hundred_streams_a_connection_fail_nowhere_before_backends_of_http_2_either() {
    let files = Files::new();
    let backends = ["b1", "b2"].map(Http2Backend::start);
    let all: Vec<_> = backends.iter().map(Http2Backend::at).collect();
    let gateway =
        Gateway::start(&Setup::of(&all).listener("http2: true").option("http2: true").sticky());
    let url = format!("http://{}/", gateway.address());
    load(&url, &[]);
    let body = files.put("body", &"x".repeat(20_000));
    load(&format!("{url}echo"), &["--data", &body]);
    let connections: usize = backends.iter().map(Http2Backend::connections).sum();
    // those that come before the first one stands open their own
    assert!(connections < REQUESTS / 4, "streams share connections: {connections}");
}

#[test]
#[ignore = "starts nghttp: make test-peers"]
fn a_hundred_streams_of_one_connection_are_answered_at_once() {
    let backend = Backend::start("b");
    let gateway = Gateway::start(&Setup::of(&[&backend]).listener("http2: true"));
    let url = format!("http://{}/sleep/200", gateway.address());
    let said = said(Command::new(binary("nghttp")).args(["-nv", "-m", "100", &url]));
    assert_eq!(said.matches(":status: 200").count(), 100, "{said}");
    assert!(said.contains("SETTINGS_MAX_CONCURRENT_STREAMS(0x03):100"), "{said}");
}

#[test]
#[ignore = "starts nghttp: make test-peers"]
fn a_stopping_gateway_says_goaway_and_answers_first() {
    let files = Files::new();
    let backend = Backend::start("b");
    let setup = Setup::of(&[&backend]);
    let encrypted = setup.clone().encrypted(&certificate(&files));
    for (scheme, setup) in [("http", setup), ("https", encrypted)] {
        let before = backend.requests();
        let gateway = Gateway::start(&setup.listener("http2: true"));
        let url = format!("{scheme}://{}/sleep/1000", gateway.address());
        let mut nghttp = Command::new(binary("nghttp"));
        let nghttp = nghttp.args(["-nv", "--no-verify-peer", "-m", "10", &url]);
        let nghttp = nghttp.stdout(Stdio::piped()).spawn().expect("it starts");
        until("all are under way", || (backend.requests() == before + 10).then_some(()));
        gateway.signal("TERM");
        let said = finished(nghttp);
        assert_eq!(said.matches(":status: 200").count(), 10, "{said}");
        let goaway = said.split("recv GOAWAY").nth(1).expect("it was told");
        assert!(goaway.contains("error_code=NO_ERROR(0x00)"), "{said}");
    }
}
