//! How a key travels and what it looks like: cookies of every policy, headers, addresses, and the
//! keys of other load balancers.

use crate::harness::{Backend, Gateway, Request, Setup};
use std::collections::BTreeSet;

fn three() -> [Backend; 3] {
    ["b1", "b2", "b3"].map(Backend::start)
}

fn setup(backends: &[Backend; 3]) -> Setup {
    Setup::of(&[&backends[0], &backends[1], &backends[2]])
}

#[test]
fn every_cookie_policy_keeps_a_client_and_writes_its_key_once() {
    let backends = three();
    for (line, name, length) in [
        ("policy: Cookie", "SessionAffinity", None),
        ("policy: HashCookie", "SessionAffinity", Some(16)),
        ("policy: ArrCookie", "SessionAffinity", Some(64)),
        ("encoding: hash", "gateway-backend", Some(32)),
        ("encoding: plain", "gateway-backend", None),
    ] {
        let gateway = Gateway::start(&setup(&backends).sticky_with(line));
        let mut homes = BTreeSet::new();
        for _ in 0..6 {
            let mut client = gateway.client();
            let first = client.get("/");
            let value =
                client.cookie(name).unwrap_or_else(|| panic!("{line}: {:?}", first.cookies()));
            assert!(length.is_none_or(|length| value.len() == length), "{line}: {value}");
            for _ in 0..3 {
                let again = client.get("/again");
                assert_eq!(again.backend(), first.backend(), "{line}");
                assert!(again.cookies().is_empty(), "{line}");
                assert!(again.seen_fields("cookie").is_empty(), "the application sees no key");
            }
            homes.insert(first.backend());
        }
        assert_eq!(homes.len(), 3, "{line}: new clients spread");
        assert_eq!(gateway.verdict_of("/again"), "VN", "{line}");
    }
}

#[test]
fn an_unsealed_key_of_a_stopped_backend_is_written_anew() {
    let backends = three();
    let gateway = Gateway::start(&setup(&backends).sticky_with("policy: HashCookie"));
    let mut client = gateway.client();
    let home = client.get("/").backend();
    let old = client.cookie("SessionAffinity").unwrap();
    backends.iter().find(|backend| backend.id() == home).unwrap().stop();
    let moved = client.get("/moved");
    assert_eq!(gateway.verdict_of("/moved"), "DI");
    assert_ne!(client.cookie("SessionAffinity").unwrap(), old);
    assert_eq!(client.get("/").backend(), moved.backend());
}

#[test]
fn a_header_carries_the_key_and_the_application_does_not_see_it() {
    let backends = three();
    let gateway = Gateway::start(&setup(&backends).sticky_with("policy: CustomHeader"));
    let first = gateway.client().get("/");
    let key = first.field("x-sessionaffinity").expect("the response carries the key").to_owned();
    assert!(first.cookies().is_empty());
    for _ in 0..4 {
        let request = Request::get("/echoed").with("X-SessionAffinity", &key);
        let again = gateway.client().send(&request);
        assert_eq!(again.backend(), first.backend());
        assert!(again.field("x-sessionaffinity").is_none(), "only the first response has it");
        assert!(again.seen_fields("x-sessionaffinity").is_empty());
    }
    assert_eq!(gateway.verdict_of("/echoed"), "VN");
}

#[test]
fn a_clients_own_name_for_its_session_leads_to_one_backend() {
    let backends = three();
    let line = "headerName: X-Cart-Session";
    let setup = setup(&backends).sticky_with("method: header").sticky_with(line).agreeing();
    let (one, other) = (Gateway::start(&setup), Gateway::start(&setup));
    let mut homes = BTreeSet::new();
    for n in 0..20 {
        let name = format!("cart {n}");
        let request = Request::get("/").with("X-Cart-Session", &name);
        let first = one.client().send(&request);
        assert_eq!(first.seen_fields("x-cart-session"), [name], "it is the application's");
        assert!(first.field("x-cart-session").is_none());
        assert_eq!(one.client().send(&request).backend(), first.backend());
        assert_eq!(other.client().send(&request).backend(), first.backend(), "gateways agree");
        homes.insert(first.backend());
    }
    assert_eq!(homes.len(), 3);
}

#[test]
fn an_address_places_a_client_and_a_cookie_beside_it_is_written() {
    let backends = three();
    let setup = setup(&backends).agreeing();
    let only = Gateway::start(&setup.clone().sticky_with("methods: [sourceIP]"));
    let home = only.client().get("/").backend();
    for _ in 0..5 {
        let answer = only.client().get("/");
        assert_eq!((answer.backend(), answer.cookies().len()), (home.clone(), 0));
    }
    let both = Gateway::start(&setup.sticky_with("methods: [cookie, sourceIP]"));
    let mut client = both.client();
    let first = client.get("/");
    assert_eq!((first.backend(), first.cookies().len()), (home.clone(), 1), "placed by address");
    let mut homes = BTreeSet::new();
    for n in 1..30 {
        let from = format!("127.0.0.{n}").parse().unwrap();
        homes.insert(both.client().at(from).get("/").backend());
    }
    assert_eq!(homes.len(), 3, "addresses spread");
}

#[test]
fn a_key_of_the_load_balancer_before_us_is_honoured_and_replaced() {
    let backends = three();
    let setup = setup(&backends).sticky_with(
        "adopt: [{ format: haproxy, cookie: SRV }, { format: haproxy-prefix, cookie: SID }]",
    );
    let gateway = Gateway::start(&setup);
    for id in ["b1", "b2", "b3"] {
        let mut client = gateway.client();
        client.put("SRV", id);
        client.put("a", "1");
        let answer = client.get("/adopted");
        assert_eq!((answer.backend(), answer.cookies().len()), (id.to_owned(), 1));
        assert_eq!(answer.seen_fields("cookie"), ["a=1"]);
        assert_eq!(gateway.verdict_of("/adopted"), "VU");
        assert_eq!(client.get("/").backend(), id, "by our own key");
        let mut client = gateway.client();
        client.put("SID", &format!("{id}~A1B2"));
        let answer = client.get("/");
        assert_eq!(answer.backend(), id);
        assert_eq!(answer.seen_fields("cookie"), ["SID=A1B2"], "the application's part");
    }
    let mut client = gateway.client();
    client.put("SRV", "b9");
    assert_eq!(client.get("/unknown").cookies().len(), 1);
    assert_eq!(gateway.verdict_of("/unknown"), "NI");
}

#[test]
fn a_neighbouring_envoy_and_we_honour_each_others_plain_cookies() {
    let backends = three();
    let gateway = Gateway::start(&setup(&backends).sticky_with("encoding: plain"));
    let mut client = gateway.client();
    let home = client.get("/").backend();
    let value = client.cookie("gateway-backend").unwrap();
    assert!(value.starts_with("\"Cg") && value.ends_with('"'), "Envoy's current form: {value}");
    let backend = backends.iter().find(|backend| backend.id() == home).unwrap();
    let legacy = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(backend.address().to_string())
    };
    let mut old = gateway.client();
    old.put("gateway-backend", &legacy);
    assert_eq!(old.get("/legacy").backend(), home);
    assert_eq!(gateway.verdict_of("/legacy"), "VN");
}

#[test]
fn cookie_attributes_of_spec_5_are_written() {
    let backends = three();
    let line = "cookie: { name: k, prefix: host, secure: true, sameSite: unspecified, expires: 13s, \
                extensions: [Partitioned, Priority=High] }";
    let gateway = Gateway::start(&setup(&backends).sticky_with(line));
    let answer = gateway.client().get("/");
    let cookies = answer.cookies();
    let cookie = cookies.first().expect("a cookie");
    assert!(cookie.starts_with("__Host-k="), "{cookie}");
    for attribute in ["; Secure", "; Path=/", "; Partitioned; Priority=High", "; Expires="] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("SameSite") && !cookie.contains("Domain"), "{cookie}");
}

#[test]
fn an_algorithm_of_the_rule_places_by_header_and_without_it_as_usual() {
    let backends = three();
    let line = "algorithm: { type: header-hash, headerHash: { header: X-User-ID }, \
                consistentHash: { replicas: 150 }, ipHash: { useXForwardedFor: true } }";
    let setup = setup(&backends).sticky_with(line).agreeing();
    let (one, other) = (Gateway::start(&setup), Gateway::start(&setup));
    let mut homes = BTreeSet::new();
    for n in 0..12 {
        let request = Request::get("/").with("X-User-ID", &format!("user {n}"));
        let first = one.client().send(&request).backend();
        assert_eq!(one.client().send(&request).backend(), first);
        assert_eq!(other.client().send(&request).backend(), first);
        homes.insert(first);
    }
    assert_eq!(homes.len(), 3);
    let without: BTreeSet<_> = (0..3).map(|_| one.client().get("/").backend()).collect();
    assert_eq!(without.len(), 3, "never one backend for all who do not say");
}

#[test]
fn an_algorithm_by_address_counts_forwarded_ones_only_where_it_is_told_to() {
    let backends = three();
    for (forwarded, spread) in [(true, 3), (false, 1)] {
        for kind in ["consistent-hash", "ip-hash", "maglev"] {
            let spread = if kind == "ip-hash" { spread } else { 3 };
            let line = format!(
                "algorithm: {{ type: {kind}, ipHash: {{ useXForwardedFor: {forwarded} }} }}"
            );
            let setup = setup(&backends).sticky_with(&line);
            let gateway = Gateway::start(&setup.server("trustedProxies: [127.0.0.1]"));
            let homes: BTreeSet<_> = (0..40)
                .map(|n| {
                    let from = format!("10.0.0.{n}");
                    let request = Request::get("/").with("X-Forwarded-For", &from);
                    let home = gateway.client().send(&request).backend();
                    assert_eq!(gateway.client().send(&request).backend(), home, "{kind}");
                    home
                })
                .collect();
            assert_eq!(homes.len(), spread, "{kind} {forwarded}");
        }
    }
}

#[test]
fn nothing_is_set_before_the_client_has_consented() {
    let backends = three();
    let consent = "consent: { cookie: cookies-ok }";
    let gateway = Gateway::start(&setup(&backends).sticky_with(consent));
    let mut client = gateway.client();
    assert!(client.get("/").cookies().is_empty());
    client.put("cookies-ok", "yes");
    let bound = client.get("/");
    assert_eq!(bound.cookies().len(), 1);
    assert_eq!(bound.seen_fields("cookie"), ["cookies-ok=yes"], "consent is the application's");
    assert_eq!(client.get("/").backend(), bound.backend());
    let essential =
        setup(&backends).sticky_with(consent).sticky_with("cookie: { isEssential: true }");
    let gateway = Gateway::start(&essential);
    assert_eq!(gateway.client().get("/").cookies().len(), 1, "an essential cookie needs none");
}

#[test]
fn who_answered_is_told_where_the_operator_wants_it() {
    let backends = three();
    let gateway = Gateway::start(&setup(&backends).sticky_with("exposeBackend: X-Served-By"));
    let answer = gateway.client().get("/");
    let told = format!("service=app; backend={}", answer.backend());
    assert_eq!(answer.field("x-served-by"), Some(told.as_str()));
    let gateway = Gateway::start(&setup(&backends).sticky());
    assert!(gateway.client().get("/").field("x-served-by").is_none());
}

#[test]
fn names_that_clients_give_their_sessions_are_never_cut() {
    let backends = three();
    let setup = setup(&backends).sticky_with("method: header").sticky_with("headerName: X-Cart");
    let gateway = Gateway::start(&setup);
    let long = "n".repeat(300);
    for name in [
        "1",
        &long,
        "q0Zb9m3Yt6W1x8Rk2Vn5Hs7Lc4Jd0Pf3Ga6Te9Ui1Oy",
        "AQx0b9m3Yt6W1x8Rk2Vn5Hs7Lc4Jd0Pf3Ga6Te9Ui1Oy",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIn0.SflKxwRJSMeKKF2QT4f",
        "Bearer of a name, with=signs; and \"quotes\"",
    ] {
        let request = Request::get("/named").with("X-Cart", name);
        let first = gateway.client().send(&request);
        for _ in 0..3 {
            let again = gateway.client().send(&request);
            assert_eq!(again.backend(), first.backend(), "{name}");
            assert_eq!(again.seen_fields("x-cart"), [name]);
            assert_eq!(again.field("x-cart"), None);
        }
    }
    assert_eq!(gateway.verdict_of("/named"), "NN");
}

/// With the last byte of its seal changed.
fn altered(key: &str) -> String {
    use base64::Engine;
    let encoding = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut bytes = encoding.decode(key).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    encoding.encode(bytes)
}

#[test]
fn a_sealed_key_in_a_header_is_cut_whatever_decided_and_replaced_where_it_is_altered() {
    let backends = three();
    let header = Gateway::start(&setup(&backends).sticky_with("policy: CustomHeader"));
    let first = header.client().get("/");
    let key = first.field("x-sessionaffinity").unwrap().to_owned();
    let request = Request::get("/altered").with("X-SessionAffinity", &altered(&key));
    let answer = header.client().send(&request);
    assert!(answer.seen_fields("x-sessionaffinity").is_empty());
    assert_eq!(header.verdict_of("/altered"), "II");
    let fresh = answer.field("x-sessionaffinity").expect("another key");
    let again = Request::get("/").with("X-SessionAffinity", fresh);
    assert_eq!(header.client().send(&again).backend(), answer.backend());
    let both = Gateway::start(&setup(&backends).sticky_with("methods: [cookie, header]"));
    let mut client = both.client();
    let home = client.get("/").backend();
    let request = Request::get("/both").with("X-SessionAffinity", &key);
    let answer = client.send(&request);
    assert_eq!(answer.backend(), home, "the cookie decides");
    assert!(answer.seen_fields("x-sessionaffinity").is_empty());
    assert_eq!(both.verdict_of("/both"), "VN");
}

#[test]
fn what_is_no_key_in_a_header_reaches_the_application() {
    let backends = three();
    for encoding in ["hash", "plain"] {
        let setup = setup(&backends).sticky_with("method: header");
        let gateway = Gateway::start(&setup.sticky_with(&format!("encoding: {encoding}")));
        let first = gateway.client().get("/");
        let key = first.field("x-sessionaffinity").expect("a key").to_owned();
        let request = Request::get("/").with("X-SessionAffinity", &key);
        let again = gateway.client().send(&request);
        assert_eq!(again.backend(), first.backend(), "{encoding}");
        assert!(again.seen_fields("x-sessionaffinity").is_empty(), "{encoding}");
        let request = Request::get("/own").with("X-SessionAffinity", "my own");
        let own = gateway.client().send(&request);
        assert_eq!(own.seen_fields("x-sessionaffinity"), ["my own"], "{encoding}");
        assert!(own.field("x-sessionaffinity").is_some(), "{encoding}");
        assert_eq!(gateway.verdict_of("/own"), "II", "{encoding}");
    }
}

#[test]
fn backends_that_are_written_by_name_are_adopted_from_who_hashes_names() {
    use sha2::{Digest, Sha256};
    let backends = three();
    let line = "adopt: [{ format: traefik, cookie: _srv }]";
    let yaml = setup(&backends).sticky_with(line).to_string();
    let gateway = Gateway::start(&yaml.replace("\"127.0.0.1:", "\"localhost:").replacen(
        "\"localhost:0\"",
        "\"127.0.0.1:0\"",
        2,
    ));
    for backend in &backends {
        for host in ["localhost", "127.0.0.1"] {
            let url = format!("http://{host}:{}", backend.address().port());
            let digest: [u8; 32] = Sha256::digest(url.as_bytes()).into();
            let hex: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
            let mut client = gateway.client();
            client.put("_srv", &hex);
            let answer = client.get("/adopted");
            assert_eq!(answer.backend(), backend.id(), "{url}");
            assert_eq!(gateway.verdict_of("/adopted"), "VU");
        }
    }
}
