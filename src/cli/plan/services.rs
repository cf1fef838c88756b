//! Backends that come and go, and the clients that a hash sends elsewhere.

use super::report::{Fate, ServiceChange, Share};
use crate::balance::Selection;
use crate::cli::explain::offline::Offline;
use crate::config::{Backend, BackendState, Policy, Service as Written};
use crate::pool::{Ability, Member};
use crate::snapshot::Service;

/// Sample clients for each service.
const SAMPLES: u32 = 10_000;

/// Every service of either side.
pub(super) fn changes(old: &Offline, new: &Offline) -> Vec<ServiceChange> {
    let alone = |written: &Written, fate| ServiceChange {
        service: written.id.value.clone(),
        fate,
        added: Vec::new(),
        removed: Vec::new(),
        changes: Vec::new(),
        moved: None,
    };
    let before = &old.config.services;
    let was = |id: &str| before.iter().find(|service| service.id.value == id);
    let is = |id: &str| new.config.services.iter().any(|service| service.id.value == id);
    let mut all: Vec<ServiceChange> = new
        .config
        .services
        .iter()
        .map(|after| match was(&after.id.value) {
            None => alone(after, Fate::Added),
            Some(before) => {
                let moved = compiled(old, before).zip(compiled(new, after));
                let moved = moved.and_then(|(before, after)| moved_by_hash(before, after));
                ServiceChange {
                    added: missing(&after.backends, &before.backends),
                    removed: missing(&before.backends, &after.backends),
                    changes: differences(before, after),
                    moved,
                    ..alone(after, Fate::Stays)
                }
            }
        })
        .collect();
    let gone = before.iter().filter(|service| !is(&service.id.value));
    all.extend(gone.map(|service| ServiceChange {
        removed: missing(&service.backends, &[]),
        ..alone(service, Fate::Removed)
    }));
    all
}

fn compiled<'a>(side: &'a Offline, written: &Written) -> Option<&'a Service> {
    let mut services = side.snapshot.services().iter();
    services.find(|s| s.pool.service.as_str() == written.id.value).map(|service| &**service)
}

/// The ids of `ours` that `others` does not have.
fn missing(ours: &[Backend], others: &[Backend]) -> Vec<String> {
    let absent = |id: &String| !others.iter().any(|other| other.id.value == *id);
    ours.iter().map(|backend| backend.id.value.clone()).filter(absent).collect()
}

fn differences(before: &Written, after: &Written) -> Vec<String> {
    let mut told = Vec::new();
    if before.policy != after.policy {
        let (old, new) = (policy(before.policy), policy(after.policy));
        told.push(format!(
            "policy {old} -> {new}: clients without a key are placed by another order"
        ));
    }
    for new in &after.backends {
        let id = &new.id.value;
        let Some(old) = before.backends.iter().find(|old| old.id.value == *id) else { continue };
        if old.weight != new.weight {
            told.push(format!("{id}: weight {} -> {}", old.weight, new.weight));
        }
        if old.state != new.state {
            let (was, is) = (state(old.state), state(new.state));
            told.push(format!("{id}: state {was} -> {is}"));
        }
        if old.address.value != new.address.value {
            let (was, is) = (&old.address.value, &new.address.value);
            told.push(format!("{id}: address {was} -> {is}; its clients follow it there"));
        }
        if old.incarnation != new.incarnation && !new.incarnation.is_empty() {
            told.push(format!("{id}: another incarnation; keys of an earlier one no longer hold"));
        }
    }
    told
}

fn policy(policy: Policy) -> &'static str {
    match policy {
        Policy::RoundRobin => "round-robin",
        Policy::ConsistentHash => "consistent-hash",
        Policy::Maglev => "maglev",
    }
}

fn state(state: BackendState) -> &'static str {
    match state {
        BackendState::Active => "active",
        BackendState::Draining => "draining",
        BackendState::Maintenance => "maintenance",
    }
}

fn moved_by_hash(before: &Service, after: &Service) -> Option<Share> {
    let hashes = |service: &Service| match &*service.selection {
        Selection::RoundRobin(_) => false,
        Selection::ConsistentHash(_) | Selection::Maglev(_) => true,
    };
    (hashes(before) && hashes(after)).then(|| {
        let moves = |sample: &[u8]| {
            let place = |service: &Service| {
                let member = service.pick(sample, |m: &Member| m.ability() == Ability::Anyone);
                member.map(|member| member.backend.id.clone())
            };
            place(before) != place(after)
        };
        let moved = (0..SAMPLES).filter(|nth| moves(&sample(*nth))).count();
        Share { moved: u32::try_from(moved).unwrap_or(SAMPLES), of: SAMPLES }
    })
}

/// An IPv4 address, spread over all of them, as a client's is hashed.
fn sample(nth: u32) -> [u8; 4] {
    // Knuth's multiplicative hash: odd, so that no two samples are one
    nth.wrapping_mul(2_654_435_761).to_be_bytes()
}
