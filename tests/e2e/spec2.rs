//! The affinity sections of spec 2, each block as it stands there, merged as a second file over a
//! base that says nothing of it or the contrary; and what each of its keys does.

use crate::harness::{Answer, Backend, Client, Gateway, Request, SECRET, Setup};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};
use stickfast::affinity::sealed::{associated, seal};
use stickfast::affinity::{Binding, KeyRing};
use stickfast::model::{Secret, UnixTime};

/// "Configuration"
const CONFIGURATION: &str = r#"
gateway:
  router:
    sessionAffinity:
      enabled: true

      # Affinity methods
      methods:
        - cookie    # Preferred
        - sourceIP  # Fallback

      # Cookie configuration
      cookie:
        name: "gateway-backend"
        path: "/"
        maxAge: 3600

      # How to encode backend info
      encoding: "secure"  # secure, hash, plain
"#;

/// "Per-Route Affinity"
const PER_ROUTE: &str = r#"
gateway:
  router:
    rules:
      - id: chat-api
        path: /chat/*
        serviceName: chat-service
        sessionAffinity:
          enabled: true
          method: cookie
          duration: 1h

      - id: shopping-cart
        path: /cart/*
        serviceName: cart-service
        sessionAffinity:
          enabled: true
          method: header
          headerName: "X-Cart-Session"
"#;

/// "Affinity Algorithms"
const ALGORITHMS: &str = r#"
gateway:
  router:
    sessionAffinity:
      algorithm:
        type: "consistent-hash"

        # Consistent hashing options
        consistentHash:
          replicas: 150

        # Or IP hash
        ipHash:
          useXForwardedFor: true

        # Or custom header hash
        headerHash:
          header: "X-User-ID"
"#;

fn three() -> [Backend; 3] {
    ["b1", "b2", "b3"].map(Backend::start)
}

fn setup(backends: &[Backend; 3]) -> Setup {
    Setup::of(&[&backends[0], &backends[1], &backends[2]])
}

/// A gateway with these files, each over the ones before it.
fn layered(files: &[&str]) -> Gateway {
    let names: Vec<String> = (0..files.len()).map(|n| format!("{n}.yaml")).collect();
    let files: Vec<_> = names.iter().map(String::as_str).zip(files.iter().copied()).collect();
    let mut gateway = Gateway::spawn(&files);
    gateway.wait_until_ready();
    gateway
}

fn from(gateway: &Gateway, last: u8) -> Client {
    gateway.client().at([127, 0, 0, last].into())
}

fn attributes(answer: &Answer) -> Vec<String> {
    let cookies = answer.cookies();
    assert_eq!(cookies.len(), 1, "{cookies:?}");
    cookies[0].split("; ").skip(1).map(str::to_owned).collect()
}

#[test]
fn the_block_configuration_takes_effect_in_every_key() {
    let backends = three();
    let contrary = setup(&backends)
        .sticky_with("methods: [header]")
        .sticky_with("cookie: { name: another, path: /base, maxAge: 5 }")
        .sticky_with("encoding: plain")
        .to_string()
        .replace("enabled: true", "enabled: false");
    let before = layered(&[&contrary]);
    assert!(before.client().get("/").cookies().is_empty(), "off");

    let gateway = layered(&[&contrary, CONFIGURATION]);
    let mut client = from(&gateway, 2);
    let first = client.get("/");
    let attributes = attributes(&first);
    assert!(attributes.contains(&"Path=/".to_owned()), "{attributes:?}");
    assert!(attributes.contains(&"Max-Age=3600".to_owned()), "{attributes:?}");
    let key = client.cookie("gateway-backend").expect("by this name");
    let bytes = URL_SAFE_NO_PAD.decode(&key).expect("sealed keys are base64url");
    assert_eq!(bytes[..2], [1, 16], "version 1, key 1");
    let mut second = from(&gateway, 2);
    assert_eq!(second.get("/").backend(), first.backend());
    assert_ne!(second.cookie("gateway-backend"), Some(key), "sealed: no two are alike");
}

#[test]
fn of_cookie_and_source_ip_the_cookie_is_preferred_and_the_address_the_fallback() {
    let backends = three();
    let base = setup(&backends).sticky().agreeing().to_string();
    let (one, other) = (layered(&[&base, CONFIGURATION]), layered(&[&base, CONFIGURATION]));
    let places = |gateway: &Gateway| -> Vec<String> {
        (2..32).map(|last| from(gateway, last).get("/").backend()).collect()
    };
    let placed = places(&one);
    assert_eq!(places(&one), placed, "an address without a cookie has one backend");
    assert_eq!(places(&other), placed, "the same on every gateway");
    assert_eq!(placed.iter().collect::<BTreeSet<_>>().len(), 3, "addresses spread");

    let mut client = from(&one, 2);
    let home = client.get("/").backend();
    let elsewhere = (2..32).zip(&placed).find(|(_, place)| **place != home).unwrap().0;
    let mut moved = client.clone().at([127, 0, 0, elsewhere].into());
    for _ in 0..4 {
        let answer = moved.get("/");
        assert_eq!(answer.backend(), home, "the cookie comes first");
        assert!(answer.cookies().is_empty());
    }
}

/// Three services, and nothing of affinity but the key.
fn with_services(app: &Backend, chat: &[Backend; 3], cart: &[Backend; 3]) -> String {
    Setup::of(&[app])
        .service("chat-service", &[&chat[0], &chat[1], &chat[2]])
        .service("cart-service", &[&cart[0], &cart[1], &cart[2]])
        .rules(&["id: app, path: /*, serviceName: app"])
        .agreeing()
        .sticky()
        .to_string()
        .replace("enabled: true", "enabled: false")
}

#[test]
fn the_block_per_route_affinity_gives_each_rule_its_own() {
    let (app, chat, cart) = (Backend::start("app"), three(), three());
    let base = with_services(&app, &chat, &cart);
    let before = layered(&[&base]);
    assert_eq!(before.client().get("/chat/1").backend(), "app", "the rules are the block's");

    let gateway = layered(&[&base, PER_ROUTE]);
    assert!(gateway.client().get("/other").cookies().is_empty(), "of no other rule");
    for path in ["/chat", "/chat/1"] {
        let mut client = gateway.client();
        let first = client.get(path);
        let attributes = attributes(&first);
        assert!(attributes.contains(&"Max-Age=3600".to_owned()), "1h: {attributes:?}");
        for _ in 0..4 {
            let again = client.get("/chat/2");
            assert_eq!((again.backend(), again.cookies().len()), (first.backend(), 0));
        }
    }
    let requests = |backends: &[Backend; 3]| backends.iter().map(Backend::requests).sum::<usize>();
    assert_eq!((requests(&chat), requests(&cart)), (10, 0), "chat-service serves /chat");
}

#[test]
fn a_duration_of_an_hour_is_how_long_a_client_may_be_silent() {
    let (app, chat, cart) = (Backend::start("app"), three(), three());
    let gateway = layered(&[&with_services(&app, &chat, &cart), PER_ROUTE]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let now = UnixTime(u32::try_from(now).unwrap());
    let keys = KeyRing::new(vec![(1, Secret::new(SECRET.into()))], None, 28_800, now);
    let silent = |minutes: u32| {
        let then = UnixTime(now.0 - minutes * 60);
        let (incarnation, version, home) = ("", "", "");
        let binding =
            Binding { issued: then, seen: then, tag: 9, backend: "b2", incarnation, version, home };
        let associated = associated("chat-service", "gateway-backend");
        let mut client = gateway.client();
        let key = seal(&keys, &associated, &binding, [7; 12], now).unwrap();
        client.put("gateway-backend", &key);
        let path = format!("/chat/{minutes}");
        let backend = client.get(&path).backend();
        (gateway.verdict_of(&path), backend)
    };
    // half an hour is what holds without `duration`
    assert_eq!(silent(50), ("VU".to_owned(), "b2".to_owned()));
    assert_eq!(silent(65).0, "EI");
}

#[test]
fn the_cart_is_named_by_the_clients_own_header() {
    let (app, chat, cart) = (Backend::start("app"), three(), three());
    let base = with_services(&app, &chat, &cart);
    let (one, other) = (layered(&[&base, PER_ROUTE]), layered(&[&base, PER_ROUTE]));
    let ask = |gateway: &Gateway, path: &str, cart: &str| {
        gateway.client().send(&Request::get(path).with("X-Cart-Session", cart))
    };
    let mut homes = BTreeSet::new();
    for n in 0..20 {
        let name = format!("cart {n}");
        let first = ask(&one, "/cart/1", &name);
        assert!(first.cookies().is_empty() && first.field("x-cart-session").is_none());
        assert_eq!(first.seen_fields("x-cart-session"), [name.as_str()], "the application's");
        assert_eq!(ask(&one, "/cart/2", &name).backend(), first.backend());
        assert_eq!(ask(&other, "/cart", &name).backend(), first.backend(), "gateways agree");
        homes.insert(first.backend());
    }
    assert_eq!(homes.len(), 3, "carts spread");

    // the other rule knows nothing of it, and neither application sees the other's key
    let chats: BTreeSet<_> = (0..3).map(|_| ask(&one, "/chat/1", "cart 1").backend()).collect();
    assert_eq!(chats.len(), 3, "it names no chat");
    let mut client = one.client();
    assert_eq!(client.get("/chat/1").cookies().len(), 1);
    let cart = client.send(&Request::get("/cart/1").with("X-Cart-Session", "cart 1"));
    assert_eq!(cart.backend(), ask(&one, "/cart/1", "cart 1").backend());
    assert!(cart.seen_fields("cookie").is_empty() && cart.cookies().is_empty());

    // a client without a name gets one
    let given = one.client().get("/cart/1");
    let key = given.field("x-cart-session").expect("a key").to_owned();
    for _ in 0..4 {
        assert_eq!(ask(&one, "/cart/1", &key).backend(), given.backend());
    }
}

/// A third file that says one thing more of the algorithm.
fn algorithm(line: &str) -> String {
    format!("gateway: {{ router: {{ sessionAffinity: {{ algorithm: {{ {line} }} }} }} }}")
}

/// Where new clients from forty addresses behind the proxy are placed, with this `X-User-ID`.
fn placed(gateway: &Gateway, user: impl Fn(u8) -> String) -> Vec<String> {
    let of = |n: u8| {
        let request = Request::get("/").with("X-Forwarded-For", &format!("10.0.0.{n}"));
        gateway.client().send(&request.with("X-User-ID", &user(n))).backend()
    };
    (0..40).map(of).collect()
}

fn spread(places: &[String]) -> usize {
    places.iter().collect::<BTreeSet<_>>().len()
}

#[test]
fn the_block_affinity_algorithms_places_by_the_ring_and_the_other_options_wait() {
    let backends = three();
    let base =
        setup(&backends).sticky().agreeing().server("trustedProxies: [127.0.0.1]").to_string();
    let same_user = |_| "me".to_owned();
    let each_its_own = |n| format!("user {n}");

    let round_robin = layered(&[&base]);
    assert_ne!(placed(&round_robin, same_user)[..3], placed(&round_robin, same_user)[..3]);

    let ring = layered(&[&base, ALGORITHMS]);
    let places = placed(&ring, same_user);
    assert_eq!(spread(&places), 3);
    assert_eq!(placed(&ring, same_user), places, "by address");
    assert_eq!(placed(&ring, each_its_own), places, "headerHash is not chosen");
    let without = layered(&[&base, ALGORITHMS, &algorithm("ipHash: { useXForwardedFor: false }")]);
    assert_eq!(placed(&without, same_user), places, "nor is ipHash");
    let named = layered(&[&base, &algorithm("type: consistent-hash")]);
    assert_eq!(placed(&named, same_user), places, "150 points are the usual number");
    let coarse = layered(&[&base, ALGORITHMS, &algorithm("consistentHash: { replicas: 1 }")]);
    assert_ne!(placed(&coarse, same_user), places, "another number makes another ring");
    assert_eq!(placed(&coarse, same_user), placed(&coarse, same_user));

    // placing is for new clients: the key decides for all others
    let mut client = ring.client();
    let home = client.send(&Request::get("/").with("X-Forwarded-For", "10.0.0.1")).backend();
    let elsewhere = (0..40).zip(&places).find(|(_, place)| **place != home).unwrap().0;
    let request = Request::get("/").with("X-Forwarded-For", &format!("10.0.0.{elsewhere}"));
    assert_eq!(client.send(&request).backend(), home);
}

#[test]
fn each_option_block_takes_effect_when_its_type_is_chosen() {
    let backends = three();
    let base =
        setup(&backends).sticky().agreeing().server("trustedProxies: [127.0.0.1]").to_string();
    let same_user = |_| "me".to_owned();

    let by_address = layered(&[&base, ALGORITHMS, &algorithm("type: ip-hash")]);
    let places = placed(&by_address, same_user);
    assert_eq!(spread(&places), 3, "useXForwardedFor: the clients, not their proxy");
    assert_eq!(placed(&by_address, |n| format!("user {n}")), places);
    let by_peer = algorithm("type: ip-hash, ipHash: { useXForwardedFor: false }");
    let by_peer = layered(&[&base, ALGORITHMS, &by_peer]);
    assert_eq!(spread(&placed(&by_peer, same_user)), 1, "all behind one proxy");

    let by_header = layered(&[&base, ALGORITHMS, &algorithm("type: header-hash")]);
    assert_eq!(spread(&placed(&by_header, same_user)), 1, "one user, wherever it comes from");
    let users = placed(&by_header, |n| format!("user {n}"));
    assert_eq!(spread(&users), 3);
    assert_eq!(placed(&by_header, |n| format!("user {n}")), users);
    let other = "type: header-hash, headerHash: { header: X-Other }";
    let other = layered(&[&base, ALGORITHMS, &algorithm(other)]);
    assert_eq!(spread(&placed(&other, same_user)), 3, "another header is not looked at");
}
