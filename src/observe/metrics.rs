//! Prometheus metrics. Label sets are bounded by the configuration: services, rules, backends and
//! causes, never anything a client chose. Handles for the request path are looked up once, when a
//! snapshot is made.

use crate::model::{BackendId, Brought, Cause, Did, RuleId, ServiceId, Verdict};
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Status classes in the label `code`; the first is for clients that left before an answer.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
const SECONDS: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    duration: HistogramVec,
    backend_requests: IntCounterVec,
    retries: IntCounterVec,
    backend_up: IntGaugeVec,
    in_flight: IntGaugeVec,
    pending: IntGaugeVec,
    websockets: IntGaugeVec,
    fingerprints: IntGaugeVec,
    hits: IntCounterVec,
    misses: IntCounterVec,
    verdicts: IntCounterVec,
    panic_picks: IntCounterVec,
    refusals: IntCounterVec,
    reloads: IntCounterVec,
    handshakes: IntCounterVec,
    renewals: IntCounterVec,
    certificate_ends: IntGaugeVec,
    /// Requests between header and last byte.
    pub active_requests: IntGauge,
    /// Client connections that are open.
    pub connections: IntGauge,
    /// Requests that were served the short way.
    pub hot: IntCounter,
    /// Access lines that found no room.
    pub dropped_lines: IntCounter,
    /// Sessions of applications that are remembered.
    pub learned_sessions: IntGauge,
    /// Those that were forgotten before their time for lack of room.
    pub learned_evicted: IntCounter,
    /// How often a configuration was taken into service.
    pub generation: IntGauge,
}

impl Metrics {
    /// All metrics at zero, and those of the process itself.
    ///
    /// # Errors
    /// When two metrics have one name, which a test rules out.
    #[allow(clippy::too_many_lines, reason = "a list, each entry with its words for people")]
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new_custom(Some("stickfast".into()), None)?;
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let family = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            prometheus::Result::Ok(family)
        };
        let gauge = |name: &str, help: &str| gauge(&registry, name, help);
        let gauges =
            |name: &str, help: &str, labels: &[&str]| gauges(&registry, name, help, labels);
        let metrics = Self {
            requests: counters(
                "requests_total",
                "Requests answered, by rule and status class",
                &["service", "rule", "code"],
            )?,
            duration: durations(&registry)?,
            backend_requests: counters(
                "backend_requests_total",
                "Requests sent to a backend, each try counted",
                &["service", "backend"],
            )?,
            retries: counters(
                "retries_total",
                "Tries that failed on this backend and went on",
                &["service", "backend"],
            )?,
            backend_up: gauges(
                "backend_up",
                "1 when the backend takes new clients",
                &["service", "backend"],
            )?,
            in_flight: gauges(
                "backend_requests_in_flight",
                "Requests that the backend has now",
                &["service", "backend"],
            )?,
            pending: gauges(
                "pending_requests",
                "Requests that wait for a backend that is full",
                &["service"],
            )?,

            websockets: gauges("websockets_open", "WebSockets that are open", &["service"])?,
            fingerprints: gauges(
                "hash_fingerprint",
                "Equal on gateways that place clients alike; of a service (no rule), or of a rule",
                &["service", "rule"],
            )?,
            hits: counters(
                "affinity_hits_total",
                "Requests sent to the backend they were bound to",
                &["service"],
            )?,
            misses: counters(
                "affinity_misses_total",
                "Requests placed anew, by cause",
                &["service", "cause"],
            )?,
            verdicts: counters(
                "affinity_verdicts_total",
                "Requests by the two letters of the access log",
                &["service", "verdict"],
            )?,
            panic_picks: counters(
                "panic_picks_total",
                "Requests sent to an unhealthy backend since none was healthy",
                &["service"],
            )?,
            refusals: counters(
                "refusals_total",
                "Answers that the gateway made itself, by reason",
                &["reason"],
            )?,
            reloads: counters(
                "config_reloads_total",
                "Attempts to take a changed configuration into service",
                &["result"],
            )?,
            handshakes: counters(
                "tls_handshakes_total",
                "Clients that began TLS, by how it went",
                &["result"],
            )?,
            renewals: counters(
                "acme_renewals_total",
                "Certificates that were ordered, the first ones too, by how it went",
                &["certificate", "result"],
            )?,
            certificate_ends: gauges(
                "certificate_expiry_timestamp_seconds",
                "When a certificate ends, in seconds since 1970, by its first name",
                &["listener", "certificate"],
            )?,
            active_requests: gauge("active_requests", "Requests between header and last byte")?,
            connections: gauge("connections", "Client connections that are open")?,
            hot: counter(
                &registry,
                "hot_path_requests_total",
                "Requests served without Pingora's proxy between",
            )?,
            dropped_lines: counter(
                &registry,
                "log_dropped_lines_total",
                "Access lines that found no room",
            )?,
            learned_sessions: gauge(
                "learned_sessions",
                "Sessions of applications that are remembered",
            )?,
            learned_evicted: counter(
                &registry,
                "learned_sessions_evicted_total",
                "Sessions of applications that were forgotten for lack of room",
            )?,
            generation: gauge("config_generation", "Configurations taken into service so far")?,
            registry: registry.clone(),
        };
        for result in ["ok", "refused"] {
            metrics.reloads.with_label_values(&[result]);
        }
        for result in ["full", "resumed", "failed", "timeout", "challenge"] {
            metrics.handshakes.with_label_values(&[result]);
        }
        Ok(metrics)
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// When a family cannot be encoded.
    pub fn text(&self) -> prometheus::Result<Vec<u8>> {
        let mut text = Vec::new();
        let encoder = TextEncoder::new();
        encoder.encode(&self.registry.gather(), &mut text)?;
        encoder.encode(&prometheus::gather(), &mut text)?;
        Ok(text)
    }

    /// The counters of a rule.
    pub fn rule(&self, service: &ServiceId, rule: &RuleId) -> RuleMetrics {
        let by_class = CLASSES.map(|class| {
            self.requests.with_label_values(&[service.as_str(), rule.as_str(), class])
        });
        RuleMetrics { by_class }
    }

    /// The counters of a service.
    pub fn service(&self, service: &ServiceId) -> ServiceMetrics {
        let name = service.as_str();
        ServiceMetrics {
            duration: self.duration.with_label_values(&[name]),
            hits: self.hits.with_label_values(&[name]),
            misses: Cause::ALL.map(|cause| self.misses.with_label_values(&[name, cause.label()])),
            verdicts: verdicts().map(|v| self.verdicts.with_label_values(&[name, &v])).collect(),
            panic_picks: self.panic_picks.with_label_values(&[name]),
            pending: self.pending.with_label_values(&[name]),
            websockets: self.websockets.with_label_values(&[name]),
        }
    }

    /// The counters of a backend.
    pub fn backend(&self, service: &ServiceId, backend: &BackendId) -> BackendMetrics {
        let labels = [service.as_str(), backend.as_str()];
        BackendMetrics {
            requests: self.backend_requests.with_label_values(&labels),
            retries: self.retries.with_label_values(&labels),
            up: self.backend_up.with_label_values(&labels),
            in_flight: self.in_flight.with_label_values(&labels),
        }
    }

    /// Shows by what hash a service (or a rule of it, where `rule` is not empty) places clients, or
    /// that it does not. The low 48 bits, which Prometheus' numbers hold exactly.
    pub fn fingerprint(&self, service: &ServiceId, rule: &str, fingerprint: Option<u64>) {
        let labels = [service.as_str(), rule];
        match fingerprint.and_then(|whole| i64::try_from(whole & ((1 << 48) - 1)).ok()) {
            Some(low) => self.fingerprints.with_label_values(&labels).set(low),
            None => {
                self.fingerprints.remove_label_values(&labels).ok();
            }
        }
    }

    /// Counts an answer of our own.
    pub fn refused(&self, reason: &'static str) {
        self.refusals.with_label_values(&[reason]).inc();
    }

    /// Counts an attempt to reload.
    pub fn reloaded(&self, taken: bool) {
        self.reloads.with_label_values(&[if taken { "ok" } else { "refused" }]).inc();
    }

    /// Counts a handshake with a client: `full`, `resumed`, `failed`, `timeout`, or `challenge`, which
    /// is an authority's.
    pub fn shook_hands(&self, result: &'static str) {
        self.handshakes.with_label_values(&[result]).inc();
    }

    /// The order of a certificate went like this; `None`: none is through yet.
    pub fn renewed(&self, certificate: &str, well: Option<bool>) {
        for (result, is) in [("ok", true), ("failed", false)] {
            let counter = self.renewals.with_label_values(&[certificate, result]);
            counter.inc_by(u64::from(well == Some(is)));
        }
    }

    /// Forgets a certificate that is no longer ordered.
    pub fn forget_renewals(&self, certificate: &str) {
        for result in ["ok", "failed"] {
            self.renewals.remove_label_values(&[certificate, result]).ok();
        }
    }

    /// Shows when a certificate of a listener ends; `None`: it is no longer shown to clients.
    pub fn certificate_ends(&self, listener: &str, certificate: &str, at: Option<i64>) {
        let labels = [listener, certificate];
        match at {
            Some(at) => self.certificate_ends.with_label_values(&labels).set(at),
            None => {
                self.certificate_ends.remove_label_values(&labels).ok();
            }
        }
    }

    /// Forgets a rule that is no longer configured.
    pub fn forget_rule(&self, service: &ServiceId, rule: &RuleId) {
        for class in CLASSES {
            let labels = [service.as_str(), rule.as_str(), class];
            self.requests.remove_label_values(&labels).ok();
        }
        self.fingerprint(service, rule.as_str(), None);
    }

    /// Forgets a service that is no longer configured.
    pub fn forget_service(&self, service: &ServiceId) {
        let name = service.as_str();
        self.duration.remove_label_values(&[name]).ok();
        self.hits.remove_label_values(&[name]).ok();
        self.panic_picks.remove_label_values(&[name]).ok();
        self.pending.remove_label_values(&[name]).ok();
        self.websockets.remove_label_values(&[name]).ok();
        self.fingerprint(service, "", None);
        for cause in Cause::ALL {
            self.misses.remove_label_values(&[name, cause.label()]).ok();
        }
        for verdict in verdicts() {
            self.verdicts.remove_label_values(&[name, &verdict]).ok();
        }
    }

    /// Forgets a backend that is no longer configured.
    pub fn forget_backend(&self, service: &ServiceId, backend: &BackendId) {
        let labels = [service.as_str(), backend.as_str()];
        for family in [&self.backend_requests, &self.retries] {
            family.remove_label_values(&labels).ok();
        }
        for family in [&self.backend_up, &self.in_flight] {
            family.remove_label_values(&labels).ok();
        }
    }
}

fn durations(registry: &Registry) -> prometheus::Result<HistogramVec> {
    let help = "From the header to the last byte";
    let options = HistogramOpts::new("request_duration_seconds", help).buckets(SECONDS.to_vec());
    let durations = HistogramVec::new(options, &["service"])?;
    registry.register(Box::new(durations.clone()))?;
    Ok(durations)
}

fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntGaugeVec> {
    let family = IntGaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

/// Both letters of every verdict, in the order of [`ServiceMetrics::verdict`].
fn verdicts() -> impl Iterator<Item = String> {
    Brought::ALL.into_iter().flat_map(|brought| {
        Did::ALL.into_iter().map(move |did| Verdict { brought, did }.letters().iter().collect())
    })
}

/// The counters of a rule.
#[derive(Clone, Debug)]
pub struct RuleMetrics {
    by_class: [IntCounter; CLASSES.len()],
}

impl RuleMetrics {
    /// Counts an answer; status 0 is a client that left before.
    pub fn answered(&self, status: u16) {
        if let Some(counter) = self.by_class.get(usize::from(status / 100).min(5)) {
            counter.inc();
        }
    }
}

/// The counters of a service.
#[derive(Clone, Debug)]
pub struct ServiceMetrics {
    /// From the header to the last byte.
    pub duration: Histogram,
    /// Requests sent to the backend they were bound to.
    pub hits: IntCounter,
    /// Requests sent to an unhealthy backend since none was healthy.
    pub panic_picks: IntCounter,
    /// Requests that wait for a backend; as it was when metrics were asked for last.
    pub pending: IntGauge,
    /// WebSockets that are open.
    pub websockets: IntGauge,
    misses: [IntCounter; Cause::ALL.len()],
    verdicts: Box<[IntCounter]>,
}

impl ServiceMetrics {
    /// Counts a request that was placed anew.
    pub fn missed(&self, cause: Cause) {
        if let Some(counter) = self.misses.get(cause as usize) {
            counter.inc();
        }
    }

    /// Counts what became of the affinity key of a request.
    pub fn verdict(&self, verdict: Verdict) {
        let at = verdict.brought as usize * Did::ALL.len() + verdict.did as usize;
        if let Some(counter) = self.verdicts.get(at) {
            counter.inc();
        }
    }
}

/// The counters of a backend.
#[derive(Clone, Debug)]
pub struct BackendMetrics {
    /// Requests sent there.
    pub requests: IntCounter,
    /// Tries that failed there and went on.
    pub retries: IntCounter,
    /// 1 when it takes new clients.
    pub up: IntGauge,
    /// Requests that it has; as it was when metrics were asked for last.
    pub in_flight: IntGauge,
}

#[cfg(test)]
mod tests;
