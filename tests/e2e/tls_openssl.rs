//! TLS of listeners as `openssl s_client` sees it, which shares no code with the gateway: versions,
//! suites, resumption, names, client certificates, and certificates that change under load.

use crate::harness::{Authority, Backend, Files, Gateway, PATIENCE, Pair, Setup, within};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// A gateway with this `tls` section besides its certificate, and what a client needs.
struct Site {
    gateway: Gateway,
    files: Files,
    authority: Authority,
    _backend: Backend,
}

/// What one run of `openssl s_client` has said.
struct Told {
    text: String,
    succeeded: bool,
}

impl Told {
    fn has(&self, word: &str) -> bool {
        self.text.contains(word)
    }
}

impl Site {
    fn start(more: &str) -> Self {
        Self::with(|files, authority| {
            let pair = files.pair("app", &authority.issue(&["app.test"]));
            format!("certificates: [{{ {pair} }}]{more}")
        })
    }

    fn with(tls: impl FnOnce(&Files, &Authority) -> String) -> Self {
        let (files, authority) = (Files::new(), Authority::new("ca"));
        let backend = Backend::start("b1");
        files.put("ca.pem", &authority.pem());
        let setup = Setup::of(&[&backend]).encrypted(&tls(&files, &authority));
        Self { gateway: Gateway::start(&setup), files, authority, _backend: backend }
    }

    /// Shakes hands, and asks for a page. Tells all that the client and the gateway have said.
    fn ask(&self, arguments: &[&str]) -> Told {
        s_client(&self.gateway, &self.files.path("ca.pem"), &self.files.path(""), arguments)
    }

    /// Whether the two agree, and the gateway answers.
    fn speaks(&self, arguments: &[&str]) -> bool {
        let told = self.ask(arguments);
        assert_eq!(told.succeeded, told.has("HTTP/1.1 200"), "{}", told.text);
        told.succeeded
    }

    fn path(&self, name: &str) -> String {
        self.files.path(name).display().to_string()
    }

    fn pair(&self, name: &str, pair: &Pair) -> [String; 2] {
        self.files.pair(name, pair);
        [self.path(&format!("{name}.pem")), self.path(&format!("{name}.key"))]
    }
}

fn s_client(gateway: &Gateway, ca: &Path, dir: &Path, arguments: &[&str]) -> Told {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let run = RUNS.fetch_add(1, Ordering::SeqCst);
    let [question, answer] = ["question", "answer"].map(|what| dir.join(format!("{what}-{run}")));
    fs::write(&question, "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n").unwrap();
    let out = File::create(&answer).unwrap();
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &gateway.address().to_string(), "-CAfile"])
        .arg(ca)
        // reads on to the end of the answer
        .args(["-verify_return_error", "-ign_eof"])
        .args(arguments)
        .stdin(File::open(&question).unwrap())
        .stderr(out.try_clone().unwrap())
        .stdout(out)
        .spawn()
        .expect("openssl is at hand: .ci/install-tools openssl");
    let status = within(PATIENCE, || child.try_wait().unwrap());
    if status.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let text = String::from_utf8_lossy(&fs::read(&answer).unwrap()).into_owned();
    let status = status.unwrap_or_else(|| panic!("{arguments:?} does not end: {text}"));
    Told { text, succeeded: status.success() }
}

/// Old versions only at a level that allows them: the refusal must be the gateway's.
const OLD: [&str; 2] = ["-cipher", "ALL:@SECLEVEL=0"];

#[test]
fn only_tls_1_2_and_1_3_are_spoken() {
    let site = Site::start("");
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let told = site.ask(&[flag, "-servername", "app.test"]);
        assert!(told.succeeded && told.has(&format!("New, {version}, ")), "{}", told.text);
    }
    assert!(site.ask(&[]).has("New, TLSv1.3, "), "the best that both speak");
    for version in ["-tls1", "-tls1_1"] {
        let told = site.ask(&[version, OLD[0], OLD[1]]);
        assert!(!told.succeeded && told.has("SSL alert number"), "{version}: {}", told.text);
    }
    let failed = [("result", "failed")];
    site.gateway.wait_for_metric("stickfast_tls_handshakes_total", &failed, 2.0);
}

#[test]
fn a_minimum_of_1_3_refuses_1_2() {
    let site = Site::start(", minVersion: \"1.3\"");
    assert!(site.speaks(&["-tls1_3"]));
    let told = site.ask(&["-tls1_2"]);
    assert!(!told.succeeded && told.has("alert protocol version"), "{}", told.text);
}

/// The suites that Mozilla calls intermediate, but for DHE.
#[test]
fn suites_are_authenticated_and_forward_secret_and_no_others() {
    let site = Site::start("");
    for suite in [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    ] {
        let told = site.ask(&["-tls1_2", "-cipher", suite]);
        assert!(told.succeeded && told.has(&format!("Cipher is {suite}")), "{}", told.text);
    }
    for suite in
        ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
    {
        let told = site.ask(&["-tls1_3", "-ciphersuites", suite]);
        assert!(told.succeeded && told.has(&format!("Cipher is {suite}")), "{}", told.text);
    }
    assert!(!site.speaks(&["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"]));
    for refused in [
        // CBC
        "ECDHE-ECDSA-AES128-SHA256",
        "ECDHE-ECDSA-AES256-SHA384",
        "ECDHE-ECDSA-AES256-SHA",
        // the key exchange of RSA, and DHE
        "AES128-GCM-SHA256",
        "DHE-RSA-AES256-GCM-SHA384",
        // another mode
        "ECDHE-ECDSA-AES128-CCM",
        // no certificate at all
        "ADH-AES128-GCM-SHA256:@SECLEVEL=0",
    ] {
        let told = site.ask(&["-tls1_2", "-cipher", refused]);
        assert!(!told.succeeded && told.has("SSL alert number"), "{refused}: {}", told.text);
    }
}

#[test]
fn sessions_are_resumed_in_both_versions() {
    let site = Site::start("");
    for version in ["-tls1_2", "-tls1_3"] {
        let kept = site.path(&format!("session{version}"));
        let first = site.ask(&[version, "-sess_out", &kept]);
        assert!(first.succeeded && first.has("\nNew, TLSv1."), "{version}: {}", first.text);
        for _ in 0..2 {
            let again = site.ask(&[version, "-sess_in", &kept, "-sess_out", &kept]);
            assert!(again.succeeded && again.has("\nReused, TLSv1."), "{version}: {}", again.text);
            assert!(again.has("HTTP/1.1 200"), "{version}: {}", again.text);
        }
    }
    let reconnects = site.ask(&["-tls1_2", "-reconnect"]);
    assert_eq!(reconnects.text.matches("\nReused, TLSv1.2").count(), 5, "{}", reconnects.text);
    // a ticket of another gateway is no fault: the handshake is a full one
    let other = Site::start("");
    let kept = site.path("session-tls1_3");
    let strange = other.ask(&["-tls1_3", "-sess_in", &kept]);
    assert!(strange.has("\nNew, TLSv1.3"), "{}", strange.text);
}

#[test]
fn the_name_chooses_the_certificate() {
    let site = Site::with(|files, authority| {
        let names = [&["first.test"][..], &["*.wild.test", "wild.test"], &["exact.wild.test"]];
        let written: Vec<String> = names
            .iter()
            .map(|names| {
                let pair = files.pair(&names[0].replace('*', "any"), &authority.issue(names));
                format!("{{ {pair} }}")
            })
            .collect();
        format!("certificates: [{}]", written.join(", "))
    });
    let subject = |arguments: &[&str]| {
        let told = site.ask(arguments);
        let line = told.text.lines().find_map(|line| line.strip_prefix("subject="));
        line.unwrap_or_else(|| panic!("{}", told.text)).trim().replace(' ', "")
    };
    for (asked, shown) in [
        ("first.test", "CN=first.test"),
        ("wild.test", "CN=*.wild.test"),
        ("a.wild.test", "CN=*.wild.test"),
        ("A.WILD.test", "CN=*.wild.test"),
        ("exact.wild.test", "CN=exact.wild.test"),
        // the default, for names that nobody has
        ("a.b.wild.test", "CN=first.test"),
        ("other.test", "CN=first.test"),
    ] {
        for version in ["-tls1_2", "-tls1_3"] {
            assert_eq!(subject(&[version, "-servername", asked]), shown, "{asked} {version}");
        }
    }
    assert_eq!(subject(&["-noservername"]), "CN=first.test");
}

#[test]
fn client_certificates_are_required_or_optional_and_never_wrong() {
    let (clients, strangers) = (Authority::new("clients"), Authority::new("strangers"));
    for (auth, none_is_fine) in [("required", false), ("optional", true)] {
        let site = Site::with(|files, authority| {
            let pair = files.pair("app", &authority.issue(&["app.test"]));
            let ca = files.put("clients.pem", &clients.pem());
            format!("certificates: [{{ {pair} }}], clientCa: \"{ca}\", clientAuth: {auth}")
        });
        let right = site.pair("right", &clients.issue(&["alice"]));
        let wrong = site.pair("wrong", &strangers.issue(&["alice"]));
        let expired = site.pair("expired", &clients.issue_expired(&["alice"]));
        for version in ["-tls1_2", "-tls1_3"] {
            let shows =
                |pair: &[String; 2]| site.ask(&[version, "-cert", &pair[0], "-key", &pair[1]]);
            let told = shows(&right);
            assert!(told.succeeded && told.has("HTTP/1.1 200"), "{auth} {version}: {}", told.text);
            // in 1.3 the client hears of it only after its own last word
            for (pair, alert) in [(&wrong, "alert"), (&expired, "alert certificate expired")] {
                let told = shows(pair);
                assert!(told.has(alert), "{auth} {version} {}: {}", pair[0], told.text);
                assert!(!told.has("HTTP/1.1"), "{auth} {version} {}: {}", pair[0], told.text);
            }
            let told = site.ask(&[version]);
            assert_eq!(told.has("HTTP/1.1 200"), none_is_fine, "{auth} {version}: {}", told.text);
            assert!(none_is_fine || told.has("alert"), "{auth} {version}: {}", told.text);
        }
    }
}

#[test]
fn certificates_are_swapped_under_load_and_no_client_fails() {
    const CLIENTS: usize = 3;
    let site = Site::start("");
    let (busy, served) = (AtomicBool::new(true), AtomicUsize::new(0));
    let dirs: Vec<_> = (0..CLIENTS).map(|_| tempfile::tempdir().unwrap()).collect();
    let ca = site.files.path("ca.pem");
    let failed = thread::scope(|scope| {
        let clients: Vec<_> = dirs
            .iter()
            .map(|dir| {
                let (busy, served, gateway, ca) = (&busy, &served, &site.gateway, &ca);
                scope.spawn(move || {
                    let mut failed = Vec::new();
                    while busy.load(Ordering::SeqCst) {
                        let told = s_client(gateway, ca, dir.path(), &["-servername", "app.test"]);
                        if !told.succeeded || !told.has("HTTP/1.1 200") {
                            failed.push(told.text);
                        }
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                    failed
                })
            })
            .collect();
        let rest = OnDrop(&busy);
        for nth in 0..5 {
            let name = format!("swap-{nth}.test");
            site.files.pair("app", &site.authority.issue(&[&name, "app.test"]));
            let shown = within(PATIENCE, || {
                let told = site.ask(&["-servername", "app.test"]);
                told.text.replace(' ', "").contains(&format!("CN={name}")).then_some(())
            });
            assert!(shown.is_some(), "{name} is not seen");
            let before = served.load(Ordering::SeqCst);
            let goes_on = || (served.load(Ordering::SeqCst) >= before + 2 * CLIENTS).then_some(());
            assert!(within(PATIENCE, goes_on).is_some(), "clients hang");
        }
        drop(rest);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    let of = served.load(Ordering::SeqCst);
    assert!(of >= 10 * CLIENTS, "only {of} were served");
    assert!(failed.is_empty(), "{} of {of} failed: {}", failed.len(), failed[0]);
}

struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}
