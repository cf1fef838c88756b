use super::*;
use crate::balance::fixture::{even, names, pool};
use crate::balance::{Maglev, Ring, RoundRobin, Selection};
use crate::pool::Pool;
use pingora_load_balancing::selection::BackendSelection;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;

fn selections(pool: &Pool) -> [Selection; 3] {
    let view = pool.pingora_view();
    [
        Selection::ConsistentHash(Arc::new(Ring::build(&view))),
        Selection::Maglev(Arc::new(Maglev::build(&view))),
        Selection::RoundRobin(Arc::new(RoundRobin::build(&view))),
    ]
}

fn factor(factor: f64) -> LoadFactor {
    LoadFactor::new(factor).unwrap()
}

/// How many clients each backend has.
#[derive(Default)]
struct Loads(RefCell<BTreeMap<String, u32>>);

impl Loads {
    fn of(&self, member: &Member) -> u32 {
        self.0.borrow().get(member.backend.id.as_str()).copied().unwrap_or(0)
    }

    fn add(&self, member: &Member, clients: u32) {
        *self.0.borrow_mut().entry(member.backend.id.to_string()).or_insert(0) += clients;
    }
}

#[test]
fn a_factor_below_1_or_not_finite_is_none() {
    for wrong in [0.99, 0.0, -1.25, f64::NAN, f64::INFINITY] {
        assert_eq!(LoadFactor::new(wrong), None, "{wrong}");
    }
    assert!(LoadFactor::new(1.0).is_some());
}

#[test]
fn without_a_factor_nobody_is_asked_for_a_load() {
    let pool = pool(&[("a", 1), ("b", 1)]);
    for selection in selections(&pool) {
        let load = |_: &Member| panic!("asked");
        assert!(selection.pick_bounded(b"k", pool.members(), |_| true, None, load).is_some());
    }
}

#[test]
fn the_others_are_asked_where_the_first_carries_something() {
    let pool = pool(&[("a", 1), ("b", 1), ("c", 1)]);
    for selection in selections(&pool) {
        for (carried, expected) in [(0, 1), (1, 4)] {
            let asked = RefCell::new(0);
            let load = |_: &Member| {
                *asked.borrow_mut() += 1;
                carried
            };
            selection.pick_bounded(b"k", pool.members(), |_| true, Some(factor(1.25)), load);
            assert_eq!(*asked.borrow(), expected);
        }
    }
}

#[test]
fn a_client_that_everybody_is_goes_round_instead_of_to_one_backend() {
    let pool = pool(&[("a", 1), ("b", 1), ("c", 2)]);
    for selection in selections(&pool) {
        let loads = Loads::default();
        for _ in 0..400 {
            let load = |m: &Member| loads.of(m);
            let to =
                selection.pick_bounded(b"k", pool.members(), |_| true, Some(factor(1.0)), load);
            loads.add(&to.unwrap(), 1);
        }
        let expected = [("a", 100), ("b", 100), ("c", 200)].map(|(id, n)| (id.to_owned(), n));
        assert_eq!(loads.0.into_inner(), expected.into(), "{selection:?}");
    }
}

#[test]
fn the_load_and_weight_of_one_that_does_not_fit_do_not_count() {
    let pool = pool(&[("a", 1), ("b", 1), ("gone", 200)]);
    let load = |m: &Member| if m.backend.id.as_str() == "gone" { 10_000 } else { 5 };
    let fits = |m: &Member| m.backend.id.as_str() != "gone";
    let bound = Bound::new(factor(1.25), pool.members(), fits, load);
    // ⌈1.25 × 11 / 2⌉ = 7
    assert!(bound.has_room(&pool.members()[0], 6));
    assert!(!bound.has_room(&pool.members()[0], 7));
}

#[test]
fn none_is_picked_where_none_fits() {
    let pool = pool(&[("a", 1), ("b", 1), ("c", 0)]);
    for selection in selections(&pool) {
        for fits in [|_: &Member| false, |m: &Member| m.backend.id.as_str() == "c"] {
            let picked =
                selection.pick_bounded(b"k", pool.members(), fits, Some(factor(1.25)), |_| 3);
            assert!(picked.is_none());
        }
    }
}

#[test]
fn the_bound_yields_where_loads_have_changed_and_none_has_room() {
    let pool = pool(&[("a", 1), ("b", 1)]);
    for selection in selections(&pool) {
        let asked = RefCell::new(0);
        let load = |_: &Member| {
            *asked.borrow_mut() += 1;
            // idle when the loads are added up, far above the bound when the walk comes by
            if matches!(*asked.borrow(), 2 | 3) { 0 } else { 1000 }
        };
        let picked =
            selection.pick_bounded(b"k", pool.members(), |_| true, Some(factor(1.25)), load);
        assert!(picked.is_some());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn no_backend_is_above_its_bound_after_any_row_of_clients(
        weights in prop::collection::vec(0_u32..20, 1..20),
        keys in prop::collection::vec(0_u32..50, 1..400),
        over in 1.0..2.0,
    ) {
        let names = names(weights.len());
        let backends: Vec<_> = names.iter().map(String::as_str).zip(weights.iter().copied()).collect();
        let pool = pool(&backends);
        let all: u32 = weights.iter().sum();
        prop_assume!(all > 0);
        for selection in selections(&pool) {
            let loads = Loads::default();
            for key in &keys {
                let load = |m: &Member| loads.of(m);
                let to = selection
                    .pick_bounded(&key.to_be_bytes(), pool.members(), |_| true, Some(factor(over)), load);
                loads.add(&to.unwrap(), 1);
            }
            let placed = f64::from(u32::try_from(keys.len()).unwrap());
            for member in pool.members() {
                let bound = (over * placed * f64::from(member.backend.weight) / f64::from(all)).ceil();
                prop_assert!(f64::from(loads.of(member)) <= bound, "{:?}", selection);
            }
        }
    }

    #[test]
    fn where_all_have_room_a_bound_changes_nothing(count in 1_usize..40, busy in 0_u32..100) {
        let names = names(count);
        let pool = pool(&even(&names));
        let [ring, maglev, _] = selections(&pool);
        for (key, selection) in (0..100_u32).flat_map(|key| [(key, &ring), (key, &maglev)]) {
            let key = key.to_be_bytes();
            let plain = selection.pick(&key, pool.members(), |_| true).unwrap();
            let bounded = selection
                .pick_bounded(&key, pool.members(), |_| true, Some(factor(1.25)), |_| busy)
                .unwrap();
            prop_assert_eq!(&plain.backend.id, &bounded.backend.id);
        }
    }
}
