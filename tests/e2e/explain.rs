//! `stickfast explain` and `stickfast plan` on files: what they tell is what a gateway does.

use crate::harness::{Backend, Gateway, SECRET, Setup, stickfast};
use std::fs;

const NAME: &str = "gateway-backend";

/// What the binary says with these files in its directory.
fn told(files: &[(&str, &str)], arguments: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let output = stickfast(dir.path(), arguments);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(!output.stdout.contains(SECRET), "{}", output.stdout);
    output.stdout
}

#[test]
fn explain_opens_the_key_that_a_gateway_has_written() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    let setup = Setup::of(&[&b1, &b2]).sticky();
    let gateway = Gateway::start(&setup);
    let mut client = gateway.client();
    let backend = client.get("/").backend().clone();
    let key = client.cookie(NAME).expect("a key");
    let header = format!("Cookie: {NAME}={key}");
    let yaml = setup.to_string();
    let ask = ["explain", "-c", "a.yaml", "--path", "/", "--header", &header];
    let text = told(&[("a.yaml", &yaml)], &ask);
    assert!(text.contains(&format!("goes to {backend}, where it is bound")), "{text}");
    assert!(!text.contains(&key), "{text}");
    let json = told(&[("a.yaml", &yaml)], &[&ask[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["sources"][0]["detail"]["backend"], backend);
}

#[test]
fn explain_tells_what_a_fresh_client_meets() {
    let b1 = Backend::start("b1");
    let yaml = Setup::of(&[&b1]).sticky().to_string();
    let text = told(&[("a.yaml", &yaml)], &["explain", "-c", "a.yaml", "--path", "/x?y=1"]);
    assert!(text.contains("(cause: no-key)") && text.contains("goes to b1"), "{text}");
    assert!(text.contains("health checks have not run"), "{text}");
}

#[test]
fn plan_tells_which_bindings_become_missing() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    let old = Setup::of(&[&b1, &b2]).sticky().to_string();
    let new = Setup::of(&[&b1]).sticky().to_string();
    let files = [("old.yaml", old.as_str()), ("new.yaml", new.as_str())];
    let text = told(&files, &["plan", "-c", "old.yaml", "--", "-c", "new.yaml"]);
    assert!(text.contains("- b2: bindings to it become missing"), "{text}");
    assert!(text.contains("onMissing: redistribute"), "{text}");
    let json = told(&files, &["plan", "-c", "old.yaml", "--", "-c", "new.yaml", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["services"][0]["removed"][0], "b2");
}

#[test]
fn plan_of_a_file_and_itself_finds_nothing() {
    let b1 = Backend::start("b1");
    let yaml = Setup::of(&[&b1]).sticky().to_string();
    let text = told(&[("a.yaml", &yaml)], &["plan", "-c", "a.yaml", "--", "-c", "a.yaml"]);
    assert_eq!(text, "nothing changes for clients\n");
}
