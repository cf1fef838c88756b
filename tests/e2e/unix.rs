//! Sockets in the file system, on both sides.

use crate::harness::{Backend, Gateway, Setup, check};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Answers every request with its name; a connection for each.
fn serve(path: &Path, name: &'static str) {
    accept(UnixListener::bind(path).unwrap(), name);
}

fn accept(listener: UnixListener, name: &'static str) {
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                for _ in lines.filter(String::is_empty) {
                    let length = name.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}");
                    if (&stream).write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

fn ask(path: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

const GET: &str = "GET /u HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[test]
fn clients_may_come_by_a_socket() {
    let backend = Backend::start("b");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("front.sock");
    // one that an earlier process has left behind
    drop(UnixListener::bind(&path).unwrap());
    let listener = format!("address: \"unix:{}\", mode: \"0600\", http2: true", path.display());
    let mut gateway = Gateway::start(&Setup::of(&[&backend]).another_listener(&listener));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let answer = ask(&path, GET);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(gateway.access_of("/u")["client"], "127.0.0.1");
    gateway.signal("TERM");
    assert!(gateway.wait_for_exit(Duration::from_secs(10)).expect("it ends").success());
    assert!(!path.exists(), "the socket is gone");
}

#[test]
fn backends_may_be_behind_sockets_with_checks_and_affinity() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["u1", "u2", "u3"].map(|name| (name, dir.path().join(name)));
    let mut setup = Setup::of(&[]).checked().sticky();
    for (name, path) in &paths {
        serve(path, name);
        setup = setup.backend(name, &format!("unix:{}", path.display()));
    }
    let gateway = Gateway::start(&setup);
    for (name, _) in &paths {
        gateway.wait_for_health(name, true);
    }
    let mut client = gateway.client();
    let first = client.get("/").text();
    assert!((0..5).all(|_| client.get("/").text() == first));
    let others: Vec<_> = (0..6).map(|_| gateway.client().get("/").text()).collect();
    assert!(others.iter().any(|other| *other != first), "{others:?}");
    let (_, path) = paths.iter().find(|(name, _)| *name == first).unwrap();
    fs::remove_file(path).unwrap();
    let moved = gateway.client().get("/");
    assert_eq!(moved.status, 200);
    let answer = client.get("/");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn a_backend_whose_queue_is_full_is_waited_for() {
    for hot_path in ["on", "off"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("u");
        let listener = UnixListener::bind(&path).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let _first_in_queue = UnixStream::connect(&path).unwrap();
        let setup = Setup::of(&[]).backend("u", &format!("unix:{}", path.display()));
        let gateway = Gateway::start(&setup.server(&format!("hotPath: {hot_path}")));
        let mut client = gateway.client();
        thread::scope(|scope| {
            let asking = scope.spawn(|| client.get("/"));
            gateway.wait_for_metric(
                "stickfast_backend_requests_in_flight",
                &[("backend", "u")],
                1.0,
            );
            accept(listener, "u");
            let answer = asking.join().unwrap();
            assert_eq!((answer.status, answer.text()), (200, "u".to_owned()), "{hot_path}");
        });
    }
}

#[test]
fn what_a_socket_cannot_do_is_said_at_once() {
    let yaml = "gateway: {services: {a: {backends: [{address: 'unix:/run/a'}]}}, router: {sessionAffinity: {enabled: true, encoding: plain}}}";
    let said = check(yaml);
    let text = format!("{said:?}");
    assert!(text.contains("writes addresses into keys"), "{text}");
}
