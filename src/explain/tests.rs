use super::*;
use crate::affinity::Binding;
use crate::config::{self, Source};
use crate::model::Secret;
use crate::snapshot::Text;

const NOW: UnixTime = UnixTime(1_800_000_000);
const SECRET: &str = "sixteen bytes or more";

fn offline(policy: &str, affinity: &str) -> World {
    offline_with(policy, "", affinity, None)
}

/// `router` has further keys of the router; `kept` is the key that a gateway has generated.
fn offline_with(policy: &str, router: &str, affinity: &str, kept: Option<&str>) -> World {
    compiled(
        &format!(
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
    {router}
    rules: [{{ id: cart, path: /cart/*, serviceName: cart }}]
    sessionAffinity: {{ {affinity} }}
"
        ),
        kept,
    )
}

fn compiled(yaml: &str, kept: Option<&str>) -> World {
    let source = Source { name: "t.yaml".into(), text: yaml.into() };
    let config = config::load(vec![source], &|_| None).unwrap();
    World::of_files(config, kept.map(|key| Secret::new(key.into())), NOW).unwrap()
}

fn keyed(more: &str) -> String {
    format!("keys: [{{ id: 1, secret: {SECRET} }}]{more}")
}

/// The cookie that was written for `backend` ten minutes ago.
fn cookie(offline: &World, backend: &str) -> String {
    let key = key(offline, Text::Carrier(0), backend, "");
    let stickiness = offline.snapshot.rules()[0].stickiness.as_ref().unwrap();
    let set = stickiness.set_cookie(&key, false, NOW);
    set.split(';').next().unwrap().to_owned()
}

fn key(offline: &World, text: Text, backend: &str, home: &str) -> String {
    let then = UnixTime(NOW.0 - 600);
    let (incarnation, version) = ("", "v1");
    let (issued, seen, tag) = (then, then, 7);
    let binding = Binding { issued, seen, tag, backend, incarnation, version, home };
    let stickiness = offline.snapshot.rules()[0].stickiness.as_ref().unwrap();
    stickiness.codec(text).unwrap().write(&binding, 0, [0; 12], NOW).unwrap()
}

fn asked(offline: &World, path: &str, headers: &[&str]) -> Report {
    let question = Question {
        path: path.into(),
        host: "Shop.Example:8080".into(),
        method: http::Method::GET,
        headers: headers.iter().map(|text| Question::field(text).unwrap()).collect(),
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

    Note: health checks have not run; backends are taken as healthy and idle
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
    Answer   the key is written anew for the same backend (cookie gateway-backend)

    Backends           weight  state        new clients  bound clients
      b1  10.0.0.1:80  1       healthy      by hash      yes   <- bound here
      b2  10.0.0.2:80  2       healthy      by hash      yes
      b3  10.0.0.3:80  1       draining     no           onDraining: keep
      a client that is not bound goes to one of b1 (weight 1), b2 (weight 2): consistent-hash of 192.0.2.7 under a key that is not in the files

    If b1 were
      draining            goes to b1, where it is bound  [onDraining: keep]
      in maintenance      goes to b2 this once; its binding stays  [onUnhealthy: serve-once]
      failing its checks  goes to b2 this once; its binding stays  [onUnhealthy: serve-once]
      gone                goes to b2 (consistent-hash of 192.0.2.7)  [onMissing: redistribute]
      restarted           goes to b1, where it is bound  [the key names no start, so none is held against it]
      full                waits up to 1s for a place at b1; if none is free by then, it goes to b2 (consistent-hash of 192.0.2.7)  [onFull: wait]

    Note: health checks have not run; backends are taken as healthy and idle
    Note: clients are hashed with a key that each gateway generates, since `router.hashKey` is not set: where there is a choice, these files cannot tell the backend
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

/// What each source yields, as `--json` names it.
fn yields(report: &Report) -> Vec<(String, String)> {
    let json = serde_json::to_value(report).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let sources = json["sources"].as_array().unwrap().iter();
    sources.map(|source| (text(&source["place"]), text(&source["yields"]))).collect()
}

fn what_if<'r>(report: &'r Report, state: &str) -> &'r str {
    let found = report.what_if.iter().find(|what_if| what_if.state == state);
    &found.unwrap_or_else(|| panic!("{state}: {report}")).outcome.course
}

#[test]
fn a_key_in_the_url_is_cut_and_a_servlet_route_is_told() {
    let offline = offline("round-robin", &keyed(", methods: [query, path]"));
    let key = key(&offline, Text::Carrier(0), "b2", "");
    let told = asked(&offline, &format!("/cart/1?a=b&sessionId={key}"), &[]);
    assert_eq!(told.outcome.course, "goes to b2, where it is bound");
    let expected = [
        ("parameter sessionId of the query", "key"),
        ("parameter jsessionid of the path", "not-asked"),
    ];
    assert_eq!(yields(&told), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    assert!(!told.to_string().contains(&key), "{told}");
    let route = asked(&offline, "/cart/1;jsessionid=A1B2.b2", &[]);
    assert_eq!(route.outcome.course, "goes to b2, where it is bound", "{route}");
    let last = yields(&route).pop().unwrap();
    assert_eq!(
        last,
        ("route behind the last dot in parameter jsessionid of the path".into(), "backend".into())
    );
}

#[test]
fn an_envelope_is_opened_and_comes_before_the_cookie() {
    let offline =
        offline("round-robin", &keyed(", methods: [cookie], envelope: { header: Mcp-Session-Id }"));
    let sealed = key(&offline, Text::Envelope, "b2", "");
    let header = format!("Mcp-Session-Id: {sealed}.theirs");
    let told =
        asked(&offline, "/cart/1", &[&header, &format!("Cookie: {}", cookie(&offline, "b1"))]);
    assert_eq!(told.outcome.course, "goes to b2, where it is bound", "{told}");
    let yields: Vec<String> = yields(&told).into_iter().map(|(_, yielded)| yielded).collect();
    assert_eq!(yields, ["key", "not-asked"]);
    let bare = asked(&offline, "/cart/1", &["Mcp-Session-Id: theirs"]);
    assert!(bare.to_string().contains("a value of the application's, without a key"), "{bare}");
}

#[test]
fn a_learnt_session_is_left_to_a_running_gateway() {
    let offline = offline("round-robin", &keyed(", learn: [{ cookie: JSESSIONID }]"));
    let told = asked(&offline, "/cart/1", &["Cookie: JSESSIONID=A1B2"]);
    assert_eq!(yields(&told)[0].1, "only-running");
    assert!(told.notes.iter().any(|note| note.contains("comes before all keys")), "{told}");
}

#[test]
fn what_is_no_key_in_a_header_is_the_clients_own_name() {
    let offline = offline("round-robin", &keyed(", methods: [header]"));
    let named = asked(&offline, "/cart/1", &["X-SessionAffinity: anna"]);
    assert_eq!(yields(&named)[0].1, "client-name", "{named}");
    assert_eq!(named.outcome.meaning, "the client names its session");
    let other = compiled_elsewhere();
    let key = key(&other, Text::Carrier(0), "b1", "");
    let sealed = asked(&offline, "/cart/1", &[&format!("X-SessionAffinity: {key}")]);
    assert_eq!(yields(&sealed)[0].1, "unreadable", "what looks sealed is a key: {sealed}");
}

/// The same gateway with another secret.
fn compiled_elsewhere() -> World {
    let keys = "keys: [{ id: 2, secret: another secret of enough bytes }], methods: [header]";
    offline("round-robin", keys)
}

#[test]
fn a_hash_is_answered_under_the_key_of_the_files_or_the_one_that_was_kept() {
    let key = "a key of sixteen bytes";
    let configured = offline_with("consistent-hash", &format!("hashKey: {key}"), &keyed(""), None);
    let kept = offline_with("consistent-hash", "", &keyed(""), Some(key));
    let unknown = offline("consistent-hash", &keyed(""));
    let picks = [&configured, &kept, &unknown].map(|offline| asked(offline, "/cart/1", &[]).pick);
    let expected = configured.snapshot.rules()[0]
        .service
        .pick(&[192, 0, 2, 7], |member| member.backend.id.as_str() != "b3");
    let expected = Some(expected.unwrap().backend.id.to_string());
    assert_eq!(picks, [expected.clone(), expected, None]);
    let notes = |offline| asked(offline, "/cart/1", &[]).notes.join("\n");
    assert!(notes(&kept).contains("has the key that a gateway"), "{}", notes(&kept));
    assert!(notes(&unknown).contains("cannot tell the backend"), "{}", notes(&unknown));
    assert!(!notes(&configured).contains("hashKey"), "{}", notes(&configured));
    for offline in [&configured, &kept] {
        assert!(!asked(offline, "/cart/1", &[]).to_string().contains(key));
    }
}

#[test]
fn a_key_under_a_kept_secret_is_opened() {
    let kept = offline_with("round-robin", "", "enabled: true", Some("made by the gateway"));
    let header = format!("Cookie: {}", cookie(&kept, "b1"));
    let told = asked(&kept, "/cart/1", &[&header]);
    assert_eq!(told.outcome.course, "goes to b1, where it is bound", "{told}");
}

#[test]
fn turns_are_told_as_shares_of_new_clients() {
    let told = asked(&offline("round-robin", &keyed("")), "/cart/1", &[]);
    let chances: Vec<Option<f64>> = told.backends.iter().map(|row| row.chance).collect();
    assert_eq!(chances, [Some(1.0 / 3.0), Some(2.0 / 3.0), None]);
    assert_eq!(told.placing.unwrap(), "the next in turn of b1 (weight 1), b2 (weight 2)");
}

const VERSIONS: &str = "
gateway:
  services:
    cart:
      versions: { v1: 95, v2: 5 }
      limits: { maxConnectionsPerBackend: 2, queueTimeout: 3s }
      sessionAffinity: { onFull: reject, failback: immediate }
      backends:
        - { id: b1, address: 10.0.0.1:80, version: v1 }
        - { id: b2, address: 10.0.0.2:80, version: v1 }
        - { id: b3, address: 10.0.0.3:80, version: v2 }
    other: { backends: [{ id: o1, address: 10.0.0.9:80 }] }
  router:
    serviceHeader: x-istio-cluster
    rules: [{ id: cart, path: /cart/*, serviceName: cart, versionHeader: x-tag }]
    sessionAffinity: { keys: [{ id: 1, secret: sixteen bytes or more }] }
";

#[test]
fn a_split_is_told_with_its_chances() {
    let told = asked(&compiled(VERSIONS, None), "/cart/1", &[]);
    insta::assert_snapshot!(told, @r"
    GET http://shop.example/cart/1 from 192.0.2.7
    rule cart wins and leads to service cart (round-robin)

    Where a key may be, in the order tried
      cookie gateway-backend or gateway-backend-1c42ddc0: nothing

    Meaning  there is no key (cause: no-key)
    Course   the request goes to the next in turn of b1 (weight 1), b2 (weight 1) in version v1 (95 %), or to b3 in version v2 (5 %)
    Answer   a key for the backend that answers is written (cookie gateway-backend-1c42ddc0)

    Backends               weight  state        new clients  bound clients
      b1  10.0.0.1:80  v1  1       healthy      47.5 %       yes
      b2  10.0.0.2:80  v1  1       healthy      47.5 %       yes
      b3  10.0.0.3:80  v2  1       healthy      5 %          yes
      version v1 (95 %), v2 (5 %): drawn by chance for each new client
      a backend has at most 2 requests at once; any number wait for up to 3s
      a client that is not bound goes to the next in turn of b1 (weight 1), b2 (weight 1) in version v1 (95 %), or to b3 in version v2 (5 %)

    Note: health checks have not run; backends are taken as healthy and idle
    ");
}

#[test]
fn a_version_that_the_request_names_is_the_only_one() {
    let offline = compiled(VERSIONS, None);
    let told = asked(&offline, "/cart/1", &["X-Tag: v2"]);
    assert_eq!(told.pick.as_deref(), Some("b3"));
    assert_eq!(told.versions.unwrap().by, "named in the header x-tag");
    let told =
        asked(&offline, "/cart/1", &["X-Istio-Cluster: outbound|80|v1|cart.ns.svc.cluster.local"]);
    assert_eq!(told.versions.as_ref().unwrap().by, "named in the header x-istio-cluster", "{told}");
    let told = asked(&offline, "/cart/1", &["X-Istio-Cluster: other"]);
    assert_eq!((told.pick.as_deref(), told.rule.unwrap().by_name), (Some("o1"), true));
    let told = asked(&offline, "/cart/1", &["X-Istio-Cluster: nobody"]);
    assert!(told.outcome.course.contains("no-subset"), "{told}");
}

#[test]
fn a_bound_client_stays_in_its_version_and_comes_home() {
    let offline = compiled(VERSIONS, None);
    let name = offline.snapshot.rules()[0].stickiness.as_ref().unwrap().names.as_ref().unwrap();
    let header = |home| {
        let key = key(&offline, Text::Carrier(0), "b1", home);
        format!("Cookie: {}={key}", name.written())
    };
    let told = asked(&offline, "/cart/1", &[&header("")]);
    assert_eq!(told.versions.as_ref().unwrap().by, "the client is bound to it", "{told}");
    assert_eq!(what_if(&told, "in maintenance"), "goes to b2");
    assert_eq!(what_if(&told, "gone"), "goes to b2");
    assert_eq!(what_if(&told, "full"), "is refused with 503 (affinity-rejected)");
    let down = told.what_if.iter().find(|w| w.state == "failing its checks").unwrap();
    assert!(down.policies.contains(&"failback: immediate"), "{told}");
    let home = asked(&offline, "/cart/1", &[&header("b2\0start-7")]);
    assert_eq!(home.outcome.course, "returns to b2, its home, from b1");
    assert!(home.to_string().contains("home         b2, incarnation start-7"), "{home}");
}

#[test]
fn an_idle_client_leaves_a_draining_backend_and_an_active_one_stays() {
    let offline = offline("round-robin", &keyed(", onDraining: redistribute-when-idle"));
    let header = format!("Cookie: {}", cookie(&offline, "b1"));
    let told = asked(&offline, "/cart/1", &[&header]);
    assert_eq!(what_if(&told, "draining, client active"), "goes to b1, where it is bound");
    assert_eq!(what_if(&told, "draining, client idle"), "goes to b2");
}

const HANDSHAKE: [&str; 2] = ["Connection: Upgrade", "Upgrade: websocket"];

#[test]
fn a_handshake_is_told_under_the_affinity_of_websockets() {
    let with = |websocket: &str| {
        let yaml = format!("{VERSIONS}  websocket: {{ sessionAffinity: {{ {websocket} }} }}\n");
        compiled(&yaml.replace("versions: { v1: 95, v2: 5 }", "versions: { v1: 1 }"), None)
    };
    let unbound = with("enabled: false");
    let header = format!("Cookie: {}", cookie(&unbound, "b1"));
    let told = asked(&unbound, "/cart/1", &[HANDSHAKE[0], HANDSHAKE[1], &header]);
    assert_eq!(told.outcome.meaning, "session affinity is off for this rule", "{told}");
    assert!(told.to_string().contains("a WebSocket handshake"), "{told}");
    let request = asked(&unbound, "/cart/1", &[&header]);
    assert_eq!(request.outcome.course, "goes to b1, where it is bound", "{request}");
    assert!(!request.to_string().contains("WebSocket"), "{request}");
    let malformed = asked(&unbound, "/cart/1", &[HANDSHAKE[1], &header]);
    assert_eq!(malformed.outcome.course, "goes to b1, where it is bound", "{malformed}");
}

#[test]
fn a_handshake_whose_key_does_not_count_is_placed_anew_and_gets_none() {
    let yaml =
        format!("{VERSIONS}  websocket: {{ sessionAffinity: {{ stickyReconnect: false }} }}\n");
    let anew = compiled(&yaml, None);
    let header = format!("Cookie: {}", cookie(&anew, "b1"));
    let told = asked(&anew, "/cart/1", &[HANDSHAKE[0], HANDSHAKE[1], &header]);
    assert!(told.outcome.meaning.starts_with("stickyReconnect: false"), "{told}");
    assert_eq!(
        told.outcome.stamp.as_deref(),
        Some("no key is written: the client keeps its own, for its requests")
    );
    assert!(told.what_if.is_empty() && !told.sources.iter().any(|s| s.decides), "{told}");
    let fresh = asked(&anew, "/cart/1", &HANDSHAKE);
    assert!(fresh.outcome.stamp.unwrap().starts_with("a key for the backend"));
}
