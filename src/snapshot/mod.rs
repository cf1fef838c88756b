//! The configuration compiled for the request path. A request pins one [`Snapshot`] when it comes
//! and never sees two; a reload swaps the whole.
//!
//! Nothing here is optional in the sense of "use the default": [`compile`] has decided all of that.

mod carrier;
mod clash;
mod compile;
mod live;
mod placement;
mod selections;
mod stickiness;
mod survey;

pub use carrier::{Carrier, Place};
pub use compile::{Surroundings, compile};
pub use live::Live;
pub use placement::{By, Caller, PlaceKey, Placement, Prefixes};
pub use stickiness::Stickiness;
pub use survey::{Lookup, faults};

use crate::affinity::Cutter;
use crate::balance::Selection;
use crate::identity::TrustedProxies;
use crate::model::RuleId;
use crate::observe::{RuleMetrics, ServiceMetrics};
use crate::pool::{Member, Pool};
use crate::routing::Index;
use http::{HeaderMap, Method};
use std::sync::Arc;
use std::time::Duration;

/// One configuration, ready to serve.
pub struct Snapshot {
    index: Index,
    rules: Box<[Rule]>,
    services: Box<[Arc<Service>]>,
    /// Cuts the cookies of all rules.
    pub cutter: Cutter,
    /// Whose `X-Forwarded-*` headers count.
    pub trusted: TrustedProxies,
    /// What a client may take.
    pub limits: Limits,
}

/// What a client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For a whole header.
    pub header_timeout: Duration,
    /// Silence inside a body.
    pub body_timeout: Duration,
    /// Pause between two requests, in seconds since Pingora counts so.
    pub idle_seconds: u64,
    /// Request line and header fields.
    pub max_header_bytes: usize,
    /// `u64::MAX` for no limit.
    pub max_body_bytes: u64,
}

/// A rule: which requests it takes is in the index, this is what happens to them.
pub struct Rule {
    /// As the operator calls it.
    pub id: RuleId,
    /// Where its requests go.
    pub service: Arc<Service>,
    /// `None`: every request is placed for itself.
    pub stickiness: Option<Stickiness>,
    /// Its counters.
    pub metrics: RuleMetrics,
}

/// A service and how its new clients are placed.
pub struct Service {
    /// Its backends.
    pub pool: Arc<Pool>,
    /// Who is next.
    pub selection: Arc<Selection>,
    /// How long to wait for a backend.
    pub timeouts: Timeouts,
    /// Its counters.
    pub metrics: ServiceMetrics,
}

/// How long to wait for a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To be connected.
    pub connect: Duration,
    /// Silence while reading.
    pub read: Duration,
    /// Stall while writing.
    pub write: Duration,
}

impl Snapshot {
    /// The rule for a request; host and path in normal form.
    pub fn route(
        &self,
        host: &str,
        path: &str,
        method: &Method,
        headers: &HeaderMap,
    ) -> Option<usize> {
        self.index.find(host, path, method, headers)
    }

    /// The rule that [`Self::route`] named.
    pub fn rule(&self, at: usize) -> Option<&Rule> {
        self.rules.get(at)
    }

    /// All rules, in the order written.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// All services, in the order written.
    pub fn services(&self) -> &[Arc<Service>] {
        &self.services
    }

    /// The pools of all services.
    pub fn pools(&self) -> Vec<Arc<Pool>> {
        self.services.iter().map(|service| Arc::clone(&service.pool)).collect()
    }
}

impl Service {
    /// The next backend for a new client, in the order of the policy.
    pub fn pick(&self, key: &[u8], fits: impl Fn(&Member) -> bool) -> Option<Arc<Member>> {
        self.selection.pick(key, self.pool.members(), fits)
    }
}
