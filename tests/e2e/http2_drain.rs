//! Clients of HTTP/2, and of sockets in the file system, while one process hands over to the next:
//! one who heeds GOAWAY loses no request.

use crate::harness::{Authority, Backend, Files, Gateway, Http2, Setup, TlsClient, until};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const PID_FILE: &str = "upgrade: { pidFile: \"${STICKFAST_TEST_DIR}/pid\" }";
const UPGRADES: usize = 3;
/// A busy machine is no reason to move a client.
const PATIENT: &str = "timeouts: { connect: 20s }";

/// Runs `client` in several threads, which it has to serve until told to stop, while processes
/// change. It says when it has been served.
fn during_upgrades(gateway: &Gateway, client: impl Fn(&AtomicBool, &dyn Fn()) + Sync) {
    const CLIENTS: usize = 4;
    let (busy, served) = (AtomicBool::new(true), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                // a client that fails ends the others too
                let _end = Ends(&busy);
                client(&busy, &|| {
                    served.fetch_add(1, Ordering::SeqCst);
                });
            });
        }
        let _end = Ends(&busy);
        for _ in 0..UPGRADES {
            let before = served.load(Ordering::SeqCst);
            until("requests go on", || {
                assert!(busy.load(Ordering::SeqCst), "a client has failed");
                (served.load(Ordering::SeqCst) > before + 50).then_some(())
            });
            let done = gateway.ctl(&["upgrade"]);
            assert_eq!(done.code, Some(0), "{done:?}");
        }
        let before = served.load(Ordering::SeqCst);
        until("requests go on", || (served.load(Ordering::SeqCst) > before + 50).then_some(()));
    });
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// Ten requests at a time. What the gateway did not take up is sent again on a new connection.
fn heeding(connect: impl Fn() -> Http2, busy: &AtomicBool, served: &dyn Fn()) {
    let mut connection = connect();
    let key = connection.get("/", &[]);
    let home = key.backend();
    let key = key.cookies()[0].split(';').next().unwrap().to_owned();
    while busy.load(Ordering::SeqCst) {
        for answer in connection.send_many(10, "/sleep/5", &[("cookie", &key)]) {
            match answer {
                Ok(answer) => {
                    assert_eq!((answer.backend(), answer.cookies().len()), (home.clone(), 0));
                    served();
                }
                Err(why) => {
                    let told = why.is_go_away() && why.reason() == Some(h2::Reason::NO_ERROR);
                    let ended = why.is_reset() && why.reason() == Some(h2::Reason::REFUSED_STREAM);
                    assert!(told || ended, "lost: {why:?}");
                    connection = connect();
                }
            }
        }
    }
}

#[test]
fn one_who_heeds_goaway_loses_no_request_to_upgrades() {
    let backends = ["b1", "b2", "b3"].map(Backend::start);
    let all: Vec<_> = backends.iter().collect();
    let setup = Setup::of(&all).option(PATIENT).listener("http2: true").sticky().server(PID_FILE);
    let gateway = Gateway::start_replaceable(&setup, &[]);
    let connect = || Http2::connect(gateway.address());
    during_upgrades(&gateway, |busy, served| heeding(connect, busy, served));
}

#[test]
fn nor_does_one_who_speaks_tls() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let backends = ["b1", "b2", "b3"].map(Backend::start);
    let all: Vec<_> = backends.iter().collect();
    let pair = files.pair("app", &authority.issue(&["app.test"]));
    let setup = Setup::of(&all).encrypted(&format!("certificates: [{{ {pair} }}]"));
    let setup = setup.option(PATIENT).listener("http2: true").sticky().server(PID_FILE);
    let gateway = Gateway::start_replaceable(&setup, &[]);
    let client = TlsClient::new(gateway.address(), &authority);
    during_upgrades(&gateway, |busy, served| {
        heeding(|| Http2::connect_tls(&client), busy, served);
    });
}

/// A request on a connection of its own.
fn ask(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).expect("somebody listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"GET /u HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_socket_in_the_file_system_stays_and_works_across_upgrades() {
    let (backend, dir) = (Backend::start("b"), tempfile::tempdir().unwrap());
    let path = dir.path().join("front.sock");
    let listener = format!("address: \"unix:{}\", mode: \"0600\"", path.display());
    let setup = Setup::of(&[&backend]).another_listener(&listener).server(PID_FILE);
    let gateway = Gateway::start_replaceable(&setup, &[]);
    let before = fs::metadata(&path).unwrap();
    during_upgrades(&gateway, |busy, served| {
        while busy.load(Ordering::SeqCst) {
            let answer = ask(&path);
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            served();
        }
    });
    let after = fs::metadata(&path).expect("it stays");
    assert_eq!((after.ino(), after.mode()), (before.ino(), before.mode()), "the very same");
    until("the old processes are gone", || {
        let pid = gateway.pid()?.to_string();
        running_in(gateway.dir()).iter().all(|other| *other == pid).then_some(())
    });
    assert!(ask(&path).starts_with("HTTP/1.1 200 "), "the end of an old one takes nothing along");
    let pid = gateway.pid().expect("a pid file");
    let sent = std::process::Command::new("kill").args(["-s", "TERM", &pid.to_string()]).status();
    assert!(sent.unwrap().success());
    until("the last one takes its socket along", || (!path.exists()).then_some(()));
}

/// Processes whose configuration is there.
fn running_in(dir: &Path) -> Vec<String> {
    let dir = dir.display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|process| {
            let line = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
            line.contains(&dir)
        })
        .map(|process| process.file_name().into_string().unwrap())
        .collect()
}
