//! Backends that have all the requests that they may have: who waits, for how long, and what is
//! counted. Nothing may leak: every test ends with all counts at 0.

use crate::harness::{Answer, Backend, Behaviour, Client, Gateway, Request, Setup, Wire, until};
use std::thread;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const IN_FLIGHT: &str = "stickfast_backend_requests_in_flight";
const PENDING: &str = "stickfast_pending_requests";

fn limited(backends: &[&Backend], limits: &str) -> Setup {
    Setup::of(backends).option(&format!("limits: {{ {limits} }}")).server("threads: 1")
}

/// Sends it from a thread of its own.
fn send(mut client: Client, request: Request) -> JoinHandle<Answer> {
    thread::spawn(move || client.send(&request))
}

fn in_flight(gateway: &Gateway, backend: &str, count: f64) {
    gateway.wait_for_metric(IN_FLIGHT, &[("service", "app"), ("backend", backend)], count);
}

fn pending(gateway: &Gateway, count: f64) {
    gateway.wait_for_metric(PENDING, &[("service", "app")], count);
}

fn nothing_is_left(gateway: &Gateway, backends: &[&Backend]) {
    for backend in backends {
        in_flight(gateway, backend.id(), 0.0);
    }
    pending(gateway, 0.0);
}

/// A connection that keeps a backend busy for as long as it is open.
fn occupied(gateway: &Gateway, backend: &Backend) -> Wire {
    occupied_by(gateway, backend, Request::get("/upgrade"))
}

fn occupied_by(gateway: &Gateway, backend: &Backend, request: Request) -> Wire {
    let wire = tunnel(gateway, request);
    in_flight(gateway, backend.id(), 1.0);
    wire
}

fn tunnel(gateway: &Gateway, request: Request) -> Wire {
    let mut wire = gateway.connect();
    let upgrade = request.with("Connection", "Upgrade").with("Upgrade", "websocket");
    wire.write(&upgrade.bytes(&[])).unwrap();
    assert_eq!(wire.answer().unwrap().expect("an answer").status, 101);
    wire
}

#[test]
fn counts_return_to_zero_after_every_kind_of_exchange() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    let gateway = Gateway::start(&limited(&[&b1, &b2], "maxConnectionsPerBackend: 50").sticky());
    let mut client = gateway.client();
    for request in [
        Request::get("/"),
        Request::new("HEAD", "/"),
        Request::post("/", 10_000),
        Request::post("/", 10_000).chunked(),
        Request::get("/status/204"),
        Request::get("/status/304"),
        Request::get("/status/500"),
    ] {
        client.send(&request);
        nothing_is_left(&gateway, &[&b1, &b2]);
    }
    for behaviour in [Behaviour::HangUp, Behaviour::Hint, Behaviour::BreakOff] {
        b1.behave(behaviour);
        b2.behave(behaviour);
        let _ = gateway.client().try_send(&Request::get("/"));
        let _ = gateway.client().try_send(&Request::post("/", 5));
        nothing_is_left(&gateway, &[&b1, &b2]);
    }
    b1.behave(Behaviour::Serve);
    b2.behave(Behaviour::Serve);
    b1.stop();
    for _ in 0..4 {
        assert_eq!(gateway.client().get("/").backend(), "b2", "after a retry");
    }
    nothing_is_left(&gateway, &[&b1, &b2]);
    let tunnel = occupied(&gateway, &b2);
    drop(tunnel);
    nothing_is_left(&gateway, &[&b1, &b2]);
    // a client that goes away before the answer
    let mut gone = gateway.connect();
    gone.write(&Request::get("/sleep/300").bytes(&[])).unwrap();
    in_flight(&gateway, "b2", 1.0);
    drop(gone);
    nothing_is_left(&gateway, &[&b1, &b2]);
    b2.stop();
    assert_eq!(gateway.client().get("/").status, 503);
    nothing_is_left(&gateway, &[&b1, &b2]);
}

#[test]
fn an_answered_request_takes_up_nothing_any_more() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    let setup = limited(&[&b1, &b2], "maxConnectionsPerBackend: 1").sticky_with("onFull: reject");
    let gateway = Gateway::start(&setup);
    let mut client = gateway.client();
    let home = client.get("/").backend();
    for n in 0..40 {
        // on a connection of its own each time, as soon as the last byte is here
        client.hang_up();
        let answer = client.get("/");
        assert_eq!((answer.status, n), (200, n), "{:?}", answer.reason());
        assert_eq!(answer.backend(), home);
    }
}

#[test]
fn a_bound_client_waits_for_its_backend_and_gets_it() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    let limits = "maxConnectionsPerBackend: 1, queueTimeout: 20s";
    let gateway = Gateway::start(&limited(&[&b1, &b2], limits).sticky());
    let mut client = gateway.client();
    let home = client.get("/").backend();
    let slow = send(client.clone(), Request::get("/sleep/600"));
    in_flight(&gateway, &home, 1.0);
    let waits = send(client.clone(), Request::get("/waits"));
    pending(&gateway, 1.0);
    assert_ne!(gateway.client().get("/").backend(), home, "new clients go where there is room");
    assert_eq!(slow.join().unwrap().backend(), home);
    assert_eq!(waits.join().unwrap().backend(), home);
    assert_eq!(gateway.verdict_of("/waits"), "VN");
    nothing_is_left(&gateway, &[&b1, &b2]);
}

#[test]
fn a_seat_that_frees_goes_to_the_bound_client_before_new_ones() {
    let b1 = Backend::start("b1");
    let limits = "maxConnectionsPerBackend: 1, queueTimeout: 20s";
    let gateway = Gateway::start(&limited(&[&b1], limits).sticky());
    let mut client = gateway.client();
    client.get("/");
    let held = occupied(&gateway, &b1);
    let new = send(gateway.client(), Request::get("/sleep/1"));
    pending(&gateway, 1.0);
    let bound = send(client, Request::get("/sleep/2"));
    pending(&gateway, 2.0);
    drop(held);
    assert_eq!((bound.join().unwrap().status, new.join().unwrap().status), (200, 200));
    let order: Vec<_> = until("both lines", || {
        let lines = gateway.access_lines();
        let paths = lines.iter().filter_map(|l| l["path"].as_str().map(str::to_owned));
        let paths: Vec<_> = paths.filter(|path| path.starts_with("/sleep")).collect();
        (paths.len() == 2).then_some(paths)
    });
    assert_eq!(order, ["/sleep/2", "/sleep/1"]);
}

#[test]
fn who_has_waited_in_vain_is_placed_elsewhere() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    let limits = "maxConnectionsPerBackend: 1, queueTimeout: 300ms";
    let gateway = Gateway::start(&limited(&[&b1, &b2], limits).sticky());
    let mut client = gateway.client();
    let home = client.get("/").backend();
    let slow = send(client.clone(), Request::get("/sleep/3000"));
    in_flight(&gateway, &home, 1.0);
    let start = Instant::now();
    let moved = client.get("/moved");
    assert!(start.elapsed() >= Duration::from_millis(290), "{:?}", start.elapsed());
    assert_ne!(moved.backend(), home);
    assert_eq!(moved.seen_fields("x-affinity-failover"), [format!("from={home}; reason=full")]);
    assert_eq!(gateway.verdict_of("/moved"), "FI");
    assert_eq!(client.get("/stays").backend(), moved.backend());
    slow.join().unwrap();
    nothing_is_left(&gateway, &[&b1, &b2]);
}

#[test]
fn who_is_seated_at_a_backend_that_is_gone_goes_on_waiting() {
    for hot_path in ["on", "off"] {
        let [b1, b2] = ["b1", "b2"].map(Backend::start);
        let limits = "maxConnectionsPerBackend: 1, queueTimeout: 20s";
        let setup = limited(&[&b1, &b2], limits).server(&format!("hotPath: {hot_path}"));
        let gateway = Gateway::start(&setup);
        let held = [&b1, &b2].map(|_| tunnel(&gateway, Request::get("/upgrade")));
        in_flight(&gateway, "b1", 1.0);
        in_flight(&gateway, "b2", 1.0);
        let waiting = ["/first", "/second"].map(|path| send(gateway.client(), Request::get(path)));
        pending(&gateway, 2.0);
        // the place that its tunnel leaves is at a backend that refuses
        b1.stop();
        until("one was refused", || {
            let asked = [("service", "app"), ("backend", "b1")];
            (gateway.metric("stickfast_backend_requests_total", &asked) > 1.0).then_some(())
        });
        drop(held);
        for answer in waiting {
            assert_eq!(answer.join().unwrap().backend(), "b2");
        }
        nothing_is_left(&gateway, &[&b1, &b2]);
    }
}

#[test]
fn company_stays_together_also_behind_a_wait() {
    for hot_path in ["on", "off"] {
        let [b1, b2] = ["b1", "b2"].map(Backend::start);
        let setup = limited(&[&b1, &b2], "maxConnectionsPerBackend: 1, queueTimeout: 20s")
            .sticky_with("burst: { window: 30s }")
            .server(&format!("hotPath: {hot_path}"));
        let gateway = Gateway::start(&setup);
        for n in 0..6 {
            let page = || Request::get("/").with("User-Agent", &format!("browser {n}"));
            let [one, other] = ["one", "other"].map(|agent| {
                let agent = format!("{agent} {n}");
                tunnel(&gateway, Request::get("/upgrade").with("User-Agent", &agent))
            });
            in_flight(&gateway, "b1", 1.0);
            in_flight(&gateway, "b2", 1.0);
            let waiting = send(gateway.client(), page());
            pending(&gateway, 1.0);
            drop(one);
            let first = waiting.join().unwrap().backend();
            drop(other);
            nothing_is_left(&gateway, &[&b1, &b2]);
            for _ in 0..3 {
                assert_eq!(gateway.client().send(&page()).backend(), first, "{n}, {hot_path}");
                nothing_is_left(&gateway, &[&b1, &b2]);
            }
        }
    }
}

#[test]
fn new_clients_wait_too_and_are_refused_then() {
    let b1 = Backend::start("b1");
    let limits = "maxConnectionsPerBackend: 1, maxPending: 1, queueTimeout: 700ms";
    let gateway = Gateway::start(&limited(&[&b1], limits));
    let held = occupied(&gateway, &b1);
    let first = send(gateway.client(), Request::get("/first"));
    pending(&gateway, 1.0);
    let start = Instant::now();
    let second = gateway.client().get("/second");
    assert!(start.elapsed() < Duration::from_millis(500), "the queue is full at once");
    for answer in [second, first.join().unwrap()] {
        assert_eq!((answer.status, answer.reason()), (503, Some("full")));
        assert!(answer.field("retry-after").is_some());
    }
    assert_eq!(b1.requests(), 1);
    let third = send(gateway.client(), Request::get("/third"));
    pending(&gateway, 1.0);
    drop(held);
    assert_eq!(third.join().unwrap().backend(), "b1");
    nothing_is_left(&gateway, &[&b1]);
}

#[test]
fn a_client_that_goes_away_while_it_waits_is_forgotten() {
    let b1 = Backend::start("b1");
    let limits = "maxConnectionsPerBackend: 1, queueTimeout: 30s";
    let gateway = Gateway::start(&limited(&[&b1], limits));
    let held = occupied(&gateway, &b1);
    for _ in 0..3 {
        let mut gone = gateway.connect();
        gone.write(&Request::get("/gone").bytes(&[])).unwrap();
        pending(&gateway, 1.0);
        drop(gone);
        pending(&gateway, 0.0);
    }
    drop(held);
    assert_eq!(gateway.client().get("/").backend(), "b1");
    assert_eq!(b1.requests(), 2, "it was never asked for those that had left");
    assert_eq!(gateway.access_of("/gone")["reason"], "client-gone");
    nothing_is_left(&gateway, &[&b1]);
}

#[test]
fn requests_that_are_sent_ahead_survive_the_wait() {
    let b1 = Backend::start("b1");
    let limits = "maxConnectionsPerBackend: 1, queueTimeout: 20s";
    let gateway = Gateway::start(&limited(&[&b1], limits));
    let held = occupied(&gateway, &b1);
    let mut wire = gateway.connect();
    wire.write(&Request::get("/one").bytes(&[])).unwrap();
    pending(&gateway, 1.0);
    wire.write(&Request::get("/two").bytes(&[])).unwrap();
    drop(held);
    for path in ["/one", "/two"] {
        assert_eq!(wire.answer().unwrap().expect("an answer").seen_path(), path);
    }
    nothing_is_left(&gateway, &[&b1]);
}

#[test]
fn what_happens_to_a_bound_client_is_the_operators_choice() {
    let backends = ["b1", "b2", "b3"].map(Backend::start);
    let setup = |policy: &str| {
        let all: Vec<_> = backends.iter().collect();
        limited(&all, "maxConnectionsPerBackend: 1, queueTimeout: 20s")
            .sticky_with(&format!("onFull: {policy}"))
            .sticky_with("rejectStatus: 529")
    };
    let gateway = Gateway::start(&setup("reject"));
    let mut client = gateway.client();
    let home = client.get("/").backend();
    let slow = send(client.clone(), Request::get("/sleep/2500"));
    in_flight(&gateway, &home, 1.0);
    let refused = client.get("/refused");
    assert_eq!((refused.status, refused.reason()), (529, Some("affinity-rejected")));
    assert!(refused.cookies().is_empty() && refused.field("retry-after").is_some());
    assert_eq!(gateway.verdict_of("/refused"), "FN");

    gateway.reload(&setup("serve-once"));
    let visits: Vec<_> = (0..4).map(|_| client.get("/visit").backend()).collect();
    assert!(visits.iter().all(|id| *id == visits[0] && *id != home), "{visits:?}");
    assert_eq!(gateway.verdict_of("/visit"), "FN");
    assert!(client.get("/visit").seen_fields("x-affinity-failover").is_empty());

    gateway.reload(&setup("redistribute"));
    let mut moves = client.clone();
    assert_ne!(moves.get("/moves").backend(), home);
    assert_eq!(gateway.verdict_of("/moves"), "FI");
    slow.join().unwrap();
    assert_eq!(client.get("/").backend(), home, "who was a guest is at home again");
    let all: Vec<_> = backends.iter().collect();
    nothing_is_left(&gateway, &all);
}

#[test]
fn limits_change_while_requests_wait() {
    let b1 = Backend::start("b1");
    let setup = |most: u32| {
        limited(&[&b1], &format!("maxConnectionsPerBackend: {most}, queueTimeout: 20s"))
    };
    let gateway = Gateway::start(&setup(1));
    let held = occupied(&gateway, &b1);
    let waits = send(gateway.client(), Request::get("/waits"));
    pending(&gateway, 1.0);
    gateway.reload(&setup(2));
    assert_eq!(gateway.client().get("/").backend(), "b1", "there is room for new requests");
    gateway.reload(&setup(1));
    let waits_too = send(gateway.client(), Request::get("/waits/too"));
    pending(&gateway, 2.0);
    drop(held);
    assert_eq!(waits.join().unwrap().backend(), "b1");
    assert_eq!(waits_too.join().unwrap().backend(), "b1");
    nothing_is_left(&gateway, &[&b1]);
}

#[test]
fn a_seat_of_no_use_to_one_goes_to_the_next() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    let setup = limited(&[&b1, &b2], "maxConnectionsPerBackend: 1, queueTimeout: 20s")
        .versions(&["v1", "v2"])
        .rules(&["id: r, serviceName: app, versionHeader: x-tag"]);
    let gateway = Gateway::start(&setup);
    let tagged = |path: &str, tag: &str| Request::get(path).with("X-Tag", tag);
    let held_v1 = occupied_by(&gateway, &b1, tagged("/upgrade", "v1"));
    let held_v2 = occupied_by(&gateway, &b2, tagged("/upgrade", "v2"));
    let first = send(gateway.client(), tagged("/", "v1"));
    pending(&gateway, 1.0);
    let second = send(gateway.client(), tagged("/", "v2"));
    pending(&gateway, 2.0);
    drop(held_v2);
    assert_eq!(second.join().unwrap().backend(), "b2", "although the other waits for longer");
    pending(&gateway, 1.0);
    drop(held_v1);
    assert_eq!(first.join().unwrap().backend(), "b1");
    nothing_is_left(&gateway, &[&b1, &b2]);
}

/// A number from a small generator: the same run each time.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn nothing_leaks_while_clients_come_and_go_and_the_limits_change() {
    let backends = ["b1", "b2", "b3"].map(Backend::start);
    let all: Vec<_> = backends.iter().collect();
    let setup = |most: u32, policy: &str| {
        let limits = format!("maxConnectionsPerBackend: {most}, maxPending: 6, queueTimeout: 60ms");
        limited(&all, &limits).sticky_with(&format!("onFull: {policy}"))
    };
    let gateway = Gateway::start(&setup(2, "wait"));
    let address = gateway.address();
    let ends = Instant::now() + Duration::from_secs(4);
    thread::scope(|scope| {
        for seed in 0..12_u64 {
            scope.spawn(move || {
                let mut state = seed;
                let mut client = Client::new(address);
                while Instant::now() < ends {
                    let path = format!("/sleep/{}", next(&mut state) % 30);
                    match next(&mut state) % 6 {
                        0 => {
                            let mut gone = Wire::connect(address, None).unwrap();
                            gone.write(&Request::get(&path).bytes(&client.jar)).unwrap();
                            // leaves at some time or other
                            thread::sleep(Duration::from_millis(next(&mut state) % 40));
                        }
                        1 => client = Client::new(address),
                        2 => drop(client.try_send(&Request::new("HEAD", &path))),
                        3 => drop(client.try_send(&Request::post(&path, 20_000))),
                        _ => drop(client.try_send(&Request::get(&path))),
                    }
                }
            });
        }
        for (most, policy) in [(1, "redistribute"), (3, "serve-once"), (1, "reject"), (2, "wait")] {
            backends[0].stop();
            gateway.reload(&setup(most, policy));
            backends[0].restart();
            // each setting is in force for a while
            thread::sleep(Duration::from_millis(300));
        }
    });
    nothing_is_left(&gateway, &all);
    for _ in 0..6 {
        assert_eq!(gateway.client().get("/").status, 200);
    }
}
