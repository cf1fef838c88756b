//! Keys that must not be believed: each leads to a fresh binding, never to an error and never to
//! a backend of another service.

use crate::harness::{
    Answer, Backend, Client, Gateway, PATIENCE, Request, SECRET, Setup, until, within,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::time::{Duration, Instant};

const NAME: &str = "gateway-backend";

fn two() -> [Backend; 2] {
    ["b1", "b2"].map(Backend::start)
}

/// Sends a cookie value with a fresh jar.
fn present(gateway: &Gateway, path: &str, value: &str) -> Answer {
    let mut client = gateway.client();
    client.put(NAME, value);
    client.get(path)
}

/// A value that was not believed: served, bound anew, with these letters in the log.
fn assert_bound_anew(gateway: &Gateway, path: &str, answer: &Answer, letters: &str) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.cookies().len(), 1, "{path} is stamped anew");
    assert_eq!(gateway.verdict_of(path), letters, "{path}");
}

fn fresh_key(gateway: &Gateway) -> String {
    let mut client = gateway.client();
    client.get("/bind");
    client.cookie(NAME).expect("a key")
}

#[test]
fn a_key_with_any_bit_changed_is_unreadable() {
    let [b1, b2] = two();
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky());
    let key = URL_SAFE_NO_PAD.decode(fresh_key(&gateway)).expect("base64url without padding");
    assert!(key.len() > 30, "version, key id, nonce, tag");
    assert_eq!((key[0], key[1] >> 4), (1, 1), "version 1, the id of the key in the upper half");
    for n in 0..key.len() {
        let mut changed = key.clone();
        changed[n] ^= 1 << (n % 8);
        let path = format!("/changed/{n}");
        let answer = present(&gateway, &path, &URL_SAFE_NO_PAD.encode(&changed));
        assert_bound_anew(&gateway, &path, &answer, "II");
    }
}

#[test]
fn a_truncated_or_lengthened_key_is_unreadable() {
    let [b1, b2] = two();
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky());
    let key = fresh_key(&gateway);
    for length in [1, 2, 3, 16, 20, key.len() - 1] {
        let path = format!("/short/{length}");
        let answer = present(&gateway, &path, &key[..length]);
        assert_bound_anew(&gateway, &path, &answer, "II");
    }
    for (n, tail) in ["A", "AAAA", "=", "=="].iter().enumerate() {
        let path = format!("/long/{n}");
        let answer = present(&gateway, &path, &format!("{key}{tail}"));
        assert_bound_anew(&gateway, &path, &answer, "II");
    }
}

#[test]
fn an_oversized_or_binary_value_is_unreadable_and_harmless() {
    let [b1, b2] = two();
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky());
    let binary: String = (0x80..=0xff_u8).map(char::from).collect();
    let values = ["A".repeat(513), "A".repeat(4000), binary, "%00%ff,\"\\".to_owned()];
    for (n, value) in values.iter().enumerate() {
        let path = format!("/garbage/{n}");
        let answer = present(&gateway, &path, value);
        assert_bound_anew(&gateway, &path, &answer, "II");
    }
}

#[test]
fn a_key_of_another_service_never_opens() {
    let [a1, b1] = [Backend::start("one"), Backend::start("one")];
    let setup = Setup::of(&[&a1]).service("shop", &[&b1]).sticky();
    let gateway = Gateway::start(&setup);
    let mut client = gateway.client();
    client.get("/bind");
    let (name, key) = client.jar.remove(0);
    let other = {
        let mut client = gateway.client();
        client.get("/shop/bind");
        client.jar.remove(0).0
    };
    assert_ne!(name, other, "one name each");
    let before = (a1.requests(), b1.requests());
    for (n, name) in [other.as_str(), NAME].iter().enumerate() {
        let mut client = gateway.client();
        client.put(name, &key);
        let path = format!("/shop/foreign/{n}");
        let answer = client.get(&path);
        assert_bound_anew(&gateway, &path, &answer, "II");
    }
    assert_eq!((a1.requests(), b1.requests()), (before.0, before.1 + 2), "only its own service");
}

#[test]
fn a_key_under_another_secret_is_unreadable() {
    let [b1, b2] = two();
    let setup = Setup::of(&[&b1, &b2]).sticky();
    let mut client = {
        let gateway = Gateway::start(&setup);
        let mut client = gateway.client();
        client.get("/bind");
        client
    };
    let gateway = Gateway::start(&setup.secret("quite another secret, also long enough"));
    client.goes_to(gateway.address());
    let answer = client.get("/restarted");
    assert_bound_anew(&gateway, "/restarted", &answer, "II");
    assert_eq!(client.get("/then").backend(), answer.backend());
    assert_eq!(gateway.verdict_of("/then"), "VN");
}

#[test]
fn a_former_secret_still_opens_and_the_key_is_sealed_anew() {
    let [b1, b2] = two();
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky());
    let mut client = gateway.client();
    let home = client.get("/bind").backend();
    let yaml = Setup::of(&[&b1, &b2]).sticky().to_string();
    let first = format!("keys: [{{ id: 1, secret: \"{SECRET}\" }}]");
    let keys = format!(
        "keys: [{{ id: 2, secret: \"the new secret of this test\" }}, {{ id: 1, secret: \"{SECRET}\" }}]"
    );
    assert!(yaml.contains(&first));
    gateway.reload(&yaml.replace(&first, &keys));
    let answer = client.get("/changed");
    assert_eq!(answer.backend(), home);
    assert_eq!(gateway.verdict_of("/changed"), "VU");
    assert_eq!(key_id(&client) >> 4, 2, "sealed with the first of the list");
    assert_eq!(client.get("/then").backend(), home);
    assert_eq!(gateway.verdict_of("/then"), "VN");
}

/// The byte that names the key that sealed the cookie of a client.
fn key_id(client: &Client) -> u8 {
    URL_SAFE_NO_PAD.decode(client.cookie(NAME).unwrap()).unwrap()[1]
}

/// Sends requests with copies of a client until one brings a key of that letter.
fn until_verdict(gateway: &Gateway, client: &mut Client, keep: bool, letter: char) -> String {
    let mut n = 0;
    let seen = within(PATIENCE, || {
        n += 1;
        let path = format!("/poll/{n}");
        let mut copy = client.clone();
        let answer = if keep { client.get(&path) } else { copy.get(&path) };
        assert_eq!(answer.status, 200);
        let verdict = gateway.verdict_of(&path);
        assert!(verdict.starts_with(['V', letter]), "{verdict} at {path}");
        verdict.starts_with(letter).then_some(verdict)
    });
    assert!(n > 1, "it was valid at first");
    seen.unwrap_or_else(|| panic!("never {letter}"))
}

#[test]
fn a_client_that_was_silent_for_longer_than_the_idle_time_is_bound_anew() {
    let [b1, b2] = two();
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky_with("idleTimeout: 1s"));
    let mut client = gateway.client();
    client.get("/bind");
    assert_eq!(until_verdict(&gateway, &mut client, false, 'E'), "EI");
}

#[test]
fn a_client_that_keeps_asking_outlives_the_idle_time_by_refreshed_keys() {
    let [b1, b2] = two();
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky_with("idleTimeout: 4s"));
    let mut client = gateway.client();
    let home = client.get("/bind").backend();
    let mut refreshed = 0;
    let mut n = 0;
    let never = within(Duration::from_secs(7), || {
        n += 1;
        let path = format!("/poll/{n}");
        let answer = client.get(&path);
        assert_eq!(answer.backend(), home);
        refreshed += answer.cookies().len();
        let verdict = gateway.verdict_of(&path);
        let expected = if answer.cookies().is_empty() { "VN" } else { "VU" };
        assert_eq!(verdict, expected);
        None::<()>
    });
    assert!(never.is_none());
    assert!(refreshed >= 2, "the key was refreshed as idle time went by");
    assert!(refreshed < n / 2, "and not each time: {refreshed} of {n}");
}

#[test]
fn the_idle_time_begins_with_the_answer_however_long_it_took() {
    let [b1, b2] = two();
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky_with("idleTimeout: 2s"));
    let mut client = gateway.client();
    let home = client.get("/sleep/3500").backend();
    let answer = client.get("/after");
    assert!(gateway.verdict_of("/after").starts_with('V'), "{}", gateway.verdict_of("/after"));
    assert_eq!(answer.backend(), home);
}

#[test]
fn a_key_that_grows_old_while_the_backend_works_is_refreshed_by_the_answer() {
    let [b1, b2] = two();
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky_with("idleTimeout: 2s"));
    let mut client = gateway.client();
    let home = client.get("/bind").backend();
    // Asked at once, with a key that is not due yet.
    assert_eq!(client.get("/sleep/3500").backend(), home);
    let answer = client.get("/after");
    assert!(gateway.verdict_of("/after").starts_with('V'), "{}", gateway.verdict_of("/after"));
    assert_eq!(answer.backend(), home);
}

#[test]
fn a_binding_ends_with_the_absolute_time_however_busy_the_client() {
    let [b1, b2] = two();
    let setup =
        Setup::of(&[&b1, &b2]).sticky_with("idleTimeout: 3s").sticky_with("absoluteTimeout: 3s");
    let gateway = Gateway::start(&setup);
    let mut client = gateway.client();
    client.get("/bind");
    assert_eq!(until_verdict(&gateway, &mut client, true, 'O'), "OI");
}

#[test]
fn of_two_cookies_of_one_name_the_one_that_opens_wins() {
    let [b1, b2] = two();
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky());
    let mut client = gateway.client();
    let home = client.get("/bind").backend();
    let key = client.cookie(NAME).unwrap();
    for (n, cookie) in [
        format!("{NAME}=rubbish; {NAME}={key}"),
        format!("{NAME}={key}; {NAME}=rubbish"),
        format!("a=b; {NAME}=; {NAME}={key}; c=d"),
    ]
    .iter()
    .enumerate()
    {
        let path = format!("/twice/{n}");
        let answer = gateway.client().send(&Request::get(&path).with("Cookie", cookie));
        assert_eq!(answer.backend(), home, "{cookie}");
        assert_eq!(gateway.verdict_of(&path), "VN", "{cookie}");
    }
    let apart = Request::get("/apart")
        .with("Cookie", &format!("{NAME}=rubbish"))
        .with("Cookie", &format!("{NAME}={key}"));
    assert_eq!(gateway.client().send(&apart).backend(), home, "in two header fields");
}

#[test]
fn of_two_keys_that_open_the_newer_one_counts() {
    let [b1, b2] = two();
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky());
    let mut older = gateway.client();
    let former = older.get("/bind").backend();
    let older = older.cookie(NAME).unwrap();
    // Keys tell the time in seconds.
    let start = Instant::now();
    let newer = until("a key that is two seconds younger and of the other backend", || {
        let mut client = gateway.client();
        let other = client.get("/bind").backend() != former;
        let younger = start.elapsed() >= Duration::from_secs(2);
        (other && younger).then(|| client.cookie(NAME).unwrap())
    });
    for cookie in
        [format!("{NAME}={older}; {NAME}={newer}"), format!("{NAME}={newer}; {NAME}={older}")]
    {
        let answer = gateway.client().send(&Request::get("/").with("Cookie", &cookie));
        assert_ne!(answer.backend(), former, "{cookie}");
    }
}

#[test]
fn an_expired_key_does_not_stand_before_one_that_holds() {
    let [b1, b2] = two();
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky_with("idleTimeout: 2s"));
    let mut client = gateway.client();
    client.get("/bind");
    let expired = client.cookie(NAME).unwrap();
    until_verdict(&gateway, &mut client, false, 'E');
    for order in ["first", "last"] {
        let mut client = gateway.client();
        let home = client.get("/bind").backend();
        let valid = client.cookie(NAME).unwrap();
        let cookie = match order {
            "first" => format!("{NAME}={expired}; {NAME}={valid}"),
            _ => format!("{NAME}={valid}; {NAME}={expired}"),
        };
        let path = format!("/expired/{order}");
        let answer = gateway.client().send(&Request::get(&path).with("Cookie", &cookie));
        assert_eq!(answer.backend(), home, "the expired one {order}");
        assert!(gateway.verdict_of(&path).starts_with('V'), "the expired one {order}");
    }
}
