//! Several services behind one gateway whose clients would carry cookies of one name.

use crate::harness::{Backend, Gateway, Setup};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// The cookie of a service that shares its name with another.
fn suffixed(service: &str) -> String {
    let mut name = "gateway-backend-".to_owned();
    for byte in &Sha256::digest(service.as_bytes())[..4] {
        write!(name, "{byte:02x}").unwrap();
    }
    name
}

#[test]
fn two_services_write_names_of_their_own_and_do_not_disturb_each_other() {
    let [a1, a2, s1, s2] = ["a1", "a2", "s1", "s2"].map(Backend::start);
    let setup = Setup::of(&[&a1, &a2]).service("shop", &[&s1, &s2]).sticky();
    let gateway = Gateway::start(&setup);
    for _ in 0..4 {
        let mut client = gateway.client();
        let app = client.get("/").backend();
        let shop = client.get("/shop/1").backend();
        let names: Vec<_> = client.jar.iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(names, [suffixed("app"), suffixed("shop")]);
        for _ in 0..4 {
            for (path, home) in [("/", &app), ("/shop/1", &shop)] {
                let answer = client.get(path);
                assert_eq!(&answer.backend(), home);
                assert_eq!(answer.cookies(), [""; 0]);
                assert_eq!(answer.seen_fields("cookie"), [""; 0], "no cookie of ours goes on");
            }
        }
    }
}

#[test]
fn a_plain_name_from_the_time_with_one_service_is_still_read_and_the_other_way_round() {
    let [a1, a2, s1] = ["a1", "a2", "s1"].map(Backend::start);
    let alone = Setup::of(&[&a1, &a2]).sticky();
    let both = Setup::of(&[&a1, &a2]).service("shop", &[&s1]).sticky();
    let gateway = Gateway::start(&alone);
    let mut old = gateway.client();
    let home = old.get("/").backend();
    assert!(old.cookie("gateway-backend").is_some());
    gateway.reload(&both);
    for n in 0..3 {
        let path = format!("/plain/{n}");
        assert_eq!(old.get(&path).backend(), home);
        assert!(gateway.verdict_of(&path).starts_with('V'));
    }
    assert_eq!(old.get("/shop/").backend(), "s1");
    assert_eq!(old.get("/").backend(), home, "the shop's key did not cost the other one");

    let mut new = gateway.client();
    let home = new.get("/").backend();
    assert!(new.cookie(&suffixed("app")).is_some());
    gateway.reload(&alone);
    for n in 0..3 {
        let path = format!("/suffixed/{n}");
        assert_eq!(new.get(&path).backend(), home);
        assert!(gateway.verdict_of(&path).starts_with('V'));
    }
}

#[test]
fn a_plain_key_that_stayed_in_the_jar_does_not_outweigh_the_newer_one() {
    let [a1, a2, a3, s1] = ["a1", "a2", "a3", "s1"].map(Backend::start);
    let apps = [&a1, &a2, &a3];
    let gateway = Gateway::start(&Setup::of(&apps).sticky());
    let mut client = gateway.client();
    let home = client.get("/").backend();
    gateway.reload(&Setup::of(&apps).service("shop", &[&s1]).sticky());
    assert_eq!(client.get("/").backend(), home);
    apps.iter().find(|backend| backend.id() == home).unwrap().stop();
    let refuge = client.get("/").backend();
    assert_ne!(refuge, home);
    let names: Vec<_> = client.jar.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["gateway-backend", &suffixed("app")], "nobody took the plain one away");
    for n in 0..6 {
        let path = format!("/moved/{n}");
        let answer = client.get(&path);
        assert_eq!(answer.backend(), refuge, "request {n} after the move");
        assert_eq!(answer.cookies(), [""; 0]);
        assert_eq!(gateway.verdict_of(&path), "VN");
    }
}

#[test]
fn rules_that_lead_to_one_service_share_its_key() {
    let [a1, a2, a3] = ["a1", "a2", "a3"].map(Backend::start);
    let setup = Setup::of(&[&a1, &a2, &a3])
        .rules(&[
            "id: cart, path: /cart/*, serviceName: app",
            "id: rest, path: /*, serviceName: app",
        ])
        .sticky();
    let gateway = Gateway::start(&setup);
    let mut client = gateway.client();
    let home = client.get("/cart/1").backend();
    for path in ["/", "/cart", "/cart/2", "/cartoon"] {
        let answer = client.get(path);
        assert_eq!(answer.backend(), home, "{path}");
        assert_eq!(answer.cookies(), [""; 0], "{path}");
    }
    assert_eq!(gateway.access_of("/cart/2")["rule"], "cart");
    assert_eq!(gateway.access_of("/cartoon")["rule"], "rest");
}

#[test]
fn a_rule_may_go_without_the_affinity_of_the_others() {
    let [a1, a2] = ["a1", "a2"].map(Backend::start);
    let setup = Setup::of(&[&a1, &a2])
        .rules(&[
            "id: assets, path: /assets/*, serviceName: app, sessionAffinity: { enabled: false }",
            "id: rest, path: /*, serviceName: app",
        ])
        .sticky();
    let gateway = Gateway::start(&setup);
    let mut client = gateway.client();
    let home = client.get("/").backend();
    let mut ids: Vec<_> = (0..4).map(|_| client.get("/assets/logo").backend()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids, ["a1", "a2"], "assets come from anywhere");
    assert_eq!(client.get("/").backend(), home);
    assert_eq!(gateway.client().get("/assets/logo").cookies(), [""; 0]);
}

#[test]
fn the_rule_with_the_better_fit_wins() {
    let [a1, s1] = ["a1", "s1"].map(Backend::start);
    let setup = Setup::of(&[&a1]).service("shop", &[&s1]).rules(&[
        "id: any, path: /*, serviceName: app",
        "id: prefix, path: /x/*, serviceName: shop",
        "id: exact, path: /x/y, serviceName: app",
        "id: host, hosts: [shop.test], path: /x/y, serviceName: shop",
        "id: wild, hosts: [\"*.shop.test\"], serviceName: shop",
        "id: post, path: /x/y, methods: [POST], serviceName: shop",
        "id: beta, path: /x/y, headers: { x-beta: \"1\" }, methods: [POST], serviceName: app",
        "id: first, path: /urgent, order: -1, serviceName: shop",
        "id: urgent, hosts: [app.test], path: /urgent, serviceName: app",
    ]);
    let gateway = Gateway::start(&setup);
    let request = crate::harness::Request::new;
    for (method, host, beta, path, rule, backend) in [
        ("GET", "app.test", "0", "/other", "any", "a1"),
        ("GET", "app.test", "0", "/x", "prefix", "s1"),
        ("GET", "app.test", "0", "/x/z/1", "prefix", "s1"),
        ("GET", "app.test", "0", "/x/y", "exact", "a1"),
        ("GET", "SHOP.test:8080", "0", "/x/y", "host", "s1"),
        ("GET", "a.b.shop.test", "0", "/x/y", "wild", "s1"),
        ("POST", "app.test", "0", "/x/y", "post", "s1"),
        ("POST", "app.test", "1", "/x/y", "beta", "a1"),
        ("GET", "app.test", "0", "/urgent", "first", "s1"),
    ] {
        let before = gateway.access_lines().len();
        let ask = request(method, path).with("Host", host).with("X-Beta", beta);
        assert_eq!(gateway.client().send(&ask).backend(), backend, "{rule}");
        let line = crate::harness::until("a line", || gateway.access_lines().get(before).cloned());
        assert_eq!(line["rule"], rule, "{line}");
    }
}
