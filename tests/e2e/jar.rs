//! A browser's side of affinity: a cookie jar that keeps and sends what RFC 6265 says, made by
//! others, so that our own reading of the RFC is not what it is tested against. For every policy
//! and every attribute, the client stays with its backend, is told its key once, holds one cookie
//! of ours, and the application never sees it.

use crate::harness::{Answer, Backend, Client, Gateway, Request, Setup, until};
use cookie_store::{CookieStore, RawCookie};
use std::collections::BTreeSet;
use url::Url;

/// How many requests a client makes after its first.
const REQUESTS: usize = 6;
/// A cookie of the application's, which comes and goes untouched.
const THEIRS: (&str, &str) = ("theirs", "a=1");

/// A user agent that keeps its cookies as browsers do. Behind a proxy that ends TLS for it: what it
/// asks by https reaches the gateway by http, with `X-Forwarded-Proto`.
struct Browser {
    client: Client,
    jar: CookieStore,
}

impl Browser {
    fn new(gateway: &Gateway) -> Self {
        Self { client: gateway.client(), jar: CookieStore::new() }
    }

    /// What the jar would send there.
    fn sends(&self, url: &Url) -> String {
        let pairs = self.jar.get_request_values(url).map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    fn get(&mut self, url: &str) -> Answer {
        let url = Url::parse(url).unwrap();
        let request = Request::get(url.path())
            .with("Host", url.host_str().unwrap())
            .with("X-Forwarded-Proto", url.scheme());
        let cookies = self.sends(&url);
        let request = if cookies.is_empty() { request } else { request.with("Cookie", &cookies) };
        let answer = self.client.send(&request);
        // the harness has a jar of its own, which takes everything
        self.client.jar.clear();
        for text in answer.cookies() {
            let cookie = RawCookie::parse(text.to_owned()).expect("a cookie").into_owned();
            self.jar.insert_raw(&cookie, &url).unwrap_or_else(|e| panic!("{e}: {text}"));
        }
        answer
    }

    /// The names of the cookies that it holds, the application's apart.
    fn holds(&self) -> Vec<&str> {
        self.jar.iter_unexpired().map(|cookie| cookie.name()).filter(|n| *n != THEIRS.0).collect()
    }

    fn puts(&mut self, url: &str, name: &str, value: &str) {
        let cookie = RawCookie::new(name.to_owned(), value.to_owned());
        self.jar.insert_raw(&cookie, &Url::parse(url).unwrap()).unwrap();
    }
}

fn three() -> [Backend; 3] {
    ["b1", "b2", "b3"].map(Backend::start)
}

/// `lines` of `sessionAffinity`, behind a proxy that is trusted.
fn gateway(backends: &[Backend; 3], lines: &[&str]) -> Gateway {
    let setup = Setup::of(&[&backends[0], &backends[1], &backends[2]]).sticky();
    let setup = lines.iter().fold(setup, |setup, line| setup.sticky_with(line));
    Gateway::start(&setup.server("trustedProxies: [127.0.0.1]"))
}

/// New clients spread, and each stays where it is with one cookie called `name`.
fn stays(backends: &[Backend; 3], lines: &[&str], url: &str, name: &str) {
    let gateway = gateway(backends, lines);
    let mut homes = BTreeSet::new();
    for _ in 0..backends.len() {
        let mut browser = Browser::new(&gateway);
        browser.puts(url, THEIRS.0, THEIRS.1);
        let first = browser.get(url);
        assert_eq!(first.cookies().len(), 1, "{lines:?}: the key goes out once");
        assert_eq!(browser.holds(), [name], "{lines:?}: {:?}", first.cookies());
        for _ in 0..REQUESTS {
            let again = browser.get(url);
            assert_eq!(again.backend(), first.backend(), "{lines:?}: it stays");
            assert!(again.cookies().is_empty(), "{lines:?}: {:?}", again.cookies());
            let seen = again.seen_fields("cookie");
            assert_eq!(seen, [format!("{}={}", THEIRS.0, THEIRS.1)], "{lines:?}: only its own");
            assert_eq!(browser.holds(), [name], "{lines:?}");
        }
        homes.insert(first.backend());
    }
    assert_eq!(homes.len(), backends.len(), "{lines:?}: new clients spread");
}

const PLAIN: &str = "http://shop.example.com/cart/1";
const SECURE: &str = "https://shop.example.com/cart/1";

#[test]
fn every_policy_of_spec_5_keeps_a_browser() {
    let backends = three();
    for policy in ["Cookie", "HashCookie", "ArrCookie"] {
        for url in [PLAIN, SECURE] {
            stays(&backends, &[&format!("policy: {policy}")], url, "SessionAffinity");
        }
    }
}

#[test]
fn every_encoding_keeps_a_browser() {
    let backends = three();
    for encoding in ["secure", "hash", "plain"] {
        for url in [PLAIN, SECURE] {
            stays(&backends, &[&format!("encoding: {encoding}")], url, "gateway-backend");
        }
    }
    stays(&backends, &["policy: HashCookie", "keyOver: address"], PLAIN, "SessionAffinity");
}

#[test]
fn every_attribute_is_one_that_a_browser_takes() {
    let backends = three();
    for (cookie, url, name) in [
        ("name: k, prefix: host, secure: true", SECURE, "__Host-k"),
        ("name: k, prefix: secure, secure: true", SECURE, "__Secure-k"),
        ("name: k, prefix: secure, secure: true, domain: example.com", SECURE, "__Secure-k"),
        ("name: k, domain: example.com", PLAIN, "k"),
        ("name: k, domain: .example.com", PLAIN, "k"),
        ("name: k, path: /cart", PLAIN, "k"),
        ("name: k, maxAge: 60", PLAIN, "k"),
        ("name: k, expires: 60s", PLAIN, "k"),
        ("name: k, maxAge: 60, expires: 60s, httpOnly: false", PLAIN, "k"),
        ("name: k, sameSite: strict", PLAIN, "k"),
        ("name: k, sameSite: none", SECURE, "k"),
        ("name: k, secure: false", SECURE, "k"),
        ("name: k, secure: true, extensions: [Partitioned, Priority=High]", SECURE, "k"),
        ("name: \"!#$%&'*+-.^_`|~\"", PLAIN, "!#$%&'*+-.^_`|~"),
    ] {
        stays(&backends, &[&format!("cookie: {{ {cookie} }}")], url, name);
    }
}

#[test]
fn a_browser_sends_the_key_where_the_attributes_say_and_nowhere_else() {
    let backends = three();
    let elsewhere = |cookie: &str, bound_at: &str, sent: &[&str], not: &[&str]| {
        let gateway = gateway(&backends, &[&format!("cookie: {{ name: k, {cookie} }}")]);
        let mut browser = Browser::new(&gateway);
        let home = browser.get(bound_at).backend();
        assert_eq!(browser.holds().len(), 1, "{cookie}");
        for url in sent {
            for _ in 0..REQUESTS {
                let answer = browser.get(url);
                assert_eq!((answer.backend(), answer.cookies().len()), (home.clone(), 0), "{url}");
            }
        }
        for url in not {
            assert_eq!(browser.sends(&Url::parse(url).unwrap()), "", "{cookie} {url}");
        }
    };
    elsewhere(
        "path: /cart",
        PLAIN,
        &["http://shop.example.com/cart", "http://shop.example.com/cart/2"],
        &["http://shop.example.com/", "http://shop.example.com/cartoon", "http://example.com/cart"],
    );
    elsewhere(
        "domain: example.com",
        PLAIN,
        &["http://example.com/", "http://other.example.com/", SECURE],
        &["http://badexample.com/", "http://example.com.evil.test/"],
    );
    elsewhere("secure: auto", SECURE, &[SECURE], &[PLAIN]);
    elsewhere("secure: auto", PLAIN, &[PLAIN, SECURE], &[]);
    elsewhere("secure: false", SECURE, &[PLAIN, SECURE], &[]);
    elsewhere(
        "prefix: host, secure: true",
        SECURE,
        &["https://shop.example.com/anything"],
        &[PLAIN, "https://example.com/", "https://a.shop.example.com/"],
    );
}

#[test]
fn a_key_that_the_browser_forgot_is_written_again() {
    let backends = three();
    for cookie in ["maxAge: 1", "expires: 1s"] {
        let gateway = gateway(&backends, &[&format!("cookie: {{ name: k, {cookie} }}")]);
        let mut browser = Browser::new(&gateway);
        browser.get(PLAIN);
        assert_eq!(browser.holds(), ["k"], "{cookie}");
        until("the browser forgets", || browser.holds().is_empty().then_some(()));
        let answer = browser.get(PLAIN);
        assert_eq!(answer.cookies().len(), 1, "{cookie}");
        assert_eq!(browser.holds(), ["k"], "{cookie}: one, not two");
    }
}

#[test]
fn a_browser_that_has_not_consented_holds_nothing_of_ours() {
    let backends = three();
    let consent = "consent: { cookie: cookies-ok }";
    for policy in ["Cookie", "HashCookie", "ArrCookie"] {
        let policy = format!("policy: {policy}");
        let strict = gateway(&backends, &[consent, &policy]);
        let mut browser = Browser::new(&strict);
        for _ in 0..REQUESTS {
            browser.get(PLAIN);
            assert!(browser.holds().is_empty(), "{policy}");
        }
        browser.puts(PLAIN, "cookies-ok", "yes");
        let first = browser.get(PLAIN);
        assert_eq!(first.cookies().len(), 1, "{policy}");
        for _ in 0..REQUESTS {
            let again = browser.get(PLAIN);
            assert_eq!((again.backend(), again.cookies().len()), (first.backend(), 0), "{policy}");
            assert_eq!(again.seen_fields("cookie"), ["cookies-ok=yes"], "{policy}");
        }
        assert_eq!(browser.holds().len(), 2, "{policy}: the consent and one of ours");
    }
    let essential = "cookie: { name: k, isEssential: true }";
    stays(&backends, &[consent, essential], PLAIN, "k");
}

#[test]
fn a_browser_that_has_to_move_holds_the_new_key_in_the_place_of_the_old() {
    let backends = three();
    for line in ["policy: Cookie", "policy: HashCookie", "policy: ArrCookie", "encoding: plain"] {
        let gateway = gateway(&backends, &[line]);
        let mut browser = Browser::new(&gateway);
        let home = browser.get(PLAIN).backend();
        let backend = backends.iter().find(|backend| backend.id() == home).unwrap();
        backend.stop();
        let moved = browser.get(PLAIN);
        assert_ne!(moved.backend(), home, "{line}");
        assert_eq!((moved.cookies().len(), browser.holds().len()), (1, 1), "{line}");
        backend.restart();
        for _ in 0..REQUESTS {
            let again = browser.get(PLAIN);
            assert_eq!((again.backend(), again.cookies().len()), (moved.backend(), 0), "{line}");
        }
    }
}
