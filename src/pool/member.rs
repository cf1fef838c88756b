//! One backend in one snapshot, with what outlives the snapshot.

use super::cell::{Cell, Health};
use crate::model::Backend;
use crate::observe::BackendMetrics;
use pingora_load_balancing::Backend as PingoraBackend;
use std::sync::Arc;

/// One backend of a pool.
#[derive(Debug)]
pub struct Member {
    /// As configured.
    pub backend: Backend,
    /// Shared with the pools of earlier and later snapshots.
    cell: Arc<Cell>,
    /// Without a health check a backend counts as healthy, whatever an earlier check has said.
    checked: bool,
    /// Its counters.
    pub metrics: BackendMetrics,
}

impl Member {
    /// A member whose mark lives in `cell`.
    pub fn new(backend: Backend, cell: Arc<Cell>, checked: bool, metrics: BackendMetrics) -> Self {
        Self { backend, cell, checked, metrics }
    }

    /// What it can do now.
    pub fn health(&self) -> Health {
        if self.checked { self.cell.health() } else { Health::Healthy }
    }

    /// Takes in the result of a check; `Some` when it changes the mark.
    pub fn note_check(&self, passed: bool, threshold: u32) -> Option<Health> {
        self.cell.record(passed, threshold)
    }

    /// The member that a Pingora backend of ours stands for.
    pub fn of(backend: &PingoraBackend) -> Option<&Arc<Self>> {
        backend.ext.get::<Arc<Self>>()
    }
}
