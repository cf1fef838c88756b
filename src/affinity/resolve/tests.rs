use super::*;
use crate::model::{Backend, Duty};
use crate::pool::fixture::{self, pool};
use crate::pool::{Cell, Facts, Health};

const NOW: UnixTime = UnixTime(1_800_000_000);
const TERMS: Terms = Terms { idle: 1800, absolute: 28_800, refresh: 180 };
const SEALING: u8 = 16;

fn binding(issued_ago: u32, seen_ago: u32) -> Binding<'static> {
    Binding {
        issued: UnixTime(NOW.0 - issued_ago),
        seen: UnixTime(NOW.0 - seen_ago),
        tag: 1,
        backend: "b1",
        incarnation: "",
        version: "",
        home: "",
    }
}

fn outcome(presented: Presented<'_>, health: Health) -> String {
    outcome_in(&presented, &pool(&[("b1", 1)], health))
}

fn outcome_in(presented: &Presented<'_>, pool: &Pool) -> String {
    match resolve(presented, pool, None, TERMS, NOW, SEALING) {
        Resolution::Bound { refresh, home, .. } => {
            let home = home.map_or(String::new(), |home| format!(", home is {}", home.backend.id));
            format!("bound{}{home}", if refresh { ", due" } else { "" })
        }
        Resolution::Draining { idle, .. } => {
            format!("draining{}", if idle { ", idle" } else { "" })
        }
        Resolution::Down { .. } => "down".into(),
        Resolution::Gone { from, .. } => {
            format!("gone {}", from.map_or("?".into(), |id| id.to_string()))
        }
        Resolution::Restarted { member } => format!("restarted {}", member.backend.id),
        Resolution::Place(cause) => cause.label().into(),
    }
}

/// A pool of `b1` and `b2`, of which `b1` does `duty`.
fn on_duty(duty: Duty) -> Pool {
    let members = fixture::members(&[("b1", 1), ("b2", 1)], Health::Healthy);
    let members = members.into_iter().map(|member| {
        let duty = if member.backend.id.as_str() == "b1" { duty } else { Duty::Active };
        let backend = Backend { duty, ..member.backend.clone() };
        let cell = Arc::new(Cell::new(Health::Healthy));
        let crowd = Arc::clone(member.crowd());
        Arc::new(Member::from(Facts::new(backend, cell, crowd, true, member.metrics.clone())))
    });
    Pool::new("s".into(), &members.collect::<Vec<_>>(), None)
}

#[test]
fn every_cause_is_told_apart() {
    let opened = |binding| Presented::Opened(binding, SEALING);
    let gone = Binding { backend: "b9", ..binding(0, 0) };
    let restarted = Binding { incarnation: "2", ..binding(0, 0) };
    let table = [
        (Presented::Nothing, Health::Healthy, "no-key"),
        (Presented::Unreadable(Unreadable::Malformed), Health::Healthy, "unreadable"),
        (Presented::Unreadable(Unreadable::UnknownKey), Health::Healthy, "unknown-key"),
        (opened(binding(1800, 1800)), Health::Healthy, "bound, due"),
        (opened(binding(1801, 1801)), Health::Healthy, "idle-expired"),
        (opened(binding(28_800, 0)), Health::Healthy, "bound"),
        (opened(binding(28_801, 0)), Health::Healthy, "too-old"),
        (opened(restarted), Health::Healthy, "bound"),
        (opened(gone), Health::Healthy, "gone b9"),
        (Presented::Named(0), Health::Healthy, "bound"),
        (Presented::Named(0), Health::Unhealthy, "down"),
        (Presented::Named(7), Health::Healthy, "gone ?"),
        (Presented::NamesNobody, Health::Healthy, "gone ?"),
        (Presented::Expired, Health::Healthy, "idle-expired"),
        (opened(binding(0, 0)), Health::Unhealthy, "down"),
        (opened(binding(0, 0)), Health::Unchecked, "down"),
        (opened(binding(0, 0)), Health::Healthy, "bound"),
    ];
    for (presented, health, expected) in table {
        assert_eq!(outcome(presented, health), expected, "{presented:?} {health:?}");
    }
}

#[test]
fn a_key_is_due_after_a_tenth_of_the_idle_time_or_when_the_sealing_key_has_changed() {
    let with_key =
        |ago, key_id| outcome(Presented::Opened(binding(ago, ago), key_id), Health::Healthy);
    assert_eq!(with_key(179, SEALING), "bound");
    assert_eq!(with_key(180, SEALING), "bound, due");
    assert_eq!(with_key(0, SEALING - 1), "bound, due");
}

#[test]
fn a_clock_that_is_behind_expires_nobody() {
    let ahead =
        Binding { issued: UnixTime(NOW.0 + 100), seen: UnixTime(NOW.0 + 100), ..binding(0, 0) };
    assert_eq!(outcome(Presented::Opened(ahead, SEALING), Health::Healthy), "bound");
}

#[test]
fn what_the_operator_has_a_backend_do_counts_for_bound_clients() {
    let presented = |ago| Presented::Opened(binding(ago, ago), SEALING);
    assert_eq!(outcome_in(&presented(0), &on_duty(Duty::Active)), "bound");
    assert_eq!(outcome_in(&presented(0), &on_duty(Duty::Draining)), "draining");
    assert_eq!(outcome_in(&presented(359), &on_duty(Duty::Draining)), "draining");
    assert_eq!(outcome_in(&presented(360), &on_duty(Duty::Draining)), "draining, idle");
    assert_eq!(outcome_in(&presented(0), &on_duty(Duty::Maintenance)), "down");
}

#[test]
fn a_key_of_an_earlier_start_is_told_from_one_of_this_start() {
    let pool = pool(&[("b1", 1)], Health::Healthy);
    let of = |incarnation| Presented::Opened(Binding { incarnation, ..binding(0, 0) }, SEALING);
    assert_eq!(outcome_in(&of("start-1"), &pool), "bound", "nobody knows what runs");
    pool.find("b1").unwrap().note_incarnation("start-2");
    assert_eq!(outcome_in(&of("start-1"), &pool), "restarted b1");
    assert_eq!(outcome_in(&of("start-2"), &pool), "bound");
    assert_eq!(outcome_in(&of(""), &pool), "bound", "a key from before starts were known");
}

#[test]
fn a_client_away_from_home_is_told_once_its_home_takes_clients() {
    let away = Presented::Opened(Binding { backend: "b2", home: "b1", ..binding(0, 0) }, SEALING);
    assert_eq!(outcome_in(&away, &on_duty(Duty::Active)), "bound, home is b1");
    assert_eq!(outcome_in(&away, &on_duty(Duty::Draining)), "bound");
    assert_eq!(outcome_in(&away, &on_duty(Duty::Maintenance)), "bound");
}
