//! One process hands over to the next: nobody is refused, cut off or bound anew, and a successor
//! that fails changes nothing.

use crate::harness::{Backend, Behaviour, Client, Gateway, PATIENCE, Request, Setup, Wire, until};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const PID_FILE: &str = "upgrade: { pidFile: \"${STICKFAST_TEST_DIR}/pid\" }";

/// Clients that never pause, half of them on connections that they keep.
struct Load {
    busy: AtomicBool,
    served: AtomicUsize,
    bound: AtomicUsize,
}

impl Load {
    const KEEPING: usize = 16;
    const NEW: usize = 8;

    /// Runs `meanwhile` under load. Every request must be answered by the backend that the client
    /// was bound to at first.
    fn during(gateway: &Gateway, meanwhile: impl FnOnce(&Self)) {
        let load = Self {
            busy: AtomicBool::new(true),
            served: AtomicUsize::new(0),
            bound: AtomicUsize::new(0),
        };
        thread::scope(|scope| {
            for _ in 0..Self::KEEPING {
                scope.spawn(|| load.client(gateway.client(), |_| ()));
            }
            for _ in 0..Self::NEW {
                // a copy has the cookies, and a connection of its own
                scope.spawn(|| load.client(gateway.client(), |client| *client = client.clone()));
            }
            let _ended = OnDrop(&load.busy);
            until("all are bound", || (load.bound() == Self::KEEPING + Self::NEW).then_some(()));
            meanwhile(&load);
            load.goes_on();
        });
    }

    fn client(&self, mut client: Client, between: impl Fn(&mut Client)) {
        let home = client.get("/bind").backend();
        self.bound.fetch_add(1, Ordering::SeqCst);
        while self.busy.load(Ordering::SeqCst) {
            between(&mut client);
            let answer = client.try_send(&Request::get("/busy")).expect("an answer");
            assert_eq!((answer.status, answer.whole), (200, true), "{:?}", answer.reason());
            assert_eq!(answer.backend(), home);
            assert_eq!(answer.cookies(), [""; 0], "bound as before");
            self.served.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn bound(&self) -> usize {
        self.bound.load(Ordering::SeqCst)
    }

    /// Waits until every client may have had an answer.
    fn goes_on(&self) {
        let before = self.served.load(Ordering::SeqCst);
        until("requests go on", || {
            (self.served.load(Ordering::SeqCst) >= before + 100).then_some(())
        });
    }
}

struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

pub(crate) fn start(setup: &Setup) -> Gateway {
    Gateway::start_replaceable(&setup.clone().server(PID_FILE), &[])
}

fn pid(gateway: &Gateway) -> u32 {
    until("there is a pid file", || gateway.pid())
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
    assert!(sent.unwrap().success(), "SIG{name} to {pid}");
}

fn lives(pid: u32) -> bool {
    // one that nobody has reaped is dead
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

/// Upgrades with `stickfast ctl upgrade`, which has to succeed; tells who serves then.
pub(crate) fn upgrade(gateway: &Gateway) -> u32 {
    let before = pid(gateway);
    let done = gateway.ctl(&["upgrade"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    until("another process serves", || gateway.pid().filter(|pid| *pid != before))
}

/// Tries to, which has to fail; tells why it did.
fn failing_upgrade(gateway: &Gateway) -> String {
    let before = pid(gateway);
    let done = gateway.ctl(&["upgrade"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert_eq!(pid(gateway), before, "the same process serves");
    done.stderr
}

/// Puts another program, or none of ours, in the place of the binary.
fn replace(gateway: &Gateway, script: Option<&str>) {
    let (next, program) = (gateway.dir().join("next"), gateway.dir().join("stickfast"));
    match script {
        Some(script) => {
            fs::write(&next, script).unwrap();
            fs::set_permissions(&next, fs::Permissions::from_mode(0o755)).unwrap();
        }
        None => symlink(env!("CARGO_BIN_EXE_stickfast"), &next).unwrap(),
    }
    fs::rename(next, program).unwrap();
}

fn three() -> [Backend; 3] {
    ["b1", "b2", "b3"].map(Backend::start)
}

fn sticky(backends: &[Backend; 3]) -> Setup {
    let [b1, b2, b3] = backends;
    Setup::of(&[b1, b2, b3]).checked().sticky().server("threads: 1")
}

#[test]
fn twenty_upgrades_and_twenty_reloads_under_load_fail_no_request_and_move_nobody() {
    let backends = three();
    let gateway = start(&sticky(&backends));
    let first = pid(&gateway);
    Load::during(&gateway, |load| {
        for _ in 0..20 {
            let former = pid(&gateway);
            let start = Instant::now();
            upgrade(&gateway);
            assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
            let reloaded = gateway.ctl(&["reload"]);
            assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
            load.goes_on();
            until("the former process has ended", || (!lives(former)).then_some(()));
        }
    });
    assert_ne!(pid(&gateway), first);
}

#[test]
fn failing_successors_change_nothing_under_load() {
    let backends = three();
    let setup = sticky(&backends);
    let gateway = start(&setup);
    let yaml = fs::read_to_string(gateway.dir().join("stickfast.yaml")).unwrap();
    let write = |text: &str| fs::write(gateway.dir().join("stickfast.yaml"), text).unwrap();
    Load::during(&gateway, |load| {
        replace(&gateway, Some("#!/bin/sh\nkill -s SEGV $$\n"));
        let why = failing_upgrade(&gateway);
        assert!(why.contains("ended before it was ready"), "{why}");
        load.goes_on();
        replace(&gateway, Some("no program at all"));
        let why = failing_upgrade(&gateway);
        assert!(why.contains("cannot start") || why.contains("ended before"), "{why}");
        replace(&gateway, None);
        let bad = yaml.replace("/healthz, interval", "/healthz, interwall");
        assert_ne!(bad, yaml);
        write(&bad);
        let why = failing_upgrade(&gateway);
        assert!(why.contains("stickfast.yaml:") && why.contains("interwall"), "{why}");
        load.goes_on();
        write(&yaml);
        upgrade(&gateway);
    });
}

#[test]
fn a_successor_that_is_killed_half_way_or_never_gets_ready_changes_nothing() {
    let backends = three();
    let mute = Backend::start("mute");
    mute.behave(Behaviour::Mute);
    let setup = sticky(&backends);
    let slow = |b: &[Backend; 3]| {
        // the first health round with a backend that is silent takes its 5 seconds
        let [b1, b2, b3] = b;
        Setup::of(&[b1, b2, b3, &mute]).sticky().option(
            "healthCheck: { type: http, path: /healthz, interval: 30s, timeout: 30s, \
             healthyThreshold: 1, unhealthyThreshold: 1 }",
        )
    };
    let gateway = start(&setup);
    let yaml = slow(&backends).server(PID_FILE).to_string();
    fs::write(gateway.dir().join("stickfast.yaml"), yaml).unwrap();
    let old = pid(&gateway);
    Load::during(&gateway, |load| {
        thread::scope(|scope| {
            let failing = scope.spawn(|| failing_upgrade(&gateway));
            until("it checks backends", || (mute.checks() > 0).then_some(()));
            signal(child_of(old).expect("a successor"), "KILL");
            let why = failing.join().unwrap();
            assert!(why.contains("ended before it was ready (signal: 9"), "{why}");
        });
        load.goes_on();
    });
}

#[test]
fn a_successor_that_hangs_is_given_up() {
    let backends = three();
    let patient = "upgrade: { pidFile: \"${STICKFAST_TEST_DIR}/pid\", startTimeout: 1s }";
    let gateway = Gateway::start_replaceable(&sticky(&backends).server(patient), &[]);
    replace(&gateway, Some("#!/bin/sh\nexec sleep 1000\n"));
    let why = failing_upgrade(&gateway);
    assert!(why.contains("startTimeout"), "{why}");
    assert_eq!(child_of(pid(&gateway)), None, "it is gone");
}

fn child_of(parent: u32) -> Option<u32> {
    let children = format!("/proc/{parent}/task");
    let tasks = fs::read_dir(children).ok()?.flatten();
    let of = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).ok();
    let all: String = tasks.filter_map(of).collect();
    all.split_whitespace().find_map(|pid| pid.parse().ok())
}

#[test]
fn a_generated_key_and_health_marks_go_over_though_nothing_can_be_written() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    let yaml = Setup::of(&[&b1, &b2])
        .option(
            "healthCheck: { type: http, path: /healthz, interval: 60s, timeout: 1s, \
             healthyThreshold: 1, unhealthyThreshold: 1 }",
        )
        .router("sessionAffinity: { enabled: true }")
        .server(PID_FILE)
        .to_string()
        .replace("stateDir: \"${STICKFAST_TEST_DIR}\"", "stateDir: /proc/none");
    b2.healthy(false);
    let gateway = Gateway::start_replaceable(&yaml, &[]);
    let mut client = gateway.client();
    assert_eq!(client.get("/").backend(), "b1");
    b2.healthy(true);
    let checks = b1.checks() + b2.checks();
    upgrade(&gateway);
    until("the new process answers", || {
        let answer = client.clone().get("/");
        assert_eq!((answer.backend().as_str(), answer.cookies().len()), ("b1", 0), "same key");
        (gateway.verdict_of("/") == "VN").then_some(())
    });
    assert_eq!(gateway.client().get("/").backend(), "b1", "b2 is still known as unhealthy");
    assert_eq!(b1.checks() + b2.checks(), checks, "nobody had to be checked anew");
}

#[test]
fn the_old_process_finishes_its_requests_and_ends_then() {
    let b1 = Backend::start("b1");
    let mut gateway = start(&Setup::of(&[&b1]));
    let mut open = gateway.connect();
    open.write(b"GET /sleep/3000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    until("the request is under way", || (b1.requests() == 1).then_some(()));
    let successor = upgrade(&gateway);
    assert!(gateway.wait_for_exit(Duration::from_millis(500)).is_none(), "it waits");
    gateway.signal("TERM");
    assert!(gateway.wait_for_exit(Duration::from_millis(500)).is_none(), "as it did anyway");
    assert_eq!(gateway.client().get("/").backend(), "b1", "the successor serves");
    assert_eq!(open.answer().unwrap().expect("an answer").backend(), "b1");
    drop(open);
    let status = gateway.wait_for_exit(Duration::from_secs(5)).expect("ends when idle");
    assert_eq!(status.code(), Some(0));
    assert!(lives(successor));
    assert_eq!(gateway.pid(), Some(successor), "the pid file is the successor's");
}

#[test]
fn a_process_that_is_told_to_stop_ends_after_those_before_it() {
    let b1 = Backend::start("b1");
    let mut gateway = start(&Setup::of(&[&b1]));
    let mut open = gateway.connect();
    open.write(b"GET /sleep/3000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    until("the request is under way", || (b1.requests() == 1).then_some(()));
    let second = upgrade(&gateway);
    let third = upgrade(&gateway);
    until("the second has nothing to do", || (!lives(second)).then_some(()));
    signal(third, "TERM");
    assert!(gateway.wait_for_exit(Duration::from_millis(500)).is_none());
    assert!(lives(third), "systemd would signal the first one again");
    assert_eq!(open.answer().unwrap().expect("an answer").backend(), "b1");
    drop(open);
    assert!(gateway.wait_for_exit(Duration::from_secs(5)).is_some());
    until("the last one has ended too", || (!lives(third)).then_some(()));
}

#[test]
fn a_client_that_pauses_is_answered_on_the_connection_it_has_and_comes_anew_then() {
    let b1 = Backend::start("b1");
    let mut gateway = start(&Setup::of(&[&b1]).sticky());
    let mut client = gateway.client();
    assert!(!client.get("/").closes());
    upgrade(&gateway);
    assert!(gateway.wait_for_exit(Duration::from_secs(3)).is_none(), "it waits for the client");
    let answer = client.try_send(&Request::get("/")).expect("an answer");
    assert_eq!((answer.backend().as_str(), answer.closes()), ("b1", true));
    assert!(gateway.wait_for_exit(Duration::from_secs(3)).is_some(), "nobody is left");
    assert_eq!(client.get("/").backend(), "b1");
}

#[test]
fn a_second_signal_and_the_drain_timeout_end_the_old_process() {
    let b1 = Backend::start("b1");
    let hold = |gateway: &Gateway, requests: usize| {
        let mut open = gateway.connect();
        open.write(b"GET /sleep/60000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        until("it is under way", || (b1.requests() == requests).then_some(()));
        open
    };
    let mut gateway = start(&Setup::of(&[&b1]));
    let _open: Wire = hold(&gateway, 1);
    upgrade(&gateway);
    gateway.signal("TERM");
    gateway.wait_for_diagnostic(&["stopping already"]);
    assert!(gateway.wait_for_exit(Duration::from_millis(300)).is_none());
    gateway.signal("TERM");
    assert!(gateway.wait_for_exit(Duration::from_secs(3)).is_some(), "the second is heard");

    let timeout = "upgrade: { pidFile: \"${STICKFAST_TEST_DIR}/pid\", drainTimeout: 1s }";
    let setup = Setup::of(&[&b1]).server(timeout);
    let mut gateway = Gateway::start_replaceable(&setup, &[]);
    let _open: Wire = hold(&gateway, 2);
    upgrade(&gateway);
    assert!(gateway.wait_for_exit(Duration::from_secs(8)).is_some(), "ends without the request");
}

#[test]
fn sigusr2_upgrades_without_anyone_waiting_and_sigterm_ends_the_successor() {
    let b1 = Backend::start("b1");
    let mut gateway = start(&Setup::of(&[&b1]));
    let first = pid(&gateway);
    gateway.signal("USR2");
    let second = until("another serves", || gateway.pid().filter(|pid| *pid != first));
    assert!(gateway.wait_for_exit(PATIENCE).is_some(), "the first ends");
    signal(second, "USR2");
    let third = until("a third serves", || gateway.pid().filter(|pid| *pid != second));
    until("the second ends", || (!lives(second)).then_some(()));
    assert_eq!(gateway.client().get("/").backend(), "b1");
    signal(third, "TERM");
    until("it ends", || (!lives(third)).then_some(()));
    assert_eq!(gateway.pid(), None, "and takes its pid file with it");
    let left = fs::read_dir(gateway.dir()).unwrap().flatten();
    assert!(left.into_iter().all(|file| file.path().extension().is_none_or(|e| e != "sock")));
}

#[test]
fn sigterm_while_a_successor_starts_ends_both() {
    let b1 = Backend::start("b1");
    let mut gateway = start(&Setup::of(&[&b1]));
    let old = pid(&gateway);
    replace(&gateway, Some("#!/bin/sh\nexec sleep 1000\n"));
    gateway.signal("USR2");
    let successor = until("it starts", || child_of(old));
    gateway.signal("TERM");
    assert!(gateway.wait_for_exit(PATIENCE).is_some());
    until("so has the successor", || (!lives(successor)).then_some(()));
}

#[test]
fn listeners_come_and_go_with_an_upgrade() {
    let b1 = Backend::start("b1");
    let yaml = Setup::of(&[&b1]).server(PID_FILE).to_string();
    let one = "listeners: [{ address: \"127.0.0.1:0\" }]";
    let two = "listeners: [{ address: \"127.0.0.1:0\" }, { address: \"127.0.0.2:0\" }]";
    assert!(yaml.contains(one));
    let gateway = Gateway::start_replaceable(&yaml, &[]);
    let address = gateway.address();
    fs::write(gateway.dir().join("stickfast.yaml"), yaml.replace(one, two)).unwrap();
    upgrade(&gateway);
    let announced = until("all are announced", || {
        Some(gateway.announced()).filter(|announced| announced.len() >= 3)
    });
    assert_eq!(announced.len(), 3, "{announced:?}");
    assert!(
        announced.iter().filter(|other| **other == address).count() == 2,
        "kept: {announced:?}"
    );
    assert_eq!(Client::new(address).get("/").backend(), "b1");
}

#[test]
fn the_upgrade_socket_stands_where_the_operator_says_and_only_in_a_private_place() {
    let b1 = Backend::start("b1");
    let socket = |place: &str| {
        format!(
            "upgrade: {{ pidFile: \"${{STICKFAST_TEST_DIR}}/pid\", \
             socket: \"${{STICKFAST_TEST_DIR}}/{place}\" }}"
        )
    };
    let gateway = Gateway::start_replaceable(&Setup::of(&[&b1]).server(&socket("run/s")), &[]);
    upgrade(&gateway);
    let mode = fs::metadata(gateway.dir().join("run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert!(!gateway.dir().join("run/s").exists());
    let gateway = Gateway::start_replaceable(&Setup::of(&[&b1]).server(&socket("open/s")), &[]);
    let open = gateway.dir().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(failing_upgrade(&gateway).contains("private"));
}

#[test]
fn a_process_without_a_predecessor_says_so() {
    let b1 = Backend::start("b1");
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), Setup::of(&[&b1]).to_string()).unwrap();
    let none = dir.path().join("none").display().to_string();
    let run = ["run", "-c", "a.yaml", "--upgrade", &none];
    let ended = crate::harness::stickfast(dir.path(), &run);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(&none), "{ended:?}");
}
