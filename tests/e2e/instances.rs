//! Several instances with one secret agree without talking to each other.

use crate::harness::{Backend, Client, Gateway, Setup, until};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const NAME: &str = "gateway-backend";

#[test]
fn two_instances_with_one_secret_honour_each_others_keys() {
    let [b1, b2, b3] = ["b1", "b2", "b3"].map(Backend::start);
    let setup = Setup::of(&[&b1, &b2, &b3]).sticky();
    let instances = [Gateway::start(&setup), Gateway::start(&setup)];
    for n in 0..8 {
        let mut client = instances[n % 2].client();
        let home = client.get("/bind").backend();
        for m in 0..4 {
            client.goes_to(instances[m % 2].address());
            let answer = client.get("/there-and-back");
            assert_eq!(answer.backend(), home);
            assert_eq!(answer.cookies(), [""; 0]);
        }
    }
}

#[test]
fn a_restart_with_the_same_secret_moves_nobody() {
    let [b1, b2, b3] = ["b1", "b2", "b3"].map(Backend::start);
    let setup = Setup::of(&[&b1, &b2, &b3]).sticky();
    let mut clients: Vec<(Client, String)> = {
        let gateway = Gateway::start(&setup);
        let bind = |_| {
            let mut client = gateway.client();
            let home = client.get("/").backend();
            (client, home)
        };
        (0..9).map(bind).collect()
    };
    let gateway = Gateway::start(&setup);
    for (client, home) in &mut clients {
        client.goes_to(gateway.address());
        let answer = client.get("/");
        assert_eq!(&answer.backend(), home);
        assert_eq!(answer.cookies(), [""; 0]);
    }
}

#[test]
fn a_rotation_of_the_key_is_seen_by_all_instances_and_moves_nobody() {
    let [b1, b2, b3] = ["b1", "b2", "b3"].map(Backend::start);
    let setup = Setup::of(&[&b1, &b2, &b3])
        .sticky_with("keyRotation: 2s")
        .sticky_with("idleTimeout: 20s")
        .sticky_with("absoluteTimeout: 20s");
    let instances = [Gateway::start(&setup), Gateway::start(&setup)];
    let mut client = instances[0].client();
    let home = client.get("/bind").backend();
    let old = client.clone();
    let first = key_id(&client);
    let mut n = 0;
    until("the key was sealed with the key of a later period", || {
        n += 1;
        client.goes_to(instances[n % 2].address());
        assert_eq!(client.get("/poll").backend(), home, "request {n}");
        (key_id(&client) != first).then_some(())
    });
    assert_eq!(key_id(&client) >> 4, first >> 4, "the same secret");
    for instance in &instances {
        let mut late = old.clone();
        late.goes_to(instance.address());
        assert_eq!(late.get("/late").backend(), home, "the key of the former period still opens");
        assert_eq!(instance.verdict_of("/late"), "VU");
        client.goes_to(instance.address());
        assert_eq!(client.get("/new").backend(), home);
    }
}

/// The byte that names the key that sealed the cookie of a client.
fn key_id(client: &Client) -> u8 {
    URL_SAFE_NO_PAD.decode(client.cookie(NAME).unwrap()).unwrap()[1]
}

#[test]
fn a_generated_secret_outlives_a_restart_in_the_state_directory() {
    let [b1, b2, b3] = ["b1", "b2", "b3"].map(Backend::start);
    let state = tempfile::tempdir().unwrap();
    let yaml = without_keys(&Setup::of(&[&b1, &b2, &b3]).sticky().to_string())
        .replace("${STICKFAST_TEST_DIR}", &state.path().display().to_string());
    let (mut client, home) = {
        let gateway = Gateway::start(&yaml);
        let mut client = gateway.client();
        let home = client.get("/").backend();
        (client, home)
    };
    let gateway = Gateway::start(&yaml);
    client.goes_to(gateway.address());
    let answer = client.get("/");
    assert_eq!(answer.backend(), home);
    assert_eq!(answer.cookies(), [""; 0]);
}

/// The same file without the line that names the secret.
fn without_keys(yaml: &str) -> String {
    let lines = yaml.lines().filter(|line| !line.trim_start().starts_with("keys:"));
    let kept: Vec<_> = lines.collect();
    assert_eq!(kept.len() + 1, yaml.lines().count());
    kept.join("\n")
}
