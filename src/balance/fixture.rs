use crate::pool::{Health, Member, Pool, fixture};
use pingora_load_balancing::selection::{BackendIter, BackendSelection};
use std::sync::Arc;

pub(super) fn pool(weights: &[(&str, u32)]) -> Pool {
    fixture::pool(weights, Health::Healthy)
}

pub(super) fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("backend-{n}")).collect()
}

pub(super) fn even(names: &[String]) -> Vec<(&str, u32)> {
    names.iter().map(|name| (name.as_str(), 1)).collect()
}

/// The first candidate for a client.
pub(super) fn owner<S: BackendSelection<Iter: BackendIter>>(of: &Arc<S>, key: u32) -> String {
    let mut walk = of.iter(&key.to_be_bytes());
    Member::of(walk.next().unwrap()).unwrap().backend.id.to_string()
}
