use super::*;
use crate::config::{self, Source};
use crate::model::UnixTime;

fn offline(yaml: &str) -> World {
    let source = Source { name: "t.yaml".into(), text: yaml.into() };
    let config = config::load(vec![source], &|_| None).unwrap();
    World::of_files(config, None, UnixTime(1_800_000_000)).unwrap()
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
        3168 of 10000 sample clients without a key move (31.7 %)
    ~ rule cart
        clients bound to b3 are placed anew (onMissing: redistribute)

    in all, 3168 of 10000 sample clients without a key move (31.7 %); clients with a key that holds stay where they are
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

#[test]
fn another_hash_key_moves_the_places_and_tells_no_key() {
    let with = |key: &str| {
        yaml(
            &["b1", "b2", "b3", "b4"],
            &STICKY.replace("  router:", &format!("  router:\n    hashKey: {key}")),
        )
    };
    let (old, new) = (with("one key of enough bytes"), with("two keys of enough bytes"));
    let told = told(&old, &new);
    assert!(
        told.starts_with("~ router.hashKey is another one: every place by a hash is another"),
        "{told}"
    );
    assert!(!told.contains("enough"), "{told}");
    let share = plan(&offline(&old), &offline(&new)).total.unwrap();
    assert!((6_500..8_500).contains(&share.moved), "three of four: {share:?}");
}

#[test]
fn a_rule_with_a_hash_of_its_own_is_sampled_by_what_it_hashes() {
    let rule = |algorithm: &str| {
        let own = format!("sixteen bytes or more }}], algorithm: {{ {algorithm}");
        yaml(&["b1", "b2"], &STICKY.replace("sixteen bytes or more }]", &format!("{own} }}")))
    };
    let (header, address) =
        (rule("type: header-hash, headerHash: { header: X-User-ID }"), rule("type: ip-hash"));
    let same = plan(&offline(&header), &offline(&header));
    assert_eq!(same.rules[0].moved, Some(Share { moved: 0, of: 10_000 }));
    assert!(same.is_empty());
    let other = plan(&offline(&header), &offline(&address));
    let moved = other.rules[0].moved.unwrap().moved;
    assert!((4_000..6_000).contains(&moved), "half: {moved}");
    let told = other.to_string();
    assert!(told.contains("not by consistent-hash of the header x-user-id"), "{told}");
}

#[test]
fn every_setting_that_changes_is_told_with_what_it_means() {
    let old = "
  router:
    rules: [{ id: cart, path: /*, serviceName: cart }]
    sessionAffinity:
      methods: [cookie, query]
      keys: [{ id: 1, secret: sixteen bytes or more }]
      envelope: { cookie: JSESSIONID }
      adopt: [{ format: traefik, cookie: _srv }]
";
    let new = "
  router:
    rules: [{ id: cart, path: /*, serviceName: cart }]
    sessionAffinity:
      methods: [header, query]
      queryName: sid
      keys: [{ id: 1, secret: sixteen bytes or more }]
      learn: [{ header: Mcp-Session-Id }]
      onMissing: reject
      onFull: serve-once
      failback: immediate
      idleTimeout: 10m
      cookie: { path: /shop }
";
    insta::assert_snapshot!(told(&yaml(&["b1", "b2"], old), &yaml(&["b1"], new)), @r"
    ~ service cart
        - b2: bindings to it become missing
        5181 of 10000 sample clients without a key move (51.8 %)
    ~ rule cart
        clients bound to b2 are refused with 503 (onMissing: reject)
        keys in cookies are no longer read
        parameter of the query sessionId -> sid: keys in the old one are no longer read
        onMissing redistribute -> reject
        onFull wait -> serve-once
        failback never -> immediate
        idleTimeout 30m -> 10m; bindings past it end at once
        methods [cookie, query] -> [header, query]
        new keys are written to the header
        + learn header mcp-session-id: known from when its backend writes it again
        envelope cookie JSESSIONID -> none
        what clients hold of cookie JSESSIONID stays wrapped and reaches the application so: it does not know these sessions any more
        - adopt traefik _srv: clients that still have one are placed anew
        clients may name their sessions in the header

    in all, 5181 of 10000 sample clients without a key move (51.8 %); clients with a key that holds stay where they are
    ");
}

#[test]
fn a_split_a_limit_and_a_state_are_told_with_their_policy() {
    let yaml = |state: &str, more: &str| {
        let router = "  router:
    sessionAffinity: { keys: [{ id: 1, secret: sixteen bytes or more }], onDraining: redistribute }
";
        format!(
            "gateway:\n  services:\n    cart:\n      backends:
        - {{ id: b1, address: 10.0.0.1:80, version: v1 }}
        - {{ id: b2, address: 10.0.0.2:80, version: v2, state: {state} }}\n{more}{router}"
        )
    };
    let more = "      versions: { v1: 95, v2: 5 }\n      limits: { maxConnectionsPerBackend: 9 }\n";
    insta::assert_snapshot!(told(&yaml("active", ""), &yaml("draining", more)), @r"
    ~ service cart
        ~ versions {} -> {v1: 95, v2: 5}: of new clients; bound ones stay
        ~ maxConnectionsPerBackend none -> 9
        ~ b2: state active -> draining
    ~ rule default
        clients bound to b2, now draining, follow onDraining: redistribute
    ");
}

#[test]
fn what_requests_by_name_meet_is_told_as_well() {
    let named = "
    serviceHeader: x-istio-cluster
    rules: [{ id: cart, path: /*, serviceName: cart, sessionAffinity: { enabled: false } }]
    sessionAffinity: { onMissing: POLICY, keys: [{ id: 1, secret: sixteen bytes or more }] }
";
    let with =
        |policy: &str| yaml(&["b1"], &format!("  router:{}", named.replace("POLICY", policy)));
    let told = told(&with("redistribute"), &with("reject"));
    assert!(told.contains("~ rule service cart\n    onMissing redistribute -> reject"), "{told}");
}

#[test]
fn what_becomes_of_websockets_is_told() {
    let old = yaml(&["b1"], STICKY);
    let of = |settings: &str| {
        yaml(&["b1"], &format!("{STICKY}  websocket: {{ sessionAffinity: {{ {settings} }} }}\n"))
    };
    let off = told(&old, &of("enabled: false"));
    let expected = "handshakes were bound as the requests of their rule, and are not bound";
    assert!(off.contains(expected), "{off}");
    let anew = told(&of("enabled: true"), &of("stickyReconnect: false"));
    assert!(anew.contains("stickyReconnect: the key of a handshake counts no more"), "{anew}");
    assert!(!anew.contains("handshakes were"), "{anew}");
}
