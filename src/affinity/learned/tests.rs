//! The table against a plain list that is kept in the order of use, and what threads must never see.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;
use std::thread;

const NOW: UnixTime = UnixTime(1_800_000_000);

fn key(number: usize) -> Key {
    HashKey::new([7; 16]).hash([&number.to_be_bytes()])
}

fn learnt(backend: &str, seen: UnixTime, idle: u32) -> Learnt {
    Learnt {
        backend: BackendId::from(backend),
        incarnation: Arc::from("first"),
        since: seen,
        seen,
        idle,
        tag: 9,
    }
}

/// Sweeps one whole round; tells how many went.
fn sweep(table: &Learned, step: usize, now: UnixTime) -> usize {
    let mut hand = Hand::default();
    let mut removed = 0;
    loop {
        removed += table.sweep(&mut hand, step, now);
        if hand == Hand::default() {
            return removed;
        }
    }
}

/// What the table is to be: the least recently used first.
#[derive(Default)]
struct Model {
    entries: Vec<(Key, Learnt)>,
    capacity: usize,
    evicted: u64,
}

impl Model {
    fn take(&mut self, key: Key) -> Option<Learnt> {
        let at = self.entries.iter().position(|(k, _)| *k == key)?;
        Some(self.entries.remove(at).1)
    }

    fn find(&mut self, key: Key, idle: u32, now: UnixTime) -> Found {
        let Some(mut learnt) = self.take(key) else { return Found::Nothing };
        if now.0 - learnt.seen.0 > idle.min(learnt.idle) {
            return Found::Expired;
        }
        let known = learnt.clone();
        (learnt.seen, learnt.idle) = (now, idle);
        self.entries.push((key, learnt));
        Found::Entry(known)
    }

    fn bind(&mut self, key: Key, learnt: Learnt) {
        let now = learnt.seen;
        self.take(key);
        self.entries.push((key, learnt));
        if self.entries.len() > self.capacity {
            let (_, first) = self.entries.remove(0);
            self.evicted += u64::from(now.0 - first.seen.0 <= first.idle);
        }
    }

    fn resize(&mut self, capacity: usize) {
        self.capacity = capacity;
        while self.entries.len() > capacity {
            self.entries.remove(0);
            self.evicted += 1;
        }
    }

    fn sweep(&mut self, now: UnixTime) {
        self.entries.retain(|(_, learnt)| now.0 - learnt.seen.0 <= learnt.idle);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Find { key: usize, idle: u32 },
    Bind { key: usize, idle: u32, backend: u8 },
    Forget { key: usize },
    Resize { capacity: usize },
    Sweep { step: usize },
    Wait { seconds: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..12_usize, 1..9_u32).prop_map(|(key, idle)| Step::Find { key, idle }),
        6 => (0..12_usize, 1..9_u32, 0..4_u8)
            .prop_map(|(key, idle, backend)| Step::Bind { key, idle, backend }),
        1 => (0..12_usize).prop_map(|key| Step::Forget { key }),
        1 => (0..12_usize).prop_map(|capacity| Step::Resize { capacity }),
        1 => (1..5_usize).prop_map(|step| Step::Sweep { step }),
        3 => (1..5_u32).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

proptest! {
    #[test]
    fn the_table_does_what_a_list_in_order_of_use_does(
        capacity in 0..9_usize,
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let table = Learned::new(capacity, [7; 16]);
        let mut model = Model { capacity, ..Model::default() };
        let mut now = NOW;
        for step in steps {
            match step {
                Step::Find { key: k, idle } => {
                    prop_assert_eq!(table.find(key(k), idle, now), model.find(key(k), idle, now));
                }
                Step::Bind { key: k, idle, backend } => {
                    let learnt = learnt(&format!("b{backend}"), now, idle);
                    table.bind(key(k), learnt.clone());
                    model.bind(key(k), learnt);
                    // with no capacity at all nothing was there to be evicted
                    if model.capacity == 0 {
                        model.evicted = table.evicted();
                    }
                }
                Step::Forget { key: k } => {
                    prop_assert_eq!(table.forget(key(k)), model.take(key(k)).is_some());
                }
                Step::Resize { capacity } => {
                    table.resize(capacity);
                    model.resize(capacity);
                }
                Step::Sweep { step } => {
                    let before = model.entries.len();
                    model.sweep(now);
                    prop_assert_eq!(sweep(&table, step, now), before - model.entries.len());
                }
                Step::Wait { seconds } => now.0 += seconds,
            }
            prop_assert_eq!(table.len(), model.entries.len());
            prop_assert!(table.len() <= model.capacity);
            prop_assert_eq!(table.evicted(), model.evicted);
            let mut listed = Model { entries: model.entries.clone(), ..Model::default() };
            listed.sweep(now);
            prop_assert_eq!(table.export(now).collect::<Vec<_>>(), listed.entries);
        }
    }

    #[test]
    fn another_process_takes_over_what_has_not_expired(
        ages in proptest::collection::vec(0..100_u32, 0..400),
        capacities in prop_oneof![Just((1000, 20_000)), Just((20_000, 1000)), Just((600, 600))],
    ) {
        let old = Learned::new(capacities.0, [3; 16]);
        let mut kept = HashMap::new();
        for (number, age) in ages.iter().enumerate() {
            let learnt = learnt("b1", UnixTime(NOW.0 - age), 50);
            if *age <= 50 {
                kept.insert(key(number), learnt.clone());
            }
            old.bind(key(number), learnt);
        }
        let new = Learned::new(capacities.1, old.hash_key());
        prop_assert_eq!(new.key("s", "header:a", b"x"), old.key("s", "header:a", b"x"));
        prop_assert_eq!(new.import(old.export(UnixTime(NOW.0 - 10)), NOW), kept.len());
        prop_assert_eq!(new.export(NOW).collect::<HashMap<_, _>>(), kept);
    }
}

#[test]
fn a_key_tells_service_source_and_value_apart() {
    let table = Learned::new(10, [7; 16]);
    let keys = [
        table.key("s", "header:a", b"x"),
        table.key("t", "header:a", b"x"),
        table.key("s", "cookie:a", b"x"),
        table.key("s", "header:", b"ax"),
        table.key("s", "header:a", b"y"),
    ];
    for (at, key) in keys.iter().enumerate() {
        assert!(!keys[..at].contains(key), "{at}");
    }
}

#[test]
fn the_shorter_of_two_idle_times_counts() {
    for (bound, asked) in [(10, 100), (100, 10)] {
        let table = Learned::new(10, [7; 16]);
        table.bind(key(1), learnt("b1", NOW, bound));
        table.bind(key(2), learnt("b1", NOW, bound));
        assert!(matches!(table.find(key(1), asked, UnixTime(NOW.0 + 10)), Found::Entry(_)));
        assert_eq!(table.find(key(2), asked, UnixTime(NOW.0 + 11)), Found::Expired);
        assert_eq!(table.find(key(2), asked, UnixTime(NOW.0 + 11)), Found::Nothing);
    }
}

#[test]
fn a_clock_that_goes_back_neither_expires_nor_ages_an_entry() {
    let table = Learned::new(10, [7; 16]);
    table.bind(key(1), learnt("b1", NOW, 10));
    let Found::Entry(learnt) = table.find(key(1), 10, UnixTime(NOW.0 - 1000)) else {
        panic!("it was expired")
    };
    assert_eq!(learnt.seen, NOW);
}

#[test]
fn what_is_imported_does_not_undo_what_was_learnt_since() {
    let table = Learned::new(2, [7; 16]);
    table.bind(key(1), learnt("new", NOW, 50));
    table.bind(key(2), learnt("new", UnixTime(NOW.0 - 20), 50));
    let import =
        |key: Key, ago: u32| table.import([(key, learnt("old", UnixTime(NOW.0 - ago), 50))], NOW);
    assert_eq!(import(key(1), 5), 0, "known more recently");
    assert_eq!(table.find(key(1), 50, NOW), Found::Entry(learnt("new", NOW, 50)));
    assert_eq!(import(key(3), 30), 0, "older than everything in a full table");
    assert_eq!(import(key(3), 51), 0, "expired");
    assert_eq!(import(key(3), 10), 1);
    assert_eq!(table.find(key(2), 50, NOW), Found::Nothing, "it made room");
}

#[test]
fn a_large_table_is_filled_evenly_and_keeps_its_bound() {
    let capacity = SPREAD_FROM + 17;
    let table = Learned::new(capacity, [7; 16]);
    for number in 0..capacity {
        table.bind(key(number), learnt("b1", NOW, 10));
    }
    assert!(table.len() > capacity * 9 / 10, "{} of {capacity}", table.len());
    assert_eq!(table.len() as u64 + table.evicted(), capacity as u64);
    for number in capacity..3 * capacity {
        table.bind(key(number), learnt("b1", NOW, 10));
    }
    assert_eq!(table.len(), capacity);
    assert_eq!(sweep(&table, 100, UnixTime(NOW.0 + 10)), 0);
    assert_eq!(sweep(&table, 100, UnixTime(NOW.0 + 11)), capacity);
}

#[test]
fn one_step_of_the_sweep_is_bounded() {
    let table = Learned::new(1000, [7; 16]);
    for number in 0..1000 {
        table.bind(key(number), learnt("b1", NOW, 10));
    }
    let mut hand = Hand::default();
    for step in 1..=10 {
        assert_eq!(table.sweep(&mut hand, 30, UnixTime(NOW.0 + 11)), 30);
        assert_eq!(table.len(), 1000 - 30 * step);
    }
}

#[test]
fn a_table_that_is_resized_keeps_what_fits() {
    let table = Learned::new(1000, [7; 16]);
    for number in 0..1000_u16 {
        let seen = UnixTime(NOW.0 + u32::from(number));
        table.bind(key(number.into()), learnt("b1", seen, 10_000));
    }
    let end = UnixTime(NOW.0 + 1000);
    table.resize(100_000);
    assert_eq!((table.len(), table.evicted(), table.capacity()), (1000, 0, 100_000));
    assert!((0..1000).all(|number| matches!(table.find(key(number), 9999, end), Found::Entry(_))));

    table.resize(100);
    assert!(table.len() <= 100);
    let left = table.len();
    assert!(left > 10, "only {left} are left");
    assert_eq!(table.evicted(), 1000 - left as u64);
    let found = (0..1000).filter(|n| table.find(key(*n), 9999, end) != Found::Nothing).count();
    assert_eq!(found, left);
    table.resize(10);
    assert_eq!(table.len(), 10);
}

#[test]
fn threads_never_see_the_bound_exceeded_nor_another_key_s_entry() {
    let table = Learned::new(SPREAD_FROM, [7; 16]);
    let found = AtomicU64::new(0);
    thread::scope(|threads| {
        for thread in 0..4_usize {
            let (table, found) = (&table, &found);
            threads.spawn(move || {
                for round in 0..20_000_usize {
                    let number = (thread * 7919 + round * 31) % 30_000;
                    let name = format!("b{}", number % 5);
                    match table.find(key(number), 100, NOW) {
                        Found::Entry(learnt) => {
                            assert_eq!(learnt.backend.as_str(), name);
                            found.fetch_add(1, Ordering::Relaxed);
                        }
                        Found::Nothing => table.bind(key(number), learnt(&name, NOW, 100)),
                        Found::Expired => panic!("nothing has expired"),
                    }
                    if round % 500 == 0 {
                        assert!(table.len() <= SPREAD_FROM);
                    }
                }
            });
        }
        let table = &table;
        threads.spawn(move || {
            for round in 0..20 {
                table.resize(if round % 2 == 0 { 1000 } else { SPREAD_FROM });
            }
        });
    });
    assert_eq!(table.capacity(), SPREAD_FROM);
    assert!(found.into_inner() > 0);
    let listed: HashMap<_, _> = table.export(NOW).collect();
    assert_eq!(listed.len(), table.len(), "no entry is there twice");
}
