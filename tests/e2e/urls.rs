//! Keys that ride in URLs, for clients without cookies (`query`, `path`, `urlRewriting`).

use crate::harness::{Answer, Backend, Gateway, Page, Request, Setup, until};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

fn three() -> [Backend; 3] {
    ["b1", "b2", "b3"].map(Backend::start)
}

fn setup(backends: &[Backend; 3], methods: &str) -> Setup {
    Setup::of(&[&backends[0], &backends[1], &backends[2]])
        .rules(&["id: app, path: /*, serviceName: app, urlRewriting: true"])
        .sticky_with(&format!("methods: [{methods}]"))
}

fn show(backends: &[Backend; 3], path: &str, page: &Page) {
    for backend in backends {
        backend.shows(path, page.clone());
    }
}

/// The link behind `href="` number `nth` of a page.
fn link(page: &Answer, nth: usize) -> String {
    let text = page.text();
    let link =
        text.split("href=\"").nth(nth + 1).unwrap_or_else(|| panic!("no link {nth}: {text}"));
    link.split('"').next().unwrap().replace("&amp;", "&")
}

/// The key in a URL, which must have one.
fn key(url: &str) -> String {
    let names = ["sessionId=", "jsessionid="];
    let value = names.iter().find_map(|name| url.split(name).nth(1));
    let value = value.unwrap_or_else(|| panic!("no key in {url}"));
    value.split(['?', '&', '#', ';', '/']).next().unwrap().to_owned()
}

fn who(answer: &Answer) -> String {
    answer.field("x-toy-id").unwrap_or_else(|| panic!("not from a page: {answer:?}")).to_owned()
}

/// A key that was sealed once and opens no more.
fn altered(key: &str) -> String {
    let mut bytes = URL_SAFE_NO_PAD.decode(key).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Who has the key in its links, as a path.
fn bound(gateway: &Gateway) -> (String, String) {
    let page = gateway.client().get("/start");
    (who(&page), link(&page, 0))
}

#[test]
fn a_client_without_cookies_stays_by_following_links() {
    let backends = three();
    show(&backends, "/start", &Page::html("<a href=\"/next?a=1#top\">on</a>"));
    show(&backends, "/next", &Page::html("<a href=\"start\">back</a>"));
    for method in ["query", "path"] {
        let gateway = Gateway::start(&setup(&backends, method));
        for _ in 0..4 {
            let first = gateway.client().get("/start");
            assert_eq!(first.cookies(), [""; 0]);
            let home = who(&first);
            let on = link(&first, 0);
            assert!(on.ends_with("#top") && on.contains("a=1"), "{on}");
            let mut next = on.split('#').next().unwrap().to_owned();
            for path in ["/next?a=1", "/start", "/next?a=1", "/start"] {
                let page = gateway.client().get(&next);
                assert_eq!(who(&page), home, "{method}");
                assert_eq!(page.field("x-toy-path"), Some(path), "the backend sees no key");
                next = link(&page, 0).split('#').next().unwrap().to_owned();
                next = if next.starts_with('/') { next } else { format!("/{next}") };
            }
            assert_eq!(gateway.verdict_of("/next"), "VN", "{method}");
        }
        let spread: std::collections::BTreeSet<_> = (0..3).map(|_| bound(&gateway).0).collect();
        assert_eq!(spread.len(), 3);
    }
}

#[test]
fn links_of_the_header_get_the_key_and_those_of_other_sites_do_not() {
    let backends = three();
    let gateway = Gateway::start(&setup(&backends, "query"));
    for (field, with_key) in [
        ("Location: /cart", true),
        ("Location: http://app.test/cart", true),
        ("Content-Location: ../cart", true),
        ("Refresh: 3; url=/cart", true),
        ("Location: https://app.test/cart", false),
        ("Location: http://other.test/cart", false),
        ("Location: //other.test/cart", false),
        ("Location: http://app.test:8080/cart", false),
        ("Refresh: 3; url=http://other.test/", false),
        ("Location: mailto:somebody@app.test", false),
        ("Location: javascript:go()", false),
    ] {
        let request = Request::get("/status/302").with("X-Toy-Field", field);
        let answer = gateway.client().send(&request);
        let (name, value) = field.split_once(": ").unwrap();
        let got = answer.field(name).unwrap();
        assert_eq!(got.contains("sessionId="), with_key, "{field}: {got}");
        assert!(with_key || got == value, "{field}: {got}");
        let all = format!("{:?}", answer.fields);
        assert!(with_key || !all.contains("sessionId="), "{all}");
    }
    let request = Request::get("/status/302").with("X-Toy-Field", "Location: /cart");
    let answer = gateway.client().send(&request);
    let next = gateway.client().get(answer.field("location").unwrap());
    assert_eq!(next.seen_path(), "/cart");
    assert_eq!(gateway.verdict_of("/cart"), "VN");
}

#[test]
fn behind_a_trusted_proxy_that_speaks_https_plain_links_are_another_site() {
    let backends = three();
    let page = "<a href=\"https://app.test/a\">1</a><a href=\"http://app.test/b\">2</a>";
    show(&backends, "/start", &Page::html(page));
    let setup = setup(&backends, "query").server("trustedProxies: [127.0.0.1]");
    let gateway = Gateway::start(&setup);
    let page = gateway.client().send(&Request::get("/start").with("X-Forwarded-Proto", "https"));
    assert!(link(&page, 0).contains("sessionId="), "{}", page.text());
    assert_eq!(link(&page, 1), "http://app.test/b");
    let page = gateway.client().get("/start");
    assert_eq!(link(&page, 0), "https://app.test/a");
    assert!(link(&page, 1).contains("sessionId="), "{}", page.text());
}

#[test]
fn behind_a_trusted_proxy_the_site_is_the_one_that_the_client_asked_for() {
    let backends = three();
    let page = "<a href=\"http://public.test/a\">1</a><a href=\"http://app.test/b\">2</a>";
    show(&backends, "/start", &Page::html(page));
    let request = Request::get("/start").with("X-Forwarded-Host", "public.test");
    for (trusted, own, other) in [("127.0.0.1", 0, 1), ("10.0.0.1", 1, 0)] {
        let setup = setup(&backends, "query").server(&format!("trustedProxies: [{trusted}]"));
        let page = Gateway::start(&setup).client().send(&request);
        assert!(link(&page, own).contains("sessionId="), "{trusted}: {}", page.text());
        assert!(!link(&page, other).contains("sessionId="), "{trusted}: {}", page.text());
    }
}

#[test]
fn an_expired_key_gives_way_to_another() {
    let backends = three();
    show(&backends, "/start", &Page::html("<a href=\"/start\">on</a>"));
    let gateway = Gateway::start(&setup(&backends, "path").sticky_with("idleTimeout: 1s"));
    let (_, old) = bound(&gateway);
    let mut other = gateway.client();
    for _ in 0..10 {
        // requests of somebody else measure the time
        other.get("/sleep/250");
    }
    let page = gateway.client().get(&old.replace("/start", "/start/"));
    assert_eq!(page.seen_path(), "/start/");
    assert_eq!(gateway.verdict_of("/start/"), "EN");
    let page = gateway.client().get(&old);
    let new = link(&page, 0);
    assert_ne!(new, old);
    assert_eq!(who(&gateway.client().get(&new)), who(&page));
}

/// A page of some size with a link in each line.
fn large(lines: usize) -> String {
    let line = |n| format!("<p>{n} <a href=\"/item/{n}\">item</a> &copy; <img src='/i.png'>\n");
    let body: String = (0..lines).map(line).collect();
    format!("<!doctype html><html><body>{body}</body></html>")
}

#[test]
fn pages_of_every_size_and_framing_are_whole_and_the_connection_goes_on() {
    let backends = three();
    let gateway = Gateway::start(&setup(&backends, "query"));
    show(&backends, "/empty", &Page::html(""));
    let mut client = gateway.client();
    for path in ["/empty", "/after", "/empty"] {
        assert!(client.get(path).whole, "{path}");
    }
    for lines in [0, 1, 2000] {
        let html = large(lines);
        for chunks in [None, Some(1), Some(7), Some(4096)] {
            if lines == 2000 && chunks == Some(1) {
                continue;
            }
            let page = Page { chunks, ..Page::html(&html) };
            show(&backends, "/start", &page.with("ETag: \"v1\"").with("Last-Modified: x"));
            let mut client = gateway.client();
            for _ in 0..2 {
                let answer = client.get("/start");
                assert!(answer.whole, "{lines} {chunks:?}");
                assert_eq!(answer.field("etag"), None);
                assert!(answer.field("cache-control").unwrap().contains("private"));
                let text = answer.text();
                assert_eq!(text.matches("/item/").count(), lines);
                if lines > 0 {
                    let one = format!("?sessionId={}", key(&text.replace('"', "?")));
                    assert_eq!(text.matches(&one).count(), lines, "one key on each link");
                    assert_eq!(text.replace(&one, ""), html, "nothing else has changed");
                } else {
                    assert_eq!(text, html);
                }
                assert!(client.get("/after").whole, "the connection goes on");
            }
        }
    }
}

#[test]
fn heads_and_clients_of_http_1_0_are_served_too() {
    let backends = three();
    let gateway = Gateway::start(&setup(&backends, "path"));
    for chunks in [None, Some(9)] {
        let page = Page { chunks, ..Page::html("<a href=\"/next\">on</a>") };
        show(&backends, "/start", &page);
        let mut client = gateway.client();
        let head = client.send(&Request::new("HEAD", "/start"));
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.field("content-length"), None, "the length of another page");
        assert!(client.get("/start").text().contains(";jsessionid="), "the connection goes on");
        let mut wire = gateway.connect();
        wire.write(b"GET /start HTTP/1.0\r\nHost: app.test\r\n\r\n").unwrap();
        let answer = wire.answer().unwrap().expect("an answer");
        assert!(answer.whole);
        assert_eq!(answer.field("transfer-encoding"), None, "HTTP/1.0 knows no chunks");
        let next = link(&answer, 0);
        assert!(next.starts_with("/next;jsessionid="), "{next}");
        assert_eq!(gateway.client().get(&next).backend(), who(&answer));
    }
}

#[test]
fn a_compressed_page_passes_unharmed_and_none_is_asked_for() {
    let backends = three();
    let gateway = Gateway::start(&setup(&backends, "query"));
    let body: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let page = Page { body: body.clone(), ..Page::html("") };
    show(&backends, "/start", &page.with("Content-Encoding: gzip").with("ETag: \"z\""));
    let answer = gateway.client().get("/start");
    assert_eq!((answer.body, answer.whole), (body, true));
    let request = Request::get("/seen").with("Accept-Encoding", "gzip, br");
    let seen =
        gateway.client().send(&request.with("If-None-Match", "\"v1\"").with("Range", "bytes=0-1"));
    assert_eq!(seen.seen_fields("accept-encoding"), ["identity"]);
    assert!(seen.seen_fields("if-none-match").is_empty());
    let put = Request::new("PUT", "/doc").body(3).with("If-Match", "\"v1\"");
    let put = gateway.client().send(&put.with("If-None-Match", "*"));
    assert_eq!(put.seen_fields("if-match"), ["\"v1\""], "a condition of a change stays");
    assert_eq!(put.seen_fields("if-none-match"), ["*"]);
}

#[test]
fn forms_keep_the_client_too() {
    let backends = three();
    let page = "<form action=\"/find\"><input name=q></form>\
                <form method=post action=\"/buy\"></form>\
                <form action=\"http://other.test/\"><input name=q></form><a href=\"/x\">x</a>";
    show(&backends, "/start", &Page::html(page));
    let gateway = Gateway::start(&setup(&backends, "query"));
    let answer = gateway.client().get("/start");
    let (text, key) = (answer.text(), key(&link(&answer, 0)));
    assert_eq!(text.matches(&key).count(), 3, "{text}");
    let home = who(&answer);
    let found = gateway.client().get(&format!("/find?q=1&sessionId={key}"));
    assert_eq!((found.backend(), found.seen_path()), (home.clone(), "/find?q=1".to_owned()));
    let action = text.split("action=\"/buy").nth(1).unwrap().split('"').next().unwrap();
    let bought = gateway.client().send(&Request::post(&format!("/buy{action}"), 5));
    assert_eq!((bought.backend(), bought.seen_path()), (home, "/buy".to_owned()));
}

#[test]
fn the_backend_sees_no_key_whatever_became_of_it() {
    let backends = three();
    show(&backends, "/start", &Page::html("<a href=\"/next\">on</a>"));
    let base = setup(&backends, "path");
    let gateway = Gateway::start(&base);
    let (home, next) = bound(&gateway);
    let good = key(&next);
    let bad = altered(&good);
    let seen = |target: &str| gateway.client().get(target);
    for (target, path, kept) in [
        (format!("/altered;jsessionid={bad}"), "/altered", false),
        (format!("/both;jsessionid={bad};jsessionid={good}?a=;"), "/both?a=;", true),
        (format!("/many{}", format!(";jsessionid={good}").repeat(9)), "/many", true),
        (format!("/in;jsessionid={good}/the/middle;a=b"), "/in/the/middle;a=b", true),
        (format!("/escaped;jsession%69d={}", good.replace('A', "%41")), "/escaped", true),
        (format!("/pub/..;jsessionid={good}/x"), "/x", true),
        (format!("/own;jsessionid=A1B2;jsessionid={good}"), "/own;jsessionid=A1B2", true),
    ] {
        let answer = seen(&target);
        assert_eq!(answer.seen_path(), path, "{target}");
        assert!(!kept || answer.backend() == home, "{target}");
    }
    assert_eq!(gateway.verdict_of("/altered"), "IN", "there are no links to write to");
    // a rule that has changed since, and one that no longer knows keys in URLs
    gateway.reload(&base.clone().rules(&[
        "id: q, path: /other/*, serviceName: app, sessionAffinity: { enabled: false }",
        "id: app, path: /*, serviceName: app, sessionAffinity: { methods: [cookie] }",
        "id: p, path: /kept/*, serviceName: app",
    ]));
    for path in ["/other/x", "/x", "/kept/x"] {
        assert_eq!(seen(&format!("{path};jsessionid={good}")).seen_path(), path);
    }
    // a backend that is gone
    let rest: Vec<_> = backends.iter().filter(|backend| backend.id() != home).collect();
    let fewer = Setup::of(&rest)
        .rules(&["id: app, path: /*, serviceName: app, urlRewriting: true"])
        .sticky_with("methods: [path]");
    gateway.reload(&fewer);
    let answer = seen(&next);
    assert_eq!(answer.seen_path(), "/next");
    assert_ne!(answer.backend(), home);
    until("the log says so", || (gateway.verdict_of("/next") == "GN").then_some(()));
    let moved = seen(&next.replace("/next", "/start"));
    assert_ne!(link(&moved, 0), next, "the links get another key");
    let again = seen(&link(&moved, 0));
    assert_eq!(again.backend(), who(&moved));
}

#[test]
fn neither_the_log_nor_the_referer_tells_a_key() {
    let backends = three();
    show(&backends, "/start", &Page::html("<a href=\"/next\">on</a>"));
    for method in ["query", "path"] {
        let reject = setup(&backends, method).sticky_with("onMissing: reject");
        let gateway = Gateway::start(&reject);
        let (home, next) = bound(&gateway);
        let key = key(&next);
        let referer = format!("http://app.test{next}");
        let request = Request::get(&next).with("Referer", &referer);
        let answer = gateway.client().send(&request);
        assert_eq!(answer.seen_fields("referer"), ["http://app.test/next"]);
        let foreign = "http://other.test/;jsessionid=A1?sessionId=B2";
        let request = Request::get(&next).with("Referer", foreign);
        assert_eq!(gateway.client().send(&request).seen_fields("referer"), [foreign]);
        // refused before it gets to a backend
        let rest: Vec<_> = backends.iter().filter(|backend| backend.id() != home).collect();
        gateway.reload(
            &Setup::of(&rest)
                .rules(&["id: app, path: /*, serviceName: app, urlRewriting: true"])
                .sticky_with(&format!("methods: [{method}]"))
                .sticky_with("onMissing: reject"),
        );
        assert_eq!(gateway.client().get(&next.replace("/next", "/refused")).status, 503);
        gateway.access_of("/refused");
        for line in gateway.stdout_lines().iter().chain(&gateway.stderr_lines()) {
            assert!(!line.contains(&key), "{line}");
        }
    }
}

#[test]
fn routing_passes_keys_in_paths_over() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    let setup = Setup::of(&[&b1]).service("admin", &[&b2]).rules(&[
        "id: exact, path: /login, serviceName: admin",
        "id: admin, path: /admin/*, serviceName: admin",
        "id: app, path: /*, serviceName: app",
    ]);
    let gateway = Gateway::start(&setup.sticky_with("methods: [path]"));
    let backend = |target: &str| gateway.client().get(target).backend();
    for target in [
        "/login",
        "/login;jsessionid=A1B2",
        "/login;jsessionid=A1B2?x=1",
        "/login;jsessionid=1;jsessionid=2;jsessionid=3;jsessionid=4;jsessionid=5",
        "/admin;jsessionid=A1B2/x",
        "/x/..;jsessionid=A/admin/x",
        "/x/%2e%2e;jsessionid=A/login",
    ] {
        assert_eq!(backend(target), "b2", "{target}");
    }
    assert_eq!(backend("/login;other=A1B2"), "b1", "another parameter is part of the path");
    let own = gateway.client().get("/login;jsessionid=A%201;x=%41");
    assert_eq!(own.seen_path(), "/login;jsessionid=A%201;x=A", "unreserved ones are normalised");
}

#[test]
fn the_applications_own_session_id_picks_its_backend_by_its_route() {
    let backends = three();
    let gateway = Gateway::start(&setup(&backends, "path"));
    for id in ["b1", "b2", "b3"] {
        for target in
            [format!("/x;jsessionid=A1.B2.{id}"), format!("/x;jsessionid=A1.{id}/y?a=.b1")]
        {
            let answer = gateway.client().get(&target);
            assert_eq!((answer.backend(), answer.seen_path()), (id.to_owned(), target));
            assert_eq!(answer.field("set-cookie"), None);
        }
    }
    let page = "<a href=\"/a;jsessionid=A1.b2\">a</a>";
    show(&backends, "/start", &Page::html(page));
    let mut plain = gateway.client();
    let answer = plain.get("/start;jsessionid=A1.b2");
    assert_eq!(answer.text(), page, "what keeps the client already needs no key of ours");
    let gateway = Gateway::start(&setup(&backends, "query"));
    let answer = gateway.client().get("/find?sessionId=my-own&q=1");
    assert_eq!(answer.seen_path(), "/find?sessionId=my-own&q=1");
    let page = "<a href=\"/a?sessionId=my-own&amp;b=1\">a</a>";
    show(&backends, "/start", &Page::html(page));
    let on = link(&gateway.client().get("/start"), 0);
    assert!(on.contains("sessionId=my-own"), "{on}");
    assert_eq!(gateway.client().get(&on).seen_path(), "/a?sessionId=my-own&b=1");
}

#[test]
fn with_cookies_links_are_clean_from_the_second_request_on() {
    let backends = three();
    let html = "<a href=\"/next\">on</a>";
    show(&backends, "/start", &Page::html(html));
    let gateway = Gateway::start(&setup(&backends, "cookie, query"));
    let mut client = gateway.client();
    let first = client.get("/start");
    assert_eq!(first.cookies().len(), 1);
    let next = link(&first, 0);
    assert!(next.contains("sessionId="));
    for _ in 0..3 {
        let again = client.get("/start");
        assert_eq!((who(&again), again.text()), (who(&first), html.to_owned()));
    }
    // a click on a link of the first page, with the cookie
    let answer = client.get(&next);
    assert_eq!((answer.backend(), answer.seen_path()), (who(&first), "/next".to_owned()));
    // and without it
    for _ in 0..2 {
        let page = gateway.client().get(&next.replace("/next", "/start"));
        assert_eq!(who(&page), who(&first));
        assert_eq!(link(&page, 0), next, "the key goes on");
    }
}

#[test]
fn of_several_keys_the_one_that_holds_goes_on() {
    let backends = three();
    show(&backends, "/start", &Page::html("<a href=\"/next\">on</a>"));
    let gateway = Gateway::start(&setup(&backends, "query"));
    let (home, next) = bound(&gateway);
    let good = key(&next);
    let bad = altered(&good);
    let page = gateway.client().get(&format!("/start?sessionId={bad}&sessionId={good}"));
    assert_eq!((who(&page), key(&link(&page, 0))), (home, good));
}

#[test]
fn pages_with_keys_tell_no_other_site_where_they_were() {
    let backends = three();
    let gateway = Gateway::start(&setup(&backends, "query"));
    for (policy, told) in [
        (None, "same-origin"),
        (Some("unsafe-url"), "same-origin"),
        (Some("no-referrer, No-Referrer-When-Downgrade"), "same-origin"),
        (Some("no-referrer"), "no-referrer"),
    ] {
        let page = Page::html("<a href=\"/next\">on</a><img src=\"http://ads.test/\">");
        let page = policy
            .iter()
            .fold(page, |page, policy| page.with(&format!("Referrer-Policy: {policy}")));
        show(&backends, "/start", &page);
        let answer = gateway.client().get("/start");
        assert_eq!(answer.field("referrer-policy"), Some(told));
        assert!(answer.text().contains("\"http://ads.test/\""));
    }
}

#[test]
fn unsealed_keys_ride_in_urls_too() {
    let backends = three();
    show(&backends, "/start", &Page::html("<a href=\"/next\">on</a>"));
    for (method, encoding) in [("query", "hash"), ("path", "plain"), ("query", "plain")] {
        let setup = setup(&backends, method).sticky_with(&format!("encoding: {encoding}"));
        let gateway = Gateway::start(&setup);
        let (home, next) = bound(&gateway);
        for _ in 0..3 {
            let answer = gateway.client().get(&next);
            assert_eq!((answer.backend(), answer.seen_path()), (home.clone(), "/next".to_owned()));
        }
    }
}
