use super::*;
use crate::balance::{RoundRobin, Selection};
use crate::observe::Metrics;
use crate::pool::{Health, Pool, fixture};
use crate::snapshot::Timeouts;
use pingora_load_balancing::selection::BackendSelection;
use std::time::Duration;

fn service(health: &[(&str, Health)]) -> Service {
    let members =
        health.iter().flat_map(|(id, health)| fixture::members(&[(*id, 1)], *health)).collect();
    let pool = Pool::new("s".into(), members, None);
    let turns = RoundRobin::build(&pool.pingora_view());
    let selection = Arc::new(Selection::RoundRobin(Arc::new(turns)));
    let second = Duration::from_secs(1);
    Service {
        metrics: Metrics::new().unwrap().service(&pool.service),
        pool: Arc::new(pool),
        selection,
        timeouts: Timeouts { connect: second, read: second, write: second },
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
    match choose(service, &service.selection, bond, &tried, b"key") {
        Choice::Bound(member) => format!("bound {}", member.backend.id),
        Choice::Placed(member) => format!("placed {}", member.backend.id),
        Choice::Panic(member) => format!("panic {}", member.backend.id),
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
    assert_eq!(chosen(&mixed, Some(&bond(&mixed, "b2")), &[]), "placed b3");
}

#[test]
fn in_a_panic_a_bound_client_stays_and_unchecked_backends_take_nobody() {
    let down =
        service(&[("b1", Health::Unhealthy), ("b2", Health::Unhealthy), ("b3", Health::Unchecked)]);
    for _ in 0..4 {
        assert_eq!(chosen(&down, Some(&bond(&down, "b2")), &[]), "panic b2");
    }
    assert_eq!(chosen(&down, Some(&bond(&down, "b2")), &["b2"]), "panic b1");
    assert_eq!(chosen(&down, None, &["b1", "b2"]), "nobody");
}
