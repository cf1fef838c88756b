//! What goes over with an upgrade besides keys and health: sessions that were learnt, tickets of TLS;
//! and what stays behind: open WebSockets.

use crate::harness::{
    Authority, Backend, Files, Gateway, PATIENCE, Request, Setup, TlsClient, until,
};
use crate::upgrade::{start, upgrade};
use crate::websocket::{closing, echoing, open, text};
use rustls::version;
use std::thread;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;

#[test]
fn a_learnt_session_stays_on_its_backend() {
    let backends = ["b1", "b2", "b3"].map(Backend::start);
    let [b1, b2, b3] = &backends;
    let learning = Setup::of(&[b1, b2, b3]).sticky_with("learn: [{ header: Mcp-Session-Id }]");
    let mut gateway = start(&learning);
    let minted: Vec<(String, String)> = (0..12)
        .map(|nth| {
            let id = format!("session-{nth}");
            let mint = Request::get("/").with("X-Toy-Field", &format!("Mcp-Session-Id: {id}"));
            let home = gateway.client().send(&mint).backend();
            (id, home)
        })
        .collect();
    assert!(backends.iter().all(|backend| minted.iter().any(|(_, home)| home == backend.id())));
    upgrade(&gateway);
    assert!(gateway.wait_for_exit(PATIENCE).is_some(), "the old process ends");
    gateway.wait_for_metric("stickfast_learned_sessions", &[], 12.0);
    for (id, home) in &minted {
        let again = gateway.client().send(&Request::get("/kept").with("Mcp-Session-Id", id));
        assert_eq!(again.backend(), *home, "{id}");
    }
    // and once more: whoever takes over from the second has them as well
    upgrade(&gateway);
    for (id, home) in &minted {
        let again = gateway.client().send(&Request::get("/kept").with("Mcp-Session-Id", id));
        assert_eq!(again.backend(), *home, "{id}, after a second upgrade");
    }
}

#[test]
fn websockets_work_on_in_the_old_process_and_are_closed_one_after_the_other_at_its_deadline() {
    const OPEN: usize = 24;
    const DRAIN: Duration = Duration::from_secs(5);
    let (b1, b2) = (echoing("b1"), echoing("b2"));
    let timeout = "upgrade: { pidFile: \"${STICKFAST_TEST_DIR}/pid\", drainTimeout: 5s }";
    let setup = Setup::of(&[&b1, &b2]).sticky().server(timeout);
    let mut gateway = Gateway::start_replaceable(&setup, &[]);
    let mut sockets: Vec<_> = (0..OPEN).map(|_| open(&gateway, None).0).collect();
    let homes: Vec<String> = sockets.iter_mut().map(text).collect();
    let begun = Instant::now();
    upgrade(&gateway);
    for nth in 0..3 {
        for socket in &mut sockets {
            socket.send(Message::text(format!("after {nth}"))).unwrap();
            assert_eq!(text(socket), format!("after {nth}"));
        }
    }
    assert!(gateway.wait_for_exit(Duration::ZERO).is_none(), "the old process relays them");
    let (mut fresh, _) = open(&gateway, None);
    assert!(homes.contains(&text(&mut fresh)));
    let closed = thread::scope(|scope| {
        let waiting: Vec<_> = sockets
            .iter_mut()
            .map(|socket| scope.spawn(|| (closing(socket), begun.elapsed())))
            .collect();
        waiting.into_iter().map(|closed| closed.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(closed.iter().all(|(code, _)| *code == Some(1012)), "{closed:?}");
    let (first, last) = (
        closed.iter().map(|(_, after)| *after).min().unwrap(),
        closed.iter().map(|(_, after)| *after).max().unwrap(),
    );
    assert!(first >= DRAIN, "not before the deadline: {first:?}");
    // over a tenth of the drain timeout
    assert!(last >= first + Duration::from_millis(100), "all at once: {closed:?}");
    assert!(gateway.wait_for_exit(PATIENCE).is_some(), "the old process ends");
    fresh.send(Message::text("still here")).unwrap();
    assert_eq!(text(&mut fresh), "still here", "what the new process has is not touched");
}

#[test]
fn a_tls_session_is_resumed() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let b1 = Backend::start("b1");
    let pair = files.pair("app", &authority.issue(&["app.test"]));
    let tls = format!("certificates: [{{ {pair} }}]");
    let mut gateway = start(&Setup::of(&[&b1]).encrypted(&tls));
    let clients = [&version::TLS12, &version::TLS13]
        .map(|spoken| TlsClient::with(gateway.address(), &authority, &[spoken], None));
    for client in &clients {
        let mut wire = client.connect().unwrap();
        assert!(!wire.was_resumed());
        // tickets of TLS 1.3 come with the first answer
        assert_eq!(wire.send(&Request::get("/")).unwrap().status, 200);
    }
    upgrade(&gateway);
    assert!(gateway.wait_for_exit(PATIENCE).is_some(), "nobody else can resume them");
    for client in &clients {
        let mut wire = client.connect().unwrap();
        assert!(wire.was_resumed(), "{:?}", wire.version());
        assert_eq!(wire.send(&Request::get("/")).unwrap().backend(), "b1");
    }
    until("the new process has counted them", || {
        let resumed = gateway.metric("stickfast_tls_handshakes_total", &[("result", "resumed")]);
        ((resumed - 2.0).abs() < f64::EPSILON).then_some(())
    });
}
