//! What a connection remembers of its cookies spares work and changes no answer: requests of all
//! kinds, in any order, are identified with and without it.

#![allow(missing_docs, reason = "an integration test has no users")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(
    unreachable_pub,
    dead_code,
    clippy::format_collect,
    reason = "the support module is shared with benches"
)]

#[path = "../benches/support/mod.rs"]
mod support;

use http::{HeaderMap, HeaderValue, header::COOKIE};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;
use stickfast::affinity::{Binding, Found};
use stickfast::model::UnixTime;
use stickfast::proxy::decide::{Asked, Familiar, identify};
use stickfast::snapshot::{Caller, Snapshot, Text};
use support::{NOW, snapshot};

const HOUR: u32 = 3600;
/// The last second of the period of keys that begins now.
const LAST: UnixTime = UnixTime(NOW.0 + HOUR - 1);
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Two rules to two services, with what `affinity` adds to either.
fn gateway(affinity: &str) -> Snapshot {
    snapshot(&format!(
        "gateway:
  services:
    a: {{ backends: [{{ id: a1, address: 10.0.0.1:80 }}, {{ id: a2, address: 10.0.0.2:80, state: draining }}] }}
    b: {{ backends: [{{ id: a1, address: 10.0.1.1:80 }}] }}
  router:
    rules:
      - {{ id: ra, path: /a/*, serviceName: a }}
      - {{ id: rb, path: /b/*, serviceName: b }}
    sessionAffinity:
      keys: [{{ id: 1, secret: sixteen bytes or more }}, {{ id: 2, secret: sixteen bytes and more }}]
{affinity}"
    ))
}

/// The first two are alike.
static GATEWAYS: LazyLock<Vec<Snapshot>> = LazyLock::new(|| {
    let more = [
        "",
        "",
        "      keyRotation: 1h\n      absoluteTimeout: 12h\n      idleTimeout: 12h\n",
        "      methods: [cookie, header]\n",
        "      learn: [{ cookie: theme }]\n",
        "      failback: immediate\n      onDraining: redistribute\n",
    ];
    more.map(gateway).into()
});

/// Lines that clients may send: keys of each gateway and rule, alone, beside others, twice, broken.
static LINES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut lines: Vec<String> = ["theme=dark", "", "; ;", "theme"].map(str::to_owned).into();
    for gateway in [&GATEWAYS[0], &GATEWAYS[2], &GATEWAYS[3]] {
        for rule in gateway.rules() {
            for (backend, home, issued, sealed) in [
                ("a1", "", NOW, NOW),
                ("a2", "", UnixTime(NOW.0 - HOUR), NOW),
                ("a2", "a1", UnixTime(NOW.0 - HOUR), NOW),
                ("gone", "", NOW, NOW),
                // at the end of a period, by a gateway whose clock is ahead
                ("a1", "", UnixTime(LAST.0 + 100), LAST),
            ] {
                let stickiness = rule.stickiness.as_ref().unwrap();
                let binding = Binding {
                    issued,
                    seen: issued,
                    tag: 9,
                    backend,
                    incarnation: "",
                    version: "",
                    home,
                };
                let codec = stickiness.codec(Text::Carrier(0)).unwrap();
                let key = codec.write(&binding, 0, [7; 12], sealed).unwrap();
                let set = stickiness.set_cookie(&key, false, NOW);
                let pair = set.split(';').next().unwrap();
                lines.push(pair.to_owned());
                lines.push(format!("theme=dark; {pair}; lang=en"));
            }
        }
    }
    lines.push(format!("{}; {}", lines[6], lines[4]));
    lines.push(lines[4].replace("QE", "QF"));
    lines.push(format!("{}; long={}", lines[4], "x".repeat(2000)));
    lines
});

#[derive(Clone, Copy, Debug)]
struct One {
    gateway: usize,
    rule: usize,
    lines: (usize, Option<usize>),
}

fn one() -> impl Strategy<Value = One> {
    let lines = (0..LINES.len(), proptest::option::weighted(0.1, 0..LINES.len()));
    (0..GATEWAYS.len(), 0..2_usize, lines).prop_map(|(gateway, rule, lines)| One {
        gateway,
        rule,
        lines,
    })
}

/// Times in no order; the last one is when the key of the first period goes.
fn times() -> impl Strategy<Value = UnixTime> {
    let after = |hours: u32, seconds: u32| Just(UnixTime(NOW.0 + hours * HOUR + seconds));
    prop_oneof![
        4 => after(0, 0),
        2 => after(0, HOUR - 1),
        1 => after(10, 0),
        1 => after(30, 0),
        1 => Just(UnixTime(NOW.0 - 9 * HOUR)),
        2 => after(13, 20),
    ]
}

/// What is made of it; the answer as text, since it has no order of its own.
fn answer(one: One, now: UnixTime, familiar: Option<&mut Familiar>) -> String {
    let snapshot = &GATEWAYS[one.gateway];
    let mut headers = HeaderMap::new();
    for line in [Some(one.lines.0), one.lines.1].into_iter().flatten() {
        headers.append(COOKIE, HeaderValue::from_str(&LINES[line]).unwrap());
    }
    let asked = Asked {
        snapshot,
        rule: snapshot.rule(one.rule).unwrap(),
        subset: None,
        headers: &headers,
        target: "/a/",
        caller: Caller { client: HERE, peer: HERE },
        recall: &|_, _| Found::Nothing,
        now,
    };
    format!("{:?}", identify(&asked, familiar))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn what_is_remembered_changes_no_answer(
        // few different ones, so that many come again
        few in proptest::collection::vec(one(), 1..4),
        order in proptest::collection::vec((any::<prop::sample::Index>(), times()), 1..24),
    ) {
        let mut familiar = Familiar::default();
        for (at, now) in order {
            let one = few[at.index(few.len())];
            let (with, without) = (answer(one, now, Some(&mut familiar)), answer(one, now, None));
            prop_assert_eq!(with, without, "{:?} at {:?}", one, now);
        }
    }
}

#[test]
fn cookies_that_come_again_are_known() {
    let bound = |line: usize, gateway| One { gateway, rule: 0, lines: (line, None) };
    let mut familiar = Familiar::default();
    assert_eq!(format!("{familiar:?}"), "Familiar(None)");
    assert!(answer(bound(5, 0), NOW, Some(&mut familiar)).contains("brought: Valid"));
    assert!(format!("{familiar:?}").contains("rest: Some"), "{familiar:?}");
    let known = format!("{familiar:?}");
    assert!(answer(bound(5, 0), NOW, Some(&mut familiar)).contains("brought: Valid"));
    assert_eq!(format!("{familiar:?}"), known);
    answer(bound(5, 1), NOW, Some(&mut familiar));
    assert_ne!(format!("{familiar:?}"), known, "another gateway has other rules");
}
