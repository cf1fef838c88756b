use super::*;
use crate::balance::Selection;
use crate::balance::fixture::{even, names, owner, pool};
use crate::pool::Member;
use proptest::prelude::*;

fn ring(weights: &[(&str, u32)]) -> Arc<Ring> {
    let config = RingConfig::new(*b"sixteen byte key");
    Arc::new(Ring::build_with_config(&pool(weights).pingora_view(), &config))
}

#[test]
fn there_are_150_points_for_each_unit_of_weight() {
    assert_eq!(ring(&[("a", 1)]).len(), 150);
    assert_eq!(ring(&[("a", 1), ("b", 2), ("c", 0)]).len(), 450);
    assert!(ring(&[("a", 0)]).is_empty());
}

#[test]
fn replicas_are_the_points_for_each_unit_of_weight_and_never_0() {
    let view = pool(&[("a", 1), ("b", 2)]).pingora_view();
    for (replicas, points) in [(1, 3), (7, 21), (1000, 3000), (0, 3)] {
        let config = RingConfig { seed: [0; 16], replicas };
        assert_eq!(Ring::build_with_config(&view, &config).len(), points);
    }
}

#[test]
fn fingerprints_tell_seeds_ids_weights_and_replicas_apart() {
    let print = |weights: &[(&str, u32)], seed, replicas| {
        let view = pool(weights).pingora_view();
        Ring::build_with_config(&view, &RingConfig { seed, replicas }).fingerprint()
    };
    let all = [
        print(&[("a", 1), ("b", 1)], [0; 16], 150),
        print(&[("a", 1), ("b", 1)], [1; 16], 150),
        print(&[("a", 1), ("c", 1)], [0; 16], 150),
        print(&[("a", 1), ("b", 2)], [0; 16], 150),
        print(&[("a", 2), ("b", 2)], [0; 16], 150),
        print(&[("a", 1), ("b", 1)], [0; 16], 151),
        print(&[], [0; 16], 150),
    ];
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
}

/// Worked out with another program: gateways of two releases are compared by it.
#[test]
fn the_fingerprint_of_two_backends_is_what_it_always_was() {
    assert_eq!(format!("{:016x}", ring(&[("a", 1), ("b", 2)]).fingerprint()), "6b99692694f24f20");
}

/// First bytes of SHA-256("b1" ‖ 0 ‖ 0 as u32), computed with another program: the layout must never
/// change, or every client of a hash service moves at an upgrade.
#[test]
fn the_first_point_of_b1_is_where_it_always_was() {
    assert!(
        points("b1", 4).any(|point| point == FIRST_POINT_OF_B1),
        "{:x?}",
        points("b1", 4).collect::<Vec<_>>()
    );
}
const FIRST_POINT_OF_B1: u64 = 0xfb16_ec89_c265_f2ac;

#[test]
fn list_order_and_address_do_not_matter() {
    let (forth, back) =
        (ring(&[("a", 1), ("b", 1), ("c", 1)]), ring(&[("c", 1), ("b", 1), ("a", 1)]));
    assert_eq!(forth.fingerprint(), back.fingerprint());
    for key in 0..1000 {
        assert_eq!(owner(&forth, key), owner(&back, key));
    }
}

#[test]
fn the_index_finds_what_a_search_finds() {
    let (names, view) = (names(37), pool(&[("a", 1)]).pingora_view());
    let tiny = (1..9)
        .map(|replicas| Ring::build_with_config(&view, &RingConfig { seed: [0; 16], replicas }));
    let nobody = Ring::build(&BTreeSet::new());
    let large = Ring::build(&pool(&even(&names)).pingora_view());
    for ring in tiny.chain([nobody, large]) {
        let spread = (0..2000_u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let at_points = ring.points.iter().flat_map(|p| [p.position, p.position.wrapping_add(1)]);
        for place in spread.chain(at_points).chain([0, u64::MAX]) {
            let searched = ring.points.partition_point(|point| { point.position } < place);
            assert_eq!(ring.first_at_or_after(place), searched, "{ring:?}: {place}");
        }
    }
}

#[test]
fn keys_of_an_unfit_backend_spread_and_all_others_stay() {
    let pool = pool(&[("a", 1), ("b", 1), ("c", 1), ("d", 1)]);
    let config = RingConfig::new([1; 16]);
    let ring =
        Selection::ConsistentHash(Arc::new(Ring::build_with_config(&pool.pingora_view(), &config)));
    let mut took = std::collections::BTreeMap::new();
    for key in 0..4000_u32 {
        let pick = |fits: &dyn Fn(&Member) -> bool| {
            let member = ring.pick(&key.to_be_bytes(), pool.members(), fits).unwrap();
            member.backend.id.to_string()
        };
        let (before, after) = (pick(&|_| true), pick(&|m| m.backend.id.as_str() != "a"));
        if before == "a" {
            *took.entry(after).or_insert(0) += 1;
        } else {
            assert_eq!(before, after);
        }
    }
    assert_eq!(took.len(), 3, "one neighbour alone took all: {took:?}");
}

#[test]
fn a_walk_over_none_that_fits_ends() {
    let names = names(1000);
    let pool = pool(&even(&names));
    let ring = Ring::build(&pool.pingora_view());
    let selection = Selection::ConsistentHash(Arc::new(ring));
    assert!(selection.pick(b"k", pool.members(), |_| false).is_none());
    assert!(
        selection.pick(b"k", pool.members(), |m| m.backend.id.as_str() == "backend-7").is_some()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_backend_that_comes_or_goes_moves_only_its_own_keys(count in 2_usize..30, which: prop::sample::Index) {
        let names = names(count);
        let all = ring(&even(&names));
        let gone = names[which.index(count)].clone();
        let left: Vec<String> = names.iter().filter(|name| **name != gone).cloned().collect();
        let fewer = ring(&even(&left));
        let keys = 4000;
        let mut moved = 0;
        for key in 0..keys {
            let (with, without) = (owner(&all, key), owner(&fewer, key));
            if with == gone {
                moved += 1;
            } else {
                prop_assert_eq!(with, without);
            }
        }
        let share = f64::from(moved) / f64::from(keys);
        let fair = 1.0 / f64::from(u32::try_from(count).unwrap());
        prop_assert!(share <= 1.5 * fair, "{} of {}", share, fair);
    }
}
