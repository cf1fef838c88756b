//! Where a backend is unclear about the end of its response: nobody behind us may have to guess, whichever
//! driver has served it.

use crate::harness::{Backend, Gateway, Setup, skip_head, speaking};
use std::io::{BufRead as _, BufReader, Write as _};

/// A backend that ends its connection behind each answer.
fn saying(answer: &'static str) -> Backend {
    speaking("b", move |mut stream| {
        skip_head(&mut BufReader::new(stream.try_clone().unwrap()));
        stream.write_all(answer.as_bytes()).unwrap();
    })
}

/// A backend that takes no notice of bodies: it reads them as its next request. The answer to `/smuggled` takes
/// until the next one comes.
fn ignorant() -> Backend {
    speaking("b", |mut stream| {
        let mut from = BufReader::new(stream.try_clone().unwrap());
        loop {
            let head = skip_head(&mut from);
            let Some(path) = head.split(' ').nth(1) else { return };
            if path == "/smuggled" && from.fill_buf().is_ok_and(<[u8]>::is_empty) {
                return;
            }
            let told = if head.contains("Connection: close") { "told" } else { "" };
            let body = format!("{path} {told}");
            let length = body.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

#[test]
fn nobody_has_the_answer_to_a_body_that_is_read_as_a_request() {
    for hot_path in ["on", "off"] {
        let backend = ignorant();
        let setup = Setup::of(&[&backend]).server(&format!("hotPath: {hot_path}"));
        let gateway = Gateway::start(&setup);
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: b\r\n\r\n";
        let mut attacker = gateway.connect();
        for method in ["GET", "DELETE", "OPTIONS", "PURGE"] {
            let length = format!("Content-Length: {}\r\n\r\n{smuggled}", smuggled.len());
            let request = format!("{method} /first HTTP/1.1\r\nHost: app.test\r\n{length}");
            attacker.write(request.as_bytes()).unwrap();
            let answer = attacker.answer().unwrap().expect("an answer");
            assert_eq!(answer.text(), "/first told", "{method}, {hot_path}");
            let mut victim = gateway.client();
            assert_eq!(victim.get("/victim").text(), "/victim ", "{method}, {hot_path}");
        }
    }
}

/// What a client is sent, of which method, for what a backend has said, by each driver.
fn sent(method: &str, answer: &'static str) -> [String; 2] {
    ["on", "off"].map(|hot_path| {
        let backend = saying(answer);
        let setup = Setup::of(&[&backend]).server(&format!("hotPath: {hot_path}"));
        let gateway = Gateway::start(&setup);
        let mut wire = gateway.connect();
        let end = "HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n";
        wire.write(format!("{method} / {end}").as_bytes()).unwrap();
        let sent = String::from_utf8(wire.rest().unwrap()).unwrap();
        let hot = gateway.metric("stickfast_hot_path_requests_total", &[]) > 0.5;
        assert_eq!(hot, hot_path == "on");
        sent.to_lowercase()
    })
}

/// The lines of a header that tell of lengths.
fn lengths(sent: &str) -> Vec<&str> {
    let head = sent.split("\r\n\r\n").next().unwrap_or_default();
    let told = ["content-length:", "transfer-encoding:"];
    head.lines().filter(|line| told.iter().any(|name| line.starts_with(name))).collect()
}

#[test]
fn chunks_of_http_1_0_are_sent_on_as_http_1_1() {
    let chunks = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n\
                  5\r\nhello\r\n0\r\n\r\n";
    for sent in sent("GET", chunks) {
        assert!(sent.starts_with("http/1.1 200 ok\r\n"), "{sent}");
        assert_eq!(lengths(&sent), ["transfer-encoding: chunked"]);
        assert!(sent.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{sent}");
    }
}

#[test]
fn a_response_of_http_1_0_is_sent_on_in_our_own_version() {
    for sent in sent("GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello") {
        assert!(sent.starts_with("http/1.1 200 ok\r\n"), "{sent}");
        assert!(sent.ends_with("\r\n\r\nhello"), "{sent}");
    }
}

#[test]
fn a_length_that_is_said_twice_is_said_once() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5 ,5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\ncontent-length: 5\r\n\r\nhello",
    ] {
        for sent in sent("GET", answer) {
            assert_eq!(lengths(&sent), ["content-length: 5"], "{answer:?}");
            assert!(sent.ends_with("\r\n\r\nhello"), "{sent}");
        }
    }
    for sent in sent("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n") {
        assert_eq!(lengths(&sent), ["content-length: 5"]);
    }
}

#[test]
fn lengths_that_differ_are_a_bad_gateway() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
    ] {
        for sent in ["GET", "HEAD"].iter().flat_map(|method| sent(method, answer)) {
            assert!(sent.starts_with("http/1.1 502 "), "{answer:?}: {sent}");
        }
    }
}

#[test]
fn a_length_beside_chunks_is_dropped() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
                  5\r\nhello\r\n0\r\n\r\n";
    for sent in sent("GET", answer) {
        assert_eq!(lengths(&sent), ["transfer-encoding: chunked"], "{sent}");
    }
}

#[test]
fn a_204_announces_no_body() {
    for answer in [
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        for sent in sent("GET", answer) {
            assert!(sent.starts_with("http/1.1 204 "), "{sent}");
            assert_eq!(lengths(&sent), [""; 0], "{answer:?}");
            assert!(sent.ends_with("\r\n\r\n"), "{sent}");
        }
    }
}

#[test]
fn what_is_of_the_backends_connection_alone_stays_there() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop, Upgrade\r\nKeep-Alive: timeout=5\r\n\
                  Upgrade: h2c\r\nProxy-Connection: keep-alive\r\nX-Hop: 1\r\nX-End: 2\r\n\
                  Content-Length: 5\r\n\r\nhello";
    for sent in sent("GET", answer) {
        for gone in ["keep-alive:", "upgrade:", "proxy-connection:", "x-hop:"] {
            assert!(!sent.contains(gone), "{sent}");
        }
        assert!(sent.contains("x-end: 2\r\n"), "{sent}");
    }
    // what tells where the body ends is no option
    let answer = "HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\nhello";
    for sent in sent("GET", answer) {
        assert_eq!(lengths(&sent), ["content-length: 5"]);
    }
}
