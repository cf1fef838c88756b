//! Backends that fail: a request is served by another one where that is safe, and answered with
//! the right word where it is not.

use crate::harness::{
    Answer, Backend, Behaviour, Gateway, Request, Setup, skip_head, speaking, until, within,
};
use std::io::{BufReader, ErrorKind, Write as _};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Fails unless the gateway made this answer itself.
fn assert_own(answer: &Answer, status: u16, reason: &str) {
    assert_eq!((answer.status, answer.reason()), (status, Some(reason)), "{}", answer.text());
    let kind = answer.field("content-type").unwrap_or_default();
    assert!(kind.starts_with("text/plain"), "{kind}");
    assert!(answer.whole && !answer.body.is_empty() && answer.body.len() < 200);
}

#[test]
fn when_every_backend_refuses_the_answer_is_503_with_retry_after() {
    let [b1, b2] = ["b1", "b2"].map(Backend::stopped);
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky());
    for request in [Request::get("/"), Request::post("/", 1000)] {
        let answer = gateway.client().send(&request);
        let reason = answer.reason().unwrap_or_default().to_owned();
        assert!(["connect-failed", "no-backend"].contains(&reason.as_str()), "{reason}");
        assert_own(&answer, 503, &reason);
        let wait = answer.field("retry-after").expect("Retry-After");
        assert!(wait.parse::<u32>().is_ok_and(|seconds| seconds > 0), "{wait}");
    }
    b2.restart();
    assert_eq!(gateway.client().get("/").backend(), "b2", "served as soon as one is back");
}

#[test]
fn a_connection_that_an_answer_of_our_own_calls_kept_takes_the_next_request() {
    let [b1, gone] = [Backend::start("b1"), Backend::stopped("gone")];
    b1.behave(Behaviour::HangUp);
    let setup = Setup::of(&[&b1]).service("gone", &[&gone]).rules(&[
        "id: b1, path: /b1, serviceName: app",
        "id: gone, path: /gone, serviceName: gone",
    ]);
    let gateway = Gateway::start(&setup);
    for (target, status) in [("/nowhere", 404), ("/gone", 503), ("/b1", 502)] {
        let mut client = gateway.client();
        for n in 0..3 {
            // Keeps its connection unless the answer says that it closes.
            let answer = client.try_send(&Request::get(target));
            let answer = answer.unwrap_or_else(|e| panic!("{target}, request {n}: {e}"));
            assert_eq!(answer.status, status, "{target}");
        }
    }
}

#[test]
fn a_get_whose_backend_hangs_up_is_served_by_another() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    b1.behave(Behaviour::HangUp);
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky());
    for n in 0..6 {
        let path = format!("/get/{n}");
        let mut client = gateway.client();
        let answer = client.get(&path);
        assert_eq!(answer.backend(), "b2");
        assert_eq!(answer.cookies().len(), 1, "bound to the one that answered");
        assert_eq!(client.get("/again").backend(), "b2");
    }
    assert!(b1.requests() > 0, "it was tried");
    let retried = gateway.access_lines().iter().filter(|l| l["retries"] == 1).count();
    assert!(retried > 0, "the log tells");
    assert!(gateway.metric("stickfast_retries_total", &[("service", "app")]) > 0.0);
}

#[test]
fn a_put_whose_backend_hangs_up_arrives_whole_at_another() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    b1.behave(Behaviour::HangUp);
    let setup = Setup::of(&[&b1, &b2]).server("limits: { maxBodyBytes: 30000B }");
    let gateway = Gateway::start(&setup);
    for n in 0..4 {
        let put = Request::new("PUT", "/").body(30_000);
        let put = if n % 2 == 0 { put } else { put.chunked() };
        let answer = gateway.client().send(&put);
        assert_eq!(answer.backend(), "b2");
        assert_eq!(answer.seen()["body_length"], 30_000, "the limit counts each try by itself");
    }
    assert!(b1.requests() > 0, "it was tried");
}

#[test]
fn kept_connections_that_have_all_ended_say_nothing_of_their_backend() {
    for hot_path in ["on", "off"] {
        // ends each connection with its second request, unanswered; the first two answers come together
        let (together, connections) = (Barrier::new(2), AtomicUsize::new(0));
        let fickle = speaking("b", move |mut stream| {
            let nth = connections.fetch_add(1, Ordering::SeqCst);
            let mut from = BufReader::new(stream.try_clone().unwrap());
            skip_head(&mut from);
            if nth < 2 {
                together.wait();
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
            skip_head(&mut from);
        });
        let setup = Setup::of(&[&fickle]).server(&format!("hotPath: {hot_path}"));
        let gateway = Gateway::start(&setup);
        thread::scope(|scope| {
            let ask = || assert_eq!(gateway.client().get("/").status, 200);
            (0..2).for_each(|_| drop(scope.spawn(ask)));
        });
        assert_eq!(gateway.client().get("/").status, 200, "{hot_path}");
    }
}

#[test]
fn a_post_whose_backend_hangs_up_is_not_sent_twice() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    for backend in [&b1, &b2] {
        backend.behave(Behaviour::HangUp);
    }
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky());
    let posts = 6;
    for _ in 0..posts {
        let answer = gateway.client().send(&Request::post("/", 100));
        assert_own(&answer, 502, "backend-reset");
        assert_eq!(answer.cookies(), [""; 0]);
    }
    assert_eq!(b1.requests() + b2.requests(), posts);
}

#[test]
fn a_get_whose_backend_only_hints_is_served_by_another() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    b1.behave(Behaviour::Hint);
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky());
    for _ in 0..6 {
        let mut client = gateway.client();
        let answer = client.get("/");
        assert_eq!(answer.backend(), "b2");
        assert_eq!(answer.cookies().len(), 1, "bound to the one that answered");
        assert_eq!(client.get("/again").backend(), "b2");
    }
    assert!(b1.requests() > 0, "it was tried");
}

#[test]
fn a_post_whose_backend_only_hints_is_502_and_not_sent_twice() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    for backend in [&b1, &b2] {
        backend.behave(Behaviour::Hint);
    }
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky());
    let posts = 4;
    for n in 0..posts {
        let path = format!("/post/{n}");
        let answer = gateway.client().send(&Request::post(&path, 100));
        assert_own(&answer, 502, "backend-reset");
        assert_eq!(answer.cookies(), [""; 0]);
        assert_eq!(gateway.access_of(&path)["status"], 502, "not the interim status");
    }
    assert_eq!(b1.requests() + b2.requests(), posts);
}

#[test]
fn one_backend_alive_among_forty_dead_ones_gets_every_request() {
    let dead: Vec<_> = (0..40).map(|n| Backend::stopped(&format!("dead{n}"))).collect();
    let alive = Backend::start("alive");
    let mut backends: Vec<_> = dead.iter().collect();
    backends.insert(20, &alive);
    let gateway = Gateway::start(&Setup::of(&backends));
    for n in 0..20 {
        let answer = gateway.client().get("/");
        assert_eq!(answer.status, 200, "request {n}: {:?}", answer.reason());
        assert_eq!(answer.backend(), "alive");
    }
}

#[test]
fn a_get_whose_every_backend_hangs_up_is_502() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    for backend in [&b1, &b2] {
        backend.behave(Behaviour::HangUp);
    }
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]));
    assert_own(&gateway.client().get("/"), 502, "backend-reset");
    assert!(b1.requests() + b2.requests() <= 3, "a first try and at most two more");
}

#[test]
fn a_body_that_breaks_off_stays_broken_and_is_never_joined_with_another() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    for backend in [&b1, &b2] {
        backend.behave(Behaviour::BreakOff);
    }
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]));
    let tries = 8;
    for _ in 0..tries {
        match gateway.client().try_send(&Request::get("/")) {
            Ok(answer) if answer.status == 200 => {
                assert!(!answer.whole, "the client can tell: {}", answer.text());
                assert!(["from b1", "from b2", "from ", ""].contains(&answer.text().as_str()));
            }
            Ok(answer) => assert_own(&answer, 502, "backend-reset"),
            Err(e) => assert_eq!(e.kind(), ErrorKind::UnexpectedEof),
        }
    }
    assert!(b1.requests() + b2.requests() >= tries);
}

#[test]
fn a_backend_that_stays_silent_is_504_after_the_read_timeout() {
    let b1 = Backend::start("b1");
    let setup = Setup::of(&[&b1]).option("timeouts: { connect: 1s, read: 300ms, write: 1s }");
    let gateway = Gateway::start(&setup);
    for request in [Request::get("/sleep/10000"), Request::post("/sleep/10000", 10)] {
        let start = Instant::now();
        assert_own(&gateway.client().send(&request), 504, "backend-timeout");
        let time = start.elapsed();
        assert!(time >= Duration::from_millis(250), "{time:?}");
        assert!(time < Duration::from_secs(5), "{time:?}");
    }
    assert_eq!(gateway.client().get("/").backend(), "b1");
}

#[test]
fn a_request_to_upgrade_that_is_never_answered_is_504_after_the_read_timeout() {
    let b1 = Backend::start("b1");
    b1.behave(Behaviour::Mute);
    let gateway = Gateway::start(&Setup::of(&[&b1]).option("timeouts: { read: 300ms }"));
    let request = Request::get("/").with("Connection", "Upgrade").with("Upgrade", "websocket");
    let start = Instant::now();
    let answer = thread::scope(|scope| {
        let asked = scope.spawn(|| gateway.client().send(&request));
        within(Duration::from_secs(10), || asked.is_finished().then_some(()));
        // Ends the wait of a gateway that has no limit here.
        b1.stop();
        asked.join().unwrap()
    });
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert_own(&answer, 504, "backend-timeout");
}

#[test]
fn a_client_that_leaves_before_its_upgrade_is_answered_is_not_waited_for() {
    let b1 = Backend::start("b1");
    b1.behave(Behaviour::Mute);
    let gateway = Gateway::start(&Setup::of(&[&b1]));
    let request = Request::get("/").with("Connection", "Upgrade").with("Upgrade", "websocket");
    let mut wire = gateway.connect();
    wire.write(&request.bytes(&[])).unwrap();
    until("it is under way", || (b1.requests() == 1).then_some(()));
    drop(wire);
    gateway.wait_for_metric("stickfast_active_requests", &[], 0.0);
    assert_eq!(gateway.access_of("/")["reason"], "client-gone");
}

#[test]
fn a_backend_that_does_not_accept_runs_into_the_connect_timeout() {
    let b1 = Backend::stopped("b1");
    let [listener, queued] = full_queue(&b1);
    let setup = Setup::of(&[&b1]).option("timeouts: { connect: 200ms }");
    let gateway = Gateway::start(&setup);
    let answer = gateway.client().get("/");
    let status = answer.status;
    assert!([503, 504].contains(&status), "{status}");
    assert_own(&answer, status, "connect-timeout");
    drop((listener, queued));
}

/// A listener on the backend's port whose queue of one is full, so that further connections hang.
fn full_queue(backend: &Backend) -> [socket2::Socket; 2] {
    use socket2::{Domain, Socket, Type};
    let address = backend.address().into();
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.set_reuse_address(true).unwrap();
    listener.bind(&address).unwrap();
    listener.listen(0).unwrap();
    let queued = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    queued.connect(&address).unwrap();
    let third = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let hangs = third.connect_timeout(&address, Duration::from_millis(300));
    assert_eq!(hangs.unwrap_err().kind(), ErrorKind::TimedOut, "the queue is full");
    [listener, queued]
}

#[test]
fn an_error_of_the_application_goes_through_as_it_is_and_is_not_retried() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]));
    for (n, status) in [500, 502, 503, 504].into_iter().enumerate() {
        let answer = gateway.client().get(&format!("/status/{status}"));
        assert_eq!((answer.status, answer.reason()), (status, None));
        assert!(answer.text().contains("\"id\""), "the application's own body");
        assert_eq!(b1.requests() + b2.requests(), n + 1);
    }
}

#[test]
fn a_connection_that_the_backend_closed_meanwhile_costs_no_request() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]).sticky());
    let mut client = gateway.client();
    for n in 0..10 {
        assert_eq!(client.get("/").backend(), "b1");
        b1.stop();
        b1.restart();
        let answer = client.send(&Request::post("/", 100));
        assert_eq!(answer.status, 200, "{n}: {:?}", answer.reason());
    }
}

#[test]
fn a_client_that_leaves_does_not_harm_the_others() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]).sticky());
    for _ in 0..10 {
        let mut wire = gateway.connect();
        wire.write(b"GET /sleep/100 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        drop(wire);
        assert_eq!(gateway.client().get("/").backend(), "b1");
    }
    gateway.wait_for_metric("stickfast_active_requests", &[], 0.0);
}
