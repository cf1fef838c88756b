//! A burst agrees, whoever comes first, and its window ends.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

fn pick(number: usize) -> Pick {
    Pick { backend: BackendId::from(format!("b{number}").as_str()), tag: number as u64 }
}

fn client(bursts: &Bursts, number: u8) -> Key {
    bursts.key("s", IpAddr::from([10, 0, 0, number]), Some(b"browser"))
}

#[test]
fn the_window_counts_from_the_first_request() {
    let bursts = Bursts::new(100, [7; 16]);
    let key = client(&bursts, 1);
    let join = |now, fresh| bursts.join(key, now, 1000, |_| true, || Some(pick(fresh)));
    assert_eq!(join(5000, 1), Joined::First(pick(1)));
    assert_eq!(join(5600, 2), Joined::Same(pick(1)));
    assert_eq!(join(4999, 2), Joined::Same(pick(1)), "a thread that read the clock before");
    assert_eq!(join(5999, 2), Joined::Same(pick(1)));
    assert_eq!(join(6000, 3), Joined::First(pick(3)));
    assert_eq!(join(6999, 4), Joined::Same(pick(3)));
}

#[test]
fn without_a_window_everyone_picks() {
    let bursts = Bursts::new(100, [7; 16]);
    let key = client(&bursts, 1);
    for window in [0, 1000, 0] {
        let joined = bursts.join(key, 5000, window, |_| panic!("nothing is held"), || None);
        assert_eq!(joined, Joined::Nobody, "and who picks nobody leaves nothing");
    }
    for number in 1..4 {
        let joined = bursts.join(key, 5000, 0, |_| true, || Some(pick(number)));
        assert_eq!(joined, Joined::First(pick(number)));
    }
}

#[test]
fn service_address_and_agent_make_a_client() {
    let bursts = Bursts::new(100, [7; 16]);
    let (here, there) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
    let key = bursts.key("s", here, Some(b"a"));
    for other in [
        bursts.key("t", here, Some(b"a")),
        bursts.key("s", there, Some(b"a")),
        bursts.key("s", here, Some(b"b")),
        bursts.key("s", here, None),
    ] {
        assert_ne!(key, other);
    }
    let mapped = "::ffff:10.0.0.1".parse().unwrap();
    assert_eq!(key, bursts.key("s", mapped, Some(b"a")));
}

#[test]
fn a_burst_that_is_refused_moves_once_and_its_window_goes_on() {
    let bursts = Bursts::new(100, [7; 16]);
    let key = client(&bursts, 1);
    let join = |now, tried: &[Pick], fresh| {
        bursts.join(key, now, 1000, |held| !tried.contains(held), || Some(pick(fresh)))
    };
    assert_eq!(join(0, &[], 1), Joined::First(pick(1)));
    assert_eq!(join(10, &[], 1), Joined::Same(pick(1)));
    assert_eq!(join(500, &[pick(1)], 2), Joined::First(pick(2)));
    assert_eq!(join(500, &[pick(1)], 3), Joined::Same(pick(2)), "the second to be refused");
    assert_eq!(join(999, &[], 1), Joined::Same(pick(2)));
    assert_eq!(join(1000, &[], 4), Joined::First(pick(4)));
    let nobody = bursts.join(key, 1001, 1000, |_| false, || None);
    assert_eq!(nobody, Joined::Nobody);
    assert_eq!(join(1002, &[], 5), Joined::Same(pick(4)));
}

#[test]
fn a_full_bucket_overwrites_its_oldest_burst() {
    let bursts = Bursts::new(WAYS, [7; 16]);
    let join = |number: u8, now| {
        bursts.join(client(&bursts, number), now, 1000, |_| true, || Some(pick(number.into())))
    };
    for number in 0..4 {
        assert_eq!(join(number, number.into()), Joined::First(pick(number.into())));
    }
    for number in 0..4 {
        assert_eq!(join(number, 10), Joined::Same(pick(number.into())));
    }
    assert_eq!(join(4, 10), Joined::First(pick(4)));
    for number in 1..5 {
        assert_eq!(join(number, 20), Joined::Same(pick(number.into())));
    }
    assert_eq!(join(0, 20), Joined::First(pick(0)));
}

#[test]
fn six_requests_at_once_agree_and_pick_once() {
    for round in 0..300_u64 {
        let bursts = Bursts::new(16, round.to_be_bytes().repeat(2).try_into().unwrap());
        let (start, picks) = (Barrier::new(6), AtomicUsize::new(0));
        let joined: Vec<Joined> = thread::scope(|threads| {
            let request = || {
                start.wait();
                let fresh = || Some(pick(picks.fetch_add(1, Ordering::Relaxed)));
                bursts.join(client(&bursts, 1), round, 1000, |_| true, fresh)
            };
            let threads: Vec<_> = (0..6).map(|_| threads.spawn(request)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(picks.into_inner(), 1);
        assert_eq!(joined.iter().filter(|j| **j == Joined::First(pick(0))).count(), 1);
        assert_eq!(joined.iter().filter(|j| **j == Joined::Same(pick(0))).count(), 5);
    }
}

proptest! {
    #[test]
    fn only_a_pick_of_the_same_client_and_window_is_shared(
        room in 1..40_usize,
        requests in proptest::collection::vec((0..50_u8, 0..30_u64), 1..400),
    ) {
        let bursts = Bursts::new(room, [7; 16]);
        let mut began = HashMap::new();
        let mut now = 0;
        for (number, (client_number, wait)) in requests.into_iter().enumerate() {
            now += wait;
            let fresh = || Some(pick(number));
            match bursts.join(client(&bursts, client_number), now, 100, |_| true, fresh) {
                Joined::First(made) => {
                    prop_assert_eq!(made, pick(number));
                    began.insert(client_number, (now, number));
                }
                Joined::Same(given) => {
                    let (at, by) = began[&client_number];
                    prop_assert!(now - at < 100);
                    prop_assert_eq!(given, pick(by));
                }
                Joined::Nobody => prop_assert!(false, "everyone picks"),
            }
            let held: Vec<Key> = bursts
                .buckets
                .iter()
                .flat_map(|bucket| bucket.lock().iter().flatten().map(|b| b.key).collect::<Vec<_>>())
                .collect();
            prop_assert!(held.len() <= room.div_ceil(WAYS) * WAYS);
            let distinct: std::collections::HashSet<_> = held.iter().collect();
            prop_assert_eq!(distinct.len(), held.len(), "a client has one place");
        }
    }

    #[test]
    fn with_room_enough_a_window_has_one_pick(
        mut at in proptest::collection::vec(0..1000_u64, 1..50),
    ) {
        at.sort_unstable();
        let bursts = Bursts::new(100, [7; 16]);
        let mut began = None;
        for (number, now) in at.into_iter().enumerate() {
            let joined = bursts.join(client(&bursts, 1), now, 300, |_| true, || Some(pick(number)));
            let held = began.filter(|(start, _)| now - start < 300);
            if let Some((_, by)) = held {
                prop_assert_eq!(joined, Joined::Same(pick(by)));
            } else {
                prop_assert_eq!(joined, Joined::First(pick(number)));
                began = Some((now, number));
            }
        }
    }
}
