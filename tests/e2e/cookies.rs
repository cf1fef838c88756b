//! What goes out in `Set-Cookie`, and what of `Cookie` goes on to the application.

use crate::harness::{Answer, Backend, Gateway, Request, Setup, within};
use std::time::{Duration, Instant};

/// The attributes of the only cookie of an answer, in lower case, sorted, without name and value.
fn attributes(answer: &Answer) -> Vec<String> {
    let cookies = answer.cookies();
    assert_eq!(cookies.len(), 1, "{:?}", answer.fields);
    let attributes = cookies[0].split(';').skip(1);
    let mut attributes: Vec<_> = attributes.map(|a| a.trim().to_ascii_lowercase()).collect();
    attributes.sort();
    attributes
}

#[test]
fn without_a_word_the_cookie_is_hidden_from_scripts_and_lasts_as_long_as_the_browser() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]).sticky());
    assert_eq!(attributes(&gateway.client().get("/")), ["httponly", "path=/", "samesite=lax"]);
}

#[test]
fn every_attribute_of_the_cookie_is_as_configured() {
    let b1 = Backend::start("b1");
    let setup = Setup::of(&[&b1]).sticky_with(
        "cookie: { name: stay, path: /app, domain: app.test, maxAge: 3600, httpOnly: false, \
         secure: true, sameSite: none }",
    );
    let gateway = Gateway::start(&setup);
    let mut client = gateway.client();
    let answer = client.get("/app");
    assert!(answer.cookies()[0].starts_with("stay="), "{:?}", answer.cookies());
    let expected = ["domain=app.test", "max-age=3600", "path=/app", "samesite=none", "secure"];
    assert_eq!(attributes(&answer), expected);
    assert_eq!(client.get("/app").cookies(), [""; 0], "the configured name is read");
}

#[test]
fn a_duration_sets_max_age_and_the_idle_time() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]).sticky_with("duration: 1h"));
    let attributes = attributes(&gateway.client().get("/"));
    assert!(attributes.contains(&"max-age=3600".to_owned()), "{attributes:?}");
}

#[test]
fn a_cookie_is_written_anew_before_the_browser_drops_it() {
    let [b1, b2, b3] = ["b1", "b2", "b3"].map(Backend::start);
    let setup = Setup::of(&[&b1, &b2, &b3])
        .sticky_with("idleTimeout: 30m")
        .sticky_with("cookie: { maxAge: 2 }");
    let gateway = Gateway::start(&setup);
    let mut client = gateway.client();
    let home = client.get("/bind").backend();
    let (start, mut dropped_at) = (Instant::now(), Instant::now() + Duration::from_secs(2));
    let mut n = 0;
    let all = within(Duration::from_secs(20), || {
        if start.elapsed() < Duration::from_millis(500) * n {
            return None;
        }
        if Instant::now() >= dropped_at {
            client.jar.clear();
        }
        let path = format!("/poll/{n}");
        let before = Instant::now();
        let answer = client.get(&path);
        assert_eq!(answer.backend(), home, "request {n}");
        let verdict = gateway.verdict_of(&path);
        assert!(verdict.starts_with('V'), "{verdict} at {path}");
        if !answer.cookies().is_empty() {
            assert!(attributes(&answer).contains(&"max-age=2".to_owned()), "{:?}", answer.fields);
            dropped_at = before + Duration::from_secs(2);
        }
        n += 1;
        (n > 12).then_some(())
    });
    assert!(all.is_some(), "asked only {n} times");
}

#[test]
fn secure_is_set_for_a_client_that_came_by_https_to_a_trusted_proxy() {
    let b1 = Backend::start("b1");
    let https = Request::get("/").with("X-Forwarded-Proto", "https");
    let has_secure = |gateway: &Gateway, request: &Request| {
        attributes(&gateway.client().send(request)).contains(&"secure".to_owned())
    };
    let trusting = Setup::of(&[&b1]).sticky().server("trustedProxies: [127.0.0.0/8]");
    let gateway = Gateway::start(&trusting);
    assert!(has_secure(&gateway, &https));
    assert!(!has_secure(&gateway, &Request::get("/").with("X-Forwarded-Proto", "http")));
    assert!(!has_secure(&gateway, &Request::get("/")));
    let gateway = Gateway::start(&Setup::of(&[&b1]).sticky());
    assert!(!has_secure(&gateway, &https), "anybody can say so");
}

#[test]
fn a_cacheable_response_with_our_cookie_is_private() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]).sticky());
    let public = Request::get("/").with("X-Toy-Field", "Cache-Control: public, max-age=60");
    let mut client = gateway.client();
    let first = client.send(&public);
    let control = cache_control(&first);
    assert!(control.contains(&"private".to_owned()), "{control:?}");
    assert!(!control.contains(&"public".to_owned()), "{control:?}");
    assert!(control.contains(&"max-age=60".to_owned()), "{control:?}");
    let later = client.send(&public);
    assert_eq!(cache_control(&later), ["public", "max-age=60"], "without our cookie as it came");
}

#[test]
fn a_response_that_may_not_be_stored_is_left_as_it_is() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]).sticky());
    for control in ["no-store", "private, max-age=60"] {
        let field = format!("Cache-Control: {control}");
        let answer = gateway.client().send(&Request::get("/").with("X-Toy-Field", &field));
        assert_eq!(answer.cookies().len(), 1);
        let expected: Vec<_> = control.split(", ").collect();
        assert_eq!(cache_control(&answer), expected);
    }
}

#[test]
fn private_for_some_fields_becomes_private_for_all() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]).sticky());
    for (sent, seen) in [
        ("private=\"x-a\"", vec!["private"]),
        ("private=\"x-a, x-b\", max-age=9", vec!["private", "max-age=9"]),
    ] {
        let field = format!("Cache-Control: {sent}");
        let answer = gateway.client().send(&Request::get("/").with("X-Toy-Field", &field));
        assert_eq!(answer.cookies().len(), 1);
        assert_eq!(cache_control(&answer), seen, "of {sent}");
    }
}

#[test]
fn a_304_with_our_cookie_is_private() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]).sticky());
    let mut client = gateway.client();
    let first = client.get("/status/304");
    assert_eq!((first.status, first.cookies().len()), (304, 1), "{:?}", first.fields);
    assert_eq!(cache_control(&first), ["private"]);
    let later = client.get("/status/304");
    assert_eq!((later.status, later.cookies().len()), (304, 0), "{:?}", later.fields);
    assert_eq!(cache_control(&later), [""; 0], "without our cookie as it came");
}

fn cache_control(answer: &Answer) -> Vec<String> {
    let named = answer.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("cache-control"));
    let words = named.flat_map(|(_, value)| value.split(','));
    words.map(|word| word.trim().to_ascii_lowercase()).collect()
}

#[test]
fn the_cookies_of_the_application_arrive_byte_for_byte_and_ours_does_not() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]).sticky());
    let mut client = gateway.client();
    client.get("/");
    let key = client.cookie("gateway-backend").unwrap();
    let ours = format!("gateway-backend={key}");
    for (sent, seen) in [
        (ours.clone(), None),
        (format!("a=1; {ours}"), Some("a=1")),
        (format!("{ours}; a=1"), Some("a=1")),
        (format!("a=1; {ours}; b=2"), Some("a=1; b=2")),
        (
            format!("a=\"x y\"; {ours}; b=\u{e4}%20=;c;  d=,"),
            Some("a=\"x y\"; b=\u{e4}%20=;c;  d=,"),
        ),
        ("a=1;b=2;  c = 3 ;".to_owned(), Some("a=1;b=2;  c = 3 ;")),
        (
            format!("my-gateway-backend=1; {ours}; gateway-backend2=2"),
            Some("my-gateway-backend=1; gateway-backend2=2"),
        ),
        ("gateway-backend=rubbish; a=1".to_owned(), Some("a=1")),
    ] {
        let answer = gateway.client().send(&Request::get("/").with("Cookie", &sent));
        let expected: Vec<_> = seen.into_iter().collect();
        assert_eq!(answer.seen_fields("cookie"), expected, "of {sent}");
    }
}

#[test]
fn the_applications_own_set_cookie_stays_beside_ours() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]).sticky());
    let theirs = ["a=1; Path=/x", "b=\"2\"; HttpOnly"];
    let request = Request::get("/")
        .with("X-Toy-Field", &format!("Set-Cookie: {}", theirs[0]))
        .with("X-Toy-Field", &format!("Set-Cookie: {}", theirs[1]));
    let mut client = gateway.client();
    let first = client.send(&request);
    assert_eq!(first.cookies()[..2], theirs);
    assert_eq!(first.cookies().len(), 3);
    assert_eq!(client.send(&request).cookies(), theirs);
}

#[test]
fn no_answer_of_our_own_carries_a_cookie() {
    let b1 = Backend::start("b1");
    let setup = Setup::of(&[&b1])
        .rules(&["id: app, hosts: [app.test], path: /*, serviceName: app"])
        .server("limits: { maxBodyBytes: 100B }")
        .sticky();
    let gateway = Gateway::start(&setup);
    let request = Request::get("/").with("Host", "other.test");
    let not_found = gateway.client().send(&request);
    assert_eq!((not_found.status, not_found.cookies().len()), (404, 0));
    let too_large = gateway.client().send(&Request::post("/", 200));
    assert_eq!((too_large.status, too_large.cookies().len()), (413, 0));
    assert_eq!(gateway.client().get("/").cookies().len(), 1, "a backend's answer does");
    b1.stop();
    let unavailable = gateway.client().get("/");
    assert_eq!((unavailable.status, unavailable.cookies().len()), (503, 0));
}
