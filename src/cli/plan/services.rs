//! Backends that come and go, and the clients that a hash sends elsewhere.

use super::places::{Places, moved};
use super::report::{Fate, ServiceChange};
use super::settings::in_words;
use crate::config::{Backend, BackendState, Policy, Service as Written};
use crate::explain::World;
use crate::snapshot::Service;

/// Every service of either side.
pub(super) fn changes(old: &World, new: &World) -> Vec<ServiceChange> {
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
                let both = compiled(old, before).zip(compiled(new, after));
                let moved = both.and_then(|(before, after)| {
                    moved(Places::of_service(before), Places::of_service(after))
                });
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

fn compiled<'a>(side: &'a World, written: &Written) -> Option<&'a Service> {
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
    let split = |service: &Written| {
        let parts = service.versions.iter().map(|(name, part)| format!("{name}: {part}"));
        format!("{{{}}}", parts.collect::<Vec<_>>().join(", "))
    };
    if before.versions != after.versions {
        let (old, new) = (split(before), split(after));
        told.push(format!("versions {old} -> {new}: of new clients; bound ones stay"));
    }
    told.extend(limits(before, after));
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
        if old.version != new.version {
            let (was, is) = (&old.version, &new.version);
            told.push(format!("{id}: version {was:?} -> {is:?}; its clients follow it"));
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

fn limits(before: &Written, after: &Written) -> Vec<String> {
    let most = |most: Option<u32>| most.map_or("none".to_owned(), |most| most.to_string());
    let rows = |service: &Written| {
        let limits = &service.limits;
        [
            ("maxConnectionsPerBackend", most(limits.max_connections)),
            ("maxPending", most(limits.max_pending)),
            ("queueTimeout", in_words(limits.queue_timeout)),
        ]
    };
    let both = rows(before).into_iter().zip(rows(after));
    let differs = both.filter(|((_, old), (_, new))| old != new);
    differs.map(|((name, old), (_, new))| format!("{name} {old} -> {new}")).collect()
}

fn policy(policy: Policy) -> &'static str {
    match policy {
        Policy::RoundRobin => "round-robin",
        Policy::ConsistentHash => "consistent-hash",
        Policy::Maglev => "maglev",
    }
}

pub(super) fn state(state: BackendState) -> &'static str {
    match state {
        BackendState::Active => "active",
        BackendState::Draining => "draining",
        BackendState::Maintenance => "maintenance",
    }
}
