//! Who may serve, as the health checks see it.

use crate::harness::{Backend, Behaviour, Gateway, PATIENCE, Request, Setup, until, within};
use std::time::{Duration, Instant};

fn two() -> [Backend; 2] {
    ["b1", "b2"].map(Backend::start)
}

#[test]
fn an_unhealthy_backend_gets_no_new_clients_until_it_is_well_again() {
    let [b1, b2] = two();
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).checked());
    gateway.wait_for_health("b1", true);
    b1.healthy(false);
    gateway.wait_for_health("b1", false);
    let before = b1.requests();
    for _ in 0..20 {
        assert_eq!(gateway.client().get("/").backend(), "b2");
    }
    assert_eq!(b1.requests(), before);
    b1.healthy(true);
    gateway.wait_for_health("b1", true);
    let mut client = gateway.client();
    until("it is given requests again", || (client.get("/").backend() == "b1").then_some(()));
}

#[test]
fn the_marks_of_health_survive_a_reload() {
    let [b1, b2] = two();
    let setup = Setup::of(&[&b1, &b2]).checked();
    let gateway = Gateway::start(&setup);
    b1.healthy(false);
    gateway.wait_for_health("b1", false);
    for _ in 0..3 {
        gateway.reload(&setup.clone().weights(&[1, 2]));
        let labels = [("service", "app"), ("backend", "b1")];
        let up = gateway.scrape().get("stickfast_backend_up", &labels);
        assert_eq!(up, Some(0.0), "right after the reload");
        for _ in 0..6 {
            assert_eq!(gateway.client().get("/").backend(), "b2");
        }
        gateway.reload(&setup);
    }
}

#[test]
fn a_backend_that_never_answers_its_check_gets_nothing_and_does_not_hold_up_the_start() {
    let [b1, b2] = two();
    b1.behave(Behaviour::Mute);
    let setup = Setup::of(&[&b1, &b2])
        .option("healthCheck: { type: http, path: /healthz, interval: 60s, timeout: 60s }");
    let start = Instant::now();
    let gateway = Gateway::start(&setup);
    let time = start.elapsed();
    assert!(time < Duration::from_secs(10), "listening after {time:?}");
    for _ in 0..20 {
        assert_eq!(gateway.client().get("/").backend(), "b2");
    }
    assert_eq!(b1.requests(), 0);
    assert!(b1.checks() > 0, "it was asked");
}

#[test]
fn readiness_waits_for_the_first_round_of_checks() {
    let b1 = Backend::start("b1");
    b1.behave(Behaviour::Mute);
    let setup = Setup::of(&[&b1])
        .option("healthCheck: { type: http, path: /healthz, interval: 60s, timeout: 60s }");
    let mut gateway = Gateway::spawn(&[("stickfast.yaml", &setup.to_string())]);
    let early = within(PATIENCE, || gateway.admin("/readyz").ok().map(|answer| answer.status));
    assert_eq!(early, Some(503), "not ready while nothing is known");
    assert_eq!(gateway.admin("/healthz").unwrap().status, 200, "but alive");
    gateway.wait_until_ready();
}

#[test]
fn a_tcp_check_needs_no_more_than_an_accepted_connection() {
    let [b1, b2] = two();
    b1.healthy(false);
    let setup = Setup::of(&[&b1, &b2]).option(
        "healthCheck: { type: tcp, interval: 100ms, timeout: 1s, healthyThreshold: 1, \
         unhealthyThreshold: 2 }",
    );
    let gateway = Gateway::start(&setup);
    gateway.wait_for_health("b1", true);
    b1.stop();
    gateway.wait_for_health("b1", false);
    gateway.wait_for_health("b2", true);
    b1.restart();
    gateway.wait_for_health("b1", true);
}

#[test]
fn when_every_check_fails_the_checked_backends_are_tried_all_the_same() {
    let [b1, b2] = two();
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).checked());
    for backend in [&b1, &b2] {
        backend.healthy(false);
    }
    gateway.wait_for_health("b1", false);
    gateway.wait_for_health("b2", false);
    for _ in 0..4 {
        assert_eq!(gateway.client().get("/").status, 200);
    }
}

#[test]
fn one_failed_check_below_the_threshold_moves_nobody() {
    let [b1, b2] = two();
    let setup = Setup::of(&[&b1, &b2]).sticky().option(
        "healthCheck: { type: http, path: /healthz, interval: 100ms, timeout: 1s, \
         healthyThreshold: 1, unhealthyThreshold: 100 }",
    );
    let gateway = Gateway::start(&setup);
    let mut client = gateway.client();
    let home = client.get("/").backend();
    b1.healthy(false);
    b2.healthy(false);
    let before = (b1.checks(), b2.checks());
    until("some checks have failed", || {
        (b1.checks() > before.0 + 2 && b2.checks() > before.1 + 2).then_some(())
    });
    let answer = client.get("/");
    assert_eq!((answer.backend(), answer.cookies().len()), (home, 0));
}

#[test]
fn frequent_reloads_do_not_hold_up_the_checks() {
    let [b1, b2] = two();
    let setup = Setup::of(&[&b1, &b2]).option(
        "healthCheck: { type: http, path: /healthz, interval: 500ms, timeout: 1s, \
         healthyThreshold: 1, unhealthyThreshold: 1 }",
    );
    let gateway = Gateway::start(&setup);
    gateway.wait_for_health("b1", true);
    b1.healthy(false);
    let labels = [("service", "app"), ("backend", "b1")];
    let noticed = within(Duration::from_secs(6), || {
        gateway.reload(&setup);
        (gateway.metric("stickfast_backend_up", &labels) < 1.0).then_some(())
    });
    assert!(noticed.is_some(), "seen by a check every half second");
}

#[test]
fn a_backend_that_a_reload_brings_gets_its_first_client_after_its_first_check() {
    let [b1, b2] = two();
    let gateway = Gateway::start(&Setup::of(&[&b1]).checked());
    b2.behave(Behaviour::Mute);
    gateway.reload(&Setup::of(&[&b1, &b2]).checked());
    for _ in 0..10 {
        assert_eq!(gateway.client().get("/").backend(), "b1", "b2 is not checked yet");
    }
    assert_eq!(b2.requests(), 0);
    b2.behave(Behaviour::Serve);
    gateway.wait_for_health("b2", true);
    until("it is given requests", || {
        (gateway.client().send(&Request::get("/")).backend() == "b2").then_some(())
    });
}
