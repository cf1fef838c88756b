//! `services`: named sets of backends.

use super::At;
use super::affinity::Sections;
use super::scalar::{Parsed, Scalar};
use super::section::Section;
use super::syntax::{is_backend_address, is_plain, is_token};
use super::tls;
use super::written::{
    Backend, BackendState, Handshakes, HealthCheck, Policy, Probe, Service, ServiceLimits, Timeouts,
};
use crate::model::ProxyProtocol;
use std::time::Duration;

/// Any timeout must give the other side some time.
const INSTANT: Duration = Duration::from_millis(1);

/// The services, and the `sessionAffinity` of each, which means something only over the router's.
pub(super) fn read<'a>(gateway: &mut Section<'a>) -> (Vec<Service>, Sections<'a>) {
    gateway.reject_empty("services", "add at least one service");
    let mut sections = Sections::default();
    let services = gateway.named_sections("services").into_iter();
    let services = services.map(|(id, mut section)| {
        sections.take(&id.value, &mut section);
        service(id, section)
    });
    (services.collect(), sections)
}

fn service(id: At<String>, mut service: Section) -> Service {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if !(1..=64).contains(&id.value.len()) || !id.value.bytes().all(plain) {
        let cure = "use 1 to 64 letters, digits, `.`, `_` and `-`";
        service.reader.report(&id.at, "not a name for a service", cure);
    }
    service.later(&[
        "discovery",
        "outlierDetection",
        "slowStart",
        "circuitBreaker",
        "rebindRate",
        "panicThreshold",
        "retries",
        "mirror",
    ]);
    let policy =
        service.section("loadBalancing").value("policy", policy).unwrap_or(Policy::RoundRobin);
    let backends = backends(&mut service);
    let health_check = service.optional("healthCheck").map(health_check);
    let tls = service.optional("tls").map(tls::of_service);
    let mut timeouts = service.section("timeouts");
    let mut timeout = |key, default| {
        let written = timeouts.value(key, |s| s.duration(INSTANT));
        written.unwrap_or(Duration::from_secs(default))
    };
    let timeouts = Timeouts {
        connect: timeout("connect", 1),
        read: timeout("read", 60),
        write: timeout("write", 60),
    };
    let limits = limits(service.section("limits"));
    let versions = versions(&mut service, &backends);
    let http2 = service.value("http2", Scalar::flag).unwrap_or(false);
    let versions_of_it = [("v1", ProxyProtocol::V1), ("v2", ProxyProtocol::V2)];
    let proxy_protocol = service.value("proxyProtocol", |s| s.choice(&versions_of_it, &[]));
    Service {
        id,
        backends,
        policy,
        health_check,
        tls,
        timeouts,
        limits,
        versions,
        affinity: None,
        http2,
        proxy_protocol,
        handshakes: Handshakes::AsRequests,
    }
}

fn limits(mut limits: Section) -> ServiceLimits {
    let mut most = |key| {
        let most = limits.value(key, |s| s.number(0..=1_000_000)).filter(|most| *most > 0);
        most.and_then(|most| u32::try_from(most).ok())
    };
    ServiceLimits {
        max_connections: most("maxConnectionsPerBackend"),
        max_pending: most("maxPending"),
        queue_timeout: limits
            .value("queueTimeout", |s| s.duration(Duration::ZERO))
            .unwrap_or(Duration::from_secs(1)),
    }
}

/// Parts of whatever sum they have; 0 takes no new clients.
fn versions(service: &mut Section, backends: &[Backend]) -> Vec<(String, u32)> {
    let at = service.blame(&["versions"]);
    let parts = service.named_values("versions", |s| s.number(0..=10_000));
    let known = |name: &str| backends.iter().any(|backend| backend.version == name);
    for (name, _) in parts.iter().filter(|(name, _)| !backends.is_empty() && !known(&name.value)) {
        let problem = format!("no backend has the version {:?}", name.value);
        service.reader.report_absence(&name.at, &problem, "add `version` to its backends");
    }
    if !parts.is_empty() && parts.iter().all(|(_, part)| *part == 0) {
        service.reader.report(&at, "no version takes new clients", "give one a part above 0");
    }
    let parts = parts.into_iter();
    parts.map(|(name, part)| (name.value, u32::try_from(part).unwrap_or(0))).collect()
}

fn policy(scalar: &Scalar) -> Parsed<Policy> {
    let built = [
        ("round-robin", Policy::RoundRobin),
        ("consistent-hash", Policy::ConsistentHash),
        // what consistent-hash hashes is the address
        ("ip-hash", Policy::ConsistentHash),
        ("maglev", Policy::Maglev),
    ];
    let later = ["random", "least-connections", "power-of-two", "header-hash"];
    scalar.choice(&built, &later)
}

fn backends(service: &mut Section) -> Vec<Backend> {
    service.require("backends", "add at least one backend");
    service.reject_empty("backends", "add at least one backend");
    let sections = service.sections("backends");
    let backends: Vec<_> = sections.into_iter().filter_map(backend).collect();
    if !backends.is_empty() && backends.iter().all(|backend| backend.weight == 0) {
        let cure = "give one of them a weight from 1 to 256";
        let at = service.blame(&["backends"]);
        service.reader.report_absence(&at, "no backend takes new clients", cure);
    }
    service.reader.report_repeats(backends.iter().map(|backend| &backend.id));
    backends
}

fn backend(mut backend: Section) -> Option<Backend> {
    let what = "an address such as 10.0.0.1:8080, [::1]:8080 or name:8080";
    backend.require("address", &format!("add {what}"));
    let address = backend.value_at("address", |s| s.checked(what, is_backend_address));
    let id = backend.value_at("id", |s| {
        s.checked("1 to 100 printable characters without spaces, quotes, `,`, `;` and `\\`", |id| {
            (1..=100).contains(&id.len()) && is_plain(id)
        })
    });
    let weight = backend.value("weight", |s| s.number(0..=256)).unwrap_or(1);
    let version = backend.value("version", |s| {
        s.checked(
            "text (numbers in quotes) of at most 64 printable characters without spaces, \
             quotes, `,`, `;` and `\\`",
            |version| version.len() <= 64 && is_plain(version),
        )
    });
    let states = [
        ("active", BackendState::Active),
        ("draining", BackendState::Draining),
        ("maintenance", BackendState::Maintenance),
    ];
    let state = backend.value("state", |s| s.choice(&states, &[])).unwrap_or(BackendState::Active);
    let incarnation = backend.value("incarnation", |s| {
        s.checked("text (numbers in quotes) of at most 32 printable characters", |text| {
            text.len() <= 32 && is_plain(text)
        })
    });
    let address = address?;
    if address.value.len() > 100 && !backend.says("id") {
        let problem = "is too long to be the id as well";
        backend.reader.report(&address.at, problem, "add an `id` of at most 100 characters");
    }
    Some(Backend {
        id: id.unwrap_or_else(|| address.clone()),
        address,
        weight: u32::try_from(weight).unwrap_or(1),
        version: version.unwrap_or_default(),
        state,
        incarnation: incarnation.unwrap_or_default(),
    })
}

fn health_check(mut check: Section) -> HealthCheck {
    let is_http = [("http", true), ("tcp", false)];
    let is_http = check.value("type", |s| s.choice(&is_http, &[])).unwrap_or(true);
    let path = check.value_at("path", |s| s.checked("a path that starts with `/`", is_path));
    let probe = match path {
        None if is_http => Probe::Http { path: "/".to_owned() },
        Some(path) if is_http => Probe::Http { path: path.value },
        None => Probe::Tcp,
        Some(path) => {
            let cure = "remove it, or write `type: http`";
            check.reader.report(&path.at, "a `tcp` check has no path", cure);
            Probe::Tcp
        }
    };
    let threshold = |number: Option<i64>, default| {
        number.and_then(|number| u32::try_from(number).ok()).unwrap_or(default)
    };
    HealthCheck {
        probe,
        interval: check
            .value("interval", |s| s.duration(INSTANT))
            .unwrap_or(Duration::from_secs(5)),
        timeout: check.value("timeout", |s| s.duration(INSTANT)).unwrap_or(Duration::from_secs(1)),
        healthy_threshold: threshold(check.value("healthyThreshold", |s| s.number(1..=100)), 1),
        unhealthy_threshold: threshold(check.value("unhealthyThreshold", |s| s.number(1..=100)), 3),
        incarnation_header: check
            .value("incarnationHeader", |s| s.checked("the name of a header", is_token))
            .unwrap_or_else(|| "x-backend-incarnation".to_owned())
            .to_ascii_lowercase(),
    }
}

/// It goes into the request line as it is.
fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
}
