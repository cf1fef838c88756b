//! The decision of a request allocates nothing but the `Cookie` value that it rewrites. Counted,
//! not timed: the numbers are the same on every machine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(
    unreachable_pub,
    clippy::format_collect,
    reason = "the support module is shared with benches"
)]

#[path = "../benches/support/mod.rs"]
mod support;

use allocation_counter::measure;
use http::{HeaderMap, HeaderValue, Method, header};
use std::net::{IpAddr, Ipv4Addr};
use stickfast::affinity::{Binding, Stamp};
use stickfast::proxy::decide::{self, Choice};
use stickfast::snapshot::{Caller, Snapshot};
use support::{NOW, snapshot, yaml};

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const CALLER: Caller = Caller { client: ADDRESS, peer: ADDRESS };

/// Decides on a request of a client that is (or is not) bound; tells the stamp.
fn decide_all(snapshot: &Snapshot, headers: &HeaderMap) -> Stamp {
    let rule = snapshot.route("h9.example.com", "/area9/cart", &Method::GET, headers).unwrap();
    let rule = snapshot.rule(rule).unwrap();
    let sticky = rule.stickiness.as_ref().map(|stickiness| (stickiness, &*rule.service));
    let identified = decide::identify(snapshot, sticky, headers, CALLER, NOW);
    let choice = decide::choose(
        &rule.service,
        &rule.service.selection,
        identified.bond.as_ref(),
        &[],
        &[10, 0, 0, 1],
    );
    let (Choice::Bound(member) | Choice::Placed(member)) = choice else { panic!("{choice:?}") };
    decide::stamped(identified.bond.as_ref(), &member, rule.stickiness.as_ref().unwrap().terms, NOW)
}

/// Allocations of one decision, after a first one has warmed things up.
fn allocations(snapshot: &Snapshot, headers: &HeaderMap, expected: &Stamp) -> u64 {
    assert_eq!(decide_all(snapshot, headers), *expected);
    measure(|| {
        decide_all(snapshot, headers);
    })
    .count_total
}

#[test]
fn a_decision_allocates_only_the_rewritten_cookie() {
    assert_eq!(measure(|| drop(Box::new(1))).count_total, 1, "the counter does not count");

    for policy in ["round-robin", "consistent-hash"] {
        let snapshot = snapshot(&yaml(10, 10, policy));
        let stickiness = snapshot.rule(0).unwrap().stickiness.as_ref().unwrap();
        let bound = Binding {
            issued: NOW,
            seen: NOW,
            tag: 1,
            backend: "b3",
            incarnation: "",
            version: "",
            home: "",
        };
        let set = stickiness.write(&bound, 3, [1; 12], NOW, false).unwrap().1;
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
