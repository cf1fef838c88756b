//! The decision of a request allocates nothing but the `Cookie` value that it rewrites, and the
//! counters of a rule take little. Counted, not timed: the numbers are the same on every machine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(
    unreachable_pub,
    clippy::format_collect,
    reason = "the support module is shared with benches"
)]

#[path = "../benches/support/mod.rs"]
mod support;

use allocation_counter::measure;
use http::{HeaderMap, HeaderValue, header};
use stickfast::affinity::Stamp;
use stickfast::model::{RuleId, ServiceId};
use stickfast::observe::Metrics;
use stickfast::snapshot::{Snapshot, Stickiness};
use support::{snapshot, yaml};

fn stickiness(snapshot: &Snapshot) -> &Stickiness {
    snapshot.rule(0).unwrap().stickiness.as_ref().unwrap()
}

fn decided(snapshot: &Snapshot, headers: &HeaderMap) -> (Stamp, Option<String>) {
    support::decide(snapshot, "h9.example.com", "/area9/cart", headers).unwrap()
}

/// Allocations of one decision, after a first one has warmed things up.
fn allocations(snapshot: &Snapshot, headers: &HeaderMap, expected: &Stamp) -> u64 {
    let (stamp, written) = decided(snapshot, headers);
    assert_eq!((&stamp, written.is_some()), (expected, stamp != Stamp::Nothing));
    let whole = measure(|| drop(decided(snapshot, headers))).count_total;
    // what a new key takes to write is no part of the decision
    let writing = measure(|| drop(support::seal(stickiness(snapshot), &support::binding("b3"))));
    whole - if written.is_some() { writing.count_total } else { 0 }
}

#[test]
fn a_decision_allocates_only_the_rewritten_cookie() {
    assert_eq!(measure(|| drop(Box::new(1))).count_total, 1, "the counter does not count");

    for policy in ["round-robin", "consistent-hash"] {
        let snapshot = snapshot(&yaml(10, 10, policy));
        let set = support::seal(stickiness(&snapshot), &support::binding("b3")).unwrap();
        let ours = set.split(';').next().unwrap();
        let with = |cookie: Option<String>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::USER_AGENT, HeaderValue::from_static("test"));
            if let Some(cookie) = cookie {
                headers.insert(header::COOKIE, cookie.parse().unwrap());
            }
            headers
        };
        let cookie = |text: String| with(Some(text));
        assert_eq!(
            allocations(&snapshot, &with(None), &Stamp::Bind(None)),
            0,
            "{policy}: no cookie"
        );
        let others = cookie("a=1; b=2".into());
        assert_eq!(allocations(&snapshot, &others, &Stamp::Bind(None)), 0, "{policy}: not ours");
        let alone = cookie(ours.into());
        assert_eq!(allocations(&snapshot, &alone, &Stamp::Nothing), 0, "{policy}: only ours");
        let among = cookie(format!("a=1; {ours}; b=2"));
        assert_eq!(allocations(&snapshot, &among, &Stamp::Nothing), 1, "{policy}: among others");
    }
}

#[test]
fn the_counters_of_a_rule_take_little() {
    let (metrics, service) = (Metrics::new().unwrap(), ServiceId::from("s"));
    let rules: Vec<_> = (0..1000).map(|n| RuleId::from(&*format!("rule-{n}"))).collect();
    let mut handles = Vec::with_capacity(rules.len());
    let taken = measure(|| handles.extend(rules.iter().map(|rule| metrics.rule(&service, rule))));
    let places = std::thread::available_parallelism().unwrap().get().min(16);
    // a cache line for each thread's numbers and for the others', one for their header, an entry in a table
    let most = 64 * (i64::try_from(places).unwrap() + 2) + 160;
    let each = taken.bytes_current / i64::try_from(rules.len()).unwrap();
    assert!((64..=most).contains(&each), "{each}");
}
