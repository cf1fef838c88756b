//! Start and end of the process.

use crate::harness::{
    Backend, Client, Gateway, PATIENCE, Request, Setup, Wire, check, until, within,
};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn sigterm_finishes_open_requests_refuses_new_ones_and_ends_with_zero() {
    let b1 = Backend::start("b1");
    let mut gateway = Gateway::start(&Setup::of(&[&b1]).sticky());
    let address = gateway.address();
    let mut open = gateway.connect();
    open.write(b"GET /sleep/1500 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    until("the request is under way", || (b1.requests() == 1).then_some(()));
    gateway.signal("TERM");
    until("new connections are refused", || Wire::connect(address, None).is_err().then_some(()));
    if let Ok(answer) = gateway.admin("/readyz") {
        assert_eq!(answer.status, 503, "draining is not ready");
    }
    let answer = open.answer().unwrap().expect("the open request is answered");
    assert_eq!(answer.backend(), "b1");
    let status = gateway.wait_for_exit(PATIENCE).expect("it ends when idle");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn an_answer_that_goes_out_while_the_process_stops_says_that_its_connection_ends() {
    let b1 = Backend::start("b1");
    for driver in ["hotPath: on", "hotPath: off"] {
        let mut gateway = Gateway::start(&Setup::of(&[&b1]).server(driver).server("threads: 1"));
        let mut open = gateway.connect();
        let before = b1.requests();
        open.write(b"GET /sleep/1500 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        until("the request is under way", || (b1.requests() > before).then_some(()));
        let address = gateway.address();
        gateway.signal("TERM");
        until("it stops", || Wire::connect(address, None).is_err().then_some(()));
        let answer = open.answer().unwrap().expect("an answer");
        assert_eq!((answer.backend().as_str(), answer.field("connection")), ("b1", Some("close")));
        assert_eq!(gateway.wait_for_exit(PATIENCE).expect("it ends").code(), Some(0));
    }
}

#[test]
fn an_upload_that_has_begun_is_taken_whole_after_sigterm() {
    let b1 = Backend::start("b1");
    let mut gateway = Gateway::start(&Setup::of(&[&b1]));
    let mut open = gateway.connect();
    open.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf ").unwrap();
    gateway.wait_for_metric("stickfast_active_requests", &[], 1.0);
    let address = gateway.address();
    gateway.signal("TERM");
    until("new connections are refused", || Wire::connect(address, None).is_err().then_some(()));
    let early = gateway.wait_for_exit(Duration::from_millis(1500));
    assert!(early.is_none(), "it waits for the rest");
    open.write(b"done.").unwrap();
    let answer = open.answer().unwrap().expect("an answer");
    assert_eq!(answer.seen()["body_length"], 10);
    let status = gateway.wait_for_exit(PATIENCE).expect("it ends when idle");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn readiness_is_withdrawn_while_open_requests_are_finished() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]));
    let mut open = gateway.connect();
    open.write(b"GET /sleep/3000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    until("the request is under way", || (b1.requests() == 1).then_some(()));
    gateway.signal("TERM");
    until("not ready", || {
        gateway.admin("/readyz").is_ok_and(|answer| answer.status == 503).then_some(())
    });
    assert_eq!(gateway.admin("/healthz").unwrap().status, 200, "still alive");
    assert_eq!(open.answer().unwrap().expect("an answer").backend(), "b1");
}

#[test]
fn sigterm_ends_an_idle_process_at_once_even_with_kept_connections() {
    let b1 = Backend::start("b1");
    let mut gateway = Gateway::start(&Setup::of(&[&b1]).checked());
    let mut client = gateway.client();
    client.get("/");
    let _silent = gateway.connect();
    gateway.signal("TERM");
    let status = gateway.wait_for_exit(Duration::from_secs(2)).expect("ends within two seconds");
    assert_eq!(status.code(), Some(0));
    assert!(client.try_send(&Request::get("/")).is_err());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for second in ["TERM", "INT"] {
        let b1 = Backend::start("b1");
        let mut gateway = Gateway::start(&Setup::of(&[&b1]));
        let mut open = gateway.connect();
        open.write(b"GET /sleep/20000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        until("the request is under way", || (b1.requests() == 1).then_some(()));
        gateway.signal("TERM");
        let address = gateway.address();
        until("it drains", || Wire::connect(address, None).is_err().then_some(()));
        assert!(gateway.wait_for_exit(Duration::ZERO).is_none(), "still waiting");
        gateway.signal(second);
        let ended = gateway.wait_for_exit(Duration::from_secs(3));
        assert!(ended.is_some(), "SIG{second} is heard");
    }
}

#[test]
fn draining_ends_with_the_drain_timeout() {
    let b1 = Backend::start("b1");
    let setup = Setup::of(&[&b1]).server("upgrade: { drainTimeout: 1s }");
    let mut gateway = Gateway::start(&setup);
    let mut open = gateway.connect();
    open.write(b"GET /sleep/20000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    until("the request is under way", || (b1.requests() == 1).then_some(()));
    let start = Instant::now();
    gateway.signal("TERM");
    assert!(gateway.wait_for_exit(Duration::from_secs(8)).is_some(), "ends without the request");
    assert!(start.elapsed() >= Duration::from_millis(800), "but gave it its time");
}

#[test]
fn a_request_on_a_kept_connection_while_draining_is_served_or_the_connection_is_closed() {
    let b1 = Backend::start("b1");
    let mut gateway = Gateway::start(&Setup::of(&[&b1]));
    let mut clients: Vec<Client> = (0..8).map(|_| gateway.client()).collect();
    thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(|| {
                // Busy until the connection is closed; every answer that comes is a good one.
                while let Ok(answer) = client.try_send(&Request::get("/")) {
                    assert_eq!(answer.status, 200, "{:?}", answer.reason());
                    assert!(answer.whole);
                }
            });
        }
        until("they are busy", || (b1.requests() > 50).then_some(()));
        gateway.signal("TERM");
    });
    let status = gateway.wait_for_exit(PATIENCE).expect("it ends");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_standard_error_that_nobody_reads_does_not_hold_up_the_end() {
    let b1 = Backend::start("b1");
    let setup = Setup::of(&[&b1]);
    let bad = vec!["u".repeat(10_000); 12].join(", ");
    let bad = setup.clone().server(&format!("trustedProxies: [{bad}]"));
    let told = check(&bad.to_string()).stderr.len();
    assert!(told > 100_000, "{told} bytes are more than a pipe holds");
    let mut gateway = Gateway::start(&setup);
    gateway.block_stderr();
    for _ in 0..2 {
        gateway.reload_refused(&bad);
    }
    assert_eq!(gateway.client().get("/").backend(), "b1");
    gateway.signal("TERM");
    let status = gateway.wait_for_exit(Duration::from_secs(6)).expect("ends within seconds");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn signals_that_come_early_do_not_end_the_process() {
    let b1 = Backend::start("b1");
    for _ in 0..20 {
        let disturb = |gateway: &Gateway| ["HUP", "USR1"].map(|name| gateway.signal(name));
        let mut gateway = Gateway::spawn_and(&Setup::of(&[&b1]), |gateway| {
            disturb(gateway);
        });
        until("it is ready", || {
            disturb(&gateway);
            gateway.is_ready().then_some(())
        });
        assert_eq!(gateway.client().get("/").backend(), "b1");
    }
}

#[test]
fn a_stop_that_comes_early_is_orderly_as_one_that_comes_late() {
    let b1 = Backend::start("b1");
    for name in ["INT", "TERM"] {
        Gateway::spawn_and(&Setup::of(&[&b1]), |gateway| {
            gateway.signal(name);
            let status = gateway.wait_for_exit(PATIENCE).expect("it does not wait for its files");
            assert_eq!(status.code(), Some(0), "SIG{name} while it reads its files");
        });
        // whatever it is doing by then
        for _ in 0..10 {
            let mut gateway = Gateway::spawn_and(&Setup::of(&[&b1]), |_| {});
            gateway.signal(name);
            let status = gateway.wait_for_exit(PATIENCE).expect("it ends");
            assert_eq!(status.code(), Some(0), "SIG{name} while it starts");
        }
    }
}

#[test]
fn an_address_that_is_taken_is_named_and_the_process_ends() {
    let b1 = Backend::start("b1");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let yaml = Setup::of(&[&b1]).to_string();
    let listener = "listeners: [{ address: \"127.0.0.1:0\" }]";
    assert!(yaml.contains(listener));
    let as_listener = yaml.replace(listener, &listener.replace("127.0.0.1:0", &address));
    let as_admin = Setup::of(&[&b1]).admin(&format!("{{ address: \"{address}\" }}")).to_string();
    for yaml in [as_listener, as_admin] {
        let mut gateway = Gateway::spawn(&[("stickfast.yaml", &yaml)]);
        let status = gateway.wait_for_exit(PATIENCE).expect("it ends");
        assert!(status.code().is_some_and(|code| code != 0), "{status}");
        let said = within(Duration::from_secs(2), || {
            gateway.stderr_lines().into_iter().find(|line| line.contains(&address))
        });
        assert!(said.is_some(), "{:?}", gateway.stderr_lines());
        let panicked = gateway.stderr_lines().iter().any(|line| line.contains("panicked"));
        assert!(!panicked, "{:?}", gateway.stderr_lines());
    }
}

#[test]
fn several_listeners_serve_alike() {
    let b1 = Backend::start("b1");
    let yaml = Setup::of(&[&b1]).to_string();
    let one = "listeners: [{ address: \"127.0.0.1:0\" }]";
    assert!(yaml.contains(one));
    let two = "listeners: [{ address: \"127.0.0.1:0\" }, { address: \"127.0.0.2:0\" }]";
    let gateway = Gateway::start(&yaml.replace(one, two));
    let announced = until("both are announced", || {
        Some(gateway.announced()).filter(|addresses| addresses.len() == 2)
    });
    // The harness asks every address by 127.0.0.1; the second one must be asked where it is.
    let second = until("the second listener answers", || {
        announced.iter().find_map(|a| {
            let address = (std::net::Ipv4Addr::new(127, 0, 0, 2), a.port()).into();
            Client::new(address).try_send(&Request::get("/")).ok()
        })
    });
    assert_eq!(second.backend(), "b1");
}
