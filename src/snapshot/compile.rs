//! From the checked configuration to a [`Snapshot`]: names become references, defaults become
//! values, host names become addresses.

use super::carrier::Place;
use super::clash;
use super::doors;
use super::selections::Selections;
use super::stickiness::{Stickiness, terms};
use super::survey::{self, Addresses, Lookup};
use super::target::ServiceHeader;
use super::{HeaderKey, Limits, Reconnect, Rule, Service, Snapshot, Split, Timeouts, WebSocket};
use crate::affinity::{Cutter, KeyRing};
use crate::balance::POINTS_PER_WEIGHT;
use crate::config::{
    self, Affinity, AlgorithmKind, BackendState, Config, Faults, Handshakes, HostPattern,
    PathPattern, Policy,
};
use crate::identity::TrustedProxies;
use crate::model::{Address, Backend, BackendId, Duty, RuleId, Secret, ServiceId, UnixTime};
use crate::observe::Metrics;
use crate::pool::{Cells, Check, Encryption, Facts, Health, Member, Pool, Probe, Room, Tongue};
use crate::rewriting::KeyPlace;
use crate::routing::{Host, Index, Matchers, Path, path};
use crate::tls::{Outbound, Tickets};
use ahash::{AHashMap, AHashSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

static SERIAL: AtomicU64 = AtomicU64::new(0);

/// What a snapshot is made in, besides the configuration.
pub struct Surroundings<'a> {
    /// Health marks that stay.
    pub cells: &'a Cells,
    /// Counters that stay.
    pub metrics: &'a Metrics,
    /// The keys of session tickets that stay.
    pub tickets: &'a Tickets,
    /// Looks up a host name.
    pub lookup: &'a Lookup<'a>,
    /// The key of this gateway, for where the operator gives none.
    pub generated_key: &'a dyn Fn() -> Secret,
    /// The time now.
    pub now: UnixTime,
}

/// Compiles `config`.
///
/// # Errors
/// Host names that cannot be looked up, certificates that cannot be used, rings that are too large,
/// and cookies that clash; all of them, each with its place.
pub fn compile(config: &Config, around: &Surroundings<'_>) -> Result<Snapshot, Faults> {
    let encrypted = doors::read(config, around.tickets, around.now);
    let (addresses, encrypted) = match (survey::survey(config, around.lookup), encrypted) {
        (Ok(addresses), Ok(encrypted)) => (addresses, encrypted),
        (addresses, encrypted) => {
            let all = addresses.err().into_iter().chain(encrypted.err());
            return Err(all.flatten().collect::<Vec<_>>().into());
        }
    };
    let mut secrets = Secrets::new(around.generated_key);
    let hash_key = || match &config.hash_key {
        none if none.is_empty() => (around.generated_key)(),
        key => key.clone(),
    };
    let versioned = asked_by_version(config);
    let by_version = |service: &str| config.service_header.is_some() || versioned.contains(service);
    let mut selections = Selections::new(&hash_key, &by_version);
    let mut services = AHashMap::new();
    let mut in_order = Vec::new();
    for written in &config.services {
        let tls = encrypted.outbound.get(&written.id.value);
        let service = service(written, &addresses, tls, around, &mut selections);
        let service = Arc::new(service);
        services.insert(written.id.value.as_str(), Arc::clone(&service));
        in_order.push(service);
    }
    let shared = clash::shared_names(config);
    let mut rings = AHashMap::new();
    let mut stickiness = |affinity: &Affinity, service: &Service| {
        let keys = key_ring(affinity, &mut secrets, &mut rings, around.now);
        let all: Vec<Secret> = secrets.of(affinity).into_iter().map(|(_, secret)| secret).collect();
        let shared = shared(&affinity.cookie.name);
        Stickiness::new(affinity, &service.pool, shared, &keys, &all, &mut selections)
    };
    let mut rules: Vec<Rule> = Vec::with_capacity(config.rules.len());
    let mut twins = Vec::new();
    let mut handshakes = AHashMap::new();
    let mut add = |rule: Rule, affinity: Option<&Affinity>, bound: &Handshakes| {
        let bound = match bound {
            Handshakes::AsRequests => None,
            Handshakes::Bound(affinity) => Some(Some(&**affinity)),
            Handshakes::Unbound => Some(None),
        };
        if let Some(bound) = bound {
            handshakes.insert(rules.len(), twins.len());
            let stickiness = bound.map(|written| stickiness(written, &rule.service));
            twins.push(Rule { stickiness, ..rule.twin() });
        }
        let stickiness = affinity.map(|written| stickiness(written, &rule.service));
        rules.push(Rule { stickiness, ..rule });
        rules.len() - 1
    };
    for written in &config.rules {
        // the reader has seen to it that there is such a service
        let Some(service) = services.get(written.service.value.as_str()) else { continue };
        let rule = Rule {
            subset: Some(written.subset.as_str()).filter(|v| !v.is_empty()).map(Arc::from),
            version_header: written.version_header.parse().ok(),
            rewrites_urls: written.url_rewriting,
            ..rule(&written.id.value, service, around)
        };
        add(rule, written.affinity.as_ref(), &written.handshakes);
    }
    let mut by_service = AHashMap::new();
    let named = config.service_header.iter().flat_map(|_| &config.services);
    for written in named {
        let Some(service) = services.get(written.id.value.as_str()) else { continue };
        // a space, which no rule of the operator's has
        let rule = rule(&format!("service {}", written.id.value), service, around);
        let at = add(rule, written.affinity.as_ref(), &written.handshakes);
        by_service.insert(written.id.value.as_str().into(), at);
    }
    let service_header = config.service_header.as_ref().and_then(|header| {
        Some(ServiceHeader { name: header.name.parse().ok()?, responds: header.respond })
    });
    let all = rules.iter().chain(&twins);
    Ok(Snapshot {
        serial: SERIAL.fetch_add(1, Ordering::Relaxed),
        index: Index::build(&config.rules.iter().map(matchers).collect::<Vec<_>>()),
        url_keys: url_keys(all.clone()),
        header_keys: header_keys(all.clone()),
        cutter: Cutter::new(all.clone().filter_map(|r| r.stickiness.as_ref()?.names.as_ref()))
            .with_enveloped(all.filter_map(|r| r.stickiness.as_ref()?.enveloped_cookie())),
        rules: rules.into(),
        for_handshakes: twins.into(),
        handshakes,
        hot_path: config.server.hot_path,
        websocket: websocket(config.websocket),
        services: in_order.into(),
        service_header,
        by_service,
        max_learned: config.server.limits.max_learned,
        trusted: TrustedProxies::new(&config.server.trusted_proxies),
        limits: limits(&config.server.limits),
        doors: encrypted.doors,
        warnings: encrypted.warnings,
    })
}

/// A rule that leads to `service` and asks for nothing more.
fn rule(id: &str, service: &Arc<Service>, around: &Surroundings<'_>) -> Rule {
    let id = RuleId::from(id);
    Rule {
        subset: None,
        version_header: None,
        rewrites_urls: false,
        stickiness: None,
        metrics: around.metrics.rule(&service.pool.service, &id),
        service: Arc::clone(service),
        id,
    }
}

fn limits(limits: &config::Limits) -> Limits {
    Limits {
        header_timeout: limits.header_timeout,
        body_timeout: limits.body_timeout,
        idle_seconds: limits.idle_timeout.as_secs().max(1),
        max_header_bytes: usize::try_from(limits.max_header_bytes).unwrap_or(usize::MAX),
        max_body_bytes: limits.max_body_bytes.unwrap_or(u64::MAX),
        idle_timeout: limits.idle_timeout,
        max_connections: limits.max_connections.unwrap_or(u32::MAX),
        max_connections_per_address: limits.max_connections_per_address.unwrap_or(u32::MAX),
        max_requests: limits.max_requests,
        max_streams: limits.max_streams,
        min_body_rate: limits.min_body_rate,
    }
}

fn websocket(written: config::WebSocket) -> WebSocket {
    let reconnect = if written.sticky_reconnect { Reconnect::Sticky } else { Reconnect::Anew };
    WebSocket { idle: written.idle_timeout, reconnect }
}

fn service(
    written: &config::Service,
    addresses: &Addresses,
    tls: Option<&Arc<Outbound>>,
    around: &Surroundings<'_>,
    selections: &mut Selections<'_>,
) -> Service {
    let id = ServiceId::from(written.id.value.as_str());
    let room = Room {
        per_backend: written.limits.max_connections.unwrap_or(u32::MAX),
        pending: written.limits.max_pending.unwrap_or(u32::MAX),
        patience: written.limits.queue_timeout,
    };
    let tongue = Tongue { http2: written.http2, proxy_protocol: written.proxy_protocol };
    let check = written.health_check.as_ref().map(|written| check(written, tongue));
    let members: Vec<_> = written
        .backends
        .iter()
        .filter_map(|backend| {
            let address = addresses.get(&backend.address.value)?.clone();
            let facts = facts(&id, backend, address, check.is_some(), room, around);
            let encryption = tls.map(|tls| Encryption {
                name: tls.name_of(&backend.address.value).into(),
                tls: Arc::clone(tls),
            });
            Some(Arc::new(Member::from(facts.with_encryption(encryption))))
        })
        .collect();
    let pool = Pool::new(id, &members, check);
    let kind = match written.policy {
        Policy::RoundRobin => AlgorithmKind::RoundRobin,
        Policy::ConsistentHash => AlgorithmKind::ConsistentHash,
        Policy::Maglev => AlgorithmKind::Maglev,
    };
    let choices = selections.choices(&pool, kind, POINTS_PER_WEIGHT, None);
    let split = written.versions.iter().map(|(name, part)| (name.as_str().into(), *part));
    let timeouts = Timeouts {
        connect: written.timeouts.connect,
        read: written.timeouts.read,
        write: written.timeouts.write,
    };
    let metrics = around.metrics.service(&pool.service);
    Service {
        crowd: around.cells.crowd(&pool.service),
        pool: Arc::new(pool),
        tls: tls.cloned(),
        choices,
        split: Split::new(split),
        room,
        timeouts,
        tongue,
        metrics,
    }
}

/// Every header in which some rule writes sealed keys, once.
fn header_keys<'r>(rules: impl Iterator<Item = &'r Rule>) -> Box<[HeaderKey]> {
    let mut all: Vec<HeaderKey> = Vec::new();
    for stickiness in rules.filter_map(|rule| rule.stickiness.as_ref()) {
        let carriers = stickiness.carriers.iter().filter_map(|carrier| match &carrier.place {
            Place::Header(name) => Some(HeaderKey { name: name.clone(), wraps: false }),
            Place::Cookie | Place::Url(_) => None,
        });
        let wrapped = stickiness.enveloped_header();
        let wrapped = wrapped.map(|name| HeaderKey { name: name.clone(), wraps: true });
        for key in carriers.chain(wrapped) {
            if !all.contains(&key) {
                all.push(key);
            }
        }
    }
    all.into()
}

/// Every parameter of a URL that some rule reads, once.
fn url_keys<'r>(rules: impl Iterator<Item = &'r Rule>) -> Box<[KeyPlace]> {
    let carriers = rules.filter_map(|rule| rule.stickiness.as_ref());
    let carriers = carriers.flat_map(|stickiness| &stickiness.carriers);
    let mut all: Vec<KeyPlace> = Vec::new();
    for carrier in carriers {
        if let Place::Url(place) = &carrier.place
            && !all.contains(place)
        {
            all.push(place.clone());
        }
    }
    all.into()
}

/// The services of whose versions one may be asked for by a rule, or by their split.
fn asked_by_version(config: &Config) -> AHashSet<&str> {
    let asks = |rule: &&config::Rule| !rule.subset.is_empty() || !rule.version_header.is_empty();
    let by_rules = config.rules.iter().filter(asks).map(|rule| rule.service.value.as_str());
    let split = config.services.iter().filter(|service| !service.versions.is_empty());
    by_rules.chain(split.map(|service| service.id.value.as_str())).collect()
}

fn facts(
    service: &ServiceId,
    written: &config::Backend,
    address: Address,
    checked: bool,
    room: Room,
    around: &Surroundings<'_>,
) -> Facts {
    let backend = Backend {
        id: BackendId::from(written.id.value.as_str()),
        address,
        written: written.address.value.as_str().into(),
        weight: written.weight,
        version: written.version.as_str().into(),
        duty: match written.state {
            BackendState::Active => Duty::Active,
            BackendState::Draining => Duty::Draining,
            BackendState::Maintenance => Duty::Maintenance,
        },
        incarnation: written.incarnation.as_str().into(),
    };
    // one that has served without a check serves on until its first check says otherwise
    let start = if checked { Health::Unchecked } else { Health::Healthy };
    let cell = around.cells.cell(service, &backend.id, &backend.address, start);
    let metrics = around.metrics.backend(service, &backend.id);
    let crowd = around.cells.crowd(service);
    Facts::new(backend, cell, crowd, checked, metrics).with_room(room)
}

fn check(written: &config::HealthCheck, tongue: Tongue) -> Check {
    Check {
        probe: match &written.probe {
            config::Probe::Http { path } => Probe::Http { path: path.clone() },
            config::Probe::Tcp => Probe::Tcp,
        },
        interval: written.interval,
        timeout: written.timeout,
        healthy_threshold: written.healthy_threshold,
        unhealthy_threshold: written.unhealthy_threshold,
        incarnation_header: written.incarnation_header.clone(),
        tongue,
    }
}

fn matchers(rule: &config::Rule) -> Matchers {
    Matchers {
        order: rule.order,
        hosts: rule
            .hosts
            .iter()
            .map(|host| match host {
                HostPattern::Exact(name) => Host::Exact(name.clone()),
                HostPattern::Below(name) => Host::Below(name.clone()),
            })
            .collect(),
        path: match &rule.path {
            PathPattern::Exact(path) => Path::Exact(path::normalise(path).into_owned()),
            PathPattern::Below(path) if path.is_empty() => Path::Any,
            PathPattern::Below(path) => Path::Below(path::normalise(path).into_owned()),
        },
        // names and values were checked when they were read
        headers: rule
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)))
            .collect(),
        methods: rule.methods.iter().filter_map(|method| method.parse().ok()).collect(),
    }
}

/// Rules with the same secrets share their derived keys: 10,000 rules must not hold 10,000 rings.
type Rings = AHashMap<(Vec<(u8, Vec<u8>)>, u32, u32), Arc<KeyRing>>;

fn key_ring(
    affinity: &Affinity,
    secrets: &mut Secrets<'_>,
    rings: &mut Rings,
    now: UnixTime,
) -> Arc<KeyRing> {
    let keys = secrets.of(affinity);
    let rotation = affinity
        .key_rotation
        .map_or(0, |rotation| u32::try_from(rotation.as_secs()).unwrap_or(u32::MAX));
    let absolute = terms(affinity).absolute;
    let named = keys.iter().map(|(id, secret)| (*id, secret.expose().to_vec())).collect();
    let ring = rings.entry((named, rotation, absolute));
    Arc::clone(
        ring.or_insert_with(|| {
            Arc::new(KeyRing::new(keys, NonZeroU32::new(rotation), absolute, now))
        }),
    )
}

/// The operator's secrets, or the generated one, which is made only when it is needed.
struct Secrets<'a> {
    generate: &'a dyn Fn() -> Secret,
    generated: Option<Secret>,
}

impl<'a> Secrets<'a> {
    fn new(generate: &'a dyn Fn() -> Secret) -> Self {
        Self { generate, generated: None }
    }

    fn generated(&mut self) -> Secret {
        self.generated.get_or_insert_with(|| (self.generate)()).clone()
    }

    fn of(&mut self, affinity: &Affinity) -> Vec<(u8, Secret)> {
        if affinity.keys.is_empty() {
            return vec![(0, self.generated())];
        }
        affinity.keys.iter().map(|key| (key.id, key.secret.clone())).collect()
    }
}

#[cfg(test)]
mod tests;
