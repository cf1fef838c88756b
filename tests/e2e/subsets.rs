//! Requests that name their service or version, and clients that are split over versions.

use crate::harness::{Answer, Backend, Client, Gateway, Request, Setup};

const HEADER: &str = "x-istio-cluster";

fn ask(client: &mut Client, name: &str) -> Answer {
    client.send(&Request::get("/").with(HEADER, name))
}

fn four() -> [Backend; 4] {
    ["a1", "a2", "s1", "s2"].map(Backend::start)
}

/// `app` takes everything; `shop` is reached by name alone. Each has a backend of v1 and one of v2.
fn named_only(backends: &[Backend; 4]) -> Setup {
    let [a1, a2, s1, s2] = backends;
    Setup::of(&[a1, a2])
        .versions(&["v1", "v2"])
        .service("shop", &[s1, s2])
        .versions(&["v1", "v2"])
        .rules(&["id: all, path: /app/*, serviceName: app", "id: root, path: /, serviceName: app"])
        .router(&format!("serviceHeader: {{ name: {HEADER}, respond: true }}"))
}

#[test]
fn a_request_reaches_the_service_and_the_version_that_it_names() {
    let backends = four();
    let gateway = Gateway::start(&named_only(&backends));
    for (name, expected) in [
        ("app", ["a1", "a2"].as_slice()),
        ("shop", &["s1", "s2"]),
        ("v2--shop", &["s2"]),
        ("v1--app", &["a1"]),
        ("outbound|8080|v2|shop", &["s2"]),
        ("outbound|8080|v1|shop.prod.svc.cluster.local", &["s1"]),
        ("outbound|8080||v2--shop.prod.svc.cluster.local", &["s2"]),
        ("outbound|8080||shop.prod.svc.cluster.local", &["s1", "s2"]),
    ] {
        let mut met: Vec<_> = (0..4).map(|_| ask(&mut gateway.client(), name).backend()).collect();
        met.sort();
        met.dedup();
        assert_eq!(met, expected, "{name}");
    }
}

#[test]
fn what_is_not_there_is_told_apart_from_what_no_rule_takes() {
    let backends = four();
    let gateway = Gateway::start(&named_only(&backends));
    for name in ["v3--shop", "nobody", "outbound|x|v1|shop", ""] {
        let answer = ask(&mut gateway.client(), name);
        assert_eq!((answer.status, answer.reason()), (404, Some("no-subset")), "{name:?}");
    }
    let elsewhere = Request::get("/elsewhere").with(HEADER, "shop");
    let answer = gateway.client().send(&elsewhere);
    assert_eq!((answer.status, answer.reason()), (404, Some("no-route")));
}

#[test]
fn the_value_of_a_response_reaches_the_same_subset_again() {
    let backends = four();
    let gateway = Gateway::start(&named_only(&backends));
    for name in ["app", "shop", "v1--shop", "outbound|8080|v2|shop.prod.svc"] {
        for _ in 0..3 {
            let first = ask(&mut gateway.client(), name);
            let value = first.field(HEADER).expect("a value").to_owned();
            for _ in 0..3 {
                let again = ask(&mut gateway.client(), &value);
                assert_eq!(again.backend(), first.backend(), "{name} told {value}");
                assert_eq!(again.field(HEADER), Some(value.as_str()));
            }
        }
    }
}

#[test]
fn a_value_says_what_it_means_also_where_names_have_dashes() {
    let [b1, b2, b3] = ["b1", "b2", "b3"].map(Backend::start);
    let setup = Setup::of(&[&b1])
        .service("c", &[&b2])
        .versions(&["a--b"])
        .service("b--c", &[&b3])
        .versions(&["a"])
        .router(&format!("serviceHeader: {{ name: {HEADER}, respond: true }}"));
    let gateway = Gateway::start(&setup);
    for (service, backend) in [("c", "b2"), ("b--c", "b3")] {
        let value = ask(&mut gateway.client(), service).field(HEADER).unwrap().to_owned();
        assert_eq!(ask(&mut gateway.client(), &value).backend(), backend, "{value}");
    }
}

#[test]
fn a_name_alone_is_no_promise_to_respond() {
    let [b1] = ["b1"].map(Backend::start);
    let gateway = Gateway::start(&Setup::of(&[&b1]).router(&format!("serviceHeader: {HEADER}")));
    let answer = ask(&mut gateway.client(), "app");
    assert_eq!((answer.backend().as_str(), answer.field(HEADER)), ("b1", None));
}

#[test]
fn services_that_are_reached_by_name_alone_write_cookies_of_their_own() {
    let backends = four();
    let gateway = Gateway::start(&named_only(&backends).sticky());
    for _ in 0..6 {
        let mut client = gateway.client();
        let app = ask(&mut client, "app").backend();
        let shop = ask(&mut client, "shop").backend();
        let names: Vec<_> = client.jar.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names.iter().all(|name| name.starts_with("gateway-backend-")), "{names:?}");
        for _ in 0..3 {
            for (service, home) in [("app", &app), ("shop", &shop)] {
                let answer = ask(&mut client, service);
                assert_eq!(&answer.backend(), home);
                assert_eq!(answer.cookies(), [""; 0]);
                assert_eq!(answer.seen_fields("cookie"), [""; 0]);
            }
            assert_eq!(client.get("/").backend(), app, "the rule's own requests share it");
        }
    }
}

#[test]
fn a_service_that_is_named_has_its_own_affinity() {
    let backends = four();
    let own = "sessionAffinity: { cookie: { name: shop-key } }";
    let gateway = Gateway::start(&named_only(&backends).option(own).sticky());
    let mut client = gateway.client();
    let shop = ask(&mut client, "shop").backend();
    ask(&mut client, "app");
    let names: Vec<_> = client.jar.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["shop-key", "gateway-backend"]);
    for _ in 0..4 {
        assert_eq!(ask(&mut client, "shop").backend(), shop);
    }
    let off = named_only(&backends).option("sessionAffinity: { enabled: false }").sticky();
    gateway.reload(&off);
    assert!(ask(&mut gateway.client(), "shop").cookies().is_empty());
    assert_eq!(ask(&mut gateway.client(), "app").cookies().len(), 1);
}

#[test]
fn a_key_of_another_version_than_the_one_asked_for_is_no_key() {
    let [a1, a2] = ["a1", "a2"].map(Backend::start);
    let setup = Setup::of(&[&a1, &a2])
        .versions(&["v1", "v2"])
        .rules(&["id: r, serviceName: app, versionHeader: x-tag"])
        .router(&format!("serviceHeader: {HEADER}"))
        .sticky();
    let gateway = Gateway::start(&setup);
    let mut client = gateway.client();
    let tagged = |path: &str, tag: &str| Request::get(path).with("X-Tag", tag);
    assert_eq!(client.send(&tagged("/", "v1")).backend(), "a1");
    assert_eq!(client.send(&tagged("/same", "v1")).backend(), "a1");
    assert_eq!(gateway.verdict_of("/same"), "VN");
    assert_eq!(client.get("/any").backend(), "a1", "its key counts where any version will do");
    assert_eq!(client.send(&tagged("/other", "v2")).backend(), "a2");
    assert_eq!(gateway.verdict_of("/other"), "NI");
    let labels = [("service", "app"), ("cause", "other-subset")];
    gateway.wait_for_metric("stickfast_affinity_misses_total", &labels, 1.0);
    assert_eq!(client.get("/now").backend(), "a2");
    let unknown = client.send(&tagged("/", "v3"));
    assert_eq!((unknown.status, unknown.reason()), (404, Some("no-subset")));
    let both = tagged("/", "v1").with(HEADER, "app");
    assert_eq!(
        gateway.client().send(&both).backend(),
        "a1",
        "the service is named, and the version"
    );
}

#[test]
fn a_rule_for_one_version_sends_nobody_elsewhere() {
    let [a1, a2, a3] = ["a1", "a2", "a3"].map(Backend::start);
    let setup = Setup::of(&[&a1, &a2, &a3]).versions(&["v1", "v2", "v2"]).rules(&[
        "id: beta, path: /beta/*, serviceName: app, subset: v2",
        "id: rest, serviceName: app",
    ]);
    let gateway = Gateway::start(&setup);
    let mut met: Vec<_> = (0..6).map(|_| gateway.client().get("/beta/x").backend()).collect();
    met.sort();
    met.dedup();
    assert_eq!(met, ["a2", "a3"]);
    a2.stop();
    assert_eq!(gateway.client().get("/beta/x").backend(), "a3");
    a3.stop();
    let answer = gateway.client().get("/beta/x");
    assert_eq!(answer.status, 503, "{:?}", answer.reason());
    assert_eq!(gateway.client().get("/").backend(), "a1");
}

#[test]
fn bound_clients_stay_when_the_split_changes() {
    let [a1, a2] = ["a1", "a2"].map(Backend::start);
    let split = |parts: &str| {
        Setup::of(&[&a1, &a2])
            .versions(&["v1", "v2"])
            .option(&format!("versions: {{ {parts} }}"))
            .sticky()
    };
    let gateway = Gateway::start(&split("v1: 1, v2: 0"));
    let mut old: Vec<_> = (0..8).map(|_| gateway.client()).collect();
    for client in &mut old {
        assert_eq!(client.get("/").backend(), "a1", "v2 takes nobody");
    }
    gateway.reload(&split("v1: 0, v2: 1"));
    for client in &mut old {
        assert_eq!(client.get("/").backend(), "a1", "a part of 0 keeps its clients");
        assert_eq!(gateway.client().get("/").backend(), "a2");
    }
    a1.stop();
    assert_eq!(old[0].get("/").backend(), "a2", "nobody else of its version is left");
    gateway.reload(&split("v1: 1, v2: 1"));
    a2.stop();
    a1.restart();
    for _ in 0..6 {
        assert_eq!(gateway.client().get("/").backend(), "a1", "all of v2 are down");
    }
}

#[test]
fn new_clients_are_split_by_the_parts() {
    let [a1, a2] = ["a1", "a2"].map(Backend::start);
    let setup =
        Setup::of(&[&a1, &a2]).versions(&["v1", "v2"]).option("versions: { v1: 90, v2: 10 }");
    let gateway = Gateway::start(&setup);
    let mut client = gateway.client();
    let of_v2 = (0..600).filter(|_| client.get("/").backend() == "a2").count();
    assert!((20..=120).contains(&of_v2), "{of_v2} of 600");
}

#[test]
fn whom_a_hash_places_keeps_to_one_version() {
    let [a1, a2] = ["a1", "a2"].map(Backend::start);
    let by_header = "algorithm: { type: header-hash, headerHash: { header: x-user } }";
    let both = |setup: Setup| setup.versions(&["v1", "v2"]).option("versions: { v1: 1, v2: 1 }");
    let gateway = Gateway::start(&both(Setup::of(&[&a1, &a2])).sticky_with(by_header).agreeing());
    let user = |n: usize| {
        let request = Request::get("/").with("X-User", &format!("user-{n}"));
        gateway.client().send(&request).backend()
    };
    let homes: Vec<_> = (0..20).map(user).collect();
    assert!(["a1", "a2"].iter().all(|id| homes.iter().any(|home| home == id)), "{homes:?}");
    for _ in 0..3 {
        assert_eq!((0..20).map(user).collect::<Vec<_>>(), homes);
    }

    // but not where a rule takes clients in turn
    let in_turn = both(Setup::of(&[&a1, &a2])).sticky_with("algorithm: { type: round-robin }");
    gateway.reload(&in_turn.agreeing());
    let met: std::collections::BTreeSet<_> = (0..40).map(user).collect();
    assert_eq!(met.len(), 2);

    // a service that hashes addresses, where nobody has a key
    let hashed = both(Setup::of(&[&a1, &a2])).option("loadBalancing: { policy: consistent-hash }");
    gateway.reload(&hashed.agreeing());
    for last in 1..=10_u8 {
        let met = |_| gateway.client().at([127, 0, 0, last].into()).get("/").backend();
        let met: Vec<_> = (0..6).map(met).collect();
        assert!(met.iter().all(|id| *id == met[0]), "127.0.0.{last}: {met:?}");
    }
}

#[test]
fn a_client_that_loses_its_backend_stays_within_its_version() {
    let backends = ["a1", "a2", "b1", "b2", "b3"].map(Backend::start);
    let all: Vec<_> = backends.iter().collect();
    for policy in ["redistribute", "serve-once"] {
        let setup = Setup::of(&all)
            .versions(&["v1", "v1", "v2", "v2", "v2"])
            .option("versions: { v1: 1, v2: 0 }")
            .rules(&["id: r, serviceName: app, versionHeader: x-tag"])
            .sticky_with(&format!("onUnhealthy: {policy}"));
        let gateway = Gateway::start(&setup);
        let mut client = gateway.client();
        let home = client.send(&Request::get("/").with("X-Tag", "v2")).backend();
        let home = backends.iter().find(|backend| backend.id() == home).unwrap();
        home.stop();
        let met: Vec<_> = (0..6).map(|_| client.get("/").backend()).collect();
        assert!(met[0].starts_with('b') && met[0] != home.id(), "{policy}: {met:?}");
        assert!(met.iter().all(|id| *id == met[0]), "{policy}: one host: {met:?}");
        home.restart();
        let expected = if policy == "serve-once" { home.id() } else { met[0].as_str() };
        assert_eq!(client.get("/").backend(), expected);
    }
}
