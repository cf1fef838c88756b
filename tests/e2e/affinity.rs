//! A client stays where its state is; when that is impossible it is bound anew, once.

use crate::harness::{Backend, Client, Gateway, Request, Setup, Wire, until};
use serde_json::Value;

fn three() -> [Backend; 3] {
    ["b1", "b2", "b3"].map(Backend::start)
}

fn sticky(backends: &[Backend; 3]) -> Setup {
    let [b1, b2, b3] = backends;
    Setup::of(&[b1, b2, b3]).sticky()
}

/// Clients that are bound, each with the id of its backend; every backend has some.
fn bound(gateway: &Gateway, count: usize) -> Vec<(Client, String)> {
    let bind = |_| {
        let mut client = gateway.client();
        let backend = client.get("/bind").backend();
        (client, backend)
    };
    (0..count).map(bind).collect()
}

#[test]
fn a_client_keeps_its_backend_for_a_thousand_requests_while_others_come_and_go() {
    let backends = three();
    let gateway = Gateway::start(&sticky(&backends));
    let mut client = gateway.client();
    let home = client.get("/").backend();
    let mut others = Vec::new();
    for n in 0..1000 {
        assert_eq!(client.get("/").backend(), home, "request {n}");
        if n % 5 == 0 {
            others.push(gateway.client().get("/").backend());
        }
        if n % 50 == 0 {
            client.hang_up();
        }
    }
    others.sort();
    others.dedup();
    assert_eq!(others, ["b1", "b2", "b3"], "the others went everywhere");
}

#[test]
fn the_key_goes_out_once_on_the_first_response_only() {
    let backends = three();
    let gateway = Gateway::start(&sticky(&backends));
    let mut client = gateway.client();
    let first = client.get("/first");
    assert_eq!(first.cookies().len(), 1, "{:?}", first.fields);
    assert!(first.cookies()[0].starts_with("gateway-backend="), "{:?}", first.cookies());
    assert_eq!(gateway.verdict_of("/first"), "NI");
    for n in 0..20 {
        let answer = client.get(&format!("/later/{n}"));
        assert_eq!(answer.cookies(), [""; 0], "request {n}");
        assert_eq!(gateway.verdict_of(&format!("/later/{n}")), "VN");
    }
}

#[test]
fn a_rule_without_affinity_binds_nobody() {
    let [b1, b2, b3] = three();
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2, &b3]));
    let mut client = gateway.client();
    let answers: Vec<_> = (0..3).map(|_| client.get("/free")).collect();
    assert!(answers.iter().all(|answer| answer.cookies().is_empty()));
    let mut ids: Vec<_> = answers.iter().map(crate::harness::Answer::backend).collect();
    ids.sort();
    assert_eq!(ids, ["b1", "b2", "b3"]);
    assert_eq!(gateway.verdict_of("/free"), "NN");
}

/// Stops a backend and sees its clients move once, with their next request, and nobody else.
fn one_dies(gateway: &Gateway, backends: &[Backend; 3], with: &Request, health_known: bool) {
    let mut clients = bound(gateway, 12);
    let victim = &backends[0];
    assert!(clients.iter().any(|(_, home)| home == victim.id()), "somebody is bound to it");
    victim.stop();
    if health_known {
        gateway.wait_for_health(victim.id(), false);
    }
    for (client, home) in &mut clients {
        let answer = client.send(with);
        let now = answer.backend();
        assert_eq!(answer.seen()["body_length"], with.length(), "the whole body arrived");
        if home != victim.id() {
            assert_eq!(&now, home, "a client of another backend moved");
            assert_eq!(answer.cookies(), [""; 0]);
            continue;
        }
        assert_ne!(&now, home);
        assert_eq!(answer.cookies().len(), 1, "bound anew by the first answer");
        for _ in 0..3 {
            let later = client.get("/later");
            assert_eq!(later.backend(), now, "bound anew once, then stays");
            assert_eq!(later.cookies(), [""; 0]);
        }
        assert_eq!(gateway.verdict_of("/later"), "VN");
    }
    let lines = until("a line for each client", || {
        let moved = |line: &Value| line["path"] == "/moved";
        let lines: Vec<_> = gateway.access_lines().into_iter().filter(moved).collect();
        (lines.len() == clients.len()).then_some(lines)
    });
    let down = lines.iter().filter(|line| line["affinity"] == "DI").count();
    let moved = clients.iter().filter(|(_, home)| home == victim.id()).count();
    assert_eq!(down, moved, "one verdict of a fallen backend for each of its clients");
}

#[test]
fn clients_of_a_killed_backend_move_once_when_its_connections_are_refused() {
    let backends = three();
    let gateway = Gateway::start(&sticky(&backends));
    one_dies(&gateway, &backends, &Request::get("/moved"), false);
}

#[test]
fn clients_of_a_killed_backend_move_once_when_its_check_fails() {
    let backends = three();
    let gateway = Gateway::start(&sticky(&backends).checked());
    one_dies(&gateway, &backends, &Request::get("/moved"), true);
}

#[test]
fn a_post_with_a_large_body_survives_a_refused_connection() {
    let backends = three();
    let gateway = Gateway::start(&sticky(&backends));
    let post = Request::post("/moved", 200 * 1024);
    one_dies(&gateway, &backends, &post, false);
    for _ in 0..3 {
        let answer = gateway.client().send(&post);
        assert_eq!(answer.seen()["body_length"], 200 * 1024);
    }
}

#[test]
fn a_chunked_post_survives_a_refused_connection_whole() {
    let [b1, b2] = [Backend::stopped("b1"), Backend::start("b2")];
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky());
    for _ in 0..4 {
        let answer = gateway.client().send(&Request::post("/", 30_000).chunked());
        assert_eq!(answer.backend(), "b2");
        assert_eq!(answer.seen()["body_length"], 30_000);
    }
}

#[test]
fn the_retry_of_a_new_client_binds_it_to_the_backend_that_answered() {
    let [b1, b2] = [Backend::stopped("b1"), Backend::start("b2")];
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky());
    for n in 0..4 {
        let mut client = gateway.client();
        assert_eq!(client.get(&format!("/new/{n}")).backend(), "b2");
        assert_eq!(gateway.verdict_of(&format!("/new/{n}")), "NI");
        b1.restart();
        let answer = client.get("/again");
        assert_eq!(answer.backend(), "b2", "bound to the one that answered");
        assert_eq!(answer.cookies(), [""; 0]);
        b1.stop();
    }
}

#[test]
fn a_client_that_moved_does_not_move_back() {
    let backends = three();
    let gateway = Gateway::start(&sticky(&backends));
    let (mut client, home) = bound(&gateway, 1).remove(0);
    let victim = backends.iter().find(|b| b.id() == home).unwrap();
    victim.stop();
    let refuge = client.get("/").backend();
    assert_ne!(refuge, home);
    victim.restart();
    for _ in 0..6 {
        assert_eq!(client.get("/").backend(), refuge);
    }
}

#[test]
fn a_backend_that_returns_before_its_client_does_keeps_it() {
    let backends = three();
    let gateway = Gateway::start(&sticky(&backends));
    let (mut client, home) = bound(&gateway, 1).remove(0);
    let victim = backends.iter().find(|b| b.id() == home).unwrap();
    victim.stop();
    victim.restart();
    let answer = client.get("/");
    assert_eq!(answer.backend(), home);
    assert_eq!(answer.cookies(), [""; 0]);
}

#[test]
fn an_error_of_the_application_does_not_cost_the_binding() {
    let backends = three();
    let gateway = Gateway::start(&sticky(&backends));
    let (mut client, home) = bound(&gateway, 1).remove(0);
    for status in [404, 500, 503] {
        let answer = client.get(&format!("/status/{status}"));
        assert_eq!((answer.status, answer.reason()), (status, None));
        assert_eq!(client.get("/").backend(), home, "after {status}");
    }
}

#[test]
fn a_backend_that_was_taken_out_of_the_file_is_gone_and_its_clients_move_once() {
    let backends = three();
    let gateway = Gateway::start(&sticky(&backends));
    let mut clients = bound(&gateway, 6);
    let [_, b2, b3] = &backends;
    gateway.reload(&Setup::of(&[b2, b3]).sticky());
    for (n, (client, home)) in clients.iter_mut().enumerate() {
        let path = format!("/after/{n}");
        let answer = client.get(&path);
        if home == "b1" {
            assert_ne!(answer.backend(), "b1");
            assert_eq!(gateway.verdict_of(&path), "GI");
            assert_eq!(client.get("/").backend(), answer.backend());
        } else {
            assert_eq!(&answer.backend(), home);
            assert_eq!(gateway.verdict_of(&path), "VN");
        }
    }
    assert!(clients.iter().any(|(_, home)| home == "b1"), "somebody had to move");
}

#[test]
fn a_backend_at_another_address_with_the_same_id_keeps_its_clients() {
    let backends = three();
    let gateway = Gateway::start(&sticky(&backends));
    let mut clients = bound(&gateway, 6);
    let [old, b2, b3] = &backends;
    let moved = Backend::start("b1");
    gateway.reload(&Setup::of(&[&moved, b2, b3]).sticky());
    let before = old.requests();
    for (client, home) in &mut clients {
        let answer = client.get("/");
        assert_eq!(&answer.backend(), home);
        assert_eq!(answer.cookies(), [""; 0]);
    }
    assert_eq!(old.requests(), before, "the old address is asked no more");
    assert!(moved.requests() > 0);
}

#[test]
fn weight_zero_keeps_bound_clients_and_takes_no_new_ones() {
    let backends = three();
    let gateway = Gateway::start(&sticky(&backends));
    let mut clients = bound(&gateway, 6);
    assert!(clients.iter().any(|(_, home)| home == "b1"));
    gateway.reload(&sticky(&backends).weights(&[0, 1, 1]));
    for (client, home) in &mut clients {
        let answer = client.get("/");
        assert_eq!(&answer.backend(), home);
        assert_eq!(answer.cookies(), [""; 0]);
    }
    for (_, home) in bound(&gateway, 20) {
        assert_ne!(home, "b1");
    }
}

#[test]
fn a_switch_of_protocols_carries_the_key_and_then_the_bytes() {
    let backends = three();
    let gateway = Gateway::start(&sticky(&backends));
    let mut wire = gateway.connect();
    let upgrade =
        Request::get("/upgrade").with("Connection", "Upgrade").with("Upgrade", "websocket");
    wire.write(&upgrade.bytes(&[])).unwrap();
    let answer = wire.answer().unwrap().expect("an answer");
    assert_eq!(answer.status, 101);
    assert_eq!(answer.field("upgrade"), Some("websocket"));
    assert_eq!(answer.cookies().len(), 1, "{:?}", answer.fields);
    echoes(&mut wire, b"over the new protocol");
    let mut client = gateway.client();
    let pair = answer.cookies()[0].split(';').next().unwrap().to_owned();
    client.put("gateway-backend", pair.split_once('=').unwrap().1);
    let home = client.get("/").backend();
    for _ in 0..5 {
        assert_eq!(client.get("/").backend(), home);
    }
    assert_eq!(backends.iter().filter(|b| b.requests() > 0).count(), 1, "one backend for both");
}

#[test]
fn a_connection_of_another_protocol_may_be_silent_for_longer_than_a_request() {
    let b1 = Backend::start("b1");
    let setup = Setup::of(&[&b1])
        .option("timeouts: { read: 200ms, write: 200ms }")
        .server("limits: { bodyTimeout: 200ms, idleTimeout: 200ms, headerTimeout: 200ms }");
    let gateway = Gateway::start(&setup);
    let mut wire = gateway.connect();
    let upgrade =
        Request::get("/upgrade").with("Connection", "Upgrade").with("Upgrade", "websocket");
    wire.write(&upgrade.bytes(&[])).unwrap();
    assert_eq!(wire.answer().unwrap().expect("an answer").status, 101);
    echoes(&mut wire, b"before");
    let mut other = gateway.client();
    // Requests of others measure the time; theirs is over many times.
    for _ in 0..8 {
        assert_eq!(other.get("/sleep/100").backend(), "b1");
    }
    echoes(&mut wire, b"after");
}

fn echoes(wire: &mut Wire, bytes: &[u8]) {
    wire.write(bytes).unwrap();
    assert_eq!(wire.bytes(bytes.len()).unwrap(), bytes);
}
