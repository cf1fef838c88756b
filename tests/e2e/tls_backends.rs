//! TLS to backends: whom the gateway believes, what it shows, and that connections are kept.

use crate::harness::{Authority, Backend, Files, Gateway, Pair, Setup, TlsBackend, check, until};

fn setup(backend: &Backend, tls: &str) -> Setup {
    Setup::of(&[backend]).option(&format!("tls: {{ {tls} }}"))
}

/// A backend that can prove this name, and the file of who vouches for it.
fn named(at: &Backend, files: &Files, name: &str) -> (TlsBackend, String) {
    let authority = Authority::new("backends");
    let backend = TlsBackend::start(at, &authority.issue(&[name]), None);
    (backend, files.put("ca.pem", &authority.pem()))
}

#[test]
fn a_backend_is_verified_asked_by_name_and_its_connection_is_kept() {
    let (files, b1) = (Files::new(), Backend::stopped("b1"));
    let (backend, ca) = named(&b1, &files, "inside.test");
    let gateway = Gateway::start(&setup(&b1, &format!("ca: \"{ca}\", sni: inside.test")));
    let mut client = gateway.client();
    for _ in 0..50 {
        assert_eq!(client.get("/").seen()["sni"], "inside.test");
    }
    assert_eq!(backend.requests(), 50);
    assert_eq!(backend.handshakes(), (1, 0), "one handshake for all of them");
}

#[test]
fn the_address_names_the_backend_where_nothing_else_does() {
    let (files, b1) = (Files::new(), Backend::stopped("b1"));
    // an address is proven like a name, but never asked for
    let (_backend, ca) = named(&b1, &files, "127.0.0.1");
    let gateway = Gateway::start(&setup(&b1, &format!("ca: \"{ca}\"")));
    assert!(gateway.client().get("/").seen()["sni"].is_null());
}

#[test]
fn who_cannot_prove_the_name_gets_no_request() {
    let (files, b1) = (Files::new(), Backend::stopped("b1"));
    let (backend, ca) = named(&b1, &files, "other.test");
    let stranger = files.put("stranger.pem", &Authority::new("stranger").pem());
    for tls in [
        format!("ca: \"{ca}\", sni: inside.test"),
        format!("ca: \"{ca}\""),
        format!("ca: \"{stranger}\", sni: other.test"),
        // nobody on this machine has heard of it
        "sni: other.test".to_owned(),
    ] {
        let yaml = setup(&b1, &tls).to_string();
        if tls.starts_with("sni") && check(&yaml).code != Some(0) {
            eprintln!("SKIPPED: this machine trusts nobody");
            continue;
        }
        let gateway = Gateway::start(&yaml);
        let answer = gateway.client().get("/");
        assert_eq!((answer.status, answer.reason()), (502, Some("backend-tls")), "{tls}");
    }
    assert_eq!(backend.requests(), 0);
}

#[test]
fn a_plain_backend_is_no_backend_for_tls() {
    let (files, b1) = (Files::new(), Backend::start("b1"));
    let ca = files.put("ca.pem", &Authority::new("ca").pem());
    let gateway = Gateway::start(&setup(&b1, &format!("ca: \"{ca}\", sni: inside.test")));
    let answer = gateway.client().get("/");
    // whether it waits for the end of a line, or has seen one in the handshake
    assert!(["connect-timeout", "backend-tls"].contains(&answer.reason().unwrap()));
    assert_eq!(b1.requests(), 0);
}

#[test]
fn without_verification_anybody_will_do() {
    let (files, b1) = (Files::new(), Backend::stopped("b1"));
    let (backend, _ca) = named(&b1, &files, "whoever.test");
    let gateway = Gateway::start(&setup(&b1, "verify: false").checked());
    gateway.wait_for_health("b1", true);
    assert_eq!(gateway.client().get("/").backend(), "b1");
    assert_eq!(backend.requests(), 1);
}

#[test]
fn a_backend_that_asks_is_shown_our_certificate() {
    let (files, b1) = (Files::new(), Backend::stopped("b1"));
    let (authority, gateways) = (Authority::new("backends"), Authority::new("gateways"));
    let pair = authority.issue(&["inside.test"]);
    let _backend = TlsBackend::start(&b1, &pair, Some(&gateways));
    let ca = files.put("ca.pem", &authority.pem());
    let shows = |pair: &Pair, name: &str| {
        let written = files.pair(name, pair);
        let written = written.replace("cert:", "clientCert:").replace("key:", "clientKey:");
        format!("ca: \"{ca}\", sni: inside.test, {written}")
    };
    let right = shows(&gateways.issue(&["gateway"]), "right");
    let gateway = Gateway::start(&setup(&b1, &right).checked());
    gateway.wait_for_health("b1", true);
    assert_eq!(gateway.client().get("/").seen()["client"], true);
    let wrong = shows(&authority.issue(&["gateway"]), "wrong");
    for tls in [wrong, format!("ca: \"{ca}\", sni: inside.test")] {
        gateway.reload(&setup(&b1, &tls));
        let answer = gateway.client().get("/");
        // TLS 1.3 tells only after the request has been sent
        assert_eq!(answer.status, 502, "{tls}: {:?}", answer.reason());
    }
}

#[test]
fn health_checks_speak_tls_and_resume() {
    let (files, b1) = (Files::new(), Backend::stopped("b1"));
    let (backend, ca) = named(&b1, &files, "inside.test");
    let tls = format!("ca: \"{ca}\", sni: inside.test");
    let gateway = Gateway::start(&setup(&b1, &tls).checked());
    gateway.wait_for_health("b1", true);
    until("checks resume", || (backend.handshakes().1 >= 3).then_some(()));
    assert_eq!(backend.handshakes().0, 1, "only the first was a full one");
    let wrong = setup(&b1, &format!("ca: \"{ca}\", sni: other.test")).checked();
    gateway.reload(&wrong);
    gateway.wait_for_health("b1", false);
}

#[test]
fn another_authority_in_the_file_holds_at_once_and_for_kept_connections_too() {
    let (files, b1) = (Files::new(), Backend::stopped("b1"));
    let (_backend, ca) = named(&b1, &files, "inside.test");
    let good = std::fs::read_to_string(&ca).unwrap();
    let gateway = Gateway::start(&setup(&b1, &format!("ca: \"{ca}\", sni: inside.test")));
    let mut client = gateway.client();
    assert_eq!(client.get("/").status, 200);
    files.put("ca.pem", &Authority::new("another").pem());
    until("the kept connection is not used", || {
        (client.get("/").reason() == Some("backend-tls")).then_some(())
    });
    files.put("ca.pem", "nothing of the kind");
    gateway.wait_for_diagnostic(&["not taken", "no certificate in PEM"]);
    files.put("ca.pem", &good);
    until("the good one is back", || (client.get("/").status == 200).then_some(()));
}

#[test]
fn faults_of_the_section_have_their_place() {
    let (files, b1) = (Files::new(), Backend::stopped("b1"));
    let pair = files.pair("own", &Authority::new("ca").issue(&["own"]));
    let (cert, _) = pair.split_once(',').unwrap();
    let cert = cert.replace("cert:", "clientCert:");
    for (tls, said) in [
        ("ca: /nowhere".to_owned(), "/nowhere cannot be read"),
        (cert, "`clientKey` is missing"),
        ("verify: false, ca: /nowhere".to_owned(), "nobody is verified"),
        ("sni: 'a b'".to_owned(), "expected a host name"),
    ] {
        let output = check(&setup(&b1, &tls).to_string());
        assert_eq!(output.code, Some(1), "{tls}: {output:?}");
        assert!(output.stderr.contains("stickfast.yaml:"), "{tls}: {}", output.stderr);
        assert!(output.stderr.contains(said), "{tls}: {}", output.stderr);
    }
}
