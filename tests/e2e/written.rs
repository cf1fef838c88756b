//! `check`, `keygen` and the files that are shipped.

use crate::harness::{Authority, Backend, Files, Gateway, SECRET, Setup, check, stickfast};
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn a_good_file_is_valid() {
    let b1 = Backend::stopped("b1");
    let output = check(&Setup::of(&[&b1]).checked().sticky().to_string());
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stdout.contains("is valid"), "{output:?}");
}

const FAULTY: &str = r#"gateway:
  server:
    listeners:
      - address: 127.0.0.1:0
    threads: many
  services:
    app:
      backends:
        - { id: b1, address: nowhere }
        - { id: b1, address: "127.0.0.1:9" }
      healthChek: { type: http }
      outlierDetection: { consecutiveFailures: 5 }
  router:
    rules:
      - { id: all, path: /*, serviceName: ap }
    sessionAffinity:
      idleTimeout: soon
      keys:
        - { id: 16, secret: "a secret of this test" }
        - { id: 1, secret: tooshort }
      cookie: { name: "a b" }
"#;

#[test]
fn every_fault_of_a_file_is_told_at_once_with_its_place_and_its_cure() {
    let output = check(FAULTY);
    assert_eq!(output.code, Some(1), "{output:?}");
    for (line, path) in [
        (5, "server.threads"),
        (9, "address"),
        (10, "id"),
        (11, "healthChek"),
        (12, "outlierDetection"),
        (15, "serviceName"),
        (17, "sessionAffinity.idleTimeout"),
        (19, "id"),
        (20, "secret"),
        (21, "cookie.name"),
    ] {
        let place = format!("stickfast.yaml:{line}:");
        let fault = output.stderr.lines().find(|l| l.contains(&place));
        let fault = fault.unwrap_or_else(|| panic!("nothing of line {line}:\n{}", output.stderr));
        let rest = fault.split(&place).nth(1).unwrap();
        let (column, rest) = rest.split_once(": ").expect("a column");
        assert!(column.parse::<u32>().is_ok_and(|column| column > 4), "{fault}");
        let (key, problem) = rest.split_once(": ").expect("a key and a problem");
        assert!(key.contains(path), "{fault}");
        assert!(problem.contains("; "), "a problem and its cure: {fault}");
    }
    let said = |line: &str, word: &str| {
        assert!(output.stderr.lines().any(|l| l.contains(line) && l.contains(word)), "{word}");
    };
    said("yaml:11:", "healthCheck");
    said("yaml:12:", "not supported yet");
    said("yaml:15:", "app");
    assert!(!output.stderr.contains("tooshort"), "secrets stay secret: {}", output.stderr);
}

#[test]
fn faults_of_reading_and_of_the_whole_are_told_together_and_each_once() {
    let b1 = Backend::stopped("b1");
    let own_key = "sessionAffinity: { keys: [{ id: 1, secret: \"of this rule and no other\" }] }";
    let yaml = Setup::of(&[&b1])
        .option("healthChek: { type: http }")
        .rules(&[
            "id: one, path: /one/*, serviceName: app",
            &format!("id: two, path: /two/*, serviceName: app, {own_key}"),
        ])
        .sticky()
        .to_string()
        .replace(&b1.address().to_string(), "no-such-host.invalid:80");
    let output = check(&yaml);
    assert_eq!(output.code, Some(1), "{output:?}");
    for words in [
        ["healthChek", "healthCheck"].as_slice(),
        &["no-such-host.invalid:80", "cannot be looked up"],
        &["rule one and rule two", "cookie gateway-backend", "app"],
    ] {
        let told = output.stderr.lines().filter(|l| words.iter().all(|word| l.contains(word)));
        assert_eq!(told.count(), 1, "{words:?}:\n{}", output.stderr);
    }
    assert_eq!(output.stderr.matches("stickfast.yaml:").count(), 3, "{}", output.stderr);
}

#[test]
fn a_listener_within_another_is_a_fault() {
    let b1 = Backend::stopped("b1");
    let port = b1.address().port();
    let yaml = Setup::of(&[&b1]).to_string();
    let one = "listeners: [{ address: \"127.0.0.1:0\" }]";
    assert!(yaml.contains(one));
    let with = |first: &str, second: &str| {
        let two = format!("[{{ address: \"{first}\" }}, {{ address: \"{second}\" }}]");
        check(&yaml.replace(one, &format!("listeners: {two}")))
    };
    let (all, loopback) = (format!("0.0.0.0:{port}"), format!("127.0.0.1:{port}"));
    for (first, second) in [(&all, &loopback), (&loopback, &all), (&loopback, &loopback)] {
        let output = with(first, second);
        assert_eq!(output.code, Some(1), "{first} and {second}: {output:?}");
        let faults: Vec<_> = output.stderr.lines().filter(|l| l.contains(".yaml:")).collect();
        assert_eq!(faults.len(), 1, "{faults:#?}");
        assert!(faults[0].contains(second) && faults[0].contains("listeners"), "{faults:#?}");
    }
    for (first, second) in
        [(&loopback, &format!("127.0.0.2:{port}")), (&all, &"127.0.0.1:0".to_owned())]
    {
        let output = with(first, second);
        assert_eq!(output.code, Some(0), "{first} and {second}: {output:?}");
    }
    let admin = Setup::of(&[&b1]).admin(&format!("{{ address: \"{loopback}\" }}")).to_string();
    let output = check(&admin.replace(one, &one.replace("127.0.0.1:0", &all)));
    assert_eq!(output.code, Some(1), "the admin listener within one for clients: {output:?}");
}

#[test]
fn what_is_not_built_yet_is_told_apart_from_what_is_misspelt() {
    let b1 = Backend::stopped("b1");
    let yaml = Setup::of(&[&b1]).option("rebindRate: 5").to_string();
    let output = check(&yaml);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains("not supported yet"), "{}", output.stderr);
    let yaml = Setup::of(&[&b1]).sticky_with("idleTimeut: 3s").to_string();
    let output = check(&yaml);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(!output.stderr.contains("not supported yet"), "{}", output.stderr);
    assert!(output.stderr.contains("idleTimeout"), "a suggestion: {}", output.stderr);
}

#[test]
fn what_is_not_yaml_or_not_there_is_one_fault() {
    for yaml in ["gateway: [", "", "gateway: 3\n", "\u{0}", "other: {}\n"] {
        let output = check(yaml);
        assert_eq!(output.code, Some(1), "{yaml:?}: {output:?}");
        assert!(output.stderr.contains("stickfast.yaml"), "{yaml:?}: {}", output.stderr);
        assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    }
    let dir = tempfile::tempdir().unwrap();
    let output = stickfast(dir.path(), &["check", "-c", "not-there.yaml"]);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains("not-there.yaml"), "{}", output.stderr);
}

#[test]
fn an_unset_name_of_the_environment_is_a_fault_and_a_default_is_taken() {
    let b1 = Backend::stopped("b1");
    let yaml = Setup::of(&[&b1]).sticky().to_string();
    let unset = check(&yaml.replace(SECRET, "${STICKFAST_TEST_UNSET}"));
    assert_eq!(unset.code, Some(1), "{unset:?}");
    assert!(unset.stderr.contains("STICKFAST_TEST_UNSET"), "{}", unset.stderr);
    let with_default = format!("${{STICKFAST_TEST_UNSET:-{SECRET}}}");
    let output = check(&yaml.replace(SECRET, &with_default));
    assert_eq!(output.code, Some(0), "{output:?}");
}

#[test]
fn run_refuses_a_bad_file_with_all_its_faults() {
    let mut gateway = Gateway::spawn(&[("stickfast.yaml", FAULTY)]);
    let status = gateway.wait_for_exit(crate::harness::PATIENCE).expect("it ends");
    assert_eq!(status.code(), Some(1));
    for line in [5, 9, 12, 17] {
        let place = format!("stickfast.yaml:{line}:");
        gateway.wait_for_diagnostic(&[&place]);
        let told = gateway.stderr_lines().join("\n").matches(&place).count();
        assert_eq!(told, 1, "each fault is told once: {:#?}", gateway.stderr_lines());
    }
}

#[test]
fn keygen_prints_a_secret_that_check_takes_and_never_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = [(), ()].map(|()| stickfast(dir.path(), &["keygen"]));
    assert_eq!((one.code, two.code), (Some(0), Some(0)), "{one:?}");
    let secret = one.stdout.trim();
    assert!(secret.len() >= 16 && !secret.contains(char::is_whitespace), "{secret}");
    assert_ne!(one.stdout, two.stdout);
    let b1 = Backend::stopped("b1");
    let output = check(&Setup::of(&[&b1]).sticky().secret(secret).to_string());
    assert_eq!(output.code, Some(0), "{output:?}");
}

#[test]
fn an_absolute_time_of_more_than_fourteen_periods_is_a_fault() {
    let b1 = Backend::stopped("b1");
    let setup = |time: &str| {
        Setup::of(&[&b1])
            .sticky_with("keyRotation: 1h")
            .sticky_with(&format!("absoluteTimeout: {time}"))
            .to_string()
    };
    assert_eq!(check(&setup("14h")).code, Some(0));
    let output = check(&setup("15h"));
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains("absoluteTimeout"), "{}", output.stderr);
}

#[test]
fn every_shipped_file_is_valid() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    files.pair("app", &authority.issue(&["app.test"]));
    files.put("ca.pem", &authority.pem());
    let named = [
        ("TLS_CERT", "app.pem"),
        ("TLS_KEY", "app.key"),
        ("CLIENT_CA", "ca.pem"),
        ("BACKEND_CA", "ca.pem"),
    ];
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let mut checked = 0;
    for entry in fs::read_dir(conf).expect("conf/ is there") {
        let file = entry.unwrap().path();
        if !file.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            continue;
        }
        let output = Command::new(env!("CARGO_BIN_EXE_stickfast"))
            .args(["check", "-c"])
            .arg(&file)
            .envs([
                ("AFFINITY_KEY", "a key for the tests"),
                ("OLD_AFFINITY_KEY", "an older key of the tests"),
            ])
            .envs(named.map(|(variable, file)| (variable, files.path(file))))
            .output()
            .unwrap();
        let faults = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {faults}", file.display());
        checked += 1;
    }
    assert!(checked > 0, "there are files in conf/");
}
