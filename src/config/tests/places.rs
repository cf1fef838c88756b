//! Faults name the right line and column.

use super::{BASE, faults, faults_of};

#[test]
fn places_in_block_style() {
    let text = "gateway:\n  # a comment\n  admin:\n\n    publicMetrics: 1\n  server:\n    trustedProxies:\n      - 10.0.0.0/8\n      - nowhere\n";
    insta::assert_snapshot!(faults_of(text), @r#"
    5:20: gateway.admin.publicMetrics: found the number 1; expected true or false
    9:9: gateway.server.trustedProxies[1]: found the text "nowhere"; expected a network such as 10.0.0.0/8, or an IP address
    "#);
}

#[test]
fn places_in_flow_style() {
    let text =
        "gateway: {admin: {publicMetrics: 1}, server: {trustedProxies: [10.0.0.0/8,\n  nowhere]}}";
    insta::assert_snapshot!(faults_of(text), @r#"
    1:34: gateway.admin.publicMetrics: found the number 1; expected true or false
    2:3: gateway.server.trustedProxies[1]: found the text "nowhere"; expected a network such as 10.0.0.0/8, or an IP address
    "#);
}

#[test]
fn a_missing_key_points_to_the_section_and_an_unknown_one_to_itself() {
    let text = "gateway:\n  services:\n    b:\n      backends:\n      - id: x\n      - adress: 10.0.0.1:80\n";
    insta::assert_snapshot!(faults_of(text), @"
    a.yaml:1:10: gateway: several services, but no rules; add `router.rules` that say which requests go to which service
    5:9: gateway.services.b.backends[0]: `address` is missing; add an address such as 10.0.0.1:8080, [::1]:8080 or name:8080
    6:9: gateway.services.b.backends[1]: `address` is missing; add an address such as 10.0.0.1:8080, [::1]:8080 or name:8080
    6:9: gateway.services.b.backends[1].adress: unknown key; did you mean `address`?
    ");
}

#[test]
fn columns_count_characters() {
    assert_eq!(
        faults_of("gateway: {admin: {token: äöü, zzzzzzzz: 1}}"),
        "1:31: gateway.admin.zzzzzzzz: unknown key; known here: address, token, publicMetrics"
    );
}

#[test]
fn a_value_that_a_merge_key_brought_points_to_the_map_that_took_it() {
    let text = "\
gateway:
  services:
    a: &a
      timeouts: {connect: 1}
    b:
      <<: *a
      backends: [{address: h:80}]
  router: {rules: [{id: r, serviceName: a}]}
";
    insta::assert_snapshot!(faults_of(text), @"
    4:27: gateway.services.a.timeouts.connect: found the number 1; expected a duration such as 300ms, 30s, 5m, 1h
    6:7: gateway.services.b.timeouts.connect: found the number 1; expected a duration such as 300ms, 30s, 5m, 1h
    ");
}

#[test]
fn an_alias_points_to_its_anchor() {
    let text = "\
gateway:
  server:
    limits: {headerTimeout: &t 1, bodyTimeout: *t}
";
    insta::assert_snapshot!(faults_of(text), @"
    3:29: gateway.server.limits.bodyTimeout: found the number 1; expected a duration such as 300ms, 30s, 5m, 1h
    3:29: gateway.server.limits.headerTimeout: found the number 1; expected a duration such as 300ms, 30s, 5m, 1h
    ");
}

#[test]
fn yaml_errors_have_a_place() {
    insta::assert_snapshot!(faults(&[BASE, "gateway:\n  admin: {}\n  admin: {}\n"]), @r#"b.yaml:2:3: gateway: duplicate entry with key "admin" at line 2 column 3"#);
    insta::assert_snapshot!(faults(&[BASE, "gateway:\n\tadmin: {}\n"]), @"b.yaml:2:1: found character that cannot start any token at line 2 column 1, while scanning for the next token");
    insta::assert_snapshot!(faults(&[BASE, "gateway: *nobody\n"]), @"b.yaml:1:10: unknown anchor at line 1 column 10");
    insta::assert_snapshot!(faults(&[BASE, "gateway: {}\n---\ngateway: {}\n"]), @"b.yaml:1:1: deserializing from YAML containing more than one document is not supported");
    insta::assert_snapshot!(faults(&[BASE, "gateway: {admin: !secret x}\n"]), @"b.yaml:1:18: gateway.admin: has a YAML tag; write the value without `!…`");
    insta::assert_snapshot!(faults(&[BASE, "gateway: {? [a] : b}\n"]), @"b.yaml:1:10: gateway: a key is not text; write `name: value`");
}

#[test]
fn numbers_as_keys_are_text_with_a_place() {
    let text = "gateway: {services: {1: {backends: [{address: h:80}]}, 2: {backends: 3}}}";
    insta::assert_snapshot!(faults(&[text]), @"
    a.yaml:1:10: gateway: several services, but no rules; add `router.rules` that say which requests go to which service
    a.yaml:1:70: gateway.services.2.backends: found a number; expected a list
    ");
}

#[test]
fn an_origin_can_blame_later() {
    let config =
        super::config(&["gateway:\n  services:\n    a:\n      backends:\n      - address: h:80\n"]);
    let fault = config.services[0].backends[0].address.at.fault("no such host", "check the name");
    assert_eq!(
        fault.to_string(),
        "a.yaml:5:18: gateway.services.a.backends[0].address: no such host; check the name"
    );
    let fault = config.services[0].id.at.fault("odd", "");
    assert_eq!(fault.to_string(), "a.yaml:3:5: gateway.services.a: odd");
}
