//! `stickfast import`: the configuration of another load balancer, turned into ours and served.

use crate::harness::{Backend, Gateway, Request};
use std::process::Command;

/// The example of spec 5, with local addresses.
fn json(policy: &str, backends: &[Backend]) -> String {
    let destinations: Vec<_> = backends
        .iter()
        .map(|backend| serde_json::json!({ "Address": format!("http://{}", backend.address()) }))
        .collect();
    serde_json::json!({ "ReverseProxy": {
        "Routes": { "a": {
            "Order": 0,
            "Match": { "Hosts": ["api.com"], "Paths": ["*"] },
            "ClusterId": "apidemo",
            "Metadata": { "MirrorCluster": "apidemoMirror" },
        }},
        "Clusters": { "apidemo": {
            "LoadBalancingPolicy": "RoundRobin",
            "Metadata": { "SessionAffinity": policy, "CookieExpires": "00:00:13" },
            "Destinations": destinations,
        }},
    }})
    .to_string()
}

#[test]
fn the_example_of_spec_5_converts_and_serves() {
    let backends = ["b1", "b2", "b3"].map(Backend::start);
    for policy in ["Cookie", "HashCookie", "ArrCookie"] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("appsettings.json");
        std::fs::write(&file, json(policy, &backends)).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_stickfast"))
            .args(["import", "yarp"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let warnings = String::from_utf8(output.stderr).unwrap();
        assert!(warnings.contains("mirror"), "what has no counterpart is said: {warnings}");
        let imported = String::from_utf8(output.stdout).unwrap();
        let free_ports = "gateway: { server: { listeners: [{ address: 127.0.0.1:0 }], \
                          stateDir: state }, admin: { address: 127.0.0.1:0 } }";
        let mut gateway =
            Gateway::spawn(&[("imported.yaml", imported.as_str()), ("ports.yaml", free_ports)]);
        gateway.wait_until_ready();
        let mut client = gateway.client();
        let get = Request::get("/").with("Host", "api.com");
        let first = client.send(&get);
        let cookies = first.cookies();
        let cookie = cookies.first().expect("a cookie");
        assert!(cookie.starts_with("SessionAffinity="), "{cookie}");
        assert!(cookie.contains("; Expires=") && cookie.contains("; HttpOnly"), "{cookie}");
        for _ in 0..3 {
            assert_eq!(client.send(&get).backend(), first.backend(), "{policy}");
        }
        let elsewhere = gateway.client().send(&Request::get("/").with("Host", "other.com"));
        assert_eq!(elsewhere.reason(), Some("no-route"));
    }
}

#[test]
fn a_file_that_is_no_json_is_refused_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broken.json");
    std::fs::write(&file, "{\n  \"ReverseProxy\": }").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_stickfast"))
        .args(["import", "yarp"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("broken.json:2:"), "{said}");
}
