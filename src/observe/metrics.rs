//! Prometheus metrics. Label sets are bounded by the configuration: services, rules, backends and
//! causes, never anything a client chose. Handles for the request path are looked up once, when a
//! snapshot is made; what each request counts is [`super::counters`]', all else is listed here.

use super::collect::{Ledger, Page};
use super::counters::{BackendMetrics, Guard, RuleMetrics, ServiceMetrics};
use crate::model::{BackendId, RuleId, ServiceId};
use prometheus::{
    Encoder, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::sync::Arc;

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    ledger: Arc<Ledger>,
    backend_up: IntGaugeVec,
    in_flight: IntGaugeVec,
    pending: IntGaugeVec,
    websockets: IntGaugeVec,
    fingerprints: IntGaugeVec,
    refusals: IntCounterVec,
    reloads: IntCounterVec,
    handshakes: IntCounterVec,
    renewals: IntCounterVec,
    certificate_ends: IntGaugeVec,
    /// Client connections that are open.
    pub connections: IntGauge,
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
        let ledger = Arc::<Ledger>::default();
        registry.register(Box::new(Page::new(Arc::clone(&ledger))?))?;
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let family = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            prometheus::Result::Ok(family)
        };
        let gauge = |name: &str, help: &str| gauge(&registry, name, help);
        let gauges =
            |name: &str, help: &str, labels: &[&str]| gauges(&registry, name, help, labels);
        let metrics = Self {
            ledger,
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
            connections: gauge("connections", "Client connections that are open")?,
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

    /// Counts a request as under way for as long as the guard lives.
    pub fn begin(&self) -> Guard {
        self.ledger.active.enter()
    }

    /// Requests between header and last byte.
    pub fn active_requests(&self) -> usize {
        self.ledger.active.get()
    }

    /// Counts a request that was served the short way.
    pub fn served_hot(&self) {
        self.ledger.hot.inc();
    }

    /// The counters of a rule: the same until it is [forgotten](Self::forget_rule).
    pub fn rule(&self, service: &ServiceId, rule: &RuleId) -> RuleMetrics {
        let key = (service.clone(), rule.clone());
        self.ledger.rules.lock().entry(key).or_default().clone()
    }

    /// The counters of a service.
    pub fn service(&self, service: &ServiceId) -> ServiceMetrics {
        let labels = [service.as_str()];
        ServiceMetrics {
            counts: self.ledger.services.lock().entry(service.clone()).or_default().clone(),
            pending: self.pending.with_label_values(&labels),
            websockets: self.websockets.with_label_values(&labels),
        }
    }

    /// The counters of a backend.
    pub fn backend(&self, service: &ServiceId, backend: &BackendId) -> BackendMetrics {
        let labels = [service.as_str(), backend.as_str()];
        let key = (service.clone(), backend.clone());
        BackendMetrics {
            counts: self.ledger.backends.lock().entry(key).or_default().clone(),
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
        self.ledger.rules.lock().remove(&(service.clone(), rule.clone()));
        self.fingerprint(service, rule.as_str(), None);
    }

    /// Forgets a service that is no longer configured.
    pub fn forget_service(&self, service: &ServiceId) {
        self.ledger.services.lock().remove(service);
        for family in [&self.pending, &self.websockets] {
            family.remove_label_values(&[service.as_str()]).ok();
        }
        self.fingerprint(service, "", None);
    }

    /// Forgets a backend that is no longer configured.
    pub fn forget_backend(&self, service: &ServiceId, backend: &BackendId) {
        self.ledger.backends.lock().remove(&(service.clone(), backend.clone()));
        for family in [&self.backend_up, &self.in_flight] {
            family.remove_label_values(&[service.as_str(), backend.as_str()]).ok();
        }
    }
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

#[cfg(test)]
mod tests;
