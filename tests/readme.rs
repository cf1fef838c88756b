//! The README holds what it promises: every command in it is run (those that build the project are
//! looked up), every configuration in it is checked, every file it names exists.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(clippy::disallowed_methods, reason = "waits have a deadline")]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const README: &str = include_str!("../README.md");
const STICKFAST: &str = env!("CARGO_BIN_EXE_stickfast");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The fenced blocks of one language.
fn blocks(language: &str) -> Vec<&'static str> {
    let parts: Vec<&str> = README.split("```").collect();
    let fenced = parts.into_iter().skip(1).step_by(2);
    fenced.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

fn commands() -> Vec<&'static str> {
    blocks("sh").into_iter().flat_map(str::lines).filter(|line| !line.is_empty()).collect()
}

/// The demo on ports that were free a moment ago.
struct Demo {
    process: Child,
    ports: Vec<u16>,
}

impl Demo {
    fn start() -> Self {
        // all are held until all are chosen, so that none is chosen twice
        let held: Vec<TcpListener> =
            (0..5).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = held.iter().map(|l| l.local_addr().unwrap().port()).collect();
        drop(held);
        let names = ["PORT", "ADMIN_PORT", "B1_PORT", "B2_PORT", "B3_PORT"];
        let environment = names.iter().zip(&ports);
        let mut process = Command::new(STICKFAST)
            .arg("demo")
            .envs(environment.map(|(n, port)| (format!("STICKFAST_DEMO_{n}"), port.to_string())))
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let up = lines.any(|line| line.unwrap().contains("Ctrl-C ends the demo"));
        assert!(up, "the demo ended before it was up");
        // what it writes from now on must not fill the pipe
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, ports }
    }

    fn port(&self, nth: usize) -> u16 {
        *self.ports.get(nth).unwrap()
    }

    /// A command of the README, aimed at this demo.
    fn aim(&self, command: &str) -> String {
        command
            .replace("127.0.0.1:8080", &format!("127.0.0.1:{}", self.port(0)))
            .replace("127.0.0.1:9901", &format!("127.0.0.1:{}", self.port(1)))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn stickfast(arguments: &[&str]) -> Output {
    Command::new(STICKFAST)
        .args(arguments)
        .env("AFFINITY_KEY", "what the README tells to export")
        .current_dir(ROOT)
        .output()
        .unwrap()
}

fn shell(command: &str, folder: &Path) -> Output {
    Command::new("bash").args(["-ec", command]).current_dir(folder).output().unwrap()
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(err));
    String::from_utf8(out.clone()).unwrap()
}

/// `b1` of `b1 answers; …`
fn backend(answer: &str) -> String {
    let body = answer.rsplit("\r\n\r\n").next().unwrap();
    body.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn the_curls_show_a_client_that_stays_and_moves_once() {
    let demo = Demo::start();
    let folder = tempfile::tempdir().unwrap();
    let curls: Vec<&str> = commands().into_iter().filter(|c| c.starts_with("curl ")).collect();
    assert_eq!(curls.len(), 8, "{curls:?}");
    let answers: Vec<String> =
        curls.iter().map(|curl| text(&shell(&demo.aim(curl), folder.path()))).collect();
    assert!(answers[0].contains("Set-Cookie: gateway-backend="), "{}", answers[0]);
    let first = backend(&answers[0]);
    assert_eq!([backend(&answers[1]), backend(&answers[2])], [first.clone(), first.clone()]);
    assert_eq!(answers[3], format!("{first} stops\n"));
    assert!(answers[4].contains("Set-Cookie: gateway-backend="), "{}", answers[4]);
    assert_ne!(backend(&answers[4]), first);
    assert_eq!(backend(&answers[5]), backend(&answers[4]));
    assert!(
        answers[6].contains(r#"stickfast_affinity_verdicts_total{service="toys",verdict="DI"} 1"#)
    );
    assert_eq!(answers[7], "ready\n");
}

#[test]
fn every_other_command_exists() {
    let mut looked_at = 0;
    for command in commands() {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["make", door] => {
                let dry = Command::new("make").args(["-n", door]).current_dir(ROOT).output();
                assert!(dry.unwrap().status.success(), "{command}");
            }
            ["target/release/stickfast", "run", rest @ ..] => {
                assert!(text(&stickfast(&[&["check"], rest].concat())).contains("is valid"));
            }
            ["target/release/stickfast", rest @ ..] => {
                assert!(!text(&stickfast(rest)).is_empty());
            }
            ["export", ..] => {
                let exported = command.replace("target/release/stickfast", STICKFAST);
                let key = text(&shell(&format!("{exported}; echo $AFFINITY_KEY"), Path::new(ROOT)));
                assert!(key.trim().len() >= 16, "{key}");
            }
            ["curl", ..] => {}
            _ => panic!("no test knows how to run: {command}"),
        }
        looked_at += 1;
    }
    assert!(looked_at >= 12, "{looked_at}");
}

#[test]
fn every_configuration_is_valid_and_every_linked_file_exists() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("readme.yaml");
    let configurations = blocks("yaml");
    assert!(!configurations.is_empty());
    for yaml in configurations {
        std::fs::write(&file, yaml).unwrap();
        text(&stickfast(&["check", "-c", file.to_str().unwrap()]));
    }
    let links = README.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let files: Vec<&str> =
        links.map(|(link, _)| link).filter(|link| !link.starts_with("http")).collect();
    assert!(files.len() >= 8, "{files:?}");
    for link in files {
        assert!(Path::new(ROOT).join(link).exists(), "{link}");
    }
}

#[test]
fn the_demo_ends_cleanly_on_ctrl_c() {
    let mut demo = Demo::start();
    let pid = demo.process.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let deadline = Instant::now() + Duration::from_secs(5);
    let status = loop {
        if let Some(status) = demo.process.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "it did not end");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(0));
}
