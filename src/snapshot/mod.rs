//! The configuration compiled for the request path. A request pins one [`Snapshot`] when it comes
//! and never sees two; a reload swaps the whole.
//!
//! Nothing here is optional in the sense of "use the default": [`compile`] has decided all of that.

mod carrier;
mod choices;
mod clash;
mod compile;
mod doors;
mod live;
mod placement;
mod reach;
mod selections;
mod stickiness;
mod survey;
mod target;

pub use carrier::{Carrier, Codec, Place};
pub use choices::{Choices, Split};
pub use compile::{Surroundings, compile};
pub use doors::{Door, Doors};
pub use live::{Live, Pinned};
pub use placement::{By, Caller, PlaceKey, Placement, Prefixes};
pub use stickiness::{Burst, Stickiness, Text};
pub use survey::{Lookup, faults};
pub use target::{ServiceHeader, Target, Unknown};

use crate::affinity::Cutter;
use crate::config::Fault;
use crate::identity::TrustedProxies;
use crate::model::{Fields, RuleId};
use crate::observe::{RuleMetrics, ServiceMetrics};
use crate::pool::{Crowd, Member, Pool, Room, Tongue};
use crate::rewriting::KeyPlace;
use crate::routing::{Index, path};
use crate::tls::Outbound;
use ahash::AHashMap;
use http::{HeaderName, Method};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// One configuration, ready to serve.
pub struct Snapshot {
    /// No other of this process has the same.
    pub serial: u64,
    index: Index,
    rules: Box<[Rule]>,
    /// Rules once more, for WebSocket handshakes that are bound in another way than the requests of
    /// the rule; counted on after [`Self::rules`].
    for_handshakes: Box<[Rule]>,
    /// For each of the rules, its place among those.
    handshakes: AHashMap<usize, usize>,
    services: Box<[Arc<Service>]>,
    /// The header by which requests name their service.
    pub service_header: Option<ServiceHeader>,
    /// Where in URLs the keys of any rule ride, each once.
    pub url_keys: Box<[KeyPlace]>,
    /// Headers in which some rule writes keys.
    pub header_keys: Box<[HeaderKey]>,
    /// The rule for requests that name this service; empty without such a header.
    by_service: AHashMap<Box<str>, usize>,
    /// Sessions of applications that are remembered, at most.
    pub max_learned: usize,
    /// Cuts the cookies of all rules.
    pub cutter: Cutter,
    /// Whose `X-Forwarded-*` headers count.
    pub trusted: TrustedProxies,
    /// What a client may take.
    pub limits: Limits,
    /// Whether plain requests go the short way.
    pub hot_path: bool,
    /// Connections that outlive a request.
    pub websocket: WebSocket,
    /// Listeners.
    pub doors: Doors,
    /// What operators should know, although it is no fault; each with its place.
    pub warnings: Vec<Fault>,
}

/// Connections that outlive a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebSocket {
    /// Longest silence in both directions.
    pub idle: Duration,
    /// What the key of a handshake is worth.
    pub reconnect: Reconnect,
}

/// Where a client goes that has a key and opens a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// To the backend that its key names.
    Sticky,
    /// Anywhere; its key stays as it is.
    Anew,
}

/// A header that may hold a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderKey {
    /// Its name.
    pub name: HeaderName,
    /// Whether the application's own value is behind the key.
    pub wraps: bool,
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
    /// Pause between two requests.
    pub idle_timeout: Duration,
    /// Connections of clients.
    pub max_connections: u32,
    /// Connections of one address.
    pub max_connections_per_address: u32,
    /// Requests of one connection.
    pub max_requests: Option<u32>,
    /// Requests of one HTTP/2 connection at once.
    pub max_streams: u32,
    /// Bytes of a body in a second.
    pub min_body_rate: Option<u32>,
}

/// A rule: which requests it takes is in the index, this is what happens to them.
pub struct Rule {
    /// As the operator calls it.
    pub id: RuleId,
    /// Where its requests go.
    pub service: Arc<Service>,
    /// The version whose backends serve; `None`: all do.
    pub subset: Option<Arc<str>>,
    /// The header that names a version.
    pub version_header: Option<HeaderName>,
    /// Whether links in responses get the key.
    pub rewrites_urls: bool,
    /// `None`: every request is placed for itself.
    pub stickiness: Option<Stickiness>,
    /// Its counters.
    pub metrics: RuleMetrics,
}

impl Rule {
    /// The same rule without affinity.
    fn twin(&self) -> Self {
        Self {
            id: self.id.clone(),
            service: Arc::clone(&self.service),
            subset: self.subset.clone(),
            version_header: self.version_header.clone(),
            rewrites_urls: self.rewrites_urls,
            stickiness: None,
            metrics: self.metrics.clone(),
        }
    }
}

/// A service and how its new clients are placed.
pub struct Service {
    /// Its backends.
    pub pool: Arc<Pool>,
    /// How they are spoken to; `None`: plain HTTP.
    pub tls: Option<Arc<Outbound>>,
    /// Who is next.
    pub choices: Choices,
    /// How new clients are split over versions.
    pub split: Split,
    /// What a backend may have to do at once.
    pub room: Room,
    /// Those who wait for a backend.
    pub crowd: Arc<Crowd>,
    /// How long to wait for a backend.
    pub timeouts: Timeouts,
    /// How its backends are spoken to.
    pub tongue: Tongue,
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
    /// The path as rules and the log see it: without keys, be they ours or the application's.
    pub fn bare_path<'p>(&self, path: &'p str) -> Cow<'p, str> {
        let in_path = self.url_keys.iter().filter(|place| matches!(place, KeyPlace::Path(_)));
        let bare = in_path.fold(Cow::Borrowed(path), |path, place| {
            let cut = place.cut(&path, |_| true).rest;
            cut.map_or(path, Cow::Owned)
        });
        match bare {
            // `..;jsessionid=A` is the directory above, to servlet containers too
            Cow::Owned(bare) => path::normalise(&bare).into_owned().into(),
            Cow::Borrowed(path) => Cow::Borrowed(path),
        }
    }

    /// The rule for a request; host and path in normal form.
    pub fn route(
        &self,
        host: &str,
        path: &str,
        method: &Method,
        headers: &impl Fields,
    ) -> Option<usize> {
        self.index.find(host, path, method, headers)
    }

    /// The rule that [`Self::route`] named.
    pub fn rule(&self, at: usize) -> Option<&Rule> {
        let twin = || self.for_handshakes.get(at.checked_sub(self.rules.len())?);
        self.rules.get(at).or_else(twin)
    }

    /// The rule for the WebSocket handshakes that the rule at `at` takes.
    pub fn for_handshake(&self, at: usize) -> usize {
        self.handshakes.get(&at).map_or(at, |twin| self.rules.len() + twin)
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
        self.choices.pick(None, key, self.pool.members(), fits)
    }
}
