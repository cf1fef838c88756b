//! `stickfast explain`, `plan` and `ctl explain`: what they tell is what a gateway does.

use crate::harness::{Backend, Gateway, Request, SECRET, Setup, stickfast};
use serde_json::Value;
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

/// What a running gateway says, in JSON and in words.
fn live(gateway: &Gateway, arguments: &[&str]) -> (Value, String) {
    let words = gateway.ctl(&[&["explain"], arguments].concat());
    assert_eq!(words.code, Some(0), "{words:?}");
    let json = gateway.ctl(&[&["explain", "--json"], arguments].concat());
    let json = serde_json::from_str(&json.stdout).unwrap_or_else(|e| panic!("{e}: {json:?}"));
    (json, words.stdout)
}

#[test]
fn a_running_gateway_explains_by_what_its_checks_say_now() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    // a generated key, which no file has
    let setup = Setup::of(&[&b1, &b2]).checked().router("sessionAffinity: { enabled: true }");
    let gateway = Gateway::start(&setup);
    let mut client = gateway.client();
    let home = client.get("/").backend();
    let header = format!("Cookie: {NAME}={}", client.cookie(NAME).unwrap());
    let ask = ["--path", "/", "--header", &header];
    let (json, words) = live(&gateway, &ask);
    assert!(words.contains(&format!("goes to {home}, where it is bound")), "{words}");
    assert!(!words.contains("health checks have not run"), "{words}");
    assert_eq!(json["sources"][0]["detail"]["backend"], home, "{json}");
    let (own, other) = if home == "b1" { (&b1, "b2") } else { (&b2, "b1") };
    own.healthy(false);
    gateway.wait_for_health(&home, false);
    let (json, words) = live(&gateway, &ask);
    assert_eq!(json["outcome"]["cause"], "unhealthy", "{json}");
    assert!(words.contains(&format!("goes to {other}")), "{words}");
    let row = json["backends"].as_array().unwrap().iter().find(|row| row["id"] == *home).unwrap();
    assert_eq!(row["state"], "fails checks", "{json}");
    assert_eq!(client.get("/").backend(), other, "as it was told");
}

#[test]
fn a_running_gateway_knows_what_it_has_learnt() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    let gateway =
        Gateway::start(&Setup::of(&[&b1, &b2]).sticky_with("learn: [{ header: Mcp-Session-Id }]"));
    let ask = ["--path", "/", "--header", "Mcp-Session-Id: s1"];
    let (json, words) = live(&gateway, &ask);
    assert_eq!(json["sources"][0]["yields"], "not-learnt", "{words}");
    let minted =
        gateway.client().send(&Request::get("/").with("X-Toy-Field", "Mcp-Session-Id: s1"));
    let (json, words) = live(&gateway, &ask);
    assert_eq!(json["sources"][0]["yields"], "backend", "{words}");
    assert!(words.contains(&format!("goes to {}, where it is bound", minted.backend())), "{words}");
}

#[test]
fn asking_takes_nobodys_turn() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky());
    let turn = |_| {
        live(&gateway, &["--path", "/"]);
        gateway.client().get("/").backend()
    };
    // each asks twice; an odd number of turns is taken below
    let turns: Vec<String> = (0..4).map(turn).collect();
    let odd = gateway.ctl(&["explain", "--path", "/"]);
    assert_eq!(odd.code, Some(0), "{odd:?}");
    let turns = [turns, (0..4).map(turn).collect()].concat();
    assert!(turns.windows(2).all(|pair| pair[0] != pair[1]), "{turns:?}");
}

#[test]
fn a_question_that_makes_no_sense_is_a_problem_and_needs_the_token() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(
        &Setup::of(&[&b1])
            .sticky()
            .admin("{ address: \"127.0.0.1:0\", token: a-token-for-operators }"),
    );
    let ask = |body: &str, token: &str| {
        let request = Request::new("POST", "/api/v1/explain").with("Host", "127.0.0.1");
        let request = request.with("Content-Type", "application/json").saying(body);
        gateway.admin_with(&request.with("Authorization", &format!("Bearer {token}"))).unwrap()
    };
    assert_eq!(ask(r#"{ "path": "/" }"#, "another").status, 401);
    let token = "a-token-for-operators";
    assert_eq!(ask(r#"{ "path": "/" }"#, token).status, 200);
    for (bad, word) in [
        ("", "EOF"),
        ("{}", "path"),
        (r#"{ "path": "cart" }"#, "expected a path"),
        (r#"{ "path": "/", "headers": ["none"] }"#, "headers[0]"),
        (r#"{ "path": "/", "color": 1 }"#, "color"),
    ] {
        let answer = ask(bad, token);
        assert_eq!(answer.status, 400, "{bad}");
        assert_eq!(answer.field("content-type"), Some("application/problem+json"), "{bad}");
        assert!(answer.text().contains(word), "{bad}: {}", answer.text());
    }
}
