//! A backend as the configuration describes it, without anything that changes while it serves.

use super::{Address, BackendId};
use std::sync::Arc;

/// One server of a service. What every request reads comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Backend {
    /// Stable name: what affinity keys and the hash ring speak of.
    pub id: BackendId,
    /// The release that runs there; empty when the operator names none.
    pub version: Arc<str>,
    /// The start that the operator names by hand; empty when it is learnt or not known.
    pub incarnation: Arc<str>,
    /// Share of new clients relative to the other backends, 0 to 256. 0 takes no new clients.
    pub weight: u32,
    /// What the operator has it do.
    pub duty: Duty,
    /// Where to connect.
    pub address: Address,
    /// The same as the operator wrote it, be it by name.
    pub written: Arc<str>,
}

/// What the operator has a backend do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Serve.
    Active,
    /// Keep bound clients, take no new ones.
    Draining,
    /// Nothing.
    Maintenance,
}
