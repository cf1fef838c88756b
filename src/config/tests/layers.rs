//! Several files, a rule over the router, and the environment.

use super::{BASE, config, faults, faults_of, read};
use crate::config::Threads;
use std::time::Duration;

#[test]
fn maps_merge_deeply_and_lists_item_by_item() {
    let one = "
gateway:
  server: {listeners: [{address: 127.0.0.1:1}], trustedProxies: [10.0.0.1], log: {level: warn}}
  services:
    a: {backends: [{id: x, address: h:1}, {address: h:2}]}
  router: {rules: [{id: one, serviceName: a}, {id: two, serviceName: a}]}
";
    let two = "
gateway:
  server: {listeners: [{address: 127.0.0.1:2}, {address: 127.0.0.1:1}], trustedProxies: [10.0.0.2], log: {format: json}}
  services:
    a: {backends: [{address: h:2, weight: 5}, {id: x, weight: 7}, {id: y, address: h:3}]}
    b: {backends: [{address: h:4}]}
  router: {rules: [{id: two, serviceName: b}], sessionAffinity: }
";
    let config = config(&[one, two]);
    let listeners: Vec<_> =
        config.server.listeners.iter().map(|l| l.address.value.inet().unwrap().port()).collect();
    assert_eq!(listeners, [1, 2]);
    assert_eq!(config.server.trusted_proxies, ["10.0.0.2/32".parse().unwrap()]);
    assert_eq!(config.server.log.level, crate::config::LogLevel::Warn);
    assert_eq!(config.server.log.format, crate::config::LogFormat::Json);
    let backends = config.services[0].backends.iter();
    let backends: Vec<_> = backends.map(|b| (b.id.value.as_str(), b.weight)).collect();
    assert_eq!(backends, [("x", 7), ("h:2", 5), ("y", 1)]);
    let rules: Vec<_> = config.rules.iter().map(|r| r.service.value.as_str()).collect();
    assert_eq!(rules, ["a", "b"]);
}

#[test]
fn nothing_said_changes_nothing() {
    let config = config(&[BASE, "gateway: {services: , admin: {address: ~}}", ""]);
    assert_eq!(config.services.len(), 1);
}

#[test]
fn files_that_disagree_on_a_kind_are_told_both_places() {
    let text = "gateway:\n  services:\n    a: 5\n";
    insta::assert_snapshot!(faults_of(text), @"3:8: gateway.services.a: a number here, but a map at a.yaml:1:25; write the same kind in both places");
}

#[test]
fn names_that_merging_needs_stand_once_in_a_file() {
    let text = "\
gateway:
  server: {listeners: [{address: 127.0.0.1:1}, {address: 127.0.0.1:1}, {address: 127.0.0.1:0}, {address: 127.0.0.1:0}]}
  services: {a: {backends: [{id: x, address: h:1}, {id: x, address: h:2}]}}
  router:
    rules: [{id: r, serviceName: a}, {id: r, serviceName: a}]
    sessionAffinity: {keys: [{id: 1, secret: 0123456789abcdef}, {id: 1, secret: 0123456789abcdef}]}
";
    insta::assert_snapshot!(faults(&[text]), @r#"
    a.yaml:2:58: gateway.server.listeners[1].address: "127.0.0.1:1" is already used at gateway.server.listeners[0].address; give each its own
    a.yaml:3:57: gateway.services.a.backends[1].id: "x" is already used at gateway.services.a.backends[0].id; give each its own
    a.yaml:5:43: gateway.router.rules[1].id: "r" is already used at gateway.router.rules[0].id; give each its own
    a.yaml:6:70: gateway.router.sessionAffinity.keys[1].id: "1" is already used at gateway.router.sessionAffinity.keys[0].id; give each its own
    "#);
}

#[test]
fn names_that_become_equal_only_when_read_are_found_too() {
    let text = "\
gateway:
  services: {a: {backends: [{id: '${X:-h:1}', address: h:2}, {address: h:1}]}}
  router: {rules: [{id: a, serviceName: a}, {id: '${X:-a}', serviceName: a, headers: {A: x, a: y}}]}
";
    insta::assert_snapshot!(faults(&[text]), @r#"
    a.yaml:2:72: gateway.services.a.backends[1].address: "h:1" is already used at gateway.services.a.backends[0].id; give each its own
    a.yaml:3:50: gateway.router.rules[1].id: "a" is already used at gateway.router.rules[0].id; give each its own
    a.yaml:3:93: gateway.router.rules[1].headers.a: "a" is already used at gateway.router.rules[1].headers.A; give each its own
    "#);
}

#[test]
fn variables_serve_as_whatever_is_needed() {
    let text = "
gateway:
  server: {threads: '${THREADS}', limits: {headerTimeout: '${T:-3}s', maxBodyBytes: '${MAX:-7}'}}
  admin: {publicMetrics: '${EMPTY:-true}', token: 'a-${THREADS}-${THREADS}-$z'}
  services: {a: {backends: [{address: '${HOST:-h:1}', version: '${THREADS}'}]}}
";
    let config = read(&[text], &[("THREADS", "4"), ("EMPTY", ""), ("HOST", "${x}:1")]);
    assert_eq!(config.unwrap_err().len(), 1, "what a variable holds is not expanded again");
    let config = read(&[text], &[("THREADS", "4"), ("EMPTY", "")]).unwrap();
    assert_eq!(config.server.threads, Threads::Exactly(4));
    assert_eq!(config.server.limits.header_timeout, Duration::from_secs(3));
    assert_eq!(config.server.limits.max_body_bytes, Some(7));
    assert!(config.admin.public_metrics);
    assert_eq!(config.admin.token.expose(), b"a-4-4-$z");
    assert_eq!(config.services[0].backends[0].version, "4");
}

#[test]
fn variables_that_are_unset_or_malformed_are_faults() {
    let text = "gateway: {admin: {token: '${TOKEN}', address: '${', publicMetrics: '${1}'}, server: {threads: '${A:-${B}}', stateDir: '${}', listeners: [{address: '${A:-x}'}]}}";
    insta::assert_snapshot!(faults_of(text), @r#"
    1:26: gateway.admin.token: the environment variable TOKEN is not set; set it, or write ${TOKEN:-default}
    1:47: gateway.admin.address: a `${` that names no variable; write ${NAME} or ${NAME:-default}
    1:68: gateway.admin.publicMetrics: a `${` that names no variable; write ${NAME} or ${NAME:-default}
    1:95: gateway.server.threads: a `${` that names no variable; write ${NAME} or ${NAME:-default}
    1:119: gateway.server.stateDir: a `${` that names no variable; write ${NAME} or ${NAME:-default}
    1:148: gateway.server.listeners[0].address: found what "${A:-x}" stands for; expected an address such as 127.0.0.1:8080 or [::]:8080
    "#);
}

const ROUTED: &str = "
gateway:
  services: {a: {backends: [{address: h:1}]}}
  router:
    sessionAffinity: {methods: [cookie], idleTimeout: 10m, cookie: {name: x, maxAge: 60}, keys: [{id: 1, secret: 0123456789abcdef}]}
    rules: [{id: r, serviceName: a}]
";

fn rule_with(section: &str) -> crate::config::Rule {
    let over = format!("gateway: {{router: {{rules: [{{id: r, sessionAffinity: {section}}}]}}}}");
    config(&[ROUTED, &over]).rules.remove(0)
}

#[test]
fn a_rule_changes_single_keys_of_what_it_inherits() {
    let section = "{method: cookie, cookie: {path: /p}, keys: [{id: 2, secret: fedcba9876543210}]}";
    let affinity = rule_with(section).affinity.unwrap();
    assert_eq!((affinity.cookie.name.as_str(), affinity.cookie.path.as_str()), ("x", "/p"));
    assert_eq!(affinity.idle_timeout, Duration::from_mins(10));
    assert_eq!(affinity.keys.iter().map(|key| key.id).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_rule_without_a_section_inherits_and_can_turn_it_off() {
    assert_eq!(rule_with("").affinity.unwrap().cookie.name, "x");
    assert!(rule_with("{enabled: false}").affinity.is_none());
}

#[test]
fn a_duration_replaces_inherited_times_but_not_those_beside_it() {
    let affinity = rule_with("{duration: 1h}").affinity.unwrap();
    assert_eq!(affinity.idle_timeout, Duration::from_hours(1));
    assert_eq!(affinity.cookie.max_age, Some(3600));
    let affinity = rule_with("{duration: 1h, idleTimeout: 2m, cookie: {maxAge: 5m}}").affinity;
    let affinity = affinity.unwrap();
    assert_eq!(affinity.idle_timeout, Duration::from_mins(2));
    assert_eq!(affinity.cookie.max_age, Some(300));
}

#[test]
fn a_fault_in_an_inherited_section_shows_once() {
    let text = "\
gateway:
  router:
    sessionAffinity: {methods: [], idleTimeout: 9h, cookie: {sameSite: none, secure: false}}
    rules: [{id: r, serviceName: a, sessionAffinity: {}}, {id: s, serviceName: a, sessionAffinity: {cookie: {name: y}}}, {id: t, serviceName: a}]
";
    insta::assert_snapshot!(faults_of(text), @"
    3:32: gateway.router.sessionAffinity.methods: is empty; write [cookie], or `enabled: false` to turn affinity off
    3:49: gateway.router.sessionAffinity.idleTimeout: absoluteTimeout (8h) is below idleTimeout (9h); set absoluteTimeout to 9h or more
    3:72: gateway.router.sessionAffinity.cookie.sameSite: browsers drop `sameSite: none` with `secure: false`; write `secure: true` or `auto`, or another `sameSite`
    ");
}

#[test]
fn a_rule_that_contradicts_what_it_inherits_is_blamed_itself() {
    let text = "\
gateway:
  router:
    sessionAffinity: {absoluteTimeout: 1h, cookie: {secure: false}}
    rules:
    - {id: r, serviceName: a, sessionAffinity: {idleTimeout: 2h, cookie: {sameSite: none}}}
    - {id: s, serviceName: a, sessionAffinity: on}
";
    insta::assert_snapshot!(faults_of(text), @"
    5:62: gateway.router.rules[0].sessionAffinity.idleTimeout: absoluteTimeout (1h) is below idleTimeout (2h); set absoluteTimeout to 2h or more
    5:85: gateway.router.rules[0].sessionAffinity.cookie.sameSite: browsers drop `sameSite: none` with `secure: false`; write `secure: true` or `auto`, or another `sameSite`
    6:48: gateway.router.rules[1].sessionAffinity: text here, but a map at 3:22; write the same kind in both places
    ");
}

#[test]
fn listeners_that_would_take_each_others_clients_are_faults() {
    let text = "\
gateway:
  server: {listeners: [{address: 127.0.0.1:80}, {address: 0.0.0.0:80}, {address: '[::1]:80'}, {address: '[::]:81'}]}
  admin: {address: 127.0.0.1:81}
  services: {a: {backends: [{address: h:1}]}}
";
    insta::assert_snapshot!(faults(&[text]), @r"
    a.yaml:2:59: gateway.server.listeners[1].address: 0.0.0.0:80 is already used by 127.0.0.1:80; give each its own port
    a.yaml:2:105: gateway.server.listeners[3].address: is also the address of `admin`; give the listener or `admin.address` another port
    ");
}
