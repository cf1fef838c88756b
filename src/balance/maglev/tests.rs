use super::*;
use crate::balance::Selection;
use crate::balance::fixture::{even, names, owner, pool};
use crate::pool::Member;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet as Set};

const SEED: [u8; 16] = *b"sixteen byte key";

fn table(weights: &[(&str, u32)]) -> Arc<Maglev> {
    let view = pool(weights).pingora_view();
    Arc::new(Maglev::build_with_config(&view, &MaglevConfig::new(SEED)))
}

/// The id of the owner of each entry.
fn owners(table: &Maglev) -> Vec<String> {
    let ids: Vec<_> = table.entrants.members().map(|m| m.backend.id.to_string()).collect();
    let id = |at| ids[table.table.owner(at).unwrap() as usize].clone();
    (0..table.len()).map(id).collect()
}

fn shares(table: &Maglev) -> BTreeMap<String, u32> {
    owners(table).into_iter().fold(BTreeMap::new(), |mut shares, id| {
        *shares.entry(id).or_insert(0) += 1;
        shares
    })
}

#[test]
fn the_size_is_a_prime_that_doubles_with_the_backends() {
    for (backends, expected) in
        [(0, 65_537), (655, 65_537), (656, 131_101), (1310, 131_101), (1311, 262_151)]
    {
        assert_eq!(size(MaglevConfig::DEFAULT_SIZE, backends), expected, "{backends} backends");
    }
    assert_eq!([size(0, 0), size(14, 0), size(7, 1)], [2, 17, 113]);
}

/// Worked out with another program: the layout must never change, or the clients of a hash service
/// move at an upgrade.
#[test]
fn the_table_of_three_backends_is_what_it_always_was() {
    let entrants = Entrants::of(&pool(&[("b1", 1), ("b2", 2), ("b3", 1)]).pingora_view());
    let owners = fill(13, &entrants).into_iter().map(|owner| owner + 1);
    assert_eq!(owners.collect::<Vec<_>>(), TABLE_OF_THREE);
}
const TABLE_OF_THREE: [u32; 13] = [2, 1, 2, 2, 1, 2, 3, 3, 2, 2, 1, 3, 2];

/// Worked out with another program too: gateways of two releases are compared by it.
#[test]
fn the_fingerprint_of_three_backends_is_what_it_always_was() {
    let view = pool(&[("b1", 1), ("b2", 2), ("b3", 1)]).pingora_view();
    let table = Maglev::build_with_config(&view, &MaglevConfig { seed: SEED, size: 307 });
    assert_eq!(format!("{:016x}", table.fingerprint()), "9e91d58917876e99");
}

#[test]
fn shares_go_by_weight_and_weight_0_has_none() {
    let shares = shares(&table(&[("a", 3), ("b", 1), ("c", 0), ("d", 6)]));
    assert_eq!(shares.keys().collect::<Vec<_>>(), ["a", "b", "d"]);
    for (id, weight) in [("a", 3_u32), ("b", 1), ("d", 6)] {
        assert!(shares[id].abs_diff(65_537 * weight / 10) <= 1, "{shares:?}");
    }
    assert!(table(&[("a", 0)]).is_empty());
    assert!(table(&[("a", 0)]).iter(b"k").next().is_none());
}

#[test]
fn the_lightest_beside_the_heaviest_still_has_an_entry() {
    let names = names(400);
    let heavy = |(nth, name)| (name, if nth == 0 { 1 } else { 256 });
    let weights: Vec<_> = names.iter().map(String::as_str).enumerate().map(heavy).collect();
    assert_eq!(shares(&table(&weights))["backend-0"], 1);
}

#[test]
fn ten_backends_get_a_tenth_of_the_clients_within_3_percent() {
    let names = names(10);
    let table = table(&even(&names));
    let mut took = BTreeMap::new();
    for key in 0..200_000 {
        *took.entry(owner(&table, key)).or_insert(0_u32) += 1;
    }
    assert!(took.values().all(|count| count.abs_diff(20_000) <= 600), "{took:?}");
}

#[test]
fn a_walk_comes_past_every_entry_once() {
    let names = names(7);
    let view = pool(&even(&names)).pingora_view();
    let config = MaglevConfig { seed: SEED, size: 701 };
    let table = Arc::new(Maglev::build_with_config(&view, &config));
    for key in 0..50_u32 {
        let mut walk = table.iter(&key.to_be_bytes());
        let mut seen = Set::new();
        while seen.insert(walk.at) && walk.next().is_some() {}
        assert_eq!(seen.len(), 701);
        assert!(walk.at < 701);
    }
}

#[test]
fn clients_of_an_unfit_backend_spread_evenly_and_all_others_stay() {
    let names = names(5);
    let pool = pool(&even(&names));
    let table = Maglev::build_with_config(&pool.pingora_view(), &MaglevConfig::new(SEED));
    let selection = Selection::Maglev(Arc::new(table));
    let mut took = BTreeMap::new();
    for key in 0..40_000_u32 {
        let pick = |fits: &dyn Fn(&Member) -> bool| {
            let member = selection.pick(&key.to_be_bytes(), pool.members(), fits).unwrap();
            member.backend.id.to_string()
        };
        let (before, after) = (pick(&|_| true), pick(&|m| m.backend.id.as_str() != "backend-0"));
        if before == "backend-0" {
            *took.entry(after).or_insert(0_u32) += 1;
        } else {
            assert_eq!(before, after);
        }
    }
    assert_eq!(took.len(), 4);
    assert!(took.values().all(|count| count.abs_diff(2000) <= 200), "{took:?}");
}

#[test]
fn a_walk_over_none_that_fits_ends_and_over_a_single_one_finds_it() {
    let names = names(1000);
    let pool = pool(&even(&names));
    let selection = Selection::Maglev(Arc::new(Maglev::build(&pool.pingora_view())));
    assert!(selection.pick(b"k", pool.members(), |_| false).is_none());
    for name in ["backend-7", "backend-999"] {
        assert!(selection.pick(b"k", pool.members(), |m| m.backend.id.as_str() == name).is_some());
    }
}

#[test]
fn more_backends_than_16_bits_can_name_get_wider_entries() {
    let owners = |most: u32| Table::new((0..=most).collect());
    for (most, narrow) in [(65_535, true), (65_536, false)] {
        let table = owners(most);
        assert_eq!(matches!(table, Table::Narrow(_)), narrow);
        assert_eq!(table.owner(most as usize), Some(most));
        assert_eq!(table.owner(most as usize + 1), None);
    }
}

#[test]
fn fingerprints_tell_seeds_ids_weights_and_sizes_apart() {
    let print = |weights: &[(&str, u32)], seed, size| {
        let view = pool(weights).pingora_view();
        Maglev::build_with_config(&view, &MaglevConfig { seed, size }).fingerprint()
    };
    let all = [
        print(&[("a", 1), ("b", 1)], SEED, 65_537),
        print(&[("a", 1), ("b", 1)], [0; 16], 65_537),
        print(&[("a", 1), ("c", 1)], SEED, 65_537),
        print(&[("a", 1), ("b", 2)], SEED, 65_537),
        print(&[("a", 1), ("b", 1), ("c", 1)], SEED, 65_537),
        print(&[("a", 1), ("b", 1)], SEED, 65_538),
        print(&[], SEED, 65_537),
    ];
    assert_eq!(all.iter().collect::<Set<_>>().len(), all.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn equal_weights_own_the_same_number_of_entries_or_one_more(count in 1_usize..700) {
        let names = names(count);
        let shares = shares(&table(&even(&names)));
        prop_assert_eq!(shares.len(), count);
        let (least, most) = (shares.values().min().unwrap(), shares.values().max().unwrap());
        prop_assert!(most - least <= 1);
        prop_assert!(f64::from(*most) <= 1.03 * f64::from(*least));
    }

    #[test]
    fn shares_are_within_an_entry_or_3_percent_of_the_weights(
        weights in prop::collection::vec(1_u32..=256, 1..60)
    ) {
        let names = names(weights.len());
        let backends: Vec<_> = names.iter().map(String::as_str).zip(weights.iter().copied()).collect();
        let table = table(&backends);
        let shares = shares(&table);
        let unit = f64::from(u32::try_from(table.len()).unwrap()) / f64::from(weights.iter().sum::<u32>());
        for (id, weight) in backends {
            let (has, fair) = (f64::from(shares[id]), unit * f64::from(weight));
            prop_assert!((has - fair).abs() <= f64::max(1.0, 0.03 * fair), "{}: {} of {}", id, has, fair);
        }
    }

    #[test]
    fn a_backend_that_goes_moves_its_own_clients_and_few_others(count in 2_usize..200, which: prop::sample::Index) {
        let names = names(count);
        let gone = &names[which.index(count)];
        let left: Vec<String> = names.iter().filter(|name| *name != gone).cloned().collect();
        let (with, without) = (owners(&table(&even(&names))), owners(&table(&even(&left))));
        let moved = with.iter().zip(&without).filter(|(before, after)| before != after).count();
        let share = |n: usize| f64::from(u32::try_from(n).unwrap());
        let moved = share(moved) / share(with.len());
        prop_assert!(moved <= 1.0 / share(count) + 0.04, "{} of {}", moved, count);
    }

    #[test]
    fn list_order_and_address_do_not_matter(
        ids in prop::collection::btree_set("[a-z]{1,6}", 1..20), turn in 0_usize..20
    ) {
        let sorted: Vec<_> = ids.iter().zip(1..).map(|(id, weight)| (id.as_str(), weight)).collect();
        let mut turned = sorted.clone();
        turned.rotate_left(turn % sorted.len());
        turned.push(("without-weight", 0));
        let (one, other) = (table(&sorted), table(&turned));
        prop_assert_eq!(one.fingerprint(), other.fingerprint());
        prop_assert_eq!(owners(&one), owners(&other));
        for key in 0..100 {
            prop_assert_eq!(owner(&one, key), owner(&other, key));
        }
    }
}
