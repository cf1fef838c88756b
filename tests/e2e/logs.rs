//! The access log: one line a request, with the verdict, and nothing secret.

use crate::harness::{Backend, Gateway, Request, SECRET, Setup, until};
use std::fs;
use std::path::Path;
use std::thread;

#[test]
fn a_line_in_json_tells_what_became_of_a_request() {
    let b1 = Backend::start("b1");
    let gateway = Gateway::start(&Setup::of(&[&b1]).sticky());
    let answer = gateway.client().send(&Request::post("/orders/1", 10).with("Host", "shop.test"));
    let line = gateway.access_of("/orders/1");
    for (key, value) in [
        ("client", "127.0.0.1"),
        ("method", "POST"),
        ("host", "shop.test"),
        ("path", "/orders/1"),
        ("rule", "app"),
        ("service", "app"),
        ("backend", "b1"),
        ("affinity", "NI"),
    ] {
        assert_eq!(line[key], value, "{key} of {line}");
    }
    assert_eq!(line["status"], 200);
    assert_eq!(line["retries"], 0);
    assert_eq!(line["bytes"], answer.body.len());
    assert!(line["duration_ms"].as_f64().is_some_and(|ms| (0.0..20_000.0).contains(&ms)), "{line}");
    let time = line["time"].as_str().unwrap_or_default();
    assert!(time.starts_with("20") && time.contains('T') && time.ends_with('Z'), "{time}");
    assert!(line.get("reason").is_none_or(serde_json::Value::is_null), "{line}");
}

#[test]
fn a_line_names_the_reason_when_the_gateway_answered_itself() {
    let b1 = Backend::stopped("b1");
    let rules = ["id: app, path: /app/*, serviceName: app"];
    let gateway = Gateway::start(&Setup::of(&[&b1]).rules(&rules).sticky());
    let missed = gateway.client().get("/nowhere");
    assert_eq!(missed.status, 404);
    let line = gateway.access_of("/nowhere");
    assert_eq!((&line["status"], &line["reason"]), (&404.into(), &"no-route".into()), "{line}");
    let refused = gateway.client().get("/app/1");
    let line = gateway.access_of("/app/1");
    assert_eq!((&line["status"], line["reason"].as_str()), (&503.into(), refused.reason()));
    assert_eq!(line["affinity"], "NN");
}

#[test]
fn a_line_in_text_has_the_same_facts() {
    let b1 = Backend::start("b1");
    let setup = Setup::of(&[&b1]).sticky().server("log: { format: text }");
    let gateway = Gateway::start(&setup);
    gateway.client().get("/in/text");
    let line = until("a line", || {
        gateway.stdout_lines().into_iter().find(|line| line.contains("/in/text"))
    });
    for word in ["127.0.0.1", "GET", "app.test", "200", "app", "b1", "NI"] {
        assert!(line.contains(word), "{word} in {line}");
    }
    assert!(!line.starts_with('{'), "{line}");
    let announced = gateway.stderr_lines().join("\n");
    let address = gateway.address();
    assert!(announced.contains(&format!("listening address={address}")), "{announced}");
    let admin = gateway.admin_address().unwrap();
    assert!(announced.contains(&format!("admin address={admin}")), "{announced}");
}

#[test]
fn nothing_secret_is_ever_written() {
    for format in ["json", "text"] {
        assert_nothing_secret(format, "info");
    }
}

#[test]
fn nothing_secret_is_written_for_developers_either() {
    assert_nothing_secret("text", "debug");
}

/// Sends secrets wherever a request can carry them, and reads all that was written.
fn assert_nothing_secret(format: &str, level: &str) {
    let b1 = Backend::start("b1");
    let setup = Setup::of(&[&b1])
        .sticky()
        .server(&format!("log: {{ format: {format}, level: {level} }}"))
        .admin("{ address: \"127.0.0.1:0\", token: admin-token-of-the-test }");
    let gateway = Gateway::start(&setup);
    let mut client = gateway.client();
    let request = Request::get("/secrets?password=query-of-the-test")
        .with("Authorization", "Bearer credential-of-the-test");
    client.send(&request);
    let key = client.cookie("gateway-backend").unwrap();
    client.send(&request);
    client.put("gateway-backend", &format!("{key}broken"));
    client.put("other", "cookie-of-the-test");
    client.send(&request);
    b1.stop();
    client.send(&request);
    until("a line for each request", || {
        let lines = gateway.stdout_lines();
        (lines.iter().filter(|line| line.contains("/secrets")).count() == 4).then_some(())
    });
    let lines = [gateway.stdout_lines(), gateway.stderr_lines()].concat();
    let secrets = ["query-of-", "credential-of-", "cookie-of-", "admin-token-of-", SECRET, &key];
    for secret in secrets {
        let leak = lines.iter().find(|line| line.contains(secret));
        assert!(leak.is_none(), "{secret} stands in the {format} log: {leak:?}");
    }
}

#[test]
fn a_log_file_that_was_moved_away_is_opened_anew_on_sigusr1() {
    let b1 = Backend::start("b1");
    let setup = Setup::of(&[&b1])
        .server("log: { format: json, output: \"${STICKFAST_TEST_DIR}/access.log\" }");
    let gateway = Gateway::start(&setup);
    let (log, old) = (gateway.dir().join("access.log"), gateway.dir().join("access.log.1"));
    let holds = |file: &Path, path: &str| {
        fs::read_to_string(file).is_ok_and(|text| text.contains(path)).then_some(())
    };
    gateway.client().get("/first");
    until("the first line", || holds(&log, "/first"));
    fs::rename(&log, &old).unwrap();
    gateway.signal("USR1");
    let mut n = 0;
    until("a line in the new file", || {
        n += 1;
        gateway.client().get(&format!("/later/{n}"));
        holds(&log, "/later/")
    });
    until("the last line", || holds(&log, &format!("/later/{n}\"")));
    let lines = [fs::read_to_string(&old).unwrap(), fs::read_to_string(&log).unwrap()].concat();
    assert_eq!(lines.lines().count(), 1 + n, "no line is lost: {lines}");
    assert_eq!(gateway.stdout_lines(), [""; 0]);
}

#[test]
fn the_access_log_can_be_switched_off() {
    let b1 = Backend::start("b1");
    let setup = Setup::of(&[&b1]).server("log: { format: json, access: false }");
    let mut gateway = Gateway::start(&setup);
    assert_eq!(gateway.client().get("/").backend(), "b1");
    gateway.signal("TERM");
    // All lines are out when the process has ended.
    let ended = gateway.wait_for_exit(crate::harness::PATIENCE);
    assert!(ended.is_some_and(|status| status.success()));
    assert_eq!(gateway.stdout_lines(), [""; 0]);
}

#[test]
fn an_output_that_nobody_reads_costs_lines_but_neither_requests_nor_memory() {
    let b1 = Backend::start("b1");
    let setup = Setup::of(&[&b1]).server("limits: { maxHeaderBytes: 64KB }");
    let gateway = Gateway::start(&setup);
    gateway.block_stdout();
    let ask = |count: usize, path: &str| {
        let request = Request::new("HEAD", path).bytes(&[]);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut wire = gateway.connect();
                    for _ in 0..count / 4 {
                        wire.write(&request).unwrap();
                        let answer = wire.answer_without_body().unwrap();
                        assert_eq!(answer.expect("an answer").status, 200);
                    }
                });
            }
        });
    };
    let path = format!("/{}", "a".repeat(60_000));
    // Fills the pipe and brings the buffers of the connections.
    ask(80, &path);
    let before = gateway.memory_kb();
    ask(1000, &path);
    let after = gateway.memory_kb();
    assert!(after < before + 30_000, "{before} kB became {after} by paths of 60 MB");
    // More than the pipe and the queue hold.
    ask(9000, "/short");
    let dropped = gateway.metric("stickfast_log_dropped_lines_total", &[]);
    assert!(dropped > 0.0 && dropped < 9_000.0, "{dropped}");
    assert_eq!(gateway.client().get("/").backend(), "b1");
}

#[test]
fn a_line_cannot_be_forged_by_what_a_client_sends() {
    let b1 = Backend::start("b1");
    let setup = Setup::of(&[&b1]).server("log: { format: text }");
    let gateway = Gateway::start(&setup);
    let request = Request::get("/a%0aforged").with("Host", "a\u{e4}\u{ff}\"b");
    // Such a host may be refused; it may not break the line.
    let _ = gateway.client().try_send(&request);
    gateway.client().get("/last");
    until("the last line", || {
        gateway.stdout_lines().iter().any(|line| line.contains("/last")).then_some(())
    });
    let lines = gateway.stdout_lines();
    assert!(lines.len() <= 2, "{lines:?}");
    assert!(!lines.iter().any(|line| line.starts_with("forged")), "{lines:?}");
}
