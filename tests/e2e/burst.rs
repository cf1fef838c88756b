//! First requests that belong together: a browser that opens several connections before it has a
//! cookie. What they are given is compared by the backend, and by the tag inside the key, which
//! only a second binding shows: clients of one tag are guests of one host.

use crate::harness::{Backend, Gateway, Request, Setup};
use std::collections::BTreeSet;
use std::thread;

fn six() -> [Backend; 6] {
    ["b1", "b2", "b3", "b4", "b5", "b6"].map(Backend::start)
}

fn setup(backends: &[Backend]) -> Setup {
    Setup::of(&backends.iter().collect::<Vec<_>>()).sticky()
}

fn page(agent: &str) -> Request {
    Request::get("/").with("User-Agent", agent)
}

/// Six connections at the same time; the backends that they met.
fn browser(gateway: &Gateway, agent: &str) -> BTreeSet<String> {
    thread::scope(|scope| {
        let ask = || gateway.client().send(&page(agent)).backend();
        let all: Vec<_> = (0..6).map(|_| scope.spawn(ask)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

#[test]
fn six_connections_are_six_clients_unless_the_operator_says_otherwise() {
    let backends = six();
    let gateway = Gateway::start(&setup(&backends));
    assert_eq!(browser(&gateway, "browser").len(), 6);
    gateway.reload(&setup(&backends).sticky_with("burst: { window: 30s }"));
    assert_eq!(browser(&gateway, "browser").len(), 1);
}

#[test]
fn only_the_same_address_and_agent_are_company() {
    let backends = six();
    let gateway = Gateway::start(&setup(&backends).sticky_with("burst: { window: 30s }"));
    let agents: BTreeSet<_> = (0..6).flat_map(|n| browser(&gateway, &format!("a{n}"))).collect();
    assert_eq!(agents.len(), 6, "{agents:?}");
    let at = |last: u8| {
        let mut client = gateway.client().at([127, 0, 1, last].into());
        client.send(&page("browser")).backend()
    };
    let addresses: BTreeSet<_> = (1..=6).map(at).collect();
    assert_eq!(addresses.len(), 6, "{addresses:?}");
    let again: BTreeSet<_> = (1..=6).map(at).collect();
    assert_eq!(again, addresses);
}

#[test]
fn the_window_ends() {
    let backends = six();
    let gateway = Gateway::start(&setup(&backends).sticky_with("burst: { window: 50ms }"));
    let first = gateway.client().send(&page("browser")).backend();
    let met = |_| (gateway.client().send(&page("browser")).backend() != first).then_some(());
    let mut tries = 0..;
    crate::harness::until("another backend", || tries.next().and_then(met));
}

#[test]
fn company_has_one_tag() {
    let backends = six();
    let setup = setup(&backends)
        .sticky_with("burst: { window: 30s }")
        .sticky_with("onUnhealthy: serve-once");
    let gateway = Gateway::start(&setup);
    let mut all: Vec<_> = (0..6).map(|_| gateway.client()).collect();
    let homes: BTreeSet<_> = all.iter_mut().map(|c| c.send(&page("browser")).backend()).collect();
    let [home] = homes.into_iter().collect::<Vec<_>>().try_into().expect("one backend");
    backends.iter().find(|backend| backend.id() == home).unwrap().stop();
    let hosts: BTreeSet<_> = all.iter_mut().map(|c| c.send(&page("browser")).backend()).collect();
    assert_eq!(hosts.len(), 1, "guests of one tag have one host: {hosts:?}");
}

#[test]
fn company_moves_together_when_its_backend_dies() {
    let backends = six();
    let gateway = Gateway::start(&setup(&backends).sticky_with("burst: { window: 30s }"));
    let first = gateway.client().send(&page("browser")).backend();
    backends.iter().find(|backend| backend.id() == first).unwrap().stop();
    let after = browser(&gateway, "browser");
    assert!(after.len() == 1 && !after.contains(&first), "{first}, then {after:?}");
}

#[test]
fn a_browser_is_of_one_version() {
    let backends = six();
    let setup = setup(&backends)
        .versions(&["v1", "v1", "v1", "v2", "v2", "v2"])
        .option("versions: { v1: 1, v2: 1 }")
        .rules(&["id: r, serviceName: app, versionHeader: x-tag"])
        .sticky_with("burst: { window: 30s }");
    let gateway = Gateway::start(&setup);
    for n in 0..8 {
        let met = browser(&gateway, &format!("browser {n}"));
        assert_eq!(met.len(), 1, "{met:?}");
    }
    // requests for two versions are no company, and do not part the others
    let ask = |tag: &str| {
        let request = page("tagged").with("X-Tag", tag);
        gateway.client().send(&request).backend()
    };
    let (v1, v2) = (ask("v1"), ask("v2"));
    for _ in 0..4 {
        assert_eq!((ask("v1"), ask("v2")), (v1.clone(), v2.clone()));
    }
}

#[test]
fn a_connection_is_one_client() {
    let backends = six();
    let gateway = Gateway::start(&setup(&backends).sticky_with("burst: { sameConnection: true }"));
    // sent ahead, before the first answer could bring a cookie
    let mut wire = gateway.connect();
    wire.write(&page("a").bytes(&[]).repeat(4)).unwrap();
    let met: BTreeSet<_> =
        (0..4).map(|_| wire.answer().unwrap().expect("an answer").backend()).collect();
    assert_eq!(met.len(), 1, "{met:?}");
    let one = met.first().unwrap();
    backends.iter().find(|backend| backend.id() == one).unwrap().stop();
    wire.write(&page("a").bytes(&[]).repeat(4)).unwrap();
    let after: BTreeSet<_> =
        (0..4).map(|_| wire.answer().unwrap().expect("an answer").backend()).collect();
    assert!(after.len() == 1 && after != met, "{met:?}, then {after:?}");
    let others: BTreeSet<_> = (0..5).flat_map(|_| browser(&gateway, "a")).collect();
    assert_eq!(others.len(), 5, "other connections are other clients");
}

#[test]
fn clients_that_share_a_proxys_connection_stay_apart() {
    let backends = six();
    let gateway = Gateway::start(
        &setup(&backends)
            .server("trustedProxies: [127.0.0.0/8]")
            .sticky_with("burst: { sameConnection: true, window: 30s }"),
    );
    let mut wire = gateway.connect();
    let mut ask = |client: &str| {
        wire.write(&page("a").with("X-Forwarded-For", client).bytes(&[])).unwrap();
        wire.answer().unwrap().expect("an answer").backend()
    };
    let clients: Vec<_> = (1..=6).map(|n| format!("203.0.113.{n}")).collect();
    let met: Vec<_> = clients.iter().map(|client| ask(client)).collect();
    assert_eq!(met.iter().collect::<BTreeSet<_>>().len(), 6, "{met:?}");
    let again: Vec<_> = clients.iter().map(|client| ask(client)).collect();
    assert_eq!(again, met);
}

#[test]
fn who_has_a_key_is_nobodys_company() {
    let backends = six();
    let gateway = Gateway::start(&setup(&backends));
    let mut old = gateway.client();
    let home = old.send(&page("a")).backend();
    let burst = "burst: { sameConnection: true, window: 30s }";
    gateway.reload(&setup(&backends).sticky_with(burst));
    let agents = (0..6).map(|n| format!("agent {n}"));
    let elsewhere = |agent: &String| gateway.client().send(&page(agent)).backend() != home;
    let agent = agents.into_iter().find(elsewhere).expect("six agents meet six backends");
    for _ in 0..3 {
        assert_eq!(old.send(&page(&agent)).backend(), home);
    }
}
