//! What is done when the bound backend cannot serve: the operator's named choices, on a running
//! gateway. The whole matrix is a table test beside the code.

use crate::harness::{Backend, Gateway, Request, Setup, until};

fn two() -> [Backend; 2] {
    ["b1", "b2"].map(Backend::start)
}

fn stop(backends: &[Backend], id: &str) {
    backends.iter().find(|backend| backend.id() == id).unwrap().stop();
}

#[test]
fn a_rejected_client_gets_the_status_of_the_operator_and_keeps_its_key() {
    let backends = two();
    let setup = Setup::of(&[&backends[0], &backends[1]])
        .sticky_with("onUnhealthy: reject")
        .sticky_with("onMissing: reject")
        .sticky_with("rejectStatus: 421");
    let gateway = Gateway::start(&setup);
    let mut client = gateway.client();
    let home = client.get("/").backend();
    stop(&backends, &home);
    for _ in 0..2 {
        let answer = client.get("/refused");
        assert_eq!((answer.status, answer.reason()), (421, Some("affinity-rejected")));
        assert!(answer.field("retry-after").is_some() && answer.cookies().is_empty());
    }
    assert_eq!(gateway.verdict_of("/refused"), "DN");
    let other = backends.iter().find(|backend| backend.id() != home).unwrap();
    gateway.reload(&Setup::of(&[other]).sticky_with("onMissing: reject"));
    let gone = client.get("/gone");
    assert_eq!((gone.status, gone.cookies().len()), (503, 1));
    assert_eq!(gateway.verdict_of("/gone"), "GD");
    assert_eq!(client.get("/anew").status, 200, "the policy decides once");
    assert_eq!(gateway.verdict_of("/anew"), "NI");
    assert_eq!(gateway.client().get("/").status, 200, "new clients are served");
}

#[test]
fn a_client_served_once_elsewhere_returns_to_its_backend() {
    let backends = two();
    let setup = Setup::of(&[&backends[0], &backends[1]]).sticky_with("onUnhealthy: serve-once");
    let gateway = Gateway::start(&setup);
    let mut client = gateway.client();
    let home = client.get("/").backend();
    stop(&backends, &home);
    let answer = client.get("/visit");
    assert_ne!(answer.backend(), home);
    assert!(answer.cookies().is_empty(), "its key stays as it is");
    assert!(answer.seen_fields("x-affinity-failover").is_empty(), "it did not move");
    backends.iter().find(|backend| backend.id() == home).unwrap().restart();
    assert_eq!(client.get("/").backend(), home);
}

#[test]
fn the_new_backend_is_told_once_where_a_client_comes_from() {
    let backends = two();
    let gateway = Gateway::start(&Setup::of(&[&backends[0], &backends[1]]).sticky());
    let mut client = gateway.client();
    let home = client.get("/").backend();
    stop(&backends, &home);
    let moved = client.send(&Request::get("/").with("X-Affinity-Failover", "forged"));
    let told = format!("from={home}; reason=unhealthy");
    assert_eq!(moved.seen_fields("x-affinity-failover"), [told]);
    assert!(client.get("/").seen_fields("x-affinity-failover").is_empty());
}

#[test]
fn clients_return_home_where_the_operator_wants_it() {
    let backends = two();
    let setup = Setup::of(&[&backends[0], &backends[1]]).sticky_with("failback: immediate");
    let gateway = Gateway::start(&setup);
    let mut client = gateway.client();
    let home = client.get("/").backend();
    let of = |id: &str| backends.iter().find(|backend| backend.id() == id).unwrap();
    of(&home).stop();
    let away = client.get("/").backend();
    assert_ne!(away, home);
    of(&home).restart();
    let back = client.get("/back");
    assert_eq!((back.backend(), back.cookies().len()), (home.clone(), 1));
    of(&away).stop();
    assert_eq!(client.get("/").backend(), home, "its key names its home again");
}

#[test]
fn a_draining_backend_keeps_its_clients_or_gives_them_away() {
    let backends = two();
    let setup = |policy: &str| {
        Setup::of(&[&backends[0], &backends[1]]).sticky_with(&format!("onDraining: {policy}"))
    };
    let gateway = Gateway::start(&setup("keep"));
    let mut client = gateway.client();
    let home = client.get("/").backend();
    let drained = |policy: &str| {
        let yaml = setup(policy).to_string();
        yaml.replacen(&format!("id: {home},"), &format!("id: {home}, state: draining,"), 1)
    };
    gateway.reload(&drained("keep"));
    assert_eq!(client.get("/").backend(), home);
    for _ in 0..4 {
        assert_ne!(gateway.client().get("/").backend(), home, "no new clients");
    }
    gateway.reload(&drained("redistribute"));
    let moved = client.get("/moved");
    assert_ne!(moved.backend(), home);
    assert_eq!(gateway.verdict_of("/moved"), "RI");
    assert_eq!(moved.seen_fields("x-affinity-failover"), [format!("from={home}; reason=draining")]);
}

#[test]
fn a_backend_in_maintenance_serves_nobody() {
    let backends = two();
    let setup = Setup::of(&[&backends[0], &backends[1]]).sticky();
    let gateway = Gateway::start(&setup);
    let mut client = gateway.client();
    let home = client.get("/").backend();
    let yaml = setup.to_string();
    let yaml =
        yaml.replacen(&format!("id: {home},"), &format!("id: {home}, state: maintenance,"), 1);
    gateway.reload(&yaml);
    assert_ne!(client.get("/").backend(), home);
    assert_ne!(gateway.client().get("/").backend(), home);
}

#[test]
fn a_restarted_backend_is_not_handed_the_sessions_it_lost() {
    let b1 = Backend::start("b1");
    let setup = |start: &str| {
        let yaml = Setup::of(&[&b1]).sticky().to_string();
        yaml.replacen("id: b1,", &format!("id: b1, incarnation: {start},"), 1)
    };
    let gateway = Gateway::start(&setup("start-1"));
    let mut client = gateway.client();
    client.get("/");
    client.get("/same");
    assert_eq!(gateway.verdict_of("/same"), "VN");
    gateway.reload(&setup("start-2"));
    let answer = client.get("/restarted");
    assert_eq!(gateway.verdict_of("/restarted"), "WI");
    assert_eq!(answer.seen_fields("x-affinity-failover"), ["from=b1; reason=wrong-incarnation"]);
    client.get("/again");
    assert_eq!(gateway.verdict_of("/again"), "VN");
}

#[test]
fn a_client_whose_home_refuses_stays_where_it_is() {
    let backends = ["b1", "b2", "b3"].map(Backend::start);
    let setup =
        Setup::of(&[&backends[0], &backends[1], &backends[2]]).sticky_with("failback: immediate");
    let gateway = Gateway::start(&setup);
    let mut client = gateway.client();
    let home = client.get("/").backend();
    stop(&backends, &home);
    let away = client.get("/").backend();
    for _ in 0..5 {
        let answer = client.get("/stays");
        assert_eq!((answer.backend(), answer.cookies().len()), (away.clone(), 0));
    }
    assert_eq!(gateway.verdict_of("/stays"), "VN");
}

/// With health checks that tell which start answers.
fn told_starts(backends: &[Backend]) -> Setup {
    for backend in backends {
        backend.is_start("one");
    }
    Setup::of(&backends.iter().collect::<Vec<_>>()).checked()
}

#[test]
fn nobody_returns_to_a_home_that_was_restarted() {
    let backends = two();
    let setup = told_starts(&backends).sticky_with("failback: immediate");
    let gateway = Gateway::start(&setup);
    let mut clients = [gateway.client(), gateway.client(), gateway.client(), gateway.client()];
    for client in &mut clients {
        client.get("/");
    }
    let home = clients[0].get("/").backend();
    let of = |id: &str| backends.iter().find(|backend| backend.id() == id).unwrap();
    of(&home).stop();
    gateway.wait_for_health(&home, false);
    let away = clients[0].get("/away").backend();
    assert_ne!(away, home);

    // the same start serves again: it was only out of reach
    let mut other = clients[0].clone();
    of(&home).restart();
    gateway.wait_for_health(&home, true);
    let back = other.get("/back");
    assert_eq!(back.backend(), home);
    let told = format!("from={away}; reason=failback");
    assert_eq!(back.seen_fields("x-affinity-failover"), [told]);
    assert_eq!(gateway.verdict_of("/back"), "VU");
    assert!(other.get("/").seen_fields("x-affinity-failover").is_empty(), "told once");

    // another start has lost what it held
    of(&home).stop();
    gateway.wait_for_health(&home, false);
    of(&home).is_start("two");
    of(&home).restart();
    gateway.wait_for_health(&home, true);
    for n in 0..3 {
        let path = format!("/stays/{n}");
        assert_eq!(clients[0].get(&path).backend(), away);
        assert_eq!(gateway.verdict_of(&path), "VN");
    }
    let lost = other.get("/lost");
    assert_eq!(gateway.verdict_of("/lost"), "WI");
    let told = format!("from={home}; reason=wrong-incarnation");
    assert_eq!(lost.seen_fields("x-affinity-failover"), [told]);
}

#[test]
fn a_guest_keeps_to_one_host_and_its_key_is_kept_fresh() {
    let backends = ["b1", "b2", "b3", "b4"].map(Backend::start);
    let setup = Setup::of(&backends.iter().collect::<Vec<_>>())
        .sticky_with("onUnhealthy: serve-once")
        .sticky_with("idleTimeout: 10s");
    for checked in [false, true] {
        let setup = if checked { setup.clone().checked() } else { setup.clone() };
        let gateway = Gateway::start(&setup);
        let mut client = gateway.client();
        let home = client.get("/").backend();
        let key = client.cookie("gateway-backend");
        let of = |id: &str| backends.iter().find(|backend| backend.id() == id).unwrap();
        of(&home).stop();
        if checked {
            gateway.wait_for_health(&home, false);
        }
        let host = client.get("/").backend();
        assert_ne!(host, home);
        // a tenth of the idle time
        let mut tries = 0..;
        let refreshed = until("its key is refreshed", || {
            let path = format!("/guest/{}", tries.next()?);
            assert_eq!(client.get(&path).backend(), host, "one host");
            (client.cookie("gateway-backend") != key).then_some(path)
        });
        assert_eq!(gateway.verdict_of(&refreshed), "DU");
        of(&home).restart();
        if checked {
            gateway.wait_for_health(&home, true);
        }
        assert_eq!(client.get("/home").backend(), home, "the new key names its home");
        assert_eq!(gateway.verdict_of("/home"), "VN");
    }
}

#[test]
fn a_key_of_another_time_is_taken_back_too() {
    let [b1, b2, s1] = ["b1", "b2", "s1"].map(Backend::start);
    let reject = |setup: Setup| setup.sticky_with("onMissing: reject");
    let gateway = Gateway::start(&reject(Setup::of(&[&b1])));
    let mut client = gateway.client();
    client.get("/");
    // from now on the service writes another name, and the backend of the plain one is gone
    gateway.reload(&reject(Setup::of(&[&b2]).service("shop", &[&s1])));
    assert_eq!(client.get("/gone").status, 503);
    assert_eq!(gateway.verdict_of("/gone"), "GD");
    assert_eq!(client.get("/anew").backend(), "b2");
    assert_eq!(gateway.verdict_of("/anew"), "NI");
}
