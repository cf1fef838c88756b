//! Where two features meet: a session beside a key, a guest whose application repeats its id, a name
//! beside the key of another load balancer, a key that another rule has written.

use crate::harness::{Backend, Gateway, Request, Setup, check};

fn three() -> [Backend; 3] {
    ["b1", "b2", "b3"].map(Backend::start)
}

fn setup(backends: &[Backend; 3]) -> Setup {
    Setup::of(&[&backends[0], &backends[1], &backends[2]])
}

#[test]
fn a_cookie_beside_a_session_lives_on() {
    let backends = three();
    let setup = setup(&backends)
        .sticky_with("learn: [{ header: S }]")
        .sticky_with("methods: [cookie]")
        .sticky_with("idleTimeout: 10s");
    let gateway = Gateway::start(&setup);
    let mut client = gateway.client();
    let first = client.send(&Request::get("/").with("X-Toy-Field", "S: one"));
    assert_eq!(first.cookies().len(), 1);
    let again = Request::get("/again").with("S", "one");
    assert!(client.send(&again).cookies().is_empty(), "it is not due");
    for _ in 0..6 {
        gateway.client().send(&Request::get("/sleep/250").with("S", "one"));
    }
    // the session was used all the time, the cookie was not written for more than a second
    let due = client.send(&Request::get("/due").with("S", "one"));
    assert_eq!((due.backend(), due.cookies().len()), (first.backend(), 1));
    assert!(client.send(&again).cookies().is_empty(), "once is enough");
}

#[test]
fn a_session_that_the_application_repeats_stays_where_it_was_minted() {
    for line in ["learn: [{ header: S }]", "envelope: { header: S }"] {
        let backends = three();
        let setup = setup(&backends).sticky_with(line).sticky_with("onUnhealthy: serve-once");
        let gateway = Gateway::start(&setup);
        let repeat = |id: &str| Request::get("/").with("X-Toy-Field", "S: one").with("S", id);
        let first = gateway.client().send(&Request::get("/").with("X-Toy-Field", "S: one"));
        let id = first.field("s").unwrap().to_owned();
        let home = backends.iter().find(|backend| backend.id() == first.backend()).unwrap();
        home.stop();
        let guest = gateway.client().send(&repeat(&id));
        assert_ne!(guest.backend(), first.backend());
        let id = guest.field("s").unwrap().to_owned();
        home.restart();
        let back = gateway.client().send(&repeat(&id));
        assert_eq!(back.backend(), first.backend(), "{line}");
    }
}

#[test]
fn the_key_of_another_load_balancer_comes_before_a_clients_own_name() {
    let backends = three();
    let setup = setup(&backends)
        .sticky_with("methods: [header]")
        .sticky_with("adopt: [{ format: haproxy, cookie: SRV }]");
    let gateway = Gateway::start(&setup);
    for n in 0..6 {
        for id in ["b1", "b2", "b3"] {
            let request = Request::get("/").with("X-SessionAffinity", &format!("user {n}"));
            let answer = gateway.client().send(&request.with("Cookie", &format!("SRV={id}")));
            assert_eq!(answer.backend(), id);
            assert!(answer.field("x-sessionaffinity").is_some(), "it gets a key of ours");
        }
    }
}

#[test]
fn a_key_in_a_header_reaches_no_application_whichever_rule_had_written_it() {
    let backends = three();
    let setup = setup(&backends)
        .rules(&[
            "id: keyed, path: /keyed/*, serviceName: app",
            "id: other, path: /*, serviceName: app, sessionAffinity: { enabled: false }",
        ])
        .sticky_with("methods: [header]")
        .sticky_with("envelope: { header: S }");
    let gateway = Gateway::start(&setup);
    let first = gateway.client().send(&Request::get("/keyed/").with("X-Toy-Field", "S: one"));
    let key = first.field("x-sessionaffinity").unwrap().to_owned();
    let wrapped = first.field("s").unwrap().to_owned();
    let request = Request::get("/other").with("X-SessionAffinity", &key);
    let other = gateway.client().send(&request.with("S", "plain").with("S", &wrapped));
    assert!(other.seen_fields("x-sessionaffinity").is_empty());
    assert_eq!(other.seen_fields("s"), ["plain", "one"]);
    let name = Request::get("/other").with("X-SessionAffinity", "the client's own");
    let other = gateway.client().send(&name);
    assert_eq!(other.seen_fields("x-sessionaffinity"), ["the client's own"]);
}

#[test]
fn a_header_with_two_meanings_is_a_fault() {
    let backends = three();
    for lines in [
        &["envelope: { header: X-A }", "exposeBackend: X-A"][..],
        &["learn: [{ header: X-A }]", "exposeBackend: X-A"],
        &["methods: [header]", "headerName: X-A", "exposeBackend: X-A"],
    ] {
        let yaml = lines.iter().fold(setup(&backends), |setup, line| setup.sticky_with(line));
        let output = check(&yaml.to_string());
        assert_eq!(output.code, Some(1), "{lines:?}");
        assert!(output.stderr.contains("the header x-a has two meanings"), "{}", output.stderr);
    }
    let named = setup(&backends)
        .router("serviceHeader: X-A")
        .sticky_with("methods: [header]")
        .sticky_with("headerName: X-A");
    assert_eq!(check(&named.to_string()).code, Some(1));
}

#[test]
fn a_cookie_that_refuses_is_no_consent() {
    let backends = three();
    let gateway = Gateway::start(&setup(&backends).sticky_with("consent: { cookie: ok }"));
    let cookies = |value: &str| {
        let request = Request::get("/").with("Cookie", &format!("ok={value}"));
        gateway.client().send(&request).cookies().len()
    };
    for refusal in ["", "0", "false", "No"] {
        assert_eq!(cookies(refusal), 0, "{refusal}");
    }
    assert_eq!(cookies("1"), 1);
}
