//! What the tables of `affinity` take, all allocation counted. Apart from `allocations`, which is
//! about requests: here a large table is filled.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use allocation_counter::measure;
use std::net::IpAddr;
use std::sync::Arc;
use stickfast::affinity::{Bursts, Found, Joined, Key, Learned, Learnt, Pick};
use stickfast::model::{BackendId, UnixTime};

const NOW: UnixTime = UnixTime(1_800_000_000);

/// The hundred backends of a service that is large.
fn learnt() -> Vec<Learnt> {
    let learnt = (0..100).map(|number| Learnt {
        backend: BackendId::from(format!("backend-{number}").as_str()),
        incarnation: Arc::from(format!("start-{number}")),
        since: NOW,
        seen: NOW,
        idle: 1800,
        tag: number,
    });
    learnt.collect()
}

/// As even as a hash; hashing a million texts takes seconds without optimisation.
fn key(number: u64) -> Key {
    let spread = u128::from(number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    Key::from_bytes(spread.to_be_bytes())
}

#[test]
fn a_million_entries_take_less_than_150_bytes_each_beyond_the_key() {
    const ENTRIES: usize = 1_000_000;
    const KEY: u64 = 16;
    let learnt = learnt();
    let mut table = None;
    let taken = measure(|| {
        let filled = Learned::new(ENTRIES, [7; 16]);
        // more than fit, so that every shard is full
        for (number, learnt) in (0..ENTRIES as u64 + 50_000).zip(learnt.iter().cycle()) {
            filled.bind(key(number), learnt.clone());
        }
        table = Some(filled);
    });
    let table = table.unwrap();
    assert_eq!(table.len(), ENTRIES);
    let each = u64::try_from(taken.bytes_current).unwrap() / ENTRIES as u64;
    let most = taken.bytes_max / ENTRIES as u64;
    println!("{each} bytes an entry with its key of {KEY}, {most} while it grew");
    assert!((40..150 + KEY).contains(&each), "{each} bytes an entry");
    assert!(most < 150 + KEY, "{most} bytes an entry while it grew");

    let last = key(ENTRIES as u64);
    let look_up = measure(|| assert!(matches!(table.find(last, 1800, NOW), Found::Entry(_))));
    assert_eq!(look_up.count_total, 0, "a look-up allocates nothing");

    let freed = measure(|| table.resize(1000));
    assert!(
        -freed.bytes_current > taken.bytes_current * 9 / 10,
        "a smaller table gives memory back"
    );
}

#[test]
fn bursts_take_no_more_room_however_many_clients_come() {
    let bursts = Bursts::new(4096, [7; 16]);
    let pick = Pick { backend: BackendId::from("b1"), tag: 9 };
    let taken = measure(|| {
        for client in 0..50_000_u32 {
            let key = bursts.key("s", IpAddr::from(client.to_be_bytes()), Some(b"browser"));
            let joined = bursts.join(key, 5000, 1000, |_| true, || Some(pick.clone()));
            assert!(matches!(joined, Joined::First(_)));
        }
    });
    assert_eq!(taken.count_total, 0);
}
