use super::*;
use crate::pool::fixture::pool;

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
    match resolve(&presented, &pool(&[("b1", 1)], health), TERMS, NOW, SEALING) {
        Resolution::Bound { refresh: false, .. } => "bound".into(),
        Resolution::Bound { refresh: true, .. } => "bound, due".into(),
        Resolution::Down { .. } => "down".into(),
        Resolution::Place(cause) => cause.label().into(),
    }
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
        (opened(restarted), Health::Healthy, "wrong-incarnation"),
        (opened(gone), Health::Healthy, "gone"),
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
