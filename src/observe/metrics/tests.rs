use super::*;

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
fn what_is_no_longer_configured_leaves_the_page() {
    let metrics = Metrics::new().unwrap();
    let (service, backend, rule) = ("old".into(), BackendId::from("b"), RuleId::from("r"));
    metrics.service(&service).hits.inc();
    metrics.backend(&service, &backend).requests.inc();
    metrics.rule(&service, &rule).answered(200);
    metrics.forget_rule(&service, &rule);
    metrics.forget_backend(&service, &backend);
    metrics.forget_service(&service);
    let text = String::from_utf8(metrics.text().unwrap()).unwrap();
    assert!(!text.contains("old"), "{text}");
}
