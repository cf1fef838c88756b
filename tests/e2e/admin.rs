//! The API on the admin listener, and `stickfast ctl`, which is one call of it for each verb.

use crate::harness::{Backend, Client, Gateway, Request, Setup, stickfast, until, within};
use serde_json::Value;
use std::fs;
use std::time::Duration;

fn two() -> (Backend, Backend, Setup) {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    let setup = Setup::of(&[&b1]).sticky();
    (b1, b2, setup)
}

fn write(gateway: &Gateway, yaml: &impl ToString) {
    fs::write(gateway.dir().join("stickfast.yaml"), yaml.to_string()).unwrap();
}

fn json(gateway: &Gateway, arguments: &[&str]) -> Value {
    let answer = gateway.ctl(&[arguments, &["--json"]].concat());
    serde_json::from_str(&answer.stdout).unwrap_or_else(|e| panic!("{e}: {answer:?}"))
}

#[test]
fn a_reload_says_what_changed_and_what_needs_an_upgrade() {
    let (b1, b2, setup) = two();
    let gateway = Gateway::start(&setup);
    assert!(gateway.ctl(&["reload"]).stdout.contains("nothing is different"));
    write(&gateway, &Setup::of(&[&b1, &b2]).sticky().server("threads: 3"));
    let words = gateway.ctl(&["reload"]);
    assert_eq!(words.code, Some(0), "{words:?}");
    for expected in ["added    services.app.backends[b2]", "ctl upgrade", "server.threads"] {
        assert!(words.stdout.contains(expected), "{words:?}");
    }
    write(&gateway, &setup);
    let answer = json(&gateway, &["reload"]);
    let removed = |path: &str| serde_json::json!({ "path": path, "change": "removed" });
    let changed = answer["changed"].as_array().unwrap();
    assert!(changed.contains(&removed("services.app.backends[b2]")), "{answer}");
    assert_eq!(gateway.client().get("/").backend(), "b1");
}

#[test]
fn a_refused_reload_names_every_fault_with_its_place() {
    let (_b1, _b2, setup) = two();
    let gateway = Gateway::start(&setup);
    let bad = setup.sticky_with("idleTimeout: soon").server("threads: many").to_string();
    write(&gateway, &bad);
    let refused = gateway.ctl(&["reload"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for fault in ["soon", "many"] {
        let line = 1 + bad.lines().position(|line| line.contains(fault)).unwrap();
        assert!(refused.stderr.contains(&format!("stickfast.yaml:{line}:")), "{refused:?}");
    }
    let reload = Request::new("POST", "/api/v1/reload").with("Host", "127.0.0.1");
    let answer = gateway.admin_with(&reload.with("X-Stickfast", "1")).unwrap();
    assert_eq!(answer.status, 422);
    assert_eq!(answer.field("content-type"), Some("application/problem+json"));
    let problem: Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(problem["faults"].as_array().unwrap().len(), 2, "{problem}");
    assert_eq!(gateway.client().get("/").backend(), "b1");
}

#[test]
fn listeners_come_and_go_with_a_reload_and_open_connections_never_notice() {
    let b1 = Backend::start("b1");
    let yaml = Setup::of(&[&b1]).to_string();
    let one = "listeners: [{ address: \"127.0.0.1:0\" }]";
    let second = "listeners: [{ address: \"127.0.0.2:0\" }]";
    let both = "listeners: [{ address: \"127.0.0.1:0\" }, { address: \"127.0.0.2:0\" }]";
    assert!(yaml.contains(one));
    let gateway = Gateway::start(&yaml);
    let mut kept = gateway.client();
    kept.get("/");
    write(&gateway, &yaml.replace(one, both));
    assert_eq!(gateway.ctl(&["reload"]).code, Some(0));
    let announced =
        until("the second is announced", || Some(gateway.announced()).filter(|all| all.len() == 2));
    let address = (std::net::Ipv4Addr::new(127, 0, 0, 2), announced[1].port()).into();
    assert_eq!(Client::new(address).get("/").backend(), "b1");
    write(&gateway, &yaml.replace(one, second));
    assert_eq!(gateway.ctl(&["reload"]).code, Some(0));
    until("the first refuses new clients", || {
        gateway.client().try_send(&Request::get("/")).is_err().then_some(())
    });
    assert_eq!(kept.get("/").backend(), "b1", "who was there already is served");
    assert_eq!(Client::new(address).get("/").backend(), "b1", "the other one stayed open");
    // the same address again
    write(&gateway, &yaml.replace(one, both));
    assert_eq!(gateway.ctl(&["reload"]).code, Some(0));
    let again = until("it is announced", || gateway.announced().get(2).copied());
    assert_eq!(Client::new(again).get("/").backend(), "b1");
}

#[test]
fn an_address_that_is_taken_refuses_the_whole_reload() {
    let b1 = Backend::start("b1");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let yaml = Setup::of(&[&b1]).to_string();
    let gateway = Gateway::start(&yaml);
    let more = format!("{{ address: \"{}\" }}]", taken.local_addr().unwrap());
    let listeners = "listeners: [{ address: \"127.0.0.1:0\" }";
    write(&gateway, &yaml.replace(&format!("{listeners}]"), &format!("{listeners}, {more}")));
    let refused = gateway.ctl(&["reload"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("stickfast.yaml:3:"), "{refused:?}");
    assert_eq!(gateway.client().get("/").backend(), "b1");
}

#[test]
fn watched_files_are_read_when_they_change() {
    let (_b1, b2, setup) = two();
    let gateway = Gateway::start(&setup.clone().server("watch: true"));
    let mut client = gateway.client();
    assert_eq!(client.get("/").backend(), "b1");
    write(&gateway, &Setup::of(&[&b2]).server("watch: true"));
    until("the new file is in force", || {
        (gateway.client().get("/").backend() == "b2").then_some(())
    });
    write(&gateway, &"gateway: [");
    gateway.wait_for_metric("stickfast_config_reloads_total", &[("result", "refused")], 1.0);
    write(&gateway, &setup);
    gateway.wait_for_metric("stickfast_config_reloads_total", &[("result", "ok")], 2.0);
    assert_eq!(gateway.client().get("/").backend(), "b1");
    // no longer watched
    write(&gateway, &Setup::of(&[&b2]));
    let taken = || (gateway.client().get("/").backend() == "b2").then_some(());
    assert!(within(Duration::from_secs(3), taken).is_none());
}

#[test]
fn the_configuration_is_shown_without_secrets() {
    let (_b1, _b2, setup) = two();
    let gateway = Gateway::start(&setup.admin("{ address: \"127.0.0.1:0\", token: t0ken }"));
    assert_eq!(gateway.ctl(&["config"]).code, Some(1), "the token is needed");
    let shown = gateway.ctl(&["--token", "t0ken", "config"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains("gateway:\n"), "{shown:?}");
    assert!(shown.stdout.contains("'***'") || shown.stdout.contains("\"***\""), "{shown:?}");
    for secret in ["t0ken", crate::harness::SECRET] {
        assert!(!shown.stdout.contains(secret), "{shown:?}");
    }
}

#[test]
fn backends_are_listed_with_their_states() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    b2.healthy(false);
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).weights(&[3, 0]).checked());
    gateway.wait_for_health("b2", false);
    let mut open = gateway.connect();
    open.write(b"GET /sleep/5000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    until("the request is counted", || {
        let listed = json(&gateway, &["backends"]);
        assert_eq!(listed[0]["service"], "app");
        assert_eq!(listed[0]["address"], b1.address().to_string());
        assert_eq!((&listed[0]["health"], &listed[0]["weight"]), (&"healthy".into(), &3.into()));
        assert_eq!((&listed[1]["id"], &listed[1]["health"]), (&"b2".into(), &"unhealthy".into()));
        (listed[0]["in_flight"] == 1).then_some(())
    });
    let table = gateway.ctl(&["backends"]).stdout;
    assert_eq!(table.lines().count(), 3, "{table}");
    let status = gateway.ctl(&["status"]).stdout;
    assert!(status.contains(": serving") && status.contains("1 requests under way"), "{status}");
}

#[test]
fn pages_in_a_browser_change_nothing() {
    let (_b1, _b2, setup) = two();
    let gateway = Gateway::start(&setup);
    let reload = || Request::new("POST", "/api/v1/reload");
    let json = || reload().with("Content-Type", "application/json").with("Host", "127.0.0.1:1");
    for foreign in [
        reload(),
        reload().with("Content-Type", "text/plain").body(3),
        json().with("Origin", "http://evil.example"),
        json().with("Sec-Fetch-Site", "cross-site"),
        reload().with("X-Stickfast", "1").with("Host", "evil.example"),
    ] {
        let answer = gateway.admin_with(&foreign.clone()).unwrap();
        assert_eq!(answer.status, 403, "{foreign:?}");
        assert_eq!(answer.field("content-type"), Some("application/problem+json"));
    }
    assert!(gateway.metric("stickfast_config_reloads_total", &[]).abs() < f64::EPSILON);
    let own = json().with("Origin", "http://127.0.0.1:1").with("Sec-Fetch-Site", "same-origin");
    assert_eq!(gateway.admin_with(&own).unwrap().status, 200);
    let here = |request: Request| request.with("Host", "127.0.0.1");
    let none = gateway.admin_with(&here(Request::get("/api/v1/none"))).unwrap();
    assert_eq!((none.status, none.field("content-type")), (404, Some("application/problem+json")));
    let read = gateway.admin_with(&here(Request::get("/api/v1/reload"))).unwrap();
    assert_eq!(read.status, 405);
}

#[test]
fn ctl_says_when_nobody_answers() {
    let dir = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ended = stickfast(dir.path(), &["ctl", "--admin", &free.to_string(), "status"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("is stickfast running"), "{ended:?}");
}
