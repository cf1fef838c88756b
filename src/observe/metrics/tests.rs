use super::*;
use crate::model::{Brought, Cause, Did, Verdict};
use std::time::Duration;

#[test]
fn each_verdict_and_cause_has_its_own_counter() {
    let metrics = Metrics::new().unwrap();
    let service = ServiceId::from("s");
    let handles = metrics.service(&service);
    for brought in Brought::ALL {
        for did in Did::ALL {
            handles.verdict(Verdict { brought, did });
        }
    }
    for cause in Cause::ALL {
        handles.missed(cause);
    }
    metrics.rule(&service, &RuleId::from("r")).answered(204);
    let text = String::from_utf8(metrics.text().unwrap()).unwrap();
    let ones = |family: &str| {
        let of_family = text.lines().filter(|line| line.starts_with(family));
        of_family.filter(|line| line.ends_with(" 1")).count()
    };
    assert_eq!(ones("stickfast_affinity_verdicts_total{"), 40);
    assert_eq!(ones("stickfast_affinity_misses_total{"), 11);
    assert!(text.contains(r#"stickfast_requests_total{code="2xx",rule="r",service="s"} 1"#));
    assert!(text.contains("process_resident_memory_bytes"));
}

#[test]
fn a_duration_counts_in_its_bucket_and_all_above() {
    let metrics = Metrics::new().unwrap();
    let service = metrics.service(&ServiceId::from("s"));
    for nanoseconds in [500_000, 500_001, 30_000_000_000, 30_000_000_001] {
        service.took(Duration::from_nanos(nanoseconds));
    }
    let text = String::from_utf8(metrics.text().unwrap()).unwrap();
    let of = |what: &str| {
        let start = format!("stickfast_request_duration_seconds_{what}");
        let values = text.lines().filter_map(|line| line.strip_prefix(&start)?.rsplit_once(' '));
        values.map(|(labels, value)| format!("{labels} {value}")).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(of(""), @r#"
    bucket{service="s",le="0.0005"} 1
    bucket{service="s",le="0.001"} 2
    bucket{service="s",le="0.0025"} 2
    bucket{service="s",le="0.005"} 2
    bucket{service="s",le="0.01"} 2
    bucket{service="s",le="0.025"} 2
    bucket{service="s",le="0.05"} 2
    bucket{service="s",le="0.1"} 2
    bucket{service="s",le="0.25"} 2
    bucket{service="s",le="0.5"} 2
    bucket{service="s",le="1"} 2
    bucket{service="s",le="5"} 2
    bucket{service="s",le="30"} 3
    bucket{service="s",le="+Inf"} 4
    sum{service="s"} 60.001
    count{service="s"} 4
    "#);
}

#[test]
fn counts_of_all_threads_add_up() {
    let metrics = Metrics::new().unwrap();
    let (service, backend) = (ServiceId::from("s"), BackendId::from("b"));
    let rule = metrics.rule(&service, &RuleId::from("r"));
    let (of_backend, of_service) = (metrics.backend(&service, &backend), metrics.service(&service));
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                for status in [0, 200, 204, 503, 999] {
                    let _guard = metrics.begin();
                    rule.answered(status);
                    of_backend.asked();
                    of_service.hit();
                    metrics.served_hot();
                }
                of_backend.retried();
                of_service.panic_picked();
            });
        }
    });
    let text = String::from_utf8(metrics.text().unwrap()).unwrap();
    let counted: Vec<_> = text
        .lines()
        .filter(|line| {
            line.starts_with("stickfast") && line.ends_with('0') && !line.ends_with(" 0")
        })
        .collect();
    insta::assert_snapshot!(counted.join("\n"), @r#"
    stickfast_affinity_hits_total{service="s"} 100
    stickfast_backend_requests_total{backend="b",service="s"} 100
    stickfast_hot_path_requests_total 100
    stickfast_panic_picks_total{service="s"} 20
    stickfast_requests_total{code="2xx",rule="r",service="s"} 40
    stickfast_requests_total{code="5xx",rule="r",service="s"} 40
    stickfast_requests_total{code="none",rule="r",service="s"} 20
    stickfast_retries_total{backend="b",service="s"} 20
    "#);
}

#[test]
fn requests_under_way_are_those_whose_guards_live() {
    let metrics = Metrics::new().unwrap();
    let here = metrics.begin();
    let elsewhere = std::thread::scope(|scope| scope.spawn(|| metrics.begin()).join().unwrap());
    let page = || String::from_utf8(metrics.text().unwrap()).unwrap();
    assert!(page().contains("\nstickfast_active_requests 2\n"));
    drop(here);
    assert_eq!(metrics.active_requests(), 1);
    drop(elsewhere);
    assert!(
        page().contains("# TYPE stickfast_active_requests gauge\nstickfast_active_requests 0\n")
    );
}

#[test]
fn a_rule_that_stays_keeps_its_counts_and_one_that_comes_back_starts_anew() {
    let metrics = Metrics::new().unwrap();
    let (service, rule) = ("s".into(), RuleId::from("r"));
    let first = metrics.rule(&service, &rule);
    first.answered(200);
    metrics.rule(&service, &rule).answered(200);
    assert_eq!(first.by_class()[2], 2);
    metrics.forget_rule(&service, &rule);
    let again = metrics.rule(&service, &rule);
    first.answered(200);
    assert_eq!(again.by_class(), [0; 6], "what ends late on the old one is nobody's");
}

/// Names, words, labels and kinds are what dashboards were written for.
#[test]
fn every_family_stays_as_it_is() {
    let metrics = Metrics::new().unwrap();
    let (service, backend, rule) = ("s".into(), BackendId::from("b"), RuleId::from("r"));
    metrics.service(&service);
    metrics.backend(&service, &backend);
    metrics.rule(&service, &rule);
    let text = String::from_utf8(metrics.text().unwrap()).unwrap();
    let lines = text.lines().filter(|line| line.contains("stickfast_"));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn what_is_no_longer_configured_leaves_the_page() {
    let metrics = Metrics::new().unwrap();
    let (service, backend, rule) = ("old".into(), BackendId::from("b"), RuleId::from("r"));
    metrics.service(&service).hit();
    metrics.backend(&service, &backend).asked();
    metrics.rule(&service, &rule).answered(200);
    metrics.forget_rule(&service, &rule);
    metrics.forget_backend(&service, &backend);
    metrics.forget_service(&service);
    let text = String::from_utf8(metrics.text().unwrap()).unwrap();
    assert!(!text.contains("old"), "{text}");
}
