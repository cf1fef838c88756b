//! What the backend sees of a request.

use crate::harness::{Backend, Gateway, Request, Setup};

#[test]
fn the_backend_learns_who_asked_for_what_and_by_which_way() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]).sticky());
    let answer = gateway.client().send(&Request::get("/").with("Host", "shop.test:8080"));
    assert_eq!(answer.seen_fields("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(answer.seen_fields("x-forwarded-proto"), ["http"]);
    assert_eq!(answer.seen_fields("x-forwarded-host"), ["shop.test:8080"]);
    assert_eq!(answer.seen_fields("host"), ["shop.test:8080"]);
    assert_eq!(answer.seen_fields("via"), ["1.1 stickfast"]);
    assert_eq!(answer.seen_fields("x-request-id").len(), 1);
}

#[test]
fn what_an_untrusted_client_says_of_itself_is_dropped() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]).sticky());
    let lies = Request::get("/")
        .with("X-Forwarded-For", "203.0.113.1")
        .with("X-Forwarded-Proto", "https")
        .with("X-Forwarded-Host", "evil.test");
    let answer = gateway.client().send(&lies);
    assert_eq!(answer.seen_fields("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(answer.seen_fields("x-forwarded-proto"), ["http"]);
    assert_eq!(answer.seen_fields("x-forwarded-host"), ["app.test"]);
}

#[test]
fn what_a_trusted_proxy_says_is_kept_and_appended_to() {
    let b1 = Backend::start("b1");
    let setup = Setup::of(&[&b1]).server("trustedProxies: [127.0.0.0/8]");
    let gateway = Gateway::start(&setup);
    let said = Request::get("/proxied")
        .with("X-Forwarded-For", "203.0.113.1")
        .with("X-Forwarded-Proto", "https")
        .with("X-Forwarded-Host", "shop.test");
    let answer = gateway.client().send(&said);
    let addresses = answer.seen_fields("x-forwarded-for").join(",").replace(' ', "");
    assert_eq!(addresses, "203.0.113.1,127.0.0.1");
    assert_eq!(answer.seen_fields("x-forwarded-proto"), ["https"]);
    assert_eq!(answer.seen_fields("x-forwarded-host"), ["shop.test"]);
    assert_eq!(gateway.access_of("/proxied")["client"], "203.0.113.1");
}

#[test]
fn affinity_headers_of_a_client_are_dropped_and_its_others_arrive_as_sent() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]).sticky());
    let request = Request::get("/")
        .with("X-Affinity-Client", "me")
        .with("x-affinity-backend", "b9")
        // the same to servers that put fields into their environment
        .with("X_Affinity_Failover", "from=b1; reason=gone")
        .with("x_request-id", "mine")
        .with("X-Own", "a, b;  c=\"d\"")
        .with("X-Own", "second");
    let answer = gateway.client().send(&request);
    assert_eq!(answer.seen_fields("x-affinity-client"), [""; 0]);
    assert_eq!(answer.seen_fields("x-affinity-backend"), [""; 0]);
    assert_eq!(answer.seen_fields("x_affinity_failover"), [""; 0]);
    assert_eq!(answer.seen_fields("x_request-id"), [""; 0]);
    assert_eq!(answer.seen_fields("x-own"), ["a, b;  c=\"d\"", "second"]);
}

#[test]
fn the_backend_gets_the_path_that_was_routed() {
    let [a1, s1] = ["a1", "s1"].map(Backend::start);
    let setup = Setup::of(&[&a1]).service("shop", &[&s1]);
    let gateway = Gateway::start(&setup);
    for (sent, backend, seen) in [
        ("/a/b?x=1&y=%20", "a1", "/a/b?x=1&y=%20"),
        ("/a/./b/../c", "a1", "/a/c"),
        ("/x/../shop/1", "s1", "/shop/1"),
        ("/shop/../x", "a1", "/x"),
        ("/%73hop/%7e", "s1", "/shop/~"),
        ("/%2e%2e/shop/1", "s1", "/shop/1"),
        ("/a%2fb", "a1", "/a%2fb"),
        ("/?../../x=%41", "a1", "/?../../x=%41"),
    ] {
        let answer = gateway.client().get(sent);
        assert_eq!(answer.backend(), backend, "{sent}");
        assert_eq!(answer.seen_path(), seen, "{sent}");
    }
}

#[test]
fn a_target_in_absolute_form_arrives_as_a_path() {
    let [a1, s1] = ["a1", "s1"].map(Backend::start);
    let gateway = Gateway::start(&Setup::of(&[&a1]).service("shop", &[&s1]));
    for (sent, backend, seen) in [
        ("http://app.test/a/../b", "a1", "/b"),
        ("http://app.test/x/../shop/1?a=b", "s1", "/shop/1?a=b"),
        ("HTTP://app.test/b", "a1", "/b"),
        ("https://app.test/b", "a1", "/b"),
        ("http://app.test", "a1", "/"),
    ] {
        let answer = gateway.client().get(sent);
        assert_eq!(answer.backend(), backend, "{sent}");
        assert_eq!(answer.seen_path(), seen, "{sent}");
    }
}

#[test]
fn the_asterisk_is_for_options_only() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]));
    for request in ["GET admin/x", "GET *", "GET app.test:80", "GET ftp://app.test/"] {
        let (method, target) = request.split_once(' ').unwrap();
        let answer = gateway.client().send(&Request::new(method, target));
        let got = (answer.status, answer.reason());
        assert_eq!(got, (400, Some("bad-request")), "{request}: {}", answer.text());
    }
    assert_eq!(b1.requests(), 0);
    let answer = gateway.client().send(&Request::new("OPTIONS", "*"));
    assert_eq!(answer.seen()["method"], "OPTIONS");
    assert_eq!(answer.seen_path(), "*");
}

#[test]
fn what_the_gateway_says_cannot_be_taken_away_by_the_connection_header() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]));
    let names = "close, x-request-id, via, x-own";
    let request = Request::get("/named").with("Connection", names).with("X-Own", "hop by hop");
    let answer = gateway.client().send(&request);
    assert_eq!(answer.seen_fields("via"), ["1.1 stickfast"]);
    assert_eq!(answer.seen_fields("x-own"), [""; 0], "what the client may name is dropped");
    let ids = answer.seen_fields("x-request-id");
    assert_eq!(ids.len(), 1);
    assert_eq!(gateway.access_of("/named")["request_id"], ids[0].as_str());
}

#[test]
fn each_request_has_an_id_of_its_own_which_is_in_the_log() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]));
    let mut client = gateway.client();
    let mut ids: Vec<_> = (0..5)
        .map(|n| {
            let path = format!("/id/{n}");
            let id = client.get(&path).seen_fields("x-request-id").remove(0);
            assert_eq!(gateway.access_of(&path)["request_id"], id.as_str());
            id
        })
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5);
    assert!(ids.iter().all(|id| id.len() >= 8), "{ids:?}");
}

#[test]
fn methods_and_bodies_arrive_as_sent() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]));
    let mut client = gateway.client();
    for method in ["GET", "DELETE", "OPTIONS", "PATCH", "PURGE"] {
        assert_eq!(client.send(&Request::new(method, "/")).seen()["method"], method);
    }
    for length in [0, 1, 70_000, 2_000_000] {
        let told = client.send(&Request::post("/", length));
        assert_eq!(told.seen()["body_length"], length);
        let untold = client.send(&Request::post("/", length).chunked());
        assert_eq!(untold.seen()["body_length"], length);
    }
    let head = client.send(&Request::new("HEAD", "/"));
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(client.get("/").backend(), "b1", "the connection is still good");
}
