use super::*;
use crate::balance::Selection;
use crate::model::ServiceId;
use crate::pool::{Health, Member, Pool, fixture};
use std::collections::BTreeMap;

fn pool(weights: &[(&str, u32)]) -> Pool {
    fixture::pool(weights, Health::Healthy)
}

fn picks(pool: &Pool, count: usize, fits: impl Fn(&Member) -> bool) -> Vec<String> {
    let turns = Selection::RoundRobin(Arc::new(RoundRobin::build(&pool.pingora_view())));
    (0..count)
        .map(|_| turns.pick(b"", pool.members(), &fits).unwrap().backend.id.to_string())
        .collect()
}

fn counts(picks: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for pick in picks {
        *counts.entry(pick.as_str()).or_insert(0) += 1;
    }
    counts
}

#[test]
fn any_seven_turns_of_weights_5_1_1_have_5_1_1_and_no_burst_of_five() {
    let picks = picks(&pool(&[("a", 5), ("b", 1), ("c", 1)]), 70, |_| true);
    for window in picks.windows(7) {
        assert_eq!(counts(window), [("a", 5), ("b", 1), ("c", 1)].into());
    }
    assert!(!picks.windows(5).any(|window| window.iter().all(|id| id == "a")), "{picks:?}");
}

#[test]
fn weights_share_their_common_factor_and_weight_0_takes_none() {
    let pool = pool(&[("a", 200), ("b", 100), ("c", 0)]);
    assert_eq!(RoundRobin::build(&pool.pingora_view()).schedule.len(), 3);
    assert_eq!(counts(&picks(&pool, 30, |_| true)), [("a", 20), ("b", 10)].into());
}

#[test]
fn the_turns_of_an_unfit_backend_are_shared_by_all_others() {
    let pool = pool(&[("a", 1), ("b", 1), ("c", 1), ("d", 1)]);
    let picks = picks(&pool, 1200, |m| m.backend.id.as_str() != "a");
    for (id, count) in counts(&picks) {
        assert!((380..=420).contains(&count), "{id}: {count}");
    }
}

#[test]
fn backends_that_share_an_address_both_get_their_turns() {
    let a = fixture::members(&[("a", 1)], Health::Healthy).into_iter();
    let b = fixture::members(&[("b", 1)], Health::Healthy);
    let pool = Pool::new(ServiceId::from("s"), &a.chain(b).collect::<Vec<_>>(), None);
    assert_eq!(counts(&picks(&pool, 10, |_| true)), [("a", 5), ("b", 5)].into());
}

#[test]
fn nobody_is_picked_where_nobody_fits() {
    let pool = pool(&[("a", 1), ("b", 1)]);
    let turns = Selection::RoundRobin(Arc::new(RoundRobin::build(&pool.pingora_view())));
    assert!(turns.pick(b"", pool.members(), |_| false).is_none());
}

#[test]
fn neither_addresses_nor_the_list_as_written_change_whose_turn_it_is() {
    let forth = pool(&[("a", 3), ("b", 2), ("c", 1)]);
    let back = pool(&[("c", 1), ("b", 2), ("a", 3)]);
    assert_eq!(picks(&forth, 12, |_| true), picks(&back, 12, |_| true));
}
