//! Names the counters of [`super::counters`], and puts them on Prometheus' page. Their labels are
//! kept once for each rule, service and backend, and become text when the page is asked for.

use super::counters::{BOUNDS, CLASSES, Count, OfBackend, OfService, Present, RuleMetrics, totals};
use crate::model::{BackendId, Brought, Cause, Did, RuleId, ServiceId, Sharded, Verdict};
use ahash::AHashMap;
use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::Metric as Sample;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, MetricFamily, MetricType};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The counters that there are, by what they count for. Locked when a snapshot is made and when the
/// page is asked for, never by a request.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) rules: Mutex<AHashMap<(ServiceId, RuleId), RuleMetrics>>,
    pub(super) services: Mutex<AHashMap<ServiceId, Sharded<OfService>>>,
    pub(super) backends: Mutex<AHashMap<(ServiceId, BackendId), Sharded<OfBackend>>>,
    pub(super) hot: Count,
    pub(super) active: Present,
}

/// A ledger as Prometheus' registry takes it.
pub(super) struct Page {
    ledger: Arc<Ledger>,
    requests: Desc,
    duration: Desc,
    hits: Desc,
    misses: Desc,
    verdicts: Desc,
    panic_picks: Desc,
    backend_requests: Desc,
    retries: Desc,
    hot: Desc,
    active: Desc,
}

impl Page {
    pub(super) fn new(ledger: Arc<Ledger>) -> prometheus::Result<Self> {
        let family = |name: &str, help: &str, labels: &[&str]| {
            let labels = labels.iter().map(ToString::to_string).collect();
            Desc::new(name.into(), help.into(), labels, HashMap::new())
        };
        Ok(Self {
            ledger,
            requests: family(
                "requests_total",
                "Requests answered, by rule and status class",
                &["service", "rule", "code"],
            )?,
            duration: family(
                "request_duration_seconds",
                "From the header to the last byte",
                &["service"],
            )?,
            hits: family(
                "affinity_hits_total",
                "Requests sent to the backend they were bound to",
                &["service"],
            )?,
            misses: family(
                "affinity_misses_total",
                "Requests placed anew, by cause",
                &["service", "cause"],
            )?,
            verdicts: family(
                "affinity_verdicts_total",
                "Requests by the two letters of the access log",
                &["service", "verdict"],
            )?,
            panic_picks: family(
                "panic_picks_total",
                "Requests sent to an unhealthy backend since none was healthy",
                &["service"],
            )?,
            backend_requests: family(
                "backend_requests_total",
                "Requests sent to a backend, each try counted",
                &["service", "backend"],
            )?,
            retries: family(
                "retries_total",
                "Tries that failed on this backend and went on",
                &["service", "backend"],
            )?,
            hot: family(
                "hot_path_requests_total",
                "Requests served without Pingora's proxy between",
                &[],
            )?,
            active: family("active_requests", "Requests between header and last byte", &[])?,
        })
    }

    fn of_rules(&self) -> [MetricFamily; 1] {
        let mut requests = Vec::new();
        for ((service, rule), metrics) in &*self.ledger.rules.lock() {
            for (class, total) in CLASSES.iter().zip(metrics.by_class()) {
                let labels =
                    [("code", *class), ("rule", rule.as_str()), ("service", service.as_str())];
                requests.push(counter(&labels, total));
            }
        }
        [family(&self.requests, MetricType::COUNTER, requests)]
    }

    fn of_services(&self) -> [MetricFamily; 5] {
        let [mut durations, mut hits, mut misses, mut verdicts, mut panic_picks] =
            [const { Vec::new() }; 5];
        for (service, counts) in &*self.ledger.services.lock() {
            let service = ("service", service.as_str());
            durations.push(histogram(&[service], counts));
            let [total] = totals(counts, |own| &own.hits);
            hits.push(counter(&[service], total));
            for (cause, total) in Cause::ALL.iter().zip(totals(counts, |own| &own.misses)) {
                misses.push(counter(&[("cause", cause.label()), service], total));
            }
            for (verdict, total) in every_verdict().zip(totals(counts, |own| &own.verdicts)) {
                verdicts.push(counter(&[service, ("verdict", &verdict)], total));
            }
            let [total] = totals(counts, |own| &own.panic_picks);
            panic_picks.push(counter(&[service], total));
        }
        [
            family(&self.duration, MetricType::HISTOGRAM, durations),
            family(&self.hits, MetricType::COUNTER, hits),
            family(&self.misses, MetricType::COUNTER, misses),
            family(&self.verdicts, MetricType::COUNTER, verdicts),
            family(&self.panic_picks, MetricType::COUNTER, panic_picks),
        ]
    }

    fn of_backends(&self) -> [MetricFamily; 2] {
        let [mut requests, mut retries] = [const { Vec::new() }; 2];
        for ((service, backend), counts) in &*self.ledger.backends.lock() {
            let labels = [("backend", backend.as_str()), ("service", service.as_str())];
            let [total] = totals(counts, |own| &own.requests);
            requests.push(counter(&labels, total));
            let [total] = totals(counts, |own| &own.retries);
            retries.push(counter(&labels, total));
        }
        [
            family(&self.backend_requests, MetricType::COUNTER, requests),
            family(&self.retries, MetricType::COUNTER, retries),
        ]
    }

    fn of_the_process(&self) -> [MetricFamily; 2] {
        let mut gauge = Gauge::default();
        gauge.set_value(number(u64::try_from(self.ledger.active.get()).unwrap_or(u64::MAX)));
        [
            family(&self.hot, MetricType::COUNTER, vec![counter(&[], self.ledger.hot.get())]),
            family(&self.active, MetricType::GAUGE, vec![Sample::from_gauge(gauge)]),
        ]
    }
}

impl Collector for Page {
    fn desc(&self) -> Vec<&Desc> {
        let Self { ledger: _, requests, duration, hits, misses, verdicts, panic_picks, .. } = self;
        let of_services = [duration, hits, misses, verdicts, panic_picks];
        let others = [requests, &self.backend_requests, &self.retries, &self.hot, &self.active];
        of_services.into_iter().chain(others).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let of_services = self.of_rules().into_iter().chain(self.of_services());
        of_services.chain(self.of_backends()).chain(self.of_the_process()).collect()
    }
}

/// Both letters of every verdict, in the order of [`OfService::verdicts`].
fn every_verdict() -> impl Iterator<Item = String> {
    Brought::ALL.into_iter().flat_map(|brought| {
        Did::ALL.into_iter().map(move |did| Verdict { brought, did }.letters().iter().collect())
    })
}

fn family(desc: &Desc, kind: MetricType, samples: Vec<Sample>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(desc.fq_name.clone());
    family.set_help(desc.help.clone());
    family.set_field_type(kind);
    family.set_metric(samples);
    family
}

/// `labels` in the order of their names, by which the page is sorted.
fn sample(labels: &[(&str, &str)]) -> Sample {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).into());
        pair.set_value((*value).into());
        pair
    };
    Sample::from_label(labels.iter().map(pair).collect())
}

fn counter(labels: &[(&str, &str)], total: u64) -> Sample {
    let (mut sample, mut counter) = (sample(labels), Counter::default());
    counter.set_value(number(total));
    sample.set_counter(counter);
    sample
}

fn histogram(labels: &[(&str, &str)], counts: &Sharded<OfService>) -> Sample {
    let (mut sample, mut histogram) = (sample(labels), Histogram::default());
    let counted = totals(counts, |own| &own.buckets);
    let [microseconds] = totals(counts, |own| &own.microseconds);
    let mut below = 0;
    let bucket = |(bound, count): (&u64, &u64)| {
        below += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(Duration::from_nanos(*bound).as_secs_f64());
        bucket.set_cumulative_count(below);
        bucket
    };
    histogram.set_bucket(BOUNDS.iter().zip(&counted).map(bucket).collect());
    histogram.set_sample_count(counted.iter().sum());
    histogram.set_sample_sum(Duration::from_micros(microseconds).as_secs_f64());
    sample.set_histogram(histogram);
    sample
}

#[allow(clippy::cast_precision_loss, reason = "Prometheus' numbers are no others")]
fn number(total: u64) -> f64 {
    total as f64
}
