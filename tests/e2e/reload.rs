//! SIGHUP: a good file takes effect at once and costs nothing, a bad one changes nothing.

use crate::harness::{Backend, Gateway, Request, Setup};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

#[test]
fn ten_reloads_under_64_busy_connections_lose_no_request_and_move_nobody() {
    let [b1, b2, b3, b4] = ["b1", "b2", "b3", "b4"].map(Backend::start);
    let three = Setup::of(&[&b1, &b2, &b3]).sticky();
    let four = Setup::of(&[&b4, &b3, &b2, &b1]).sticky();
    let gateway = Gateway::start(&three);
    let busy = AtomicBool::new(true);
    let (bound, served) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for n in 0..64 {
            let (gateway, busy, bound, served) = (&gateway, &busy, &bound, &served);
            scope.spawn(move || {
                let mut client = gateway.client();
                let home = client.get("/bind").backend();
                bound.fetch_add(1, Ordering::SeqCst);
                while busy.load(Ordering::SeqCst) {
                    let request = if n % 2 == 0 {
                        Request::get("/busy")
                    } else {
                        Request::post("/busy", 10_000)
                    };
                    let answer = client.send(&request);
                    assert_eq!(answer.status, 200, "{:?}", answer.reason());
                    assert_eq!(answer.backend(), home);
                    assert_eq!(answer.cookies(), [""; 0]);
                    served.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        // Ends the clients also when a reload fails.
        let _rest = OnDrop(&busy);
        crate::harness::until("all are bound", || {
            (bound.load(Ordering::SeqCst) == 64).then_some(())
        });
        for n in 0..10 {
            let before = served.load(Ordering::SeqCst);
            gateway.reload(if n % 2 == 0 { &four } else { &three });
            crate::harness::until("requests went on after the reload", || {
                (served.load(Ordering::SeqCst) >= before + 64).then_some(())
            });
        }
    });
    assert!(gateway.metric("stickfast_config_reloads_total", &[("result", "ok")]) >= 10.0);
}

struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    let setup = Setup::of(&[&b1]).sticky();
    let gateway = Gateway::start(&setup);
    let generation = gateway.metric("stickfast_config_generation", &[]);
    let mut client = gateway.client();
    client.get("/");
    let bad = Setup::of(&[&b2]).sticky_with("idleTimeout: soon").to_string();
    let line = 1 + bad.lines().position(|line| line.contains("soon")).unwrap();
    gateway.reload_refused(&bad);
    let place = format!("stickfast.yaml:{line}:");
    gateway.wait_for_diagnostic(&[&place, "idleTimeout"]);
    gateway.reload_refused(&"gateway: [".to_owned());
    let answer = client.get("/");
    assert_eq!((answer.backend().as_str(), answer.cookies().len()), ("b1", 0));
    assert_eq!(gateway.client().get("/").backend(), "b1", "still the former file");
    let now = gateway.metric("stickfast_config_generation", &[]);
    assert!((now - generation).abs() < f64::EPSILON, "{generation} became {now}");
    gateway.reload(&Setup::of(&[&b2]).sticky());
    assert_eq!(gateway.client().get("/").backend(), "b2", "a good one is taken again");
    assert!(gateway.metric("stickfast_config_generation", &[]) > generation);
}

#[test]
fn a_new_backend_gets_clients_and_a_removed_one_none() {
    let [b1, b2, b3] = ["b1", "b2", "b3"].map(Backend::start);
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]));
    gateway.reload(&Setup::of(&[&b2, &b3]));
    let mut ids: Vec<_> = (0..8).map(|_| gateway.client().get("/").backend()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids, ["b2", "b3"]);
}

#[test]
fn a_request_ends_with_the_configuration_it_began_with() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    let gateway = Gateway::start(&Setup::of(&[&b1]).sticky());
    thread::scope(|scope| {
        let slow = scope.spawn(|| gateway.client().get("/sleep/3000").backend());
        crate::harness::until("it is under way", || (b1.requests() == 1).then_some(()));
        gateway.reload(&Setup::of(&[&b2]).sticky());
        assert_eq!(gateway.client().get("/").backend(), "b2");
        assert!(!slow.is_finished(), "still under way");
        assert_eq!(slow.join().unwrap(), "b1");
    });
}

#[test]
fn several_files_are_merged_in_order() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    let base = Setup::of(&[&b1]).sticky().to_string();
    let over = format!(
        "gateway:\n  services:\n    app:\n      backends:\n        \
         - {{ id: b2, address: \"{}\" }}\n        - {{ id: b1, weight: 0 }}\n  router:\n    \
         sessionAffinity: {{ cookie: {{ name: merged }} }}\n",
        b2.address()
    );
    let mut gateway = Gateway::spawn(&[("base.yaml", &base), ("over.yaml", &over)]);
    gateway.wait_until_ready();
    for _ in 0..4 {
        let answer = gateway.client().get("/");
        assert_eq!(answer.backend(), "b2", "b1 has weight 0 by the second file");
        assert!(answer.cookies()[0].starts_with("merged="), "{:?}", answer.cookies());
    }
}
