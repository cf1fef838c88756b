use super::*;
use crate::affinity::Binding;
use crate::config::{self, Source};

const NOW: UnixTime = UnixTime(1_800_000_000);
const SECRET: &str = "sixteen bytes or more";

fn offline(policy: &str, affinity: &str) -> Offline {
    let text = format!(
        "gateway:
  services:
    cart:
      loadBalancing: {{ policy: {policy} }}
      healthCheck: {{ type: tcp }}
      backends:
        - {{ id: b1, address: 10.0.0.1:80 }}
        - {{ id: b2, address: 10.0.0.2:80, weight: 2 }}
        - {{ id: b3, address: 10.0.0.3:80, state: draining }}
  router:
    rules: [{{ id: cart, path: /cart/*, serviceName: cart }}]
    sessionAffinity: {{ {affinity} }}
"
    );
    let source = Source { name: "t.yaml".into(), text };
    let config = config::load(vec![source], &|_| None).unwrap();
    Offline::compile(config, NOW).unwrap()
}

fn keyed(more: &str) -> String {
    format!("keys: [{{ id: 1, secret: {SECRET} }}]{more}")
}

/// The cookie that was written for `backend` ten minutes ago.
fn cookie(offline: &Offline, backend: &str) -> String {
    let rule = &offline.snapshot.rules()[0];
    let then = UnixTime(NOW.0 - 600);
    let (incarnation, version, home) = ("", "v1", "");
    let (issued, seen, tag) = (then, then, 7);
    let binding = Binding { issued, seen, tag, backend, incarnation, version, home };
    let stickiness = rule.stickiness.as_ref().unwrap();
    let (_, set) = stickiness.write(&binding, 0, [0; 12], NOW, false).unwrap();
    set.split(';').next().unwrap().to_owned()
}

fn asked(offline: &Offline, path: &str, headers: &[&str]) -> Report {
    let question = Question {
        path: path.into(),
        host: "Shop.Example:8080".into(),
        method: Method::GET,
        headers: headers.iter().map(|text| field(text).unwrap()).collect(),
        ip: [192, 0, 2, 7].into(),
    };
    explain(offline, &question, NOW).unwrap()
}

#[test]
fn a_request_that_no_rule_takes_is_answered_with_404() {
    let offline = offline("round-robin", &keyed(""));
    insta::assert_snapshot!(asked(&offline, "/other?x=1", &[]), @r"
    GET http://shop.example/other from 192.0.2.7

    Meaning  no rule takes the request
    Course   the request is answered with 404 (no-route)

    Note: health checks have not run; backends are taken as healthy
    ");
}

#[test]
fn a_key_that_holds_is_laid_open_with_what_its_backend_means_to_it() {
    let offline = offline("consistent-hash", &keyed(", onUnhealthy: serve-once"));
    let header = format!("Cookie: a=b; {}", cookie(&offline, "b1"));
    let report = asked(&offline, "/cart/1", &[&header]);
    insta::assert_snapshot!(report, @r"
    GET http://shop.example/cart/1 from 192.0.2.7
    rule cart wins and leads to service cart (consistent-hash)

    Where a key may be, in the order tried
      cookie gateway-backend: a key that opens; this one counts
          backend      b1
          issued       2027-01-15T07:50:00Z (10m ago)
          last seen    2027-01-15T07:50:00Z (10m ago)
          key id       16 (key 1 of `keys`, period 0)
          incarnation  not known
          version      v1
          home         there

    Meaning  the key holds
    Course   the request goes to b1, where it is bound
    Answer   the key is written anew for the same backend

    Backends
      b1  10.0.0.1:80  weight 1    active       serves new and bound clients   <- bound here
      b2  10.0.0.2:80  weight 2    active       serves new and bound clients
      b3  10.0.0.3:80  weight 1    draining     serves bound clients, by onDraining
      a client that is not bound goes to b2 (consistent-hash of 192.0.2.7)

    If b1 were
      draining            the client stays with b1; onDraining: keep
      in maintenance      the client goes to b2 (consistent-hash of 192.0.2.7) this once; the backend cannot serve; onUnhealthy: serve-once
      failing its checks  the client goes to b2 (consistent-hash of 192.0.2.7) this once; the backend cannot serve; onUnhealthy: serve-once
      gone                the client moves to b2 (consistent-hash of 192.0.2.7); the backend is gone; onMissing: redistribute
      restarted           the client moves to b2 (consistent-hash of 192.0.2.7); the backend was restarted since

    Note: health checks have not run; backends are taken as healthy
    ");
    let (_, key) = header.rsplit_once('=').unwrap();
    for told in [report.to_string(), serde_json::to_string(&report).unwrap()] {
        assert!(!told.contains(key) && !told.contains(SECRET), "{told}");
    }
}

#[test]
fn a_key_of_a_backend_that_is_gone_follows_the_policy() {
    let offline = offline("round-robin", &keyed(", onMissing: reject"));
    let header = format!("Cookie: {}", cookie(&offline, "b9"));
    let outcome = asked(&offline, "/cart/1", &[&header]).outcome;
    assert_eq!(outcome.cause, Some("gone"));
    assert!(outcome.meaning.ends_with("onMissing: reject"), "{outcome:?}");
    assert!(outcome.course.starts_with("is refused with"), "{outcome:?}");
}

#[test]
fn a_key_under_a_generated_secret_is_not_judged() {
    let mine = offline("round-robin", &keyed(""));
    let header = format!("Cookie: {}", cookie(&mine, "b1"));
    let generated = offline("round-robin", "enabled: true");
    let told = asked(&generated, "/cart/1", &[&header]);
    assert!(matches!(told.sources[0].yielded, report::Yield::NotHere), "{told}");
    assert_eq!(told.outcome.cause, None);
    let other = asked(&generated, "/cart/1", &["Cookie: gateway-backend=garbage"]);
    assert_eq!(other.outcome.cause, Some("unreadable"));
}

#[test]
fn methods_are_told_in_their_order_and_a_name_places_its_client() {
    let offline = offline("round-robin", &keyed(", methods: [cookie, header]"));
    let told = asked(&offline, "/cart/1", &["X-Session-Id: anna"]);
    let places: Vec<&str> = told.sources.iter().map(|s| s.place.as_str()).collect();
    assert_eq!(places.len(), 2, "{places:?}");
    assert!(places[0].starts_with("cookie gateway-backend"), "{places:?}");
    assert!(places[1].starts_with("header "), "{places:?}");
}
