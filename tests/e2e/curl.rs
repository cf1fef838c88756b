//! curl, the client that operators try things with, in both ways to HTTP/2.

use crate::harness::{Authority, Backend, Files, Gateway, Setup};
use std::fs;
use std::path::Path;
use std::process::Command;

/// What curl says; each transfer ends with a line of version, new connections and status.
fn curl(arguments: &[&str]) -> Vec<String> {
    let told = "\\n%{http_version} %{num_connects} %{http_code}\\n";
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "30", "--write-out", told])
        .args(arguments)
        .output()
        .expect("curl is at hand");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said.lines().map(str::to_owned).collect()
}

fn id(line: &str) -> String {
    let seen: serde_json::Value = serde_json::from_str(line).unwrap();
    seen["id"].as_str().unwrap().to_owned()
}

/// Four clients, each with two requests and a jar: the second stays where the first was, and the
/// clients spread.
fn stays(client: impl Fn() -> [String; 2]) {
    let homes: Vec<String> = (0..4)
        .map(|_| {
            let [first, second] = client().map(|answer| id(&answer));
            assert_eq!(first, second, "the cookie was sent and heeded");
            first
        })
        .collect();
    assert!(homes.iter().any(|home| *home != homes[0]), "{homes:?}");
}

/// Both requests on one connection.
fn on_one_connection(arguments: &[&str], url: &str, version: &str) -> [String; 2] {
    let said = curl(&[arguments, &["--cookie", "", url, url]].concat());
    let [first, told, second, told_again] = &said[..] else { panic!("{said:?}") };
    assert_eq!(told, &format!("{version} 1 200"));
    assert_eq!(told_again, &format!("{version} 0 200"));
    [first.clone(), second.clone()]
}

/// Each on its own: curl 7.88 cannot use one of HTTP/2 without TLS again, whoever serves.
fn on_two_connections(arguments: &[&str], url: &str, version: &str) -> [String; 2] {
    let files = Files::new();
    let jar = files.path("jar").display().to_string();
    [(), ()].map(|()| {
        let said = curl(&[arguments, &["--cookie", &jar, "--cookie-jar", &jar, url]].concat());
        assert_eq!(said[1], format!("{version} 1 200"));
        said[0].clone()
    })
}

#[test]
fn by_prior_knowledge_it_stays() {
    let backends = ["b1", "b2", "b3"].map(Backend::start);
    let all: Vec<_> = backends.iter().collect();
    let gateway = Gateway::start(&Setup::of(&all).listener("http2: true").sticky());
    let url = format!("http://{}/", gateway.address());
    stays(|| on_two_connections(&["--http2-prior-knowledge"], &url, "2"));
    stays(|| on_one_connection(&["--http1.1"], &url, "1.1"));
    // asks for an upgrade of the connection, which nobody has to grant
    stays(|| on_one_connection(&["--http2"], &url, "1.1"));
}

#[test]
fn over_tls_it_stays() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let backends = ["b1", "b2", "b3"].map(Backend::start);
    let all: Vec<_> = backends.iter().collect();
    let pair = files.pair("app", &authority.issue(&["app.test"]));
    let ca = files.put("ca.pem", &authority.pem());
    let setup = Setup::of(&all).encrypted(&format!("certificates: [{{ {pair} }}]"));
    let gateway = Gateway::start(&setup.listener("http2: true").sticky());
    let port = gateway.address().port();
    let (url, resolve) =
        (format!("https://app.test:{port}/"), format!("app.test:{port}:127.0.0.1"));
    for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let with = [option, "--cacert", &ca, "--resolve", &resolve];
        stays(|| on_one_connection(&with, &url, version));
        stays(|| on_two_connections(&with, &url, version));
    }
}

#[test]
fn files_go_up_and_down() {
    let (files, backend) = (Files::new(), Backend::start("b"));
    let gateway = Gateway::start(&Setup::of(&[&backend]).listener("http2: true"));
    let large = files.put("large", &"0123456789abcdef".repeat(1 << 19));
    let url = format!("http://{}/", gateway.address());
    let said = curl(&["--http2-prior-knowledge", "--upload-file", &large, &url]);
    let seen: serde_json::Value = serde_json::from_str(&said[0]).unwrap();
    assert_eq!(seen["body_length"], 8 << 20);

    let page = crate::harness::Page { body: fs::read(&large).unwrap(), ..Default::default() };
    backend.shows("/down", page);
    let down = files.path("down").display().to_string();
    curl(&["--http2-prior-knowledge", "--output", &down, &format!("{url}down")]);
    assert!(fs::read(Path::new(&down)).unwrap() == fs::read(&large).unwrap());
}
