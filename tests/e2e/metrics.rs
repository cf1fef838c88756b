//! What the admin listener says.

use crate::harness::{Backend, Gateway, Request, Setup, check, until};

#[test]
fn every_metric_has_the_name_and_the_labels_that_are_documented() {
    let [b1, b2] = [Backend::start("b1"), Backend::stopped("b2")];
    let rules = ["id: all, path: /app/*, serviceName: app"];
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).rules(&rules).sticky());
    let mut client = gateway.client();
    for _ in 0..4 {
        gateway.client().get("/app/new");
        client.get("/app/bound");
    }
    client.get("/nowhere");
    gateway.reload_refused(&"gateway: [".to_owned());
    gateway.reload(&Setup::of(&[&b1, &b2]).rules(&rules).sticky());
    let scrape = gateway.scrape();
    for (name, labels) in [
        ("stickfast_requests_total", vec!["code", "rule", "service"]),
        ("stickfast_backend_requests_total", vec!["backend", "service"]),
        ("stickfast_backend_up", vec!["backend", "service"]),
        ("stickfast_affinity_hits_total", vec!["service"]),
        ("stickfast_affinity_misses_total", vec!["cause", "service"]),
        ("stickfast_affinity_verdicts_total", vec!["service", "verdict"]),
        ("stickfast_retries_total", vec!["backend", "service"]),
        ("stickfast_refusals_total", vec!["reason"]),
        ("stickfast_active_requests", vec![]),
        ("stickfast_config_reloads_total", vec!["result"]),
        ("stickfast_config_generation", vec![]),
        ("stickfast_log_dropped_lines_total", vec![]),
    ] {
        let mut found = scrape.labels(name).unwrap_or_else(|| panic!("there is no {name}"));
        found.sort_unstable();
        assert_eq!(found, labels, "{name}");
    }
}

#[test]
fn the_counters_agree_with_what_was_sent() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    let gateway = Gateway::start(&Setup::of(&[&b1, &b2]).sticky());
    let mut client = gateway.client();
    let home = client.get("/").backend();
    for _ in 0..9 {
        client.get("/");
    }
    client.get("/status/404");
    client.get("/status/500");
    let total = "stickfast_requests_total";
    let labels = |code| [("service", "app"), ("rule", "app"), ("code", code)];
    gateway.wait_for_metric(total, &labels("2xx"), 10.0);
    gateway.wait_for_metric(total, &labels("4xx"), 1.0);
    gateway.wait_for_metric(total, &labels("5xx"), 1.0);
    let of_home = [("service", "app"), ("backend", home.as_str())];
    gateway.wait_for_metric("stickfast_backend_requests_total", &of_home, 12.0);
    gateway.wait_for_metric("stickfast_affinity_hits_total", &[("service", "app")], 11.0);
    gateway.wait_for_metric("stickfast_affinity_misses_total", &[("service", "app")], 1.0);
    let verdict = |letters| [("service", "app"), ("verdict", letters)];
    gateway.wait_for_metric("stickfast_affinity_verdicts_total", &verdict("NI"), 1.0);
    gateway.wait_for_metric("stickfast_affinity_verdicts_total", &verdict("VN"), 11.0);
    gateway.wait_for_metric("stickfast_active_requests", &[], 0.0);
    gateway.wait_for_health("b1", true);
}

/// Spec 2's `affinity_hits` and `affinity_misses`, which need nothing of its `session` section.
#[test]
fn affinity_is_counted_by_spec_2s_names_without_sessions_for_every_way_to_be_bound() {
    let [b1, b2] = ["b1", "b2"].map(Backend::start);
    for line in [
        "method: cookie",
        "method: header",
        "policy: HashCookie",
        "policy: ArrCookie",
        "encoding: hash",
        "encoding: plain",
        "methods: [cookie, sourceIP]",
    ] {
        let setup = Setup::of(&[&b1, &b2])
            .service("free", &[&b1, &b2])
            .rules(&[
                "id: free, path: /free/*, serviceName: free, sessionAffinity: { enabled: false }",
                "id: app, path: /*, serviceName: app",
            ])
            .sticky_with(line)
            .to_string();
        assert!(!setup.contains("session:"), "no session is configured");
        let gateway = Gateway::start(&setup);
        let mut client = gateway.client();
        let first = client.get("/");
        let request = match first.field("x-sessionaffinity") {
            Some(key) => Request::get("/").with("X-SessionAffinity", key),
            None => Request::get("/"),
        };
        for _ in 0..5 {
            assert_eq!(client.send(&request).backend(), first.backend(), "{line}");
        }
        gateway.client().get("/");
        client.get("/free/1");
        let free = [("service", "free"), ("code", "2xx")];
        gateway.wait_for_metric("stickfast_requests_total", &free, 1.0);
        let of = |service| [("service", service)];
        gateway.wait_for_metric("stickfast_affinity_hits_total", &of("app"), 5.0);
        gateway.wait_for_metric("stickfast_affinity_misses_total", &of("app"), 2.0);
        for name in ["stickfast_affinity_hits_total", "stickfast_affinity_misses_total"] {
            let count = gateway.metric(name, &of("free"));
            assert!(count.abs() < f64::EPSILON, "{line}: nobody is bound there: {name} {count}");
        }
    }
}

#[test]
fn a_request_is_active_while_it_is_open() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]));
    let mut wire = gateway.connect();
    wire.write(b"GET /sleep/1500 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    gateway.wait_for_metric("stickfast_active_requests", &[], 1.0);
    assert_eq!(wire.answer().unwrap().expect("an answer").backend(), "b1");
    gateway.wait_for_metric("stickfast_active_requests", &[], 0.0);
}

#[test]
fn the_number_of_series_does_not_grow_with_what_clients_send() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]).sticky());
    let series = || {
        let text = gateway.admin("/metrics").unwrap().text();
        text.lines().filter(|line| line.starts_with("stickfast_")).count()
    };
    let ask = |n: usize| {
        let (method, host) = (format!("M{n}"), format!("host{n}.test"));
        let request = Request::new(&method, &format!("/path{n}")).with("Host", &host);
        assert_eq!(gateway.client().send(&request).status, 200);
    };
    ask(0);
    let total = ("stickfast_requests_total", [("service", "app")]);
    gateway.wait_for_metric(total.0, &total.1, 1.0);
    let before = series();
    (1..20).for_each(ask);
    gateway.wait_for_metric(total.0, &total.1, 20.0);
    assert_eq!(series(), before);
}

#[test]
fn probes_are_open_and_metrics_need_the_token_off_loopback() {
    let b1 = Backend::start("b1");
    let token = "token: a-token-that-only-tests-know";
    // Listens everywhere; asked by the loopback address.
    let setup = Setup::of(&[&b1]).admin(&format!("{{ address: \"0.0.0.0:0\", {token} }}"));
    let gateway = Gateway::start(&setup);
    assert_eq!(gateway.admin("/healthz").unwrap().status, 200);
    assert_eq!(gateway.admin("/readyz").unwrap().status, 200);
    assert_eq!(gateway.admin("/metrics").unwrap().status, 401);
    let with = |value: &str| {
        let request = Request::get("/metrics").with("Authorization", value);
        gateway.admin_with(&request).unwrap().status
    };
    assert_eq!(with("Bearer a-token-that-only-tests-knew"), 401);
    assert_eq!(with("Bearer "), 401);
    assert_eq!(with("Bearer a-token-that-only-tests-know"), 200);
    let public = format!("{{ address: \"0.0.0.0:0\", {token}, publicMetrics: true }}");
    let gateway = Gateway::start(&Setup::of(&[&b1]).admin(&public));
    assert_eq!(gateway.admin("/metrics").unwrap().status, 200);
}

#[test]
fn on_loopback_metrics_need_no_token_even_where_one_is_set() {
    let b1 = Backend::start("b1");
    let section = "{ address: \"127.0.0.1:0\", token: a-token-that-only-tests-know }";
    let gateway = Gateway::start(&Setup::of(&[&b1]).admin(section));
    assert_eq!(gateway.admin("/metrics").unwrap().status, 200);
    let request = Request::get("/metrics").with("Authorization", "Bearer another");
    assert_eq!(gateway.admin_with(&request).unwrap().status, 200);
}

#[test]
fn an_admin_listener_off_loopback_without_a_token_is_a_fault() {
    let b1 = Backend::stopped("b1");
    let output = check(&Setup::of(&[&b1]).admin("{ address: \"0.0.0.0:0\" }").to_string());
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains("admin.token"), "{}", output.stderr);
}

#[test]
fn the_admin_listener_serves_nothing_else() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]));
    assert_eq!(gateway.admin("/nothing").unwrap().status, 404);
    assert_eq!(gateway.client().get("/metrics").backend(), "b1", "clients do not reach it");
    until("the scrape is not counted as traffic", || {
        let total = gateway.metric("stickfast_requests_total", &[]);
        ((total - 1.0).abs() < f64::EPSILON).then_some(())
    });
}
