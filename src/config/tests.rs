//! What operators see: whole files in, the configuration or every fault out.

mod language;
mod layers;
mod places;

use super::{Config, Faults, Source, load};

/// The smallest configuration that is whole.
const BASE: &str = "gateway: {services: {a: {backends: [{address: 10.0.0.1:80}]}}}";

fn read(files: &[&str], env: &[(&str, &str)]) -> Result<Config, Faults> {
    let name = |index| char::from(b'a' + u8::try_from(index).unwrap());
    let source = |(index, text): (usize, &&str)| Source {
        name: format!("{}.yaml", name(index)),
        text: (*text).to_owned(),
    };
    let env = |wanted: &str| {
        let found = env.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| (*value).to_owned())
    };
    load(files.iter().enumerate().map(source).collect(), &env)
}

fn config(files: &[&str]) -> Config {
    read(files, &[]).unwrap_or_else(|faults| panic!("{faults}"))
}

fn faults(files: &[&str]) -> String {
    read(files, &[]).map(|config| format!("{config:?}")).unwrap_err().to_string()
}

/// The faults of a file laid over `BASE`, without the file name.
fn faults_of(text: &str) -> String {
    faults(&[BASE, text]).replace("b.yaml:", "")
}

#[test]
fn the_smallest_configuration_has_every_default() {
    let config = config(&[BASE]);
    assert_eq!(config.server.listeners[0].address.value.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin.address.value.to_string(), "127.0.0.1:9901");
    assert_eq!(config.server.limits.max_header_bytes, 64_000);
    assert_eq!(config.server.limits.max_body_bytes, None);
    assert_eq!(config.services[0].backends[0].id.value, "10.0.0.1:80");
    assert_eq!(config.services[0].backends[0].weight, 1);
    assert!(config.services[0].health_check.is_none());
    assert!(config.rules[0].affinity.is_none());
}

#[test]
fn one_service_without_rules_serves_everything() {
    let config = config(&[
        "gateway: {services: {a: {backends: [{address: h:80}]}}, router: {sessionAffinity: {}}}",
    ]);
    let [rule] = &config.rules[..] else { panic!("one rule") };
    assert_eq!((rule.id.value.as_str(), rule.service.value.as_str()), ("default", "a"));
    assert_eq!(rule.path, super::PathPattern::Below(String::new()));
    assert_eq!(rule.affinity.as_ref().unwrap().cookie.name, "gateway-backend");
}

#[test]
fn all_faults_of_all_files_show_at_once() {
    let one = "\
gateway:
  server:
    listeners:
      - address: 127.0.0.1
        tls: {}
    limits: { headerTimeout: 30 }
  services:
    chat:
      backends:
        - address: 10.0.0.1:8080
          weight: 300
        - { id: '10.0.0.1:8080', address: 10.0.0.2:8080 }
      loadBalancing: { policy: random }
      timeout: { connect: 1s }
";
    let two = "\
gateway:
  router:
    rules:
    - id: chat
      path: chat/*
      methods: [get]
      serviceName: chatt
    sessionAffinity:
      keys: [{ id: 16, secret: hunter2 }]
      cookie: { sameSite: none, secure: false }
      idleTimeout: 9h
";
    insta::assert_snapshot!(faults(&[one, two]), @r#"
    a.yaml:4:18: gateway.server.listeners[0].address: found the text "127.0.0.1"; expected an address such as 127.0.0.1:8080 or [::]:8080
    a.yaml:5:14: gateway.server.listeners[0].tls: `certificates` is missing; add `{ cert: server.pem, key: server.key }`
    a.yaml:6:30: gateway.server.limits.headerTimeout: found the number 30; expected a duration such as 300ms, 30s, 5m, 1h
    a.yaml:11:19: gateway.services.chat.backends[0].weight: 300 is out of range; expected a whole number from 0 to 256
    a.yaml:12:17: gateway.services.chat.backends[1].id: "10.0.0.1:8080" is already used at gateway.services.chat.backends[0].address; give each its own
    a.yaml:13:32: gateway.services.chat.loadBalancing.policy: "random" is not supported yet; write round-robin or consistent-hash or ip-hash or maglev
    a.yaml:14:7: gateway.services.chat.timeout: unknown key; did you mean `timeouts`?
    b.yaml:5:13: gateway.router.rules[0].path: found the text "chat/*"; expected a path such as /cart, or /cart/* for all below it, without . and ..
    b.yaml:6:17: gateway.router.rules[0].methods[0]: methods are written in upper case; write GET
    b.yaml:7:20: gateway.router.rules[0].serviceName: there is no service "chatt"; did you mean `chat`?
    b.yaml:9:20: gateway.router.sessionAffinity.keys[0].id: 16 is out of range; expected a whole number from 0 to 15
    b.yaml:9:32: gateway.router.sessionAffinity.keys[0].secret: the secret is too short; use at least 16 bytes, all of them random
    b.yaml:10:27: gateway.router.sessionAffinity.cookie.sameSite: browsers drop `sameSite: none` with `secure: false`; write `secure: true` or `auto`, or another `sameSite`
    b.yaml:11:20: gateway.router.sessionAffinity.idleTimeout: absoluteTimeout (8h) is below idleTimeout (9h); set absoluteTimeout to 9h or more
    "#);
}

#[test]
fn a_broken_file_does_not_hide_the_faults_of_the_others() {
    let broken = "gateway:\n  services:\n    a: [1,\n  b: 2\n";
    let other = "gateway: {servr: {}, router: {rules: [{id: r, serviceName: a, order: x}]}}";
    insta::assert_snapshot!(faults(&[broken, other]), @r#"
    a.yaml:5:1: did not find expected ',' or ']' at line 5 column 1, while parsing a flow sequence at line 3 column 8
    b.yaml:1:11: gateway.servr: unknown key; did you mean `server`?
    b.yaml:1:70: gateway.router.rules[0].order: found the text "x"; expected a whole number
    "#);
}

#[test]
fn no_file_and_an_empty_file_are_faults() {
    assert_eq!(faults(&[]), "stickfast: no configuration file");
    assert_eq!(
        faults(&[""]),
        "a.yaml:1:1: `gateway` is missing; everything stands below `gateway:`"
    );
    let absent = Source::read(std::path::Path::new("no/such.yaml")).unwrap_err().to_string();
    assert!(absent.starts_with("no/such.yaml: cannot be read: "), "{absent}");
}

#[test]
fn secrets_never_show() {
    let password = "correct horse battery";
    let files = [
        "gateway: {admin: {token: [SECRET]}}",
        "gateway: {admin: {token: 'SECRET ${'}}",
        "gateway: {admin: {token: 'SECRET${UNSET}'}}",
        "gateway: {admin: {token: '${PASSWORD}', address: SECRET}}",
        "gateway: {admin: {address: '${PASSWORD}'}}",
        "gateway: {admin: 'SECRET'}",
        "gateway: {router: {sessionAffinity: {keys: [SECRET]}}}",
        "gateway: {router: {sessionAffinity: {keys: SECRET}}}",
        "gateway: {router: {sessionAffinity: {keys: [{id: 1, secert: SECRET}]}}}",
        "gateway: {router: {sessionAffinity: {keyRotation: '${PASSWORD}', policy: '${PASSWORD}'}}}",
    ];
    for text in files {
        let is_plain = text.contains("{address: SECRET}") || text.contains(", address: SECRET");
        let text = text.replace("SECRET", if is_plain { "x" } else { password });
        let faults = read(&[BASE, &text], &[("PASSWORD", password)]).unwrap_err();
        assert!(!format!("{faults} {faults:?}").contains(password), "{faults}");
    }
    let whole = format!("gateway: {{admin: {{token: {password}}}}}");
    assert!(!format!("{:?}", config(&[BASE, &whole])).contains(password));
}
