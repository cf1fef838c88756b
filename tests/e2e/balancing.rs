//! Where new clients go.

use crate::harness::{Backend, Gateway, Setup};
use std::collections::BTreeMap;
use std::net::IpAddr;

#[test]
fn round_robin_with_weights_is_smooth() {
    let [b1, b2, b3] = ["b1", "b2", "b3"].map(Backend::start);
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2, &b3]).weights(&[5, 1, 1]));
    let mut client = gateway.client();
    let ids: Vec<_> = (0..70).map(|_| client.get("/").backend()).collect();
    for (start, window) in ids.windows(7).enumerate() {
        let count = |id: &str| window.iter().filter(|i| *i == id).count();
        assert_eq!([count("b1"), count("b2"), count("b3")], [5, 1, 1], "{start}: {window:?}");
    }
}

#[test]
fn round_robin_goes_on_where_it_was_when_a_backend_refuses() {
    let [b1, b2, b3] = [Backend::start("b1"), Backend::stopped("b2"), Backend::start("b3")];
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2, &b3]));
    let mut client = gateway.client();
    for _ in 0..30 {
        assert_ne!(client.get("/").backend(), "b2");
    }
    let (one, three) = (b1.requests(), b3.requests());
    assert_eq!(one + three, 30);
    assert!(one >= 8 && three >= 8, "both serve: {one} and {three}");
}

/// Where each of many addresses is placed, asked three times each by a client without a key.
fn placement(gateway: &Gateway) -> BTreeMap<IpAddr, String> {
    let places = (1..=40_u8).map(|n| {
        let address = IpAddr::from([127, 0, 7, n]);
        let mut client = gateway.client().at(address);
        let home = client.get("/").backend();
        for _ in 0..2 {
            client.jar.clear();
            assert_eq!(client.get("/").backend(), home, "{address}");
        }
        (address, home)
    });
    places.collect()
}

#[test]
fn consistent_hash_places_an_address_on_one_backend_in_any_order_of_the_list() {
    let [b1, b2, b3] = ["b1", "b2", "b3"].map(Backend::start);
    let hashed = |backends: &[&Backend]| {
        Setup::of(backends).option("loadBalancing: { policy: consistent-hash }")
    };
    let gateway = Gateway::start(&hashed(&[&b1, &b2, &b3]));
    let places = placement(&gateway);
    for id in ["b1", "b2", "b3"] {
        assert!(places.values().any(|home| home == id), "{id} has some: {places:?}");
    }
    gateway.reload(&hashed(&[&b3, &b1, &b2]));
    assert_eq!(placement(&gateway), places, "after the list was put in another order");
    gateway.reload(&hashed(&[&b1, &b3]));
    for (address, now) in placement(&gateway) {
        let before = &places[&address];
        assert!(before == "b2" || *before == now, "{address} moved from {before} to {now}");
    }
}

#[test]
fn consistent_hash_agrees_on_every_instance_with_the_same_hash_key() {
    let [b1, b2, b3] = ["b1", "b2", "b3"].map(Backend::start);
    let setup = |backends: &[&Backend]| {
        Setup::of(backends).option("loadBalancing: { policy: consistent-hash }").sticky().agreeing()
    };
    let one = Gateway::start(&setup(&[&b1, &b2, &b3]));
    let other = Gateway::start(&setup(&[&b2, &b3, &b1]));
    assert_eq!(placement(&one), placement(&other));
}

#[test]
fn without_a_hash_key_each_instance_has_its_own() {
    let [b1, b2, b3] = ["b1", "b2", "b3"].map(Backend::start);
    let setup = Setup::of(&[&b1, &b2, &b3]).option("loadBalancing: { policy: consistent-hash }");
    let [one, other] = [Gateway::start(&setup), Gateway::start(&setup)];
    assert_ne!(placement(&one), placement(&other), "nobody can know where a client goes");
}

#[test]
fn consistent_hash_goes_by_the_client_behind_a_trusted_proxy() {
    let [b1, b2, b3] = ["b1", "b2", "b3"].map(Backend::start);
    let setup = Setup::of(&[&b1, &b2, &b3])
        .option("loadBalancing: { policy: consistent-hash }")
        .server("trustedProxies: [127.0.0.1/32]");
    let gateway = Gateway::start(&setup);
    let direct = placement(&gateway);
    let mut proxy = gateway.client();
    for (address, home) in direct {
        let forwarded = crate::harness::Request::get("/")
            .with("X-Forwarded-For", &format!("203.0.113.9, {address}"));
        assert_eq!(proxy.send(&forwarded).backend(), home, "{address}");
    }
}
