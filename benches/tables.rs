//! What the tables of `affinity` cost with a million entries: time by criterion, memory by counting.

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use allocation_counter::measure;
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use stickfast::affinity::{Bursts, Found, Key, Learned, Learnt, Pick};
use stickfast::model::{BackendId, UnixTime};

const NOW: UnixTime = UnixTime(1_800_000_000);
const ENTRIES: u64 = 1_000_000;
const IDLE: u32 = 1800;

fn learnt() -> Learnt {
    Learnt {
        backend: BackendId::from("backend-1"),
        incarnation: Arc::from("start-1"),
        since: NOW,
        seen: NOW,
        idle: IDLE,
        tag: 9,
    }
}

/// The key of a session id of the usual length.
fn key(table: &Learned, number: u64) -> Key {
    let mut id = *b"0123456789abcdef0123456789abcdef";
    for (byte, of) in id.iter_mut().zip(number.to_be_bytes()) {
        *byte = of;
    }
    table.key("shop", "header:mcp-session-id", &id)
}

/// Numbers below a million in an order that no cache foresees, and never the same ones soon.
struct Shuffled(u64);

impl Shuffled {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 32) * ENTRIES) >> 32
    }
}

fn learned(c: &mut Criterion) {
    let learnt = learnt();
    let mut table = None;
    let taken = measure(|| {
        let filled = Learned::new(usize::try_from(ENTRIES).unwrap(), [7; 16]);
        // the last of every shard that is not full yet
        for number in (ENTRIES..ENTRIES + 50_000).chain(0..ENTRIES) {
            filled.bind(key(&filled, number), learnt.clone());
        }
        table = Some(filled);
    });
    let table = table.unwrap();
    let entries = u64::try_from(table.len()).unwrap();
    println!(
        "learned: {entries} entries, {} bytes each with the key's 16, {} while it grew",
        u64::try_from(taken.bytes_current).unwrap() / entries,
        taken.bytes_max / entries,
    );
    let mut shuffled = Shuffled(1);
    c.bench_function("learned/key", |b| {
        b.iter(|| key(&table, black_box(shuffled.next())));
    });
    // the keys are made ahead, so that only the table is measured
    let keys: Vec<Key> = (0..1 << 20).map(|_| key(&table, shuffled.next())).collect();
    let mut order = keys.iter().cycle();
    let mut hits = 0_u64;
    let mut asked = 0_u64;
    c.bench_function("learned/look-up hit of 1,000,000", |b| {
        b.iter(|| {
            let found = table.find(*order.next().unwrap(), IDLE, NOW);
            asked += 1;
            hits += u64::from(matches!(found, Found::Entry(_)));
            found
        });
    });
    println!("learned: {hits} of {asked} look-ups were hits");
    let absent: Vec<Key> = (0..1 << 20).map(|number| key(&table, ENTRIES * 9 + number)).collect();
    let mut order = absent.iter().cycle();
    c.bench_function("learned/look-up miss of 1,000,000", |b| {
        b.iter(|| table.find(*order.next().unwrap(), IDLE, NOW));
    });
    let fresh: Vec<Key> = (0..1 << 22).map(|number| key(&table, ENTRIES * 20 + number)).collect();
    let mut order = fresh.iter().cycle();
    let before = table.evicted();
    c.bench_function("learned/bind when full at 1,000,000", |b| {
        b.iter(|| table.bind(*order.next().unwrap(), learnt.clone()));
    });
    println!("learned: {} evicted meanwhile", table.evicted() - before);
}

fn bursts(c: &mut Criterion) {
    let bursts = Bursts::new(4096, [7; 16]);
    let pick = Pick { backend: BackendId::from("backend-1"), tag: 9 };
    let mut now = 0_u32;
    c.bench_function("burst/join", |b| {
        b.iter(|| {
            now += 1;
            let address = IpAddr::from((now / 6).to_be_bytes());
            let key = bursts.key("shop", address, Some(black_box(b"Mozilla/5.0 (X11; Linux)")));
            bursts.join(key, now.into(), 1000, |_| true, || Some(pick.clone()))
        });
    });
}

criterion_group!(benches, learned, bursts);
criterion_main!(benches);
