//! Sessions of the application that stand in for a key: `learn` and `envelope`.

use crate::harness::{Answer, Backend, Gateway, Request, SECRET, Setup};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::BTreeSet;
use std::thread;

fn three() -> [Backend; 3] {
    ["b1", "b2", "b3"].map(Backend::start)
}

fn setup(backends: &[Backend; 3], line: &str) -> Setup {
    Setup::of(&[&backends[0], &backends[1], &backends[2]]).sticky_with(line)
}

const LEARN: &str = "learn: [{ header: Mcp-Session-Id }, { cookie: JSESSIONID }]";

/// A request to which the application answers with a header field.
fn minting(path: &str, field: &str) -> Request {
    Request::get(path).with("X-Toy-Field", field)
}

fn with_id(path: &str, id: &str) -> Request {
    Request::get(path).with("Mcp-Session-Id", id)
}

/// Lets that many seconds go by; requests of somebody else measure them.
fn seconds(gateway: &Gateway, seconds: usize) {
    let mut other = gateway.client();
    for _ in 0..seconds * 4 {
        other.get("/sleep/250");
    }
}

#[test]
fn a_learnt_session_is_bound_to_the_backend_that_minted_it() {
    let backends = three();
    let gateway = Gateway::start(&setup(&backends, LEARN));
    let mut homes = BTreeSet::new();
    for n in 0..6 {
        let id = format!("mcp {n}");
        let first = gateway.client().send(&minting("/minted", &format!("Mcp-Session-Id: {id}")));
        assert_eq!((first.cookies().len(), first.field("mcp-session-id")), (0, Some(&*id)));
        assert_eq!(first.field("cache-control"), Some("private"));
        assert_eq!(gateway.verdict_of("/minted"), "NI");
        for _ in 0..3 {
            let again = gateway.client().send(&with_id("/kept", &id));
            assert_eq!((again.backend(), again.cookies().len()), (first.backend(), 0));
            assert_eq!(again.seen_fields("mcp-session-id"), [id.as_str()]);
            assert_eq!(gateway.verdict_of("/kept"), "VN");
        }
        homes.insert(first.backend());
    }
    assert_eq!(homes.len(), 3);
    let mut client = gateway.client();
    let first = client.send(&minting("/", "Set-Cookie: JSESSIONID=A1B2; Path=/; HttpOnly"));
    assert_eq!(first.cookies(), ["JSESSIONID=A1B2; Path=/; HttpOnly"]);
    for _ in 0..5 {
        assert_eq!(client.get("/").backend(), first.backend());
    }
}

#[test]
fn many_clients_learn_at_the_same_time() {
    let backends = three();
    let gateway = Gateway::start(&setup(&backends, LEARN));
    thread::scope(|scope| {
        for thread in 0..8 {
            let gateway = &gateway;
            scope.spawn(move || {
                for n in 0..15 {
                    let id = format!("{thread}-{n}");
                    let field = format!("Mcp-Session-Id: {id}");
                    let home = gateway.client().send(&minting("/", &field)).backend();
                    for _ in 0..2 {
                        let again = gateway.client().send(&with_id("/", &id));
                        assert_eq!(again.backend(), home);
                    }
                }
            });
        }
    });
    gateway.wait_for_metric("stickfast_learned_sessions", &[], 120.0);
    // and a reload keeps them
    let field = "Mcp-Session-Id: kept";
    let home = gateway.client().send(&minting("/", field)).backend();
    gateway.reload(&setup(&backends, LEARN).sticky_with("rejectStatus: 500"));
    for _ in 0..4 {
        assert_eq!(gateway.client().send(&with_id("/", "kept")).backend(), home);
    }
}

#[test]
fn an_unknown_session_is_placed_and_then_kept() {
    let backends = three();
    let gateway = Gateway::start(&setup(&backends, LEARN));
    for id in ["from before the restart".to_owned(), "x".repeat(8 * 1024)] {
        let home = gateway.client().send(&with_id("/unknown", &id)).backend();
        assert_eq!(gateway.verdict_of("/unknown"), "NI");
        for _ in 0..4 {
            assert_eq!(gateway.client().send(&with_id("/known", &id)).backend(), home);
        }
        assert_eq!(gateway.verdict_of("/known"), "VN");
    }
}

#[test]
fn a_session_that_the_application_ends_is_forgotten() {
    let backends = three();
    let gateway = Gateway::start(&setup(&backends, LEARN));
    for end in ["Max-Age=0", "Expires=Thu, 01-Jan-1970 00:00:00 GMT"] {
        let mut client = gateway.client();
        client.send(&minting("/", "Set-Cookie: JSESSIONID=A1B2"));
        for value in ["", "gone"] {
            client.put("JSESSIONID", "A1B2");
            let known =
                client.send(&minting("/over", &format!("Set-Cookie: JSESSIONID={value}; {end}")));
            assert_eq!(known.cookies().len(), 1);
            client.put("JSESSIONID", "A1B2");
            let path = format!("/after/{value}/{}", end.len());
            client.get(&path);
            assert_eq!(gateway.verdict_of(&path), "NI", "{value} {end}");
            let path = format!("{path}/known");
            client.get(&path);
            assert_eq!(gateway.verdict_of(&path), "VN", "{value} {end}");
        }
    }
}

#[test]
fn a_silent_session_expires_and_one_in_use_does_not() {
    let backends = three();
    let gateway = Gateway::start(&setup(&backends, LEARN).sticky_with("idleTimeout: 3s"));
    let home = gateway.client().send(&minting("/", "Mcp-Session-Id: used")).backend();
    gateway.client().send(&minting("/", "Mcp-Session-Id: silent"));
    for _ in 0..5 {
        seconds(&gateway, 1);
        assert_eq!(gateway.client().send(&with_id("/used", "used")).backend(), home);
        assert_eq!(gateway.verdict_of("/used"), "VN");
    }
    gateway.client().send(&with_id("/silent", "silent"));
    assert_eq!(gateway.verdict_of("/silent"), "EI");
    gateway.client().send(&with_id("/silent-no-more", "silent"));
    assert_eq!(gateway.verdict_of("/silent-no-more"), "VN");
    let labels = [("service", "app"), ("cause", "idle-expired")];
    gateway.wait_for_metric("stickfast_affinity_misses_total", &labels, 1.0);
}

#[test]
fn a_learnt_session_of_a_stopped_backend_moves_once() {
    let backends = three();
    let gateway = Gateway::start(&setup(&backends, LEARN));
    let home = gateway.client().send(&minting("/", "Mcp-Session-Id: a")).backend();
    let victim = backends.iter().find(|backend| backend.id() == home).unwrap();
    victim.stop();
    let moved = gateway.client().send(&with_id("/moved", "a"));
    assert_ne!(moved.backend(), home);
    assert_eq!(gateway.verdict_of("/moved"), "DI");
    let told = format!("from={home}; reason=unhealthy");
    assert_eq!(moved.seen_fields("x-affinity-failover"), [told]);
    victim.restart();
    for _ in 0..4 {
        let again = gateway.client().send(&with_id("/there", "a"));
        assert_eq!(again.backend(), moved.backend());
        assert!(again.seen_fields("x-affinity-failover").is_empty());
    }
    assert_eq!(gateway.verdict_of("/there"), "VN");
}

#[test]
fn a_learnt_session_of_a_backend_that_is_gone_is_refused_once() {
    let backends = three();
    let before = setup(&backends, LEARN).sticky_with("onMissing: reject");
    let gateway = Gateway::start(&before);
    let home = gateway.client().send(&minting("/", "Mcp-Session-Id: a")).backend();
    let rest: Vec<_> = backends.iter().filter(|backend| backend.id() != home).collect();
    gateway.reload(&Setup::of(&rest).sticky_with(LEARN).sticky_with("onMissing: reject"));
    assert_eq!(gateway.client().send(&with_id("/refused", "a")).status, 503);
    assert_eq!(gateway.verdict_of("/refused"), "GD");
    let again = gateway.client().send(&with_id("/again", "a"));
    assert_eq!(gateway.verdict_of("/again"), "NI");
    assert_eq!(gateway.client().send(&with_id("/", "a")).backend(), again.backend());
}

#[test]
fn an_envelope_and_a_cookie_of_ours_go_together() {
    let backends = three();
    let setup = setup(&backends, "envelope: { cookie: S }").sticky_with("methods: [cookie]");
    let gateway = Gateway::start(&setup);
    let mut client = gateway.client();
    let first = client.send(&minting("/", "Set-Cookie: S=1; Path=/"));
    assert_eq!(first.cookies().len(), 2, "{:?}", first.cookies());
    for _ in 0..3 {
        let again = client.get("/");
        assert_eq!((again.backend(), again.cookies().len()), (first.backend(), 0));
        assert_eq!(seen(&again, "cookie"), ["S=1"]);
    }
    client.remove("gateway-backend");
    assert_eq!(client.get("/").backend(), first.backend(), "by the envelope alone");
    client.remove("S");
    assert_eq!(client.get("/").cookies().len(), 1);
}

#[test]
fn no_more_sessions_are_remembered_than_there_is_room_for() {
    let backends = three();
    let setup = setup(&backends, LEARN).server("limits: { maxLearned: 10 }");
    let gateway = Gateway::start(&setup);
    let mut client = gateway.client();
    for n in 0..25 {
        client.send(&minting("/", &format!("Mcp-Session-Id: {n}")));
    }
    gateway.wait_for_metric("stickfast_learned_sessions", &[], 10.0);
    gateway.wait_for_metric("stickfast_learned_sessions_evicted_total", &[], 15.0);
    client.send(&with_id("/last", "24"));
    assert_eq!(gateway.verdict_of("/last"), "VN");
    client.send(&with_id("/first", "0"));
    assert_eq!(gateway.verdict_of("/first"), "NI");
}

#[test]
fn a_learnt_session_and_a_cookie_of_ours_go_together() {
    let backends = three();
    let gateway = Gateway::start(&setup(&backends, LEARN).sticky_with("methods: [cookie]"));
    let mut client = gateway.client();
    let first = client.send(&minting("/", "Mcp-Session-Id: a"));
    assert_eq!(first.cookies().len(), 1, "{:?}", first.cookies());
    for _ in 0..3 {
        assert_eq!(gateway.client().send(&with_id("/", "a")).backend(), first.backend());
        let by_cookie = client.get("/");
        assert_eq!((by_cookie.backend(), by_cookie.cookies().len()), (first.backend(), 0));
        let by_both = client.send(&with_id("/", "a"));
        assert_eq!((by_both.backend(), by_both.cookies().len()), (first.backend(), 0));
    }
    // a session that is not known yet is bound to where the cookie leads
    let late = client.send(&minting("/late", "Mcp-Session-Id: b"));
    assert_eq!(late.backend(), first.backend());
    assert_eq!(gateway.client().send(&with_id("/", "b")).backend(), first.backend());
}

#[test]
fn sessions_of_two_services_with_one_id_do_not_mix() {
    let [a1, a2, b1, b2] = ["a1", "a2", "b1", "b2"].map(Backend::start);
    let setup = Setup::of(&[&a1, &a2]).service("other", &[&b1, &b2]).rules(&[
        "id: other, path: /other/*, serviceName: other",
        "id: app, path: /*, serviceName: app",
    ]);
    let gateway = Gateway::start(&setup.sticky_with(LEARN));
    for n in 0..4 {
        let (id, field) = (format!("{n}"), format!("Mcp-Session-Id: {n}"));
        let here = gateway.client().send(&minting("/", &field)).backend();
        gateway.client().send(&with_id("/other/", &id));
        assert_eq!(gateway.verdict_of("/other/"), "NI");
        let there = gateway.client().send(&with_id("/other/x", &id)).backend();
        for _ in 0..2 {
            assert_eq!(gateway.client().send(&with_id("/", &id)).backend(), here);
            assert_eq!(gateway.client().send(&with_id("/other/x", &id)).backend(), there);
        }
    }
}

/// What the application gets of a header.
fn seen(answer: &Answer, name: &str) -> Vec<String> {
    answer.seen_fields(name)
}

/// With the last byte of its key changed.
fn altered(envelope: &str) -> String {
    let (key, inner) = envelope.split_once('.').expect("an envelope");
    let mut bytes = URL_SAFE_NO_PAD.decode(key).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    format!("{}.{inner}", URL_SAFE_NO_PAD.encode(bytes))
}

#[test]
fn a_header_in_an_envelope_binds_and_the_application_sees_its_own() {
    let backends = three();
    let setup = setup(&backends, "envelope: { header: Mcp-Session-Id }");
    let (one, other) = (Gateway::start(&setup), Gateway::start(&setup));
    for inner in ["abc", "a.b.c", "A1B2.node1", "=?"] {
        let first = one.client().send(&minting("/first", &format!("Mcp-Session-Id: {inner}")));
        assert_eq!(one.verdict_of("/first"), "NI");
        assert_eq!(first.field("cache-control"), Some("private"));
        let envelope = first.field("mcp-session-id").unwrap().to_owned();
        assert!(envelope.ends_with(&format!(".{inner}")) && envelope.len() > 70, "{envelope}");
        for gateway in [&one, &other, &one, &other] {
            let again = gateway.client().send(&with_id("/again", &envelope));
            assert_eq!(again.backend(), first.backend());
            assert_eq!(seen(&again, "mcp-session-id"), [inner]);
            assert_eq!(again.field("mcp-session-id"), None);
            assert_eq!(gateway.verdict_of("/again"), "VN");
        }
        let tampered = one.client().send(&with_id("/tampered", &altered(&envelope)));
        assert_eq!(seen(&tampered, "mcp-session-id"), [inner]);
        assert_eq!(one.verdict_of("/tampered"), "II");
        let anew = tampered.field("mcp-session-id").expect("it is issued anew").to_owned();
        assert_eq!(one.client().send(&with_id("/", &anew)).backend(), tampered.backend());
    }
}

#[test]
fn a_cookie_in_an_envelope_keeps_its_attributes_and_its_neighbours() {
    let backends = three();
    let setup = setup(&backends, "envelope: { cookie: JSESSIONID }").rules(&[
        "id: plain, path: /plain/*, serviceName: app, sessionAffinity: { enabled: false }",
        "id: app, path: /*, serviceName: app",
    ]);
    let gateway = Gateway::start(&setup);
    let mut client = gateway.client();
    let request = minting("/", "Set-Cookie: a=1; Path=/a")
        .with("X-Toy-Field", "Set-Cookie: JSESSIONID=A1.B2; Path=/; HttpOnly; SameSite=None")
        .with("X-Toy-Field", "Set-Cookie: z=26");
    let first = client.send(&request);
    let cookies = first.cookies();
    assert_eq!((cookies.len(), cookies[0], cookies[2]), (3, "a=1; Path=/a", "z=26"));
    assert!(cookies[1].starts_with("JSESSIONID=A"), "{cookies:?}");
    assert!(cookies[1].ends_with(".A1.B2; Path=/; HttpOnly; SameSite=None"), "{cookies:?}");
    for _ in 0..4 {
        let again = client.get("/again");
        assert_eq!((again.backend(), again.cookies().len()), (first.backend(), 0));
        assert_eq!(seen(&again, "cookie"), ["a=1; JSESSIONID=A1.B2; z=26"]);
    }
    assert_eq!(gateway.verdict_of("/again"), "VN");
    let plain = client.get("/plain/x");
    assert_eq!(seen(&plain, "cookie"), ["a=1; JSESSIONID=A1.B2; z=26"], "on every rule");
    let over = client.send(&minting("/", "Set-Cookie: JSESSIONID=; Max-Age=0; Path=/"));
    assert_eq!(over.cookies(), ["JSESSIONID=; Max-Age=0; Path=/"]);
    // one from before there were envelopes
    let mut old = gateway.client();
    old.put("JSESSIONID", "OLD.1");
    let answer = old.get("/old");
    assert_eq!(seen(&answer, "cookie"), ["JSESSIONID=OLD.1"]);
    assert_eq!(gateway.verdict_of("/old"), "NI");
    for _ in 0..3 {
        let again = old.get("/");
        assert_eq!(again.backend(), answer.backend(), "it is bound from then on");
        assert_eq!(seen(&again, "cookie"), ["JSESSIONID=OLD.1"]);
    }
}

#[test]
fn an_envelope_of_a_stopped_backend_is_issued_anew() {
    let backends = three();
    for (line, header) in [
        ("envelope: { header: Mcp-Session-Id }", true),
        ("envelope: { cookie: JSESSIONID }", false),
    ] {
        let gateway = Gateway::start(&setup(&backends, line));
        let mut client = gateway.client();
        let field = if header { "Mcp-Session-Id: a" } else { "Set-Cookie: JSESSIONID=a" };
        let first = client.send(&minting("/", field));
        let mut envelope = first.field("mcp-session-id").unwrap_or_default().to_owned();
        let home = first.backend();
        let victim = backends.iter().find(|backend| backend.id() == home).unwrap();
        victim.stop();
        let request = |envelope: &str| match envelope {
            "" => Request::get("/moved"),
            _ => with_id("/moved", envelope),
        };
        let moved = client.send(&request(&envelope));
        assert_ne!(moved.backend(), home);
        assert_eq!(gateway.verdict_of("/moved"), "DI");
        if header {
            moved.field("mcp-session-id").expect("a new envelope").clone_into(&mut envelope);
        }
        victim.restart();
        for _ in 0..4 {
            let again = client.send(&request(&envelope));
            assert_eq!(again.backend(), moved.backend());
            let got = if header { "mcp-session-id" } else { "cookie" };
            assert_eq!(seen(&again, got), [if header { "a" } else { "JSESSIONID=a" }]);
        }
    }
}

#[test]
fn silence_does_not_end_an_envelope_and_its_age_does() {
    let backends = three();
    let setup = setup(&backends, "envelope: { header: Mcp-Session-Id }")
        .sticky_with("idleTimeout: 1s")
        .sticky_with("absoluteTimeout: 4s");
    let gateway = Gateway::start(&setup);
    let first = gateway.client().send(&minting("/", "Mcp-Session-Id: a"));
    let envelope = first.field("mcp-session-id").unwrap().to_owned();
    seconds(&gateway, 2);
    let again = gateway.client().send(&with_id("/silent", &envelope));
    assert_eq!(gateway.verdict_of("/silent"), "VN");
    assert_eq!(again.backend(), first.backend());
    seconds(&gateway, 4);
    let old = gateway.client().send(&with_id("/old", &envelope));
    assert_eq!(gateway.verdict_of("/old"), "OI");
    assert_eq!(seen(&old, "mcp-session-id"), ["a"]);
    assert!(old.field("mcp-session-id").is_some());
}

#[test]
fn a_session_under_a_name_that_is_taken_is_a_fault() {
    let backends = three();
    for line in [
        "learn: [{ cookie: gateway-backend }], methods: [cookie]",
        "envelope: { cookie: gateway-backend }, methods: [cookie]",
        "learn: [{ header: X-Key }], methods: [header], headerName: X-Key",
        "learn: [{ cookie: SRV }], adopt: [{ format: haproxy, cookie: SRV }]",
    ] {
        let yaml = line
            .replace(", methods", "\n      methods")
            .replace(", headerName", "\n      headerName");
        let yaml = setup(&backends, &yaml.replace(", adopt", "\n      adopt")).to_string();
        let output = crate::harness::check(&yaml);
        assert_eq!(output.code, Some(1), "{line}: {output:?}");
        let told = ["another meaning", "two meanings"];
        assert!(told.iter().any(|t| output.stderr.contains(t)), "{line}: {}", output.stderr);
        assert!(!output.stderr.contains(SECRET));
    }
}
