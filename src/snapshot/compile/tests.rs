use super::*;
use crate::config::Source;
use crate::snapshot::carrier::Codec;
use http::{HeaderMap, Method};
use std::io;

struct Process {
    cells: Cells,
    metrics: Metrics,
}

impl Process {
    fn start() -> Self {
        Self { cells: Cells::default(), metrics: Metrics::new().unwrap() }
    }

    fn compile(&self, yaml: &str) -> Result<Snapshot, String> {
        let source = Source { name: "test.yaml".into(), text: yaml.into() };
        let config = config::load(vec![source], &|_| None).map_err(|faults| faults.to_string())?;
        let around = Surroundings {
            cells: &self.cells,
            metrics: &self.metrics,
            tickets: &Tickets::default(),
            lookup: &|name| match name {
                "known.internal:80" => Ok(vec![([10, 0, 0, 7], 80).into()]),
                _ => Err(io::Error::other("no such name")),
            },
            generated_key: &|| Secret::new("the generated key of the test".into()),
            now: UnixTime(1_800_000_000),
        };
        compile(&config, &around).map_err(|faults| faults.to_string())
    }
}

fn cookie_name(snapshot: &Snapshot, rule: usize) -> String {
    let stickiness = snapshot.rule(rule).unwrap().stickiness.as_ref().unwrap();
    stickiness.names.as_ref().unwrap().written().to_owned()
}

#[test]
fn host_names_become_addresses_and_unknown_ones_are_faults_with_their_place() {
    let process = Process::start();
    let yaml = |name: &str| {
        format!("gateway:\n  services:\n    s:\n      backends:\n        - address: {name}\n")
    };
    let snapshot = process.compile(&yaml("known.internal:80")).unwrap();
    let member = &snapshot.services()[0].pool.members()[0];
    assert_eq!(member.backend.address, "10.0.0.7:80".parse().unwrap());
    assert_eq!(member.backend.id.as_str(), "known.internal:80");
    let fault = process.compile(&yaml("unknown.internal:80")).err().unwrap();
    assert!(
        fault.starts_with("test.yaml:5:20: gateway.services.s.backends[0].address:"),
        "{fault}"
    );
}

#[test]
fn a_name_that_two_services_write_gets_the_suffix_of_each() {
    let process = Process::start();
    let two = "
gateway:
  services:
    cart: { backends: [{ address: 127.0.0.1:1 }] }
    chat: { backends: [{ address: 127.0.0.1:2 }] }
  router:
    rules:
      - { id: cart, path: /cart/*, serviceName: cart }
      - { id: chat, path: /chat/*, serviceName: chat }
    sessionAffinity: {}
";
    let snapshot = process.compile(two).unwrap();
    assert_eq!(cookie_name(&snapshot, 0), "gateway-backend-1c42ddc0");
    assert!(cookie_name(&snapshot, 1).starts_with("gateway-backend-"));
    assert_ne!(cookie_name(&snapshot, 0), cookie_name(&snapshot, 1));
    let one = two.replace("serviceName: chat", "serviceName: cart");
    assert_eq!(cookie_name(&process.compile(&one).unwrap(), 0), "gateway-backend");
}

#[test]
fn a_service_that_is_reached_by_name_alone_counts_as_well() {
    let process = Process::start();
    let yaml = "
gateway:
  services:
    cart: { backends: [{ address: 127.0.0.1:1 }] }
    chat: { backends: [{ address: 127.0.0.1:2 }] }
  router:
    rules:
      - { id: cart, serviceName: cart }
    sessionAffinity: {}
";
    assert_eq!(cookie_name(&process.compile(yaml).unwrap(), 0), "gateway-backend");
    let named = yaml.replace("    rules:", "    serviceHeader: x-service\n    rules:");
    let snapshot = process.compile(&named).unwrap();
    assert_eq!(cookie_name(&snapshot, 0), "gateway-backend-1c42ddc0");
    let own = "{ id: chat, path: /chat, serviceName: chat, sessionAffinity: { keyRotation: 1h } }";
    let differs =
        named.replace("    sessionAffinity", &format!("      - {own}\n    sessionAffinity"));
    let fault = process.compile(&differs).err().unwrap();
    assert!(fault.contains("rule chat and service chat write the cookie"), "{fault}");
    let plain = named.replace(
        "{ address: 127.0.0.1:2 }",
        "{ id: a, address: 127.0.0.1:2 }, { id: b, address: 127.0.0.1:2 }",
    );
    let plain = plain.replace("sessionAffinity: {}", "sessionAffinity: { encoding: plain }");
    let fault = process.compile(&plain).err().unwrap();
    assert!(
        fault.contains("service chat writes keys that cannot tell backend b from a"),
        "{fault}"
    );
}

#[test]
fn two_meanings_of_one_cookie_are_faults() {
    let process = Process::start();
    let rules = |chat: &str| {
        format!(
            "
gateway:
  services:
    cart: {{ backends: [{{ address: 127.0.0.1:1 }}] }}
    chat: {{ backends: [{{ address: 127.0.0.1:2 }}] }}
  router:
    rules:
      - {{ id: cart, path: /cart/*, serviceName: cart, sessionAffinity: {{}} }}
      - {{ id: chat, path: /chat/*, serviceName: chat, sessionAffinity: {chat} }}
"
        )
    };
    let fault = process.compile(&rules("{ cookie: { name: gateway-backend-1c42ddc0 } }"));
    assert!(fault.err().unwrap().contains("is the one that service cart may write"));
    let other_keys = "{ keys: [{ id: 1, secret: another secret of the rule }] }";
    let same_service = rules(other_keys).replace("serviceName: chat", "serviceName: cart");
    let fault = process.compile(&same_service).err().unwrap();
    assert!(fault.contains("rule cart and rule chat write the cookie gateway-backend"), "{fault}");
    assert!(process.compile(&rules(other_keys)).is_ok(), "two services may have two keys");
}

#[test]
fn a_ring_that_would_eat_the_memory_is_a_fault() {
    let process = Process::start();
    let backends: String = (0..200)
        .map(|n| format!("        - {{ address: \"10.0.0.{n}:80\", weight: 256 }}\n"))
        .collect();
    let yaml = format!(
        "gateway:\n  services:\n    s:\n      loadBalancing: {{ policy: consistent-hash }}\n      backends:\n{backends}"
    );
    let fault = process.compile(&yaml).err().unwrap();
    assert!(fault.contains("a ring of 7680000 points"), "{fault}");
    let round_robin = yaml.replace("consistent-hash", "round-robin");
    assert!(process.compile(&round_robin).is_ok());
}

#[test]
fn health_marks_survive_a_reload_and_a_check_that_is_added_takes_nobody_out() {
    let process = Process::start();
    let with = |check: &str, weight: u32| {
        let yaml = format!(
            "gateway:\n  services:\n    s:\n      {check}\n      backends:\n        - {{ id: b1, address: 127.0.0.1:1, weight: {weight} }}\n"
        );
        process.compile(&yaml).unwrap()
    };
    let health = |snapshot: &Snapshot| snapshot.services()[0].pool.members()[0].health();
    let unchecked = with("", 1);
    assert_eq!(health(&unchecked), Health::Healthy);
    let checked = with("healthCheck: { type: tcp }", 1);
    assert_eq!(health(&checked), Health::Healthy, "it served before, it serves on");
    checked.services()[0].pool.members()[0].note_check(false, 1);
    assert_eq!(health(&checked), Health::Unhealthy);
    let heavier = with("healthCheck: { type: tcp, interval: 9s }", 7);
    assert_eq!(health(&heavier), Health::Unhealthy, "neither weight nor check settings matter");
    assert_eq!(health(&with("", 1)), Health::Healthy, "without a check it counts as healthy");
}

#[test]
fn rules_with_the_same_secrets_share_their_keys() {
    let process = Process::start();
    let rules: String = (0..100)
        .map(|n| format!("      - {{ id: r{n}, path: /p{n}, serviceName: s }}\n"))
        .collect();
    let snapshot = process
        .compile(&format!(
            "gateway:\n  services:\n    s: {{ backends: [{{ address: 127.0.0.1:1 }}] }}\n  router:\n    sessionAffinity: {{}}\n    rules:\n{rules}"
        ))
        .unwrap();
    let sealed = snapshot.rules().iter().map(|rule| {
        match &rule.stickiness.as_ref().unwrap().carriers[0].codec {
            Codec::Sealed { keys, .. } => Arc::as_ptr(keys),
            Codec::Named(_) => panic!("the keys are sealed"),
        }
    });
    assert_eq!(sealed.collect::<std::collections::BTreeSet<_>>().len(), 1);
}

#[test]
fn a_pattern_is_matched_in_normal_form() {
    let process = Process::start();
    let snapshot = process
        .compile(
            "gateway:\n  services:\n    s: { backends: [{ address: 127.0.0.1:1 }] }\n  router:\n    rules:\n      - { id: r, path: /%7Ejo/*, serviceName: s }\n",
        )
        .unwrap();
    let found = snapshot.route("h", "/~jo/x", &Method::GET, &HeaderMap::new());
    assert_eq!(found, Some(0));
}

#[test]
fn keys_and_cookies_that_cannot_be_told_apart_are_faults() {
    let process = Process::start();
    let yaml = |affinity: &str| {
        format!(
            "
gateway:
  services:
    s:
      backends: [{{ id: a, address: 127.0.0.1:1 }}, {{ id: A, address: 127.0.0.1:1 }}]
  router:
    sessionAffinity: {affinity}
"
        )
    };
    for (affinity, word) in [
        ("{ policy: HashCookie }", "cannot tell backend A from a"),
        ("{ encoding: plain }", "cannot tell backend A from a"),
        ("{ cookie: { name: Y }, adopt: [{ format: haproxy, cookie: Y }] }", "another meaning"),
        (
            "{ adopt: [{ format: haproxy, cookie: Y }, { format: nginx, cookie: Y }] }",
            "another meaning",
        ),
        ("{ method: header, headerName: Content-Length }", "spoken for"),
        ("{ exposeBackend: Host }", "spoken for"),
    ] {
        let fault = process.compile(&yaml(affinity)).err().unwrap_or_default();
        assert!(fault.contains(word), "{affinity}: {fault}");
    }
    for fine in ["{ encoding: hash }", "{ adopt: [{ format: haproxy, cookie: Y }] }"] {
        assert!(process.compile(&yaml(fine)).is_ok(), "{fine}");
    }
}
