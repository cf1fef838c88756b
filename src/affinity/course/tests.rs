use super::*;
use crate::model::UnixTime;
use crate::pool::{Health, fixture};

fn kept() -> Kept {
    Kept { issued: UnixTime(1), seen: UnixTime(1), tag: 2, home: None }
}

fn words(course: &Course<'_>) -> String {
    let id = |member: &Arc<Member>| member.backend.id.to_string();
    match course {
        Course::Stay { member, refresh, .. } => format!("stay {} {refresh}", id(member)),
        Course::Return { home, from, .. } => format!("return to {} from {}", id(home), id(from)),
        Course::Move { cause, from, left, .. } => {
            let from = from.as_ref().map_or("nowhere", BackendId::as_str);
            let left = left.as_ref().map_or("", |_| ", known");
            format!("move, {}, from {from}{left}", cause.label())
        }
        Course::Once { cause, member, .. } => format!("once, {}, {}", cause.label(), id(member)),
        Course::Reject(cause) => format!("reject, {}", cause.label()),
    }
}

/// Every meaning of a key, by a name for the table.
fn meaning<'p>(name: &str, pool: &'p crate::pool::Pool) -> Resolution<'p> {
    let (b1, home) = (pool.find("b1").unwrap(), pool.find("b2"));
    match name {
        "bound" => Resolution::Bound { member: b1, kept: kept(), refresh: false, home: None },
        "due" => Resolution::Bound { member: b1, kept: kept(), refresh: true, home: None },
        "away" => Resolution::Bound { member: b1, kept: kept(), refresh: false, home },
        "draining" => Resolution::Draining {
            member: b1,
            kept: kept(),
            refresh: false,
            idle: false,
            home: None,
        },
        "draining, idle" => {
            Resolution::Draining { member: b1, kept: kept(), refresh: true, idle: true, home: None }
        }
        "down" => Resolution::Down { member: b1, kept: kept(), home: None },
        "down, away" => Resolution::Down { member: b1, kept: kept(), home },
        "gone" => Resolution::Gone { from: Some("b9".into()), version: None },
        "restarted" => Resolution::Restarted { member: b1 },
        other => {
            let cause = Cause::ALL.into_iter().find(|cause| cause.label() == other).unwrap();
            Resolution::Place(cause)
        }
    }
}

/// The whole matrix: what a key means × the policy for it.
#[test]
fn every_meaning_meets_every_policy() {
    let pool = fixture::pool(&[("b1", 1), ("b2", 1)], Health::Healthy);
    let usual = Policies {
        on_missing: OnMissing::Redistribute,
        on_unhealthy: OnUnhealthy::Redistribute,
        on_draining: OnDraining::Keep,
        on_full: OnFull::Wait,
        failback: Failback::Never,
    };
    let missing = |on_missing| Policies { on_missing, ..usual };
    let unhealthy = |on_unhealthy| Policies { on_unhealthy, ..usual };
    let draining = |on_draining| Policies { on_draining, ..usual };
    let failback = |failback| Policies { failback, ..usual };
    let table = [
        ("bound", usual, "stay b1 false"),
        ("due", usual, "stay b1 true"),
        ("away", failback(Failback::Never), "stay b1 false"),
        ("away", failback(Failback::Immediate), "return to b2 from b1"),
        ("bound", failback(Failback::Immediate), "stay b1 false"),
        ("down, away", failback(Failback::Never), "move, unhealthy, from b1, known"),
        ("down, away", failback(Failback::Immediate), "return to b2 from b1"),
        ("draining", draining(OnDraining::Keep), "stay b1 false"),
        ("draining", draining(OnDraining::RedistributeWhenIdle), "stay b1 false"),
        ("draining", draining(OnDraining::Redistribute), "move, draining, from b1, known"),
        ("draining, idle", draining(OnDraining::Keep), "stay b1 true"),
        (
            "draining, idle",
            draining(OnDraining::RedistributeWhenIdle),
            "move, draining, from b1, known",
        ),
        ("draining, idle", draining(OnDraining::Redistribute), "move, draining, from b1, known"),
        ("down", unhealthy(OnUnhealthy::Redistribute), "move, unhealthy, from b1, known"),
        ("down", unhealthy(OnUnhealthy::ServeOnce), "once, unhealthy, b1"),
        ("down", unhealthy(OnUnhealthy::Reject), "reject, unhealthy"),
        ("gone", missing(OnMissing::Redistribute), "move, gone, from b9"),
        ("gone", missing(OnMissing::Reject), "reject, gone"),
        ("restarted", usual, "move, wrong-incarnation, from b1"),
        ("no-key", usual, "move, no-key, from nowhere"),
        ("unreadable", usual, "move, unreadable, from nowhere"),
        ("unknown-key", usual, "move, unknown-key, from nowhere"),
        ("idle-expired", usual, "move, idle-expired, from nowhere"),
        ("too-old", usual, "move, too-old, from nowhere"),
        ("other-subset", usual, "move, other-subset, from nowhere"),
    ];
    for (name, policies, expected) in table {
        assert_eq!(words(&course(meaning(name, &pool), policies)), expected, "{name} {policies:?}");
    }
    // a policy has no say in the causes of the others
    let strict = Policies {
        on_missing: OnMissing::Reject,
        on_unhealthy: OnUnhealthy::Reject,
        on_draining: OnDraining::Redistribute,
        on_full: OnFull::Reject,
        failback: Failback::Immediate,
    };
    for name in ["no-key", "unreadable", "unknown-key", "idle-expired", "too-old", "restarted"] {
        let usual = words(&course(meaning(name, &pool), usual));
        assert_eq!(words(&course(meaning(name, &pool), strict)), usual, "{name}");
    }
}

#[test]
fn a_full_backend_is_waited_for_once() {
    let choices = [
        (OnFull::Wait, [WhenFull::Wait, WhenFull::Move]),
        (OnFull::Redistribute, [WhenFull::Move, WhenFull::Move]),
        (OnFull::ServeOnce, [WhenFull::Visit, WhenFull::Visit]),
        (OnFull::Reject, [WhenFull::Reject, WhenFull::Reject]),
    ];
    for (policy, expected) in choices {
        assert_eq!([false, true].map(|waited| when_full(policy, waited)), expected, "{policy:?}");
    }
}
