//! Clients that are placed by a hash: the fingerprint that two gateways are compared by, and the
//! bound on what a popular place may carry.

use crate::harness::{Backend, Gateway, Setup, until};
use std::collections::BTreeSet;
use std::thread;

const FINGERPRINT: &str = "stickfast_hash_fingerprint";

fn fingerprint(gateway: &Gateway, rule: &str) -> Option<f64> {
    gateway.scrape().get(FINGERPRINT, &[("service", "app"), ("rule", rule)])
}

#[test]
fn gateways_that_place_alike_have_one_fingerprint() {
    let [b1, b2, b3] = ["b1", "b2", "b3"].map(Backend::start);
    let hashed = |backends: &[&Backend], policy: &str| {
        Setup::of(backends).option(&format!("loadBalancing: {{ policy: {policy} }}"))
    };
    for policy in ["consistent-hash", "maglev"] {
        let one = Gateway::start(&hashed(&[&b1, &b2, &b3], policy).agreeing());
        let other = Gateway::start(&hashed(&[&b3, &b1, &b2], policy).agreeing());
        let first = fingerprint(&one, "").expect("a fingerprint");
        assert_eq!(fingerprint(&other, ""), Some(first), "{policy}");
        assert!(first > 0.0 && first < 2_f64.powi(48) && first.fract() == 0.0, "{first}");
        let place = |gateway: &Gateway, last: u8| {
            gateway.client().at([127, 0, 2, last].into()).get("/").backend()
        };
        for last in 1..=20 {
            assert_eq!(place(&one, last), place(&other, last), "{policy}");
        }
        let mut seen = BTreeSet::from([first.to_bits()]);
        for different in [
            hashed(&[&b1, &b2], policy).agreeing(),
            hashed(&[&b1, &b2, &b3], policy).weights(&[1, 2, 1]).agreeing(),
            hashed(&[&b1, &b2, &b3], policy).router("hashKey: quite another key, of another fleet"),
            hashed(&[&b1, &b2, &b3], policy),
        ] {
            other.reload(&different);
            let now = fingerprint(&other, "").expect("a fingerprint");
            assert!(seen.insert(now.to_bits()), "{policy}: {different}");
        }
        other.reload(&Setup::of(&[&b1, &b2, &b3]));
        assert_eq!(fingerprint(&other, ""), None, "nothing is hashed any more");
    }
}

#[test]
fn a_rule_that_hashes_by_itself_has_a_fingerprint_of_its_own() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    let hash = "sessionAffinity: { algorithm: { type: maglev } }";
    let with = format!("id: hashed, path: /h/*, serviceName: app, {hash}");
    let setup = Setup::of(&[&b1, &b2]).agreeing();
    let gateway = Gateway::start(&setup.clone().rules(&[&with, "id: rest, serviceName: app"]));
    let own = fingerprint(&gateway, "hashed").expect("a fingerprint");
    assert_eq!((fingerprint(&gateway, ""), fingerprint(&gateway, "rest")), (None, None));
    let as_service = setup.clone().option("loadBalancing: { policy: maglev }");
    gateway.reload(&as_service.rules(&["id: rest, serviceName: app"]));
    assert_eq!(fingerprint(&gateway, "hashed"), None, "the rule is gone");
    assert_eq!(fingerprint(&gateway, ""), Some(own), "the same table");
}

#[test]
fn a_popular_place_spreads_only_above_its_bound() {
    let backends = ["b1", "b2", "b3", "b4"].map(Backend::start);
    let all: Vec<_> = backends.iter().collect();
    let setup = |factor: &str| {
        let ring = format!("consistentHash: {{ {factor} }}");
        Setup::of(&all)
            .agreeing()
            .sticky_with(&format!("algorithm: {{ type: consistent-hash, {ring} }}"))
    };
    // all come from one address, which is what is hashed
    let hot = |gateway: &Gateway| {
        thread::scope(|scope| {
            let ask = |path: &'static str| move || gateway.client().get(path).backend();
            let mut running = Vec::new();
            for n in 1..=8 {
                running.push(scope.spawn(ask("/sleep/1500")));
                until("it is under way", || {
                    let count = gateway
                        .metric("stickfast_backend_requests_in_flight", &[("service", "app")]);
                    (count >= f64::from(n)).then_some(())
                });
            }
            running.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        })
    };
    let gateway = Gateway::start(&setup("replicas: 150"));
    let met = hot(&gateway);
    assert!(met.iter().all(|id| *id == met[0]), "without a bound: {met:?}");
    let home = met[0].clone();

    gateway.reload(&setup("loadFactor: 1.25"));
    for _ in 0..4 {
        let one = gateway.client().get("/");
        assert_eq!(one.backend(), home, "one at a time is below the bound");
    }
    let met = hot(&gateway);
    assert_eq!(met[0], home);
    let most = |id: &str| met.iter().filter(|other| *other == id).count();
    // 8 requests, a quarter each, and a quarter more of that: 2.5, rounded up
    assert!(all.iter().all(|backend| most(backend.id()) <= 3), "{met:?}");
    assert!(met.iter().collect::<BTreeSet<_>>().len() >= 3, "{met:?}");
}
