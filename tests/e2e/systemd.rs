//! What the process and systemd say to each other, with a socket of the test in systemd's place.

use crate::harness::{Backend, Client, Gateway, PATIENCE, Setup, until, within};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const PID_FILE: &str = "upgrade: { pidFile: \"${STICKFAST_TEST_DIR}/pid\" }";

/// Hears what systemd would.
struct Manager {
    heard: Arc<Mutex<Vec<String>>>,
    path: String,
    _dir: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&heard);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                all.lock().unwrap().push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
        });
        Self { heard, path: path.display().to_string(), _dir: dir }
    }

    fn start(&self, setup: &Setup, environment: &[(&str, &str)]) -> Gateway {
        let environment = [&[("NOTIFY_SOCKET", self.path.as_str())], environment].concat();
        Gateway::start_replaceable(&setup.clone().server(PID_FILE), &environment)
    }

    /// Messages so far, without signs of life.
    fn heard(&self) -> Vec<String> {
        let all = self.heard.lock().unwrap();
        all.iter().filter(|message| *message != "WATCHDOG=1").cloned().collect()
    }

    fn signs_of_life(&self) -> usize {
        self.heard.lock().unwrap().iter().filter(|message| *message == "WATCHDOG=1").count()
    }

    fn wait_for(&self, count: usize) -> Vec<String> {
        until(&format!("{count} messages"), || {
            let heard = self.heard();
            assert!(heard.len() <= count, "{heard:?}");
            (heard.len() == count).then_some(heard)
        })
    }
}

#[test]
fn systemd_hears_of_start_reload_upgrade_and_end() {
    let b1 = Backend::start("b1");
    let manager = Manager::new();
    let setup = Setup::of(&[&b1]);
    let gateway = manager.start(&setup, &[]);
    let first = until("a pid file", || gateway.pid());
    assert_eq!(manager.wait_for(1)[0], format!("MAINPID={first}\nREADY=1\nSTATUS=serving"));

    gateway.signal("HUP");
    let heard = manager.wait_for(3);
    let micros = heard[1].strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("a reload");
    assert!(micros.parse::<u64>().unwrap() > 0);
    assert!(heard[2].starts_with("READY=1\n"), "{heard:?}");

    assert_eq!(gateway.ctl(&["upgrade"]).code, Some(0));
    let second = until("another process", || gateway.pid().filter(|pid| *pid != first));
    let heard = manager.wait_for(6);
    assert!(heard[3].starts_with("RELOADING=1\n"), "{heard:?}");
    // in this order: systemd may listen to nobody but the main process
    assert_eq!(heard[4], format!("MAINPID={second}"), "{heard:?}");
    assert_eq!(heard[5], format!("MAINPID={second}\nREADY=1\nSTATUS=serving"), "{heard:?}");

    let kill = Command::new("kill").args(["-s", "TERM", &second.to_string()]).status();
    assert!(kill.unwrap().success());
    let last = manager.wait_for(7).remove(6);
    assert!(last.starts_with("STOPPING=1"), "{last}");
    let micros = last.rsplit_once("EXTEND_TIMEOUT_USEC=").expect("time to finish").1;
    assert!(micros.parse::<u64>().unwrap() > 300_000_000, "more than the drain timeout: {micros}");
}

#[test]
fn a_process_whose_successor_dies_makes_way_for_a_new_start() {
    let b1 = Backend::start("b1");
    let manager = Manager::new();
    for (is_heard, sleep) in [(true, 20_000), (false, 3000)] {
        let setup = Setup::of(&[&b1]);
        let mut gateway = if is_heard {
            manager.start(&setup, &[])
        } else {
            Gateway::start_replaceable(&setup.server(PID_FILE), &[])
        };
        let first = until("a pid file", || gateway.pid());
        let mut open = gateway.connect();
        let before = b1.requests();
        open.write(format!("GET /sleep/{sleep} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
        until("the request is under way", || (b1.requests() > before).then_some(()));
        assert_eq!(gateway.ctl(&["upgrade"]).code, Some(0));
        let second = until("another process", || gateway.pid().filter(|pid| *pid != first));
        assert!(gateway.wait_for_exit(Duration::ZERO).is_none(), "it drains");
        let kill = Command::new("kill").args(["-s", "KILL", &second.to_string()]).status();
        assert!(kill.unwrap().success());
        if is_heard {
            let ended = gateway.wait_for_exit(Duration::from_secs(10));
            assert!(ended.is_some(), "systemd sees the end of its main process only then");
        } else {
            let answer = open.answer().unwrap().expect("nobody else would start it again");
            assert_eq!(answer.backend(), "b1");
        }
    }
}

#[test]
fn a_failed_upgrade_ends_the_reload_for_systemd() {
    let b1 = Backend::start("b1");
    let manager = Manager::new();
    let gateway = manager.start(&Setup::of(&[&b1]), &[]);
    manager.wait_for(1);
    std::fs::write(gateway.dir().join("stickfast.yaml"), "gateway: [").unwrap();
    assert_eq!(gateway.ctl(&["upgrade"]).code, Some(1));
    let heard = manager.wait_for(3);
    assert!(heard[1].starts_with("RELOADING=1"), "{heard:?}");
    assert!(heard[2].starts_with("READY=1\nSTATUS=serving; the last upgrade failed"), "{heard:?}");
}

#[test]
fn signs_of_life_go_on_after_an_upgrade_though_they_were_asked_of_the_old_process() {
    let b1 = Backend::start("b1");
    let manager = Manager::new();
    // what the shell of the harness turns into the id of the process
    let watchdog = [("WATCHDOG_USEC", "100000"), ("STICKFAST_TEST_OWN", "WATCHDOG_PID")];
    let mut gateway = manager.start(&Setup::of(&[&b1]), &watchdog);
    until("signs of life", || (manager.signs_of_life() > 3).then_some(()));
    assert_eq!(gateway.ctl(&["upgrade"]).code, Some(0));
    assert!(gateway.wait_for_exit(PATIENCE).is_some());
    let before = manager.signs_of_life();
    until("more of them", || (manager.signs_of_life() > before + 3).then_some(()));
}

#[test]
fn a_watchdog_that_watches_another_process_is_not_answered() {
    let b1 = Backend::start("b1");
    let manager = Manager::new();
    let gateway =
        manager.start(&Setup::of(&[&b1]), &[("WATCHDOG_USEC", "50000"), ("WATCHDOG_PID", "1")]);
    manager.wait_for(1);
    let given = || (manager.signs_of_life() > 0).then_some(());
    assert!(within(Duration::from_millis(300), given).is_none());
    drop(gateway);
}

#[test]
fn sockets_from_systemd_are_taken_by_address_and_by_name_and_survive_an_upgrade() {
    let b1 = Backend::start("b1");
    for (name, is_admin) in [("web", false), ("admin", true)] {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        // connections that come before the process does wait
        let mut early = Client::new(address);
        let yaml = Setup::of(&[&b1]).server(PID_FILE).to_string();
        let yaml = if is_admin {
            yaml
        } else {
            let listener = "listeners: [{ address: \"127.0.0.1:0\" }]";
            assert!(yaml.contains(listener));
            yaml.replace(listener, &listener.replace("127.0.0.1:0", &address.to_string()))
        };
        let environment =
            [("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", name), ("STICKFAST_TEST_OWN", "LISTEN_PID")];
        let gateway = Gateway::start_activated(&yaml, &environment, socket);
        for _ in 0..2 {
            if is_admin {
                assert_eq!(gateway.admin_address(), Some(address));
            } else {
                assert_eq!(gateway.address(), address);
                assert_eq!(early.get("/").backend(), "b1");
                early.hang_up();
            }
            let upgraded = gateway.ctl(&["upgrade"]);
            assert_eq!(upgraded.code, Some(0), "{upgraded:?}");
        }
    }
}
