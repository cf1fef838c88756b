use super::*;
use crate::affinity::Stamp;
use crate::balance::{RoundRobin, Selection};
use crate::model::UnixTime;
use crate::observe::Metrics;
use crate::pool::{Health, Pool, Room, Seat, Tongue, fixture};
use crate::snapshot::{Choices, Service, Split, Timeouts};
use pingora_load_balancing::selection::BackendSelection;
use std::time::Duration;

fn service(health: &[(&str, Health)]) -> Service {
    service_with(health, Room::UNLIMITED)
}

fn service_with(health: &[(&str, Health)], room: Room) -> Service {
    let members: Vec<_> = health
        .iter()
        .flat_map(|(id, health)| fixture::members_with_room(&[(*id, 1)], *health, room))
        .collect();
    let crowd = Arc::clone(members[0].crowd());
    let pool = Pool::new("s".into(), &members, None);
    let turns = RoundRobin::build(&pool.pingora_view());
    let selection = Arc::new(Selection::RoundRobin(Arc::new(turns)));
    let second = Duration::from_secs(1);
    Service {
        tls: None,
        metrics: Metrics::new().unwrap().service(&pool.service),
        pool: Arc::new(pool),
        choices: Choices::of_all(selection),
        split: Split::default(),
        room,
        crowd,
        timeouts: Timeouts { connect: second, read: second, write: second },
        tongue: Tongue::default(),
    }
}

fn bond(service: &Service, id: &str) -> Bond {
    let member = Arc::clone(service.pool.find(id).unwrap());
    let kept = Kept { issued: UnixTime(1), seen: UnixTime(1), tag: 1, home: None };
    Bond {
        member,
        elsewhere: Elsewhere::Moves,
        kept,
        refresh: false,
        leaves: false,
        until_then: None,
    }
}

fn chosen(service: &Service, bond: Option<&Bond>, tried: &[&str]) -> String {
    let tried: Vec<_> = tried.iter().map(|id| Arc::clone(service.pool.find(id).unwrap())).collect();
    let choice = choose(Wish {
        service,
        choices: &service.choices,
        key: b"key",
        within: &Within::Any,
        bond,
        company: None,
        tried: &tried,
    });
    match choice {
        Choice::Bound(member) => format!("bound {}", member.backend.id),
        Choice::Placed(member) => format!("placed {}", member.backend.id),
        Choice::Panic(member) => format!("panic {}", member.backend.id),
        Choice::Lost(member) => format!("lost {}", member.backend.id),
        Choice::Full(member) => format!("full {}", member.backend.id),
        Choice::Crowded => "crowded".into(),
        Choice::Nobody => "nobody".into(),
    }
}

#[test]
fn a_bound_client_goes_to_its_backend_until_that_one_has_failed() {
    let two = service(&[("b1", Health::Healthy), ("b2", Health::Healthy)]);
    let bond = bond(&two, "b2");
    assert_eq!(chosen(&two, Some(&bond), &[]), "bound b2");
    assert_eq!(chosen(&two, Some(&bond), &["b2"]), "placed b1");
    assert_eq!(chosen(&two, Some(&bond), &["b2", "b1"]), "nobody");
}

#[test]
fn unchecked_and_unhealthy_backends_take_no_new_client_while_another_is_healthy() {
    let mixed =
        service(&[("b1", Health::Unchecked), ("b2", Health::Unhealthy), ("b3", Health::Healthy)]);
    for _ in 0..6 {
        assert_eq!(chosen(&mixed, None, &[]), "placed b3");
    }
    assert_eq!(chosen(&mixed, Some(&bond(&mixed, "b2")), &[]), "lost b2", "the policy is asked");
    let mut leaves = bond(&mixed, "b2");
    leaves.leaves = true;
    assert_eq!(chosen(&mixed, Some(&leaves), &[]), "placed b3");
}

#[test]
fn in_a_panic_a_bound_client_stays_and_unchecked_backends_take_nobody() {
    let down =
        service(&[("b1", Health::Unhealthy), ("b2", Health::Unhealthy), ("b3", Health::Unchecked)]);
    let mut leaves = bond(&down, "b2");
    leaves.leaves = true;
    for _ in 0..4 {
        assert_eq!(chosen(&down, Some(&leaves), &[]), "panic b2");
    }
    assert_eq!(chosen(&down, Some(&leaves), &["b2"]), "panic b1");
    assert_eq!(chosen(&down, None, &["b1", "b2"]), "nobody");
}

#[test]
fn a_full_backend_takes_nobody_and_is_no_reason_to_panic() {
    let room = Room { per_backend: 1, ..Room::UNLIMITED };
    let two = service_with(&[("b1", Health::Healthy), ("b2", Health::Healthy)], room);
    let bond = bond(&two, "b2");
    let _b2 = Seat::take(two.pool.find("b2").unwrap()).unwrap();
    assert_eq!(chosen(&two, Some(&bond), &[]), "full b2");
    for _ in 0..4 {
        assert_eq!(chosen(&two, None, &[]), "placed b1");
    }
    let mut moves = bond.clone();
    moves.leaves = true;
    assert_eq!(chosen(&two, Some(&moves), &[]), "placed b1");
    let _b1 = Seat::take(two.pool.find("b1").unwrap()).unwrap();
    assert_eq!(chosen(&two, None, &[]), "crowded");
    assert_eq!(chosen(&two, None, &["b1", "b2"]), "nobody");
}

#[test]
fn a_guest_goes_to_one_host_while_that_one_serves() {
    let three = service(&[
        ("b1", Health::Healthy),
        ("b2", Health::Healthy),
        ("b3", Health::Unhealthy),
        ("b4", Health::Healthy),
    ]);
    let mut hosts = std::collections::BTreeSet::new();
    for tag in 0..20 {
        let mut guest = bond(&three, "b3");
        guest.kept.tag = tag;
        guest.visits_elsewhere();
        let host = chosen(&three, Some(&guest), &[]);
        for _ in 0..4 {
            assert_eq!(chosen(&three, Some(&guest), &[]), host, "tag {tag}");
        }
        hosts.insert(host);
    }
    assert_eq!(hosts.len(), 3, "guests are spread");
}

#[test]
fn a_client_that_came_with_a_foreign_key_gets_a_tag() {
    let service = service(&[("b1", Health::Healthy)]);
    let mut bond = bond(&service, "b1");
    let answered = Arc::clone(&bond.member);
    let tag = |bond: &Bond| {
        let stamp = Stamp::Refresh(bond.kept.clone());
        written(&stamp, Some(bond), &answered, 77, UnixTime(2)).kept().tag
    };
    assert_eq!(tag(&bond), 1, "one that has a tag keeps it");
    bond.kept.tag = 0;
    assert_eq!(tag(&bond), 77);
}

#[test]
fn a_sealed_key_grows_old_while_its_request_is_under_way_and_an_unsealed_one_does_not() {
    let service = service(&[("a", Health::Healthy)]);
    let terms = crate::affinity::Terms { idle: 13, absolute: 0, refresh: 1 };
    let told = |tag| {
        let mut bond = bond(&service, "a");
        bond.kept.tag = tag;
        let member = Arc::clone(&bond.member);
        stamped(Some(&bond), &member, terms, UnixTime(2)) != Stamp::Nothing
    };
    assert!(told(1));
    assert!(!told(0));
}
