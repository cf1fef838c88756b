use super::*;
use crate::config::{self, Source};
use crate::model::UnixTime;

fn offline(yaml: &str) -> Offline {
    let source = Source { name: "t.yaml".into(), text: yaml.into() };
    let config = config::load(vec![source], &|_| None).unwrap();
    Offline::compile(config, UnixTime(1_800_000_000)).unwrap()
}

fn yaml(backends: &[&str], more: &str) -> String {
    let backends: String = backends
        .iter()
        .enumerate()
        .map(|(nth, id)| format!("        - {{ id: {id}, address: 10.0.0.{nth}:80 }}\n"))
        .collect();
    format!(
        "gateway:\n  services:\n    cart:\n      loadBalancing: {{ policy: consistent-hash }}\n      \
         backends:\n{backends}{more}"
    )
}

const STICKY: &str = "
  router:
    rules: [{ id: cart, path: /*, serviceName: cart }]
    sessionAffinity: { keys: [{ id: 1, secret: sixteen bytes or more }] }
";

fn told(old: &str, new: &str) -> String {
    plan(&offline(old), &offline(new)).to_string()
}

#[test]
fn the_same_configuration_changes_nothing() {
    let same = yaml(&["b1", "b2"], STICKY);
    assert_eq!(told(&same, &same), "nothing changes for clients\n");
}

#[test]
fn a_backend_that_goes_takes_its_bindings_and_its_share_along() {
    let old = yaml(&["b1", "b2", "b3"], STICKY);
    let new = yaml(&["b1", "b2"], STICKY);
    insta::assert_snapshot!(told(&old, &new), @r"
    ~ service cart
        - b3: bindings to it become missing
        3128 of 10000 sample clients without a key move (31.3 %)
    ~ rule cart
        clients bound to b3 are placed anew (onMissing: redistribute)

    in all, 3128 of 10000 sample clients without a key move (31.3 %); clients with a key that holds stay where they are
    ");
    let share = plan(&offline(&old), &offline(&new)).total.unwrap();
    assert!((2_500..4_200).contains(&share.moved), "a third moves, not more: {share:?}");
}

#[test]
fn a_second_service_changes_the_written_name_but_not_what_is_read() {
    let second = "
    other: { backends: [{ id: o1, address: 10.0.1.1:80 }] }
  router:
    rules:
      - { id: cart, path: /*, serviceName: cart }
      - { id: other, path: /other/*, serviceName: other }
    sessionAffinity: { keys: [{ id: 1, secret: sixteen bytes or more }] }
";
    insta::assert_snapshot!(told(&yaml(&["b1"], STICKY), &yaml(&["b1"], second)), @r"
    + service other
    ~ rule cart
        cookie gateway-backend -> gateway-backend-1c42ddc0; the old one is still read
    + rule other
        service other

    in all, 0 of 10000 sample clients without a key move (0.0 %); clients with a key that holds stay where they are
    ");
}

#[test]
fn a_key_that_is_dropped_or_replaced_is_named_by_its_id_and_its_secret_is_not_told() {
    let replaced = STICKY.replace("sixteen bytes or more", "another secret of enough bytes");
    let moved = STICKY.replace("id: 1, secret", "id: 2, secret");
    for new in [replaced, moved] {
        let told = told(&yaml(&["b1"], STICKY), &yaml(&["b1"], &new));
        assert!(told.contains("key id 1: what it sealed no longer opens"), "{told}");
        assert!(!told.contains("bytes"), "{told}");
    }
}
