//! TLS of listeners: who gets which certificate, who gets in, and what happens when files change.

use crate::harness::{
    Authority, Backend, Files, Gateway, Request, Setup, TlsClient, TlsWire, check, until,
};
use rustls::{ProtocolVersion, version};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A gateway with one certificate for `app.test`, before one plain backend.
fn start(files: &Files, authority: &Authority, more: &str) -> (Gateway, Backend) {
    let backend = Backend::start("b1");
    let pair = files.pair("app", &authority.issue(&["app.test"]));
    let setup = Setup::of(&[&backend]).encrypted(&format!("certificates: [{{ {pair} }}]{more}"));
    (Gateway::start(&setup), backend)
}

fn handshakes(gateway: &Gateway, result: &str) -> f64 {
    gateway.metric("stickfast_tls_handshakes_total", &[("result", result)])
}

#[test]
fn both_versions_are_spoken_and_backends_are_told_that_it_was_https() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let (gateway, _b1) = start(&files, &authority, "");
    for (spoken, expected) in
        [(&version::TLS12, ProtocolVersion::TLSv1_2), (&version::TLS13, ProtocolVersion::TLSv1_3)]
    {
        let client = TlsClient::with(gateway.address(), &authority, &[spoken], None);
        let mut wire = client.connect().unwrap();
        assert_eq!(wire.version(), expected);
        for _ in 0..2 {
            let answer = wire.send(&Request::get("/")).unwrap();
            assert_eq!(answer.seen_fields("x-forwarded-proto"), ["https"]);
        }
    }
    assert!((handshakes(&gateway, "full") - 2.0).abs() < f64::EPSILON);
    // both clients have hung up without a word, which is no fault of theirs
    until("nobody is left", || (gateway.metric("stickfast_connections", &[]) < 1.0).then_some(()));
    let refused = gateway.metric("stickfast_refusals_total", &[("reason", "bad-request")]);
    assert!(refused.abs() < f64::EPSILON);
    assert_eq!(gateway.access_lines().len(), 4);
}

#[test]
fn min_version_1_3_turns_1_2_away() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let (gateway, _b1) = start(&files, &authority, ", minVersion: \"1.3\"");
    let with = |spoken| TlsClient::with(gateway.address(), &authority, &[spoken], None);
    let refused = with(&version::TLS12).connect().err().expect("no 1.2");
    assert!(refused.to_string().contains("ProtocolVersion"), "told by an alert: {refused}");
    assert_eq!(with(&version::TLS13).get("/").status, 200);
    gateway.wait_for_metric("stickfast_tls_handshakes_total", &[("result", "failed")], 1.0);
}

#[test]
fn a_cookie_that_came_by_tls_is_secure() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let backend = Backend::start("b1");
    let pair = files.pair("app", &authority.issue(&["app.test"]));
    let setup = Setup::of(&[&backend]).sticky();
    let gateway = Gateway::start(&setup.encrypted(&format!("certificates: [{{ {pair} }}]")));
    let answer = TlsClient::new(gateway.address(), &authority).get("/");
    assert!(answer.cookies()[0].contains("; Secure"), "{:?}", answer.cookies());
}

#[test]
fn the_name_that_is_asked_for_chooses_the_certificate() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let backend = Backend::start("b1");
    let names = [&["first.test"][..], &["*.wild.test", "wild.test"], &["exact.wild.test"]];
    let pairs = names.map(|names| authority.issue(names));
    let written: Vec<String> = pairs
        .iter()
        .enumerate()
        .map(|(nth, pair)| format!("{{ {} }}", files.pair(&format!("p{nth}"), pair)))
        .collect();
    let setup = Setup::of(&[&backend]);
    let gateway =
        Gateway::start(&setup.encrypted(&format!("certificates: [{}]", written.join(", "))));
    let shown = |client: TlsClient| client.connect().map(|wire| wire.certificate());
    let client = || TlsClient::new(gateway.address(), &authority);
    let der = |nth: usize| pairs[nth].der().0[0].clone();
    for (asked, nth) in [
        ("first.test", 0),
        ("wild.test", 1),
        ("a.wild.test", 1),
        ("A.Wild.Test", 1),
        ("exact.wild.test", 2),
    ] {
        assert_eq!(shown(client().asks_for(asked)).unwrap(), der(nth), "{asked}");
    }
    assert_eq!(shown(client().asks_for("first.test").without_name()).unwrap(), der(0));
    // the default is shown, which the client then does not believe
    for asked in ["other.test", "a.b.wild.test"] {
        let refused = shown(client().asks_for(asked)).unwrap_err().to_string();
        assert!(refused.contains("only valid for DnsName(\"first.test\")"), "{asked}: {refused}");
    }
}

#[test]
fn http_1_1_is_agreed_upon_and_nothing_in_common_is_an_alert() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let (gateway, _b1) = start(&files, &authority, "");
    let client = || TlsClient::new(gateway.address(), &authority);
    let wire = client().offers(&["h2", "http/1.1"]).connect().unwrap();
    assert_eq!(wire.protocol(), Some("http/1.1"));
    assert_eq!(client().connect().unwrap().protocol(), None);
    let refused = client().offers(&["h2"]).connect().err().expect("h2 alone is not spoken");
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
}

/// Connects until it is a resumption; a server may well give no ticket for it.
fn resumes(client: &TlsClient) -> bool {
    let mut wire = client.connect().unwrap();
    wire.send(&Request::get("/")).unwrap();
    drop(wire);
    client.connect().unwrap().was_resumed()
}

#[test]
fn clients_resume_in_both_versions_also_after_a_reload() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let backend = Backend::start("b1");
    let pair = files.pair("app", &authority.issue(&["app.test"]));
    let tls = format!("certificates: [{{ {pair} }}]");
    let setup = Setup::of(&[&backend]).encrypted(&tls);
    let gateway = Gateway::start(&setup);
    for spoken in [&version::TLS12, &version::TLS13] {
        let client = TlsClient::with(gateway.address(), &authority, &[spoken], None);
        assert!(!client.connect().unwrap().was_resumed());
        assert!(resumes(&client), "{spoken:?}");
        let mut wire = client.connect().unwrap();
        wire.send(&Request::get("/")).unwrap();
        drop(wire);
        gateway.reload(&setup);
        assert!(client.connect().unwrap().was_resumed(), "{spoken:?} after a reload");
    }
    assert!(handshakes(&gateway, "resumed") >= 4.0);
}

#[test]
fn a_client_without_the_right_certificate_stays_outside() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let (clients, strangers) = (Authority::new("clients"), Authority::new("strangers"));
    let ca = files.put("clients.pem", &clients.pem());
    let (gateway, b1) = start(&files, &authority, &format!(", clientCa: \"{ca}\""));
    let shows = |spoken, pair: Option<&_>| {
        TlsClient::with(gateway.address(), &authority, &[spoken], pair).try_get("/")
    };
    let (right, wrong) = (clients.issue(&["alice"]), strangers.issue(&["alice"]));
    for spoken in [&version::TLS12, &version::TLS13] {
        assert_eq!(shows(spoken, Some(&right)).unwrap().status, 200);
        let none = shows(spoken, None).unwrap_err().to_string();
        let alerts = ["CertificateRequired", "HandshakeFailure"];
        assert!(alerts.iter().any(|alert| none.contains(alert)), "{spoken:?}: {none}");
        let stranger = shows(spoken, Some(&wrong)).unwrap_err().to_string();
        assert!(stranger.contains("alert"), "{spoken:?}: {stranger}");
    }
    assert_eq!(b1.requests(), 2);
}

#[test]
fn the_subject_is_told_and_nobody_else_can_tell_it() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let clients = Authority::new("clients");
    let ca = files.put("clients.pem", &clients.pem());
    let backend = Backend::start("b1");
    let pair = files.pair("app", &authority.issue(&["app.test"]));
    let setup = Setup::of(&[&backend]).listeners(&[
        &format!(
            "address: \"127.0.0.1:0\", tls: {{ certificates: [{{ {pair} }}], clientCa: \"{ca}\", \
             clientAuth: optional, clientCertHeader: X-Client-Subject }}"
        ),
        "address: \"127.0.0.1:0\"",
    ]);
    let gateway = Gateway::start(&setup);
    let [encrypted, plain] = gateway.announced()[..] else { panic!("two listeners") };
    let told = |answer: &crate::harness::Answer| {
        let mut all = answer.seen_fields("x-client-subject");
        all.extend(answer.seen_fields("x_client_subject"));
        all
    };
    let lies = Request::get("/")
        .with("X-Client-Subject", "CN=root")
        .with("X_Client_Subject", "CN=root")
        .with("Connection", "x-client-subject");
    let alice = clients.issue_to("alice", "Example, Inc.");
    let both = [&version::TLS12, &version::TLS13];
    let known = TlsClient::with(encrypted, &authority, &both, Some(&alice));
    for _ in 0..2 {
        let mut wire = known.connect().unwrap();
        let answer = wire.send(&lies).unwrap();
        assert_eq!(told(&answer), ["O=Example\\, Inc.,CN=alice"], "resumed or not");
    }
    let unknown = TlsClient::new(encrypted, &authority);
    assert_eq!(told(&unknown.connect().unwrap().send(&lies).unwrap()), [""; 0]);
    let mut open = crate::harness::Client::new(plain);
    assert_eq!(told(&open.send(&lies)), [""; 0], "also by the listener that is not encrypted");
}

#[test]
fn another_authority_for_clients_ends_resumption_with_the_former() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let ca = files.put("clients.pem", &old.pem());
    let (gateway, _b1) = start(&files, &authority, &format!(", clientCa: \"{ca}\""));
    let alice = old.issue(&["alice"]);
    let both = [&version::TLS12, &version::TLS13];
    let client = TlsClient::with(gateway.address(), &authority, &both, Some(&alice));
    assert!(resumes(&client));
    files.put("clients.pem", &new.pem());
    gateway.wait_for_diagnostic(&["changed certificates are in force"]);
    assert!(client.try_get("/").is_err(), "the ticket of a client that is no longer known");
}

#[test]
fn changed_files_are_taken_up_under_load_and_nothing_is_lost() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let (gateway, _b1) = start(&files, &authority, "");
    let (busy, served) = (AtomicBool::new(true), AtomicUsize::new(0));
    thread::scope(|scope| {
        for nth in 0..8 {
            let (gateway, authority, busy, served) = (&gateway, &authority, &busy, &served);
            scope.spawn(move || {
                let client = TlsClient::new(gateway.address(), authority);
                let mut kept = client.connect().unwrap();
                while busy.load(Ordering::SeqCst) {
                    if nth % 2 == 0 {
                        kept = client.connect().unwrap();
                    }
                    assert_eq!(kept.send(&Request::get("/")).unwrap().status, 200);
                    served.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let _rest = OnDrop(&busy);
        for nth in 0..3 {
            let next = authority.issue(&["app.test", &format!("n{nth}.test")]);
            files.pair("app", &next);
            let shown = || {
                let client = TlsClient::new(gateway.address(), &authority);
                client.connect().unwrap().certificate()
            };
            until("new connections get the new certificate", || {
                (shown() == next.der().0[0]).then_some(())
            });
            let before = served.load(Ordering::SeqCst);
            until("clients went on", || {
                (served.load(Ordering::SeqCst) >= before + 16).then_some(())
            });
        }
    });
    assert!(handshakes(&gateway, "failed").abs() < f64::EPSILON);
}

struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[test]
fn a_bad_new_file_changes_nothing_and_says_why_with_its_place() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let (gateway, _b1) = start(&files, &authority, "");
    let client = TlsClient::new(gateway.address(), &authority);
    let before = client.connect().unwrap().certificate();
    files.put("app.pem", "not PEM at all");
    gateway.wait_for_diagnostic(&["not taken", "stickfast.yaml:3:", "no certificate in PEM"]);
    files.put("app.pem", &authority.issue(&["app.test"]).cert);
    gateway.wait_for_diagnostic(&["not taken", "is not the key of the certificate"]);
    assert_eq!(client.connect().unwrap().certificate(), before);
    let good = authority.issue(&["app.test"]);
    files.pair("app", &good);
    until("a good one is taken again", || {
        (client.connect().unwrap().certificate() == good.der().0[0]).then_some(())
    });
}

#[test]
fn bad_files_are_faults_with_their_place() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let b1 = Backend::stopped("b1");
    let good = files.pair("good", &authority.issue(&["app.test"]));
    let _other = files.pair("other", &authority.issue(&["app.test"]));
    let (cert, key) = (files.path("good.pem"), files.path("other.key"));
    let empty = files.put("empty.pem", "");
    let torn =
        files.put("torn.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let absent = files.path("absent.pem").display().to_string();
    let [cert, key] = [cert, key].map(|path| path.display().to_string());
    for (tls, said) in [
        (format!("certificates: [{{ cert: \"{absent}\", key: \"{key}\" }}]"), "cannot be read"),
        (format!("certificates: [{{ cert: \"{cert}\", key: \"{key}\" }}]"), "is not the key of"),
        (format!("certificates: [{{ cert: \"{cert}\", key: \"{cert}\" }}]"), "no private key"),
        (format!("certificates: [{{ cert: \"{empty}\", key: \"{key}\" }}]"), "no certificate"),
        (format!("certificates: [{{ cert: \"{torn}\", key: \"{key}\" }}]"), "cannot be read"),
        (format!("certificates: [{{ {good} }}], clientCa: \"{empty}\""), "no certificate"),
        (format!("certificates: [{{ {good} }}], clientAuth: optional"), "without `clientCa`"),
        ("certificates: []".to_owned(), "is empty"),
        (format!("certificates: [{{ {good} }}], minVersion: \"1.1\""), "expected \"1.2\""),
    ] {
        let output = check(&Setup::of(&[&b1]).encrypted(&tls).to_string());
        assert_eq!(output.code, Some(1), "{tls}: {output:?}");
        assert!(output.stderr.contains("stickfast.yaml:3:"), "{tls}: {}", output.stderr);
        assert!(output.stderr.contains(said), "{tls}: {}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    }
    let fine =
        check(&Setup::of(&[&b1]).encrypted(&format!("certificates: [{{ {good} }}]")).to_string());
    assert_eq!((fine.code, fine.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_reload_with_a_bad_file_is_refused() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let (gateway, b1) = start(&files, &authority, "");
    let bad = Setup::of(&[&b1]).encrypted("certificates: [{ cert: /nowhere, key: /nowhere }]");
    gateway.reload_refused(&bad);
    gateway.wait_for_diagnostic(&["stickfast.yaml:3:", "/nowhere cannot be read"]);
    assert_eq!(TlsClient::new(gateway.address(), &authority).get("/").status, 200);
}

#[test]
fn an_expired_certificate_is_served_with_a_warning() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let b1 = Backend::start("b1");
    let pair = files.pair("app", &authority.issue_expired(&["app.test"]));
    let setup = Setup::of(&[&b1]).encrypted(&format!("certificates: [{{ {pair} }}]"));
    let output = check(&setup.to_string());
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stderr.contains("warning: "), "{}", output.stderr);
    let gateway = Gateway::start(&setup);
    gateway.wait_for_diagnostic(&["stickfast.yaml:3:", "has expired"]);
}

#[test]
fn a_slow_handshake_is_cut_and_hurts_nobody() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let backend = Backend::start("b1");
    let pair = files.pair("app", &authority.issue(&["app.test"]));
    let setup = Setup::of(&[&backend]).server("limits: { headerTimeout: 1s }");
    let gateway = Gateway::start(&setup.encrypted(&format!("certificates: [{{ {pair} }}]")));
    let begun = Instant::now();
    let idle: Vec<TcpStream> = (0..200)
        .map(|nth| {
            let mut slow = TcpStream::connect(gateway.address()).unwrap();
            // half of them begin a record and do not end it
            if nth % 2 == 0 {
                slow.write_all(&[22, 3, 1, 1, 0, 1]).unwrap();
            }
            slow
        })
        .collect();
    assert_eq!(TlsClient::new(gateway.address(), &authority).get("/").status, 200);
    for mut slow in idle {
        slow.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut rest = Vec::new();
        let _ = slow.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP"));
    }
    assert!(begun.elapsed() >= Duration::from_millis(900), "they had their time");
    gateway.wait_for_metric("stickfast_tls_handshakes_total", &[("result", "timeout")], 200.0);
    // the one that answers this question
    until("nobody is left", || (gateway.metric("stickfast_connections", &[]) < 1.0).then_some(()));
}

#[test]
fn plain_http_at_an_encrypted_listener_is_no_request() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let (gateway, b1) = start(&files, &authority, "");
    let mut wire = gateway.connect();
    wire.write(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").unwrap();
    wire.rest().unwrap();
    assert_eq!(b1.requests(), 0);
    assert_eq!(TlsClient::new(gateway.address(), &authority).get("/").status, 200);
}

#[test]
fn large_bodies_pass_both_ways() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let (gateway, _b1) = start(&files, &authority, "");
    let mut wire: TlsWire = TlsClient::new(gateway.address(), &authority).connect().unwrap();
    let answer = wire.send(&Request::post("/", 3_000_000)).unwrap();
    assert_eq!(answer.seen()["body_length"], 3_000_000);
    let padding = "x".repeat(30_000);
    let answer = wire.send(&Request::get("/").with("X-Padding", &padding)).unwrap();
    assert_eq!(answer.seen_fields("x-padding"), [padding]);
}
