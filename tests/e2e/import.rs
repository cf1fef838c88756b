//! `stickfast import`: the configuration of another load balancer, turned into ours and served.

use crate::harness::{Answer, Backend, Gateway, Request, check, stickfast};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::SystemTime;

/// The example of spec 5 as it stands there, its addresses apart.
const EXAMPLE: &str = r#"
{
  "ReverseProxy": {
    "Routes": {
      "a": {
        "Order": 0,
        "Match": {
            "Hosts": [ "api.com" ],
            "Paths": [ "*" ]
        },
        "ClusterId": "apidemo",
        "Metadata": {
          "MirrorCluster": "apidemoMirror"
        }
      }
    },
    "Clusters": {
      "apidemo": {
        "LoadBalancingPolicy": "RoundRobin",
        "Metadata": {
          "SessionAffinity": "Cookie",
          "CookieExpires": "00:00:13"
        },
        "Destinations": [
          {
            "Address": "https://xxx.lt"
          },
          {
            "Address": "https://xxx1.lt"
          },
          {
            "Address": "https://xxx2.lt"
          }
        ]
      }
    }
  }
}
"#;

/// The example with local addresses, which also are its backends' ids.
fn example(policy: &str, backends: &[Backend]) -> String {
    let old = ["https://xxx.lt", "https://xxx1.lt", "https://xxx2.lt"];
    let json = old.iter().zip(backends).fold(EXAMPLE.to_owned(), |json, (old, backend)| {
        json.replace(&format!("\"{old}\""), &format!("\"http://{}\"", backend.address()))
    });
    json.replace("\"Cookie\"", &format!("\"{policy}\""))
}

/// What `import yarp` makes of a file, and its warnings.
fn import(json: &str) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("appsettings.json");
    std::fs::write(&file, json).unwrap();
    let output = stickfast(dir.path(), &["import", "yarp", &file.display().to_string()]);
    assert_eq!(output.code, Some(0), "{output:?}");
    (output.stdout, output.stderr)
}

/// A gateway with what was imported, on ports that are free.
fn serve(imported: &str) -> Gateway {
    let free_ports = "gateway: { server: { listeners: [{ address: 127.0.0.1:0 }], \
                      stateDir: state, log: { format: json } }, admin: { address: 127.0.0.1:0 } }";
    let mut gateway = Gateway::spawn(&[("imported.yaml", imported), ("ports.yaml", free_ports)]);
    gateway.wait_until_ready();
    gateway
}

#[test]
fn the_example_of_spec_5_converts_and_serves() {
    let backends = ["b1", "b2", "b3"].map(Backend::start);
    for policy in ["Cookie", "HashCookie", "ArrCookie"] {
        let (imported, warnings) = import(&example(policy, &backends));
        assert!(warnings.contains("mirror"), "what has no counterpart is said: {warnings}");
        assert_eq!(check(&imported).code, Some(0), "it is valid as it is: {imported}");
        let gateway = serve(&imported);
        let get = Request::get("/anything/below").with("Host", "api.com");
        let mut homes = Vec::new();
        for _ in 0..6 {
            let mut client = gateway.client();
            let first = client.send(&get);
            let cookies = first.cookies();
            assert_eq!(cookies.len(), 1, "{policy}");
            let attributes: Vec<_> = cookies[0].split("; ").collect();
            assert!(attributes[0].starts_with("SessionAffinity="), "{attributes:?}");
            assert!(attributes.contains(&"HttpOnly") && attributes.contains(&"Path=/"));
            let absent = ["Secure", "SameSite", "Max-Age", "Domain"];
            assert!(absent.iter().all(|name| !cookies[0].contains(name)), "{attributes:?}");
            let expires = attributes.iter().find_map(|a| a.strip_prefix("Expires=")).unwrap();
            let expires = httpdate::parse_http_date(expires).unwrap();
            let left = expires.duration_since(SystemTime::now()).unwrap().as_secs();
            assert!((8..=13).contains(&left), "13 s ahead: {left}");
            for _ in 0..3 {
                let again = client.send(&get);
                assert_eq!(again.backend(), first.backend(), "{policy}");
                assert!(again.cookies().is_empty(), "only the first response has the key");
                assert!(again.seen_fields("cookie").is_empty());
            }
            homes.push(first.backend());
        }
        assert_eq!(homes[..3], homes[3..], "{policy}: round robin");
        assert_eq!(homes.iter().collect::<BTreeSet<_>>().len(), 3, "{policy}: round robin");
        let elsewhere = gateway.client().send(&Request::get("/").with("Host", "other.com"));
        assert_eq!(elsewhere.reason(), Some("no-route"));
    }
}

#[test]
fn the_three_cases_of_spec_5_hold_for_the_example() {
    let backends = ["b1", "b2", "b3"].map(Backend::start);
    for policy in ["Cookie", "HashCookie", "ArrCookie", "CustomHeader"] {
        let (imported, _) = import(&example(policy, &backends));
        let gateway = serve(&imported);
        let key = |answer: &Answer| match policy {
            "CustomHeader" => answer.field("x-sessionaffinity").map(str::to_owned),
            _ => answer.cookies().first().map(|cookie| {
                let pair = cookie.split(';').next().unwrap();
                pair.strip_prefix("SessionAffinity=").expect("by this name").to_owned()
            }),
        };
        let ask = |path: &str, key: Option<&str>| {
            let request = Request::get(path).with("Host", "api.com");
            gateway.client().send(&match (policy, key) {
                (_, None) => request,
                ("CustomHeader", Some(key)) => request.with("X-SessionAffinity", key),
                (_, Some(key)) => request.with("Cookie", &format!("SessionAffinity={key}")),
            })
        };
        let first = ask("/none", None);
        let bound = key(&first).expect("1: without a key it is bound, and told its key");
        let again = ask("/valid", Some(&bound));
        assert_eq!(again.backend(), first.backend(), "2: {policy}");
        assert_eq!(key(&again), None, "2: {policy}: it is not told again");
        let forged = ask("/invalid", Some("forged"));
        // what is no key may be the client's own name for its session: that is no failure
        if policy != "CustomHeader" {
            assert!(key(&forged).is_some(), "3: {policy}: it is bound anew");
        }
        let home = backends.iter().find(|backend| backend.id() == first.backend()).unwrap();
        home.stop();
        let moved = ask("/down", Some(&bound));
        assert_ne!(moved.backend(), first.backend(), "3: {policy}");
        assert!(key(&moved).is_some_and(|key| key != bound), "3: {policy}: it is bound anew");
        home.restart();
        let letters = ["/none", "/valid", "/down"].map(|path| gateway.verdict_of(path));
        assert_eq!(letters, ["NI", "VN", "DI"], "{policy}");
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
