//! Certificates that the gateway gets for itself, from an authority that really looks.

use crate::harness::{
    AcmeServer, Backend, Client, Files, Gateway, Request, Setup, TlsClient, check, until,
};
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// What a test is made of: an authority, a backend, and a state directory that outlives gateways.
struct Scene {
    authority: AcmeServer,
    backend: Backend,
    state: TempDir,
    files: Files,
}

impl Scene {
    fn new() -> Self {
        let (authority, backend) = (AcmeServer::start(), Backend::start("b1"));
        Self { authority, backend, state: tempfile::tempdir().unwrap(), files: Files::new() }
    }

    /// The inside of an `acme` section.
    fn section(&self, domains: &str, more: &str) -> String {
        let ca = self.files.put("web.pem", &self.authority.web().pem());
        format!(
            "domains: [{domains}], directory: \"{}\", termsOfServiceAgreed: true, \
             caFile: \"{ca}\"{more}",
            self.authority.directory()
        )
    }

    /// A listener with that `tls`, then a plain one.
    fn setup(&self, tls: &str) -> Setup {
        Setup::of(&[&self.backend]).listeners(&[
            &format!("address: \"127.0.0.1:0\", tls: {{ {tls} }}"),
            "address: \"127.0.0.1:0\"",
        ])
    }

    fn yaml(&self, domains: &str, more: &str) -> String {
        self.settled(&self.setup(&format!("acme: {{ {} }}", self.section(domains, more))))
    }

    /// With the state directory of this scene.
    fn settled(&self, setup: &Setup) -> String {
        let state = format!("stateDir: \"{}\"", self.state.path().display());
        setup.to_string().replace("stateDir: \"${STICKFAST_TEST_DIR}\"", &state)
    }

    /// Starts, and tells the authority where its listeners are.
    fn start(&self, yaml: &str) -> Gateway {
        let gateway = Gateway::start(&yaml);
        let (encrypted, plain) = addresses(&gateway);
        self.authority.looks_at(plain, encrypted);
        gateway
    }

    fn client(&self, gateway: &Gateway, domain: &str) -> TlsClient {
        TlsClient::new(addresses(gateway).0, self.authority.issuing()).asks_for(domain)
    }

    /// What is shown for a name; `None`: nothing that a client believes.
    fn shown(&self, gateway: &Gateway, domain: &str) -> Option<CertificateDer<'static>> {
        self.client(gateway, domain).connect().ok().map(|wire| wire.certificate())
    }

    fn wait_for_certificate(&self, gateway: &Gateway, domain: &str) -> CertificateDer<'static> {
        until("a certificate of the authority is shown", || self.shown(gateway, domain))
    }

    /// The files that are kept, without the lock.
    fn kept(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.state.path().join("acme")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { found.push(path) }
            }
        }
        found.retain(|path| !path.ends_with("lock"));
        found.sort();
        found
    }
}

/// Of the encrypted listener and of the plain one.
fn addresses(gateway: &Gateway) -> (SocketAddr, SocketAddr) {
    until("both listeners are announced", || match gateway.announced()[..] {
        // a successor announces them again
        [encrypted, plain, ..] => Some((encrypted, plain)),
        _ => None,
    })
}

fn renewals(gateway: &Gateway, certificate: &str, result: &str) -> f64 {
    let labels = [("certificate", certificate), ("result", result)];
    gateway.metric("stickfast_acme_renewals_total", &labels)
}

fn equal(one: f64, other: f64) -> bool {
    (one - other).abs() < f64::EPSILON
}

#[test]
fn a_certificate_for_several_names_is_got_by_http_and_served() {
    let scene = Scene::new();
    let more = ", challenge: http-01, contact: [\"mailto:ops@a.test\"]";
    let gateway = scene.start(&scene.yaml("a.test, B.Test", more));
    let shown = scene.wait_for_certificate(&gateway, "a.test");
    assert_eq!(scene.wait_for_certificate(&gateway, "b.test"), shown, "one for both");
    assert_eq!(scene.client(&gateway, "b.test").get("/").backend(), "b1");
    assert!(equal(renewals(&gateway, "a.test", "ok"), 1.0));
    assert_eq!((scene.authority.accounts(), scene.authority.orders()), (1, 1));
    assert_eq!(scene.authority.contact()[0], "mailto:ops@a.test");
    let ends = until("the end is shown", || {
        let labels = [("certificate", "a.test")];
        let ends = gateway.metric("stickfast_certificate_expiry_timestamp_seconds", &labels);
        (ends > 0.0).then_some(ends)
    });
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let days = (ends - now.as_secs_f64()) / 86_400.0;
    assert!((89.0..91.0).contains(&days), "{days} days");
    for path in scene.kept() {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    let names: Vec<_> = scene.kept().iter().map(|path| name(path)).collect();
    assert_eq!(names, ["a.test.pem", "account.json"]);
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn a_certificate_is_got_by_tls_alpn_and_served() {
    let scene = Scene::new();
    let gateway = scene.start(&scene.yaml("a.test", ", challenge: tls-alpn-01"));
    scene.wait_for_certificate(&gateway, "a.test");
    assert_eq!(scene.client(&gateway, "a.test").get("/").backend(), "b1");
    let looked = [("result", "challenge")];
    assert!(equal(gateway.metric("stickfast_tls_handshakes_total", &looked), 1.0));
    // nothing is pending any more
    let late = scene.client(&gateway, "a.test").offers(&["acme-tls/1"]).connect();
    let late = late.err().expect("not spoken").to_string();
    assert!(late.contains("NoApplicationProtocol"), "{late}");
}

#[test]
fn until_the_first_one_has_come_clients_are_turned_away_and_nobody_else_is() {
    let scene = Scene::new();
    // the authority does not know where to look yet
    let gateway = Gateway::start(&scene.yaml("a.test", ", challenge: http-01"));
    let (encrypted, plain) = addresses(&gateway);
    gateway.wait_for_diagnostic(&["until it has come", "certificate", "a.test"]);
    assert_eq!(scene.shown(&gateway, "a.test"), None);
    let mut client = Client::new(plain);
    assert_eq!(client.get("/").backend(), "b1", "plain clients are served");
    let token = until("an order", || scene.authority.last_token());
    let path = |token: &str| format!("/.well-known/acme-challenge/{token}");
    until("the challenge is shown", || {
        let answer = client.get(&path(&token));
        let shown = answer.status == 200 && answer.text().starts_with(&format!("{token}."));
        shown.then_some(())
    });
    assert_eq!(client.send(&Request::new("HEAD", &path(&token))).body, b"");
    let other = client.get(&path("another"));
    assert_eq!((other.backend(), other.seen_path()), ("b1".to_owned(), path("another")));
    assert_eq!(client.send(&Request::post(&path(&token), 3)).backend(), "b1");
    scene.authority.looks_at(plain, encrypted);
    scene.wait_for_certificate(&gateway, "a.test");
    assert_eq!(client.get(&path(&token)).backend(), "b1", "nothing is pending any more");
    let rest = scene.client(&gateway, "a.test").get(&path("another"));
    assert_eq!(rest.seen_path(), path("another"));
}

#[test]
fn other_clients_are_served_while_a_challenge_by_tls_is_pending() {
    let scene = Scene::new();
    let own = crate::harness::Authority::new("own");
    let pair = scene.files.pair("own", &own.issue(&["own.test"]));
    let section = scene.section("a.test", "");
    let tls = format!("certificates: [{{ {pair} }}], acme: {{ {section} }}");
    let gateway = Gateway::start(&scene.settled(&scene.setup(&tls)));
    let (encrypted, plain) = addresses(&gateway);
    until("an order", || scene.authority.last_token());
    let client = TlsClient::new(encrypted, &own).asks_for("own.test");
    assert_eq!(client.get("/").backend(), "b1");
    let wire = client.clone().offers(&["http/1.1", "acme-tls/1"]).connect().unwrap();
    assert_eq!(wire.protocol(), Some("http/1.1"));
    let refused = client.clone().offers(&["acme-tls/1"]).connect().err().expect("another name");
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    scene.authority.looks_at(plain, encrypted);
    scene.wait_for_certificate(&gateway, "a.test");
    assert_eq!(client.get("/").backend(), "b1", "and both are served");
}

#[test]
fn the_account_and_the_certificate_outlive_a_restart() {
    let scene = Scene::new();
    let yaml = scene.yaml("a.test", "");
    let first = scene.start(&yaml);
    let shown = scene.wait_for_certificate(&first, "a.test");
    drop(first);
    let second = scene.start(&yaml);
    assert_eq!(scene.shown(&second, "a.test"), Some(shown), "at once");
    drop(second);
    // other names are another order, of the same account
    let contact = ", contact: [\"mailto:new@a.test\"]";
    let third = scene.start(&scene.yaml("a.test, b.test", contact));
    assert!(scene.shown(&third, "a.test").is_some(), "the old one serves meanwhile");
    scene.wait_for_certificate(&third, "b.test");
    assert_eq!((scene.authority.accounts(), scene.authority.orders()), (1, 2));
    assert_eq!(scene.authority.contact()[0], "mailto:new@a.test");
}

#[test]
fn a_certificate_is_renewed_before_it_ends_and_connections_stay() {
    let scene = Scene::new();
    scene.authority.issues_for(Duration::from_secs(12));
    let gateway = scene.start(&scene.yaml("a.test", ", renewBefore: 8s"));
    let first = scene.wait_for_certificate(&gateway, "a.test");
    let mut wire = scene.client(&gateway, "a.test").connect().unwrap();
    scene.authority.issues_for(Duration::from_hours(24));
    let next = until("the next one is shown", || {
        scene.shown(&gateway, "a.test").filter(|shown| *shown != first)
    });
    assert_eq!(wire.send(&Request::get("/")).unwrap().backend(), "b1");
    assert_eq!((scene.authority.accounts(), scene.authority.issued()), (1, 2));
    assert!(equal(renewals(&gateway, "a.test", "ok"), 2.0));
    assert_eq!(scene.shown(&gateway, "a.test"), Some(next));
}

#[test]
fn a_failure_is_told_and_tried_again_later_and_what_is_in_force_serves_on() {
    let scene = Scene::new();
    let first = scene.start(&scene.yaml("a.test", ""));
    let shown = scene.wait_for_certificate(&first, "a.test");
    drop(first);
    scene.authority.refuses(Some("rateLimited"));
    let gateway = scene.start(&scene.yaml("a.test, b.test", ""));
    gateway.wait_for_diagnostic(&["no certificate has come", "not now", "rateLimited", "a.test"]);
    assert_eq!(scene.authority.refused(), 1);
    assert_eq!(scene.shown(&gateway, "a.test"), Some(shown));
    // a reload that changes nothing about it is no reason to ask again
    gateway.reload(&scene.yaml("a.test, b.test", ""));
    scene.authority.refuses(None);
    assert_eq!((scene.authority.refused(), scene.authority.orders()), (1, 1));
    assert!(equal(renewals(&gateway, "a.test", "failed"), 1.0));
    scene.wait_for_certificate(&gateway, "b.test");
    assert!(equal(renewals(&gateway, "a.test", "ok"), 1.0));
}

#[test]
fn what_the_authority_did_not_find_is_in_the_log() {
    let scene = Scene::new();
    let gateway = Gateway::start(&scene.yaml("a.test", ", challenge: http-01"));
    // somebody else answers there
    scene.authority.looks_at(scene.backend.address(), addresses(&gateway).0);
    gateway.wait_for_diagnostic(&["not convinced that a.test is ours", "there is 200"]);
    gateway.wait_for_metric(
        "stickfast_acme_renewals_total",
        &[("certificate", "a.test"), ("result", "failed")],
        1.0,
    );
}

#[test]
fn an_account_that_the_authority_has_lost_is_made_anew() {
    let scene = Scene::new();
    let first = scene.start(&scene.yaml("a.test", ""));
    scene.wait_for_certificate(&first, "a.test");
    drop(first);
    scene.authority.forgets_accounts();
    let second = scene.start(&scene.yaml("a.test, b.test", ""));
    second.wait_for_diagnostic(&["no certificate has come", "accountDoesNotExist"]);
    scene.wait_for_certificate(&second, "b.test");
    assert_eq!(scene.authority.accounts(), 2);
}

#[test]
fn after_a_hand_over_the_process_that_serves_renews() {
    let scene = Scene::new();
    scene.authority.issues_for(Duration::from_secs(30));
    let section = scene.section("a.test", ", renewBefore: 12s");
    let setup = scene.setup(&format!("acme: {{ {section} }}"));
    let setup = setup.server("upgrade: { pidFile: \"${STICKFAST_TEST_DIR}/pid\" }");
    let gateway = Gateway::start_replaceable(&scene.settled(&setup), &[]);
    let (encrypted, plain) = addresses(&gateway);
    scene.authority.looks_at(plain, encrypted);
    let first = scene.wait_for_certificate(&gateway, "a.test");
    let before = gateway.pid();
    assert_eq!(gateway.ctl(&["upgrade"]).code, Some(0));
    until("another process serves", || (gateway.pid() != before).then_some(()));
    assert_eq!(scene.shown(&gateway, "a.test"), Some(first.clone()), "from the state directory");
    assert_eq!(scene.authority.orders(), 1);
    scene.authority.issues_for(Duration::from_hours(24));
    until("the next one is shown", || {
        scene.shown(&gateway, "a.test").filter(|shown| *shown != first)
    });
    assert_eq!((scene.authority.accounts(), scene.authority.orders()), (1, 2));
}

#[test]
fn a_listener_that_a_reload_adds_gets_its_certificate() {
    let scene = Scene::new();
    let section = scene.section("a.test", "");
    let plain = scene.settled(&Setup::of(&[&scene.backend]));
    let gateway = Gateway::start(&plain);
    let tls = format!("address: \"127.0.0.1:0\", tls: {{ acme: {{ {section} }} }}");
    let both = Setup::of(&[&scene.backend]).listeners(&["address: \"127.0.0.1:0\"", &tls]);
    gateway.reload(&scene.settled(&both));
    let encrypted = until("it listens", || gateway.announced().get(1).copied());
    scene.authority.looks_at(gateway.address(), encrypted);
    let client = TlsClient::new(encrypted, scene.authority.issuing()).asks_for("a.test");
    until("a certificate is shown", || client.connect().ok());
    gateway.reload(&plain);
    until("nothing of it is left in the metrics", || {
        let renewals = gateway.scrape().get("stickfast_acme_renewals_total", &[]);
        let ends = gateway.scrape().get("stickfast_certificate_expiry_timestamp_seconds", &[]);
        (renewals.is_none() && ends.is_none()).then_some(())
    });
}

#[test]
fn bad_settings_are_faults_with_their_place() {
    let b1 = Backend::stopped("b1");
    let files = Files::new();
    let empty = files.put("empty.pem", "");
    let agreed = "termsOfServiceAgreed: true";
    for (section, said) in [
        (agreed.to_owned(), "`domains` is missing; list the names"),
        (format!("domains: [], {agreed}"), "is empty"),
        (format!("domains: [a.test, a.test], {agreed}"), "already used at"),
        (format!("domains: [\"*.a.test\"], {agreed}"), "wildcard can be proven neither"),
        (format!("domains: [192.0.2.1], {agreed}"), "expected a host name such as"),
        (format!("domains: [\"a/b\"], {agreed}"), "expected a host name such as"),
        ("domains: [a.test]".to_owned(), "`termsOfServiceAgreed` is missing; read the"),
        ("domains: [a.test], termsOfServiceAgreed: false".to_owned(), "without consent; read"),
        (format!("domains: [a.test], directory: \"http://a/d\", {agreed}"), "expected a URL such"),
        (format!("domains: [a.test], contact: [ops], {agreed}"), "expected an address such"),
        (format!("domains: [a.test], challenge: dns-01, {agreed}"), "is not supported yet"),
        (format!("domains: [a.test], challenge: http, {agreed}"), "is not known; "),
        (format!("domains: [a.test], renewBefore: 30, {agreed}"), "expected a duration"),
        (format!("domains: [a.test], caFile: /nowhere.pem, {agreed}"), "cannot be read"),
        (format!("domains: [a.test], caFile: \"{empty}\", {agreed}"), "no certificate in PEM"),
        (format!("domain: [a.test], {agreed}"), "did you mean `domains`?"),
    ] {
        let output =
            check(&Setup::of(&[&b1]).encrypted(&format!("acme: {{ {section} }}")).to_string());
        assert_eq!(output.code, Some(1), "{section}: {output:?}");
        assert!(output.stderr.contains("stickfast.yaml:3:"), "{section}: {}", output.stderr);
        assert!(output.stderr.contains(said), "{section}: {}", output.stderr);
    }
    let same = |first: &str, second: &str| {
        let listener = |more: &str| {
            format!("address: \"127.0.0.1:0\", tls: {{ acme: {{ {agreed}, {more} }} }}")
        };
        let setup = Setup::of(&[&b1]).listeners(&[&listener(first), &listener(second)]);
        check(&setup.to_string())
    };
    let output = same("domains: [a.test, b.test]", "domains: [a.test]");
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains("is already ordered at"), "{}", output.stderr);
    assert_eq!(same("domains: [a.test, b.test]", "domains: [a.test, B.test]").code, Some(0));
    let output = same("domains: [a.test], challenge: http-01", "domains: [b.test]");
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stderr.contains("port 80"), "a warning: {}", output.stderr);
}
