//! Each key: what it takes, what it refuses, and what to write instead.

use super::{BASE, config, faults, faults_of, read};
use crate::config::{HostPattern, LogOutput, PathPattern, Policy, Probe, SameSite, Secure};
use crate::model::ProxyProtocol;

#[test]
fn every_key_is_read() {
    let text = "
gateway:
  server:
    listeners: [{address: '[::]:8080', http2: true, proxyProtocol: true}, {address: 'unix:/run/x', mode: '0600'}]
    threads: 1024
    trustedProxies: [10.0.0.0/8, '::1']
    limits: {headerTimeout: 1s, bodyTimeout: 2s, idleTimeout: 3s, maxHeaderBytes: 8KB, maxBodyBytes: 1MiB, maxConnections: 9, maxConnectionsPerAddress: 8, maxRequestsPerConnection: 7, maxStreamsPerConnection: 6, minBodyRate: 1KB}
    log: {format: json, output: /tmp/log, level: trace, access: false}
    upgrade: {drainTimeout: 0s}
    stateDir: /tmp/state
  admin: {address: 0.0.0.0:9901, token: t, publicMetrics: true}
  services:
    a.b_c-1:
      backends: [{id: x, address: '[::1]:80', weight: 0, version: v1}, {address: name.internal:80, weight: 256}]
      loadBalancing: {policy: consistent-hash}
      healthCheck: {type: http, path: /healthz, interval: 1s, timeout: 2s, healthyThreshold: 2, unhealthyThreshold: 100}
      timeouts: {connect: 1ms, read: 2s, write: 3s}
    tcp: {backends: [{address: 10.0.0.1:80}, {address: 'unix:/run/app.sock'}], healthCheck: {type: tcp}, http2: true, proxyProtocol: v2}
  router:
    sessionAffinity:
      enabled: true
      method: cookie
      encoding: secure
      policy: Cookie
      duration: 1h
      cookie: {name: c, path: /p, domain: .example.com, maxAge: 3600, httpOnly: false, secure: true, sameSite: none}
      keys: [{id: 15, secret: 0123456789abcdef}]
      keyRotation: 24h
      idleTimeout: 1s
      absoluteTimeout: 336h
      onMissing: redistribute
      onUnhealthy: redistribute
    rules:
      - id: r
        hosts: [WWW.example.com, '*.Example.com', '[::1]']
        path: /cart/*
        order: -5
        headers: {X-Beta: '1'}
        methods: [GET, PURGE]
        serviceName: tcp
";
    let config = config(&[text]);
    assert_eq!(config.server.log.output, LogOutput::File("/tmp/log".into()));
    assert_eq!(config.server.limits.max_body_bytes, Some(1_048_576));
    assert_eq!(config.server.limits.min_body_rate, Some(1000));
    let [first, second] = &config.server.listeners[..] else { panic!("two listeners") };
    assert!(first.http2 && first.proxy_protocol && !second.http2);
    assert_eq!((second.address.value.to_string().as_str(), second.mode), ("unix:/run/x", 0o600));
    assert_eq!(config.services[1].proxy_protocol, Some(ProxyProtocol::V2));
    assert!(config.services[1].http2 && !config.services[0].http2);
    assert_eq!(config.services[0].policy, Policy::ConsistentHash);
    assert_eq!(config.services[1].health_check.as_ref().unwrap().probe, Probe::Tcp);
    let [rule] = &config.rules[..] else { panic!("one rule") };
    let hosts = [
        HostPattern::Exact("www.example.com".into()),
        HostPattern::Below("example.com".into()),
        HostPattern::Exact("[::1]".into()),
    ];
    assert_eq!(rule.hosts, hosts);
    assert_eq!(rule.path, PathPattern::Below("/cart".into()));
    assert_eq!(rule.headers, [("x-beta".to_owned(), "1".to_owned())]);
    assert_eq!(rule.order, -5);
    let cookie = &rule.affinity.as_ref().unwrap().cookie;
    assert_eq!((cookie.secure, cookie.same_site), (Secure::Always, SameSite::None));
    assert_eq!(cookie.max_age, Some(3600));
}

/// What must be refused, with a word of the reason.
fn refused(cases: &[(&str, &str)]) {
    for (text, reason) in cases {
        let faults = faults_of(&format!("gateway: {text}"));
        assert_eq!(faults.lines().count(), 1, "{text}: {faults}");
        assert!(faults.contains(reason), "{text}: {faults}");
    }
}

#[test]
fn values_of_the_process_are_checked() {
    refused(&[
        ("{server: {listeners: []}}", "listeners: is empty; add one"),
        ("{server: {listeners: [{}]}}", "`address` is missing"),
        ("{server: {listeners: [{address: 8080}]}}", "found the number 8080; expected an address"),
        ("{server: {listeners: [{address: 'unix:x'}]}}", "not the path of a socket"),
        ("{server: {listeners: [{address: '[::]:1', mode: '0600'}]}}", "only a unix socket has"),
        ("{server: {listeners: [{address: 'unix:/x', mode: '888'}]}}", "expected permissions in"),
        ("{server: {listeners: [{address: '[::]:1', http2: 1}]}}", "expected true or false"),
        ("{server: {limits: {maxConnections: -1}}}", "expected a whole number from 0"),
        ("{server: {limits: {maxStreamsPerConnection: 0}}}", "expected a whole number from 1"),
        ("{server: {listeners: [{address: 127.0.0.1:9901}]}}", "is also the address of `admin`"),
        ("{server: {threads: 0}}", "0 is out of range; expected auto or a whole number from 1"),
        ("{server: {threads: atuo}}", "found the text \"atuo\"; expected auto or a whole"),
        ("{server: {trustedProxies: 10.0.0.1}}", "found text; expected a list"),
        ("{server: {limits: {idleTimeout: 0s}}}", "\"0s\" is out of range; expected at least 1ms"),
        ("{server: {limits: {idleTimeout: 30}}}", "found the number 30; expected a duration such"),
        ("{server: {limits: {idleTimeout: 99999d}}}", "out of range; expected at most"),
        ("{server: {limits: {maxHeaderBytes: 1MiB}}}", "expected 1000 to 1000000 bytes"),
        ("{server: {limits: {maxBodyBytes: many}}}", "expected a size such as 8KB"),
        ("{server: {log: {level: inof}}}", "\"inof\" is not known; did you mean `info`?"),
        ("{server: {log: {format: xml}}}", "\"xml\" is not known; expected text or json"),
        ("{server: {log: {access: 'true'}}}", "found the text \"true\"; expected true or false"),
        ("{server: {log: {output: ''}}}", "expected stdout, stderr or the path"),
        ("{server: [1]}", "found a list; expected a map"),
        ("{admin: {address: 10.0.0.1:1}}", "without a token; set `admin.token`"),
        ("{admin: {token: 12345}}", "is not text; put it in quotes"),
        ("{sevices: {}}", "unknown key; did you mean `services`?"),
    ]);
}

#[test]
fn values_of_services_are_checked() {
    let service = |text: &str| faults(&[&format!("gateway: {{services: {{a: {text}}}}}")]);
    for (text, reason) in [
        ("", "`backends` is missing"),
        ("{backends: []}", "backends: is empty; add at least one"),
        ("{backends: [{address: h:1, weight: 0}]}", "no backend takes new clients"),
        ("{backends: [10.0.0.1:80]}", "found text; expected a map of keys and values"),
        ("{backends: [{id: x}]}", "`address` is missing"),
        ("{backends: [{address: h}]}", "expected an address such as"),
        ("{backends: [{address: h:0}]}", "expected an address such as"),
        ("{backends: [{address: 'unix:app'}]}", "expected an address such as"),
        (
            "{backends: [{address: h:1}], proxyProtocol: v3}",
            "\"v3\" is not known; did you mean `v1`?",
        ),
        ("{backends: [{address: h:+80}]}", "expected an address such as"),
        ("{backends: [{address: 10.0.0.300:80}]}", "expected an address such as"),
        (
            "{backends: [{address: h:1, weight: 257}]}",
            "257 is out of range; expected a whole number from 0 to 256",
        ),
        (
            "{backends: [{address: h:1, weight: '3'}]}",
            "found the text \"3\"; expected a whole number",
        ),
        (
            "{backends: [{address: h:1, weight: 1.5}]}",
            "found the number 1.5; expected a whole number",
        ),
        ("{backends: [{address: h:1, version: 1.10}]}", "expected text (numbers in quotes)"),
        ("{backends: [{address: h:1, id: 'a b'}]}", "expected 1 to 100 printable characters"),
        ("{backends: [{address: h:1, id: ''}]}", "expected 1 to 100 printable characters"),
        (
            "{backends: [{address: h:1}], loadBalancing: {policy: roundrobin}}",
            "did you mean `round-robin`?",
        ),
        (
            "{backends: [{address: h:1}], healthCheck: {type: tcp, path: /}}",
            "a `tcp` check has no path",
        ),
        (
            "{backends: [{address: h:1}], healthCheck: {path: x}}",
            "expected a path that starts with",
        ),
        ("{backends: [{address: h:1}], healthCheck: {unhealthyThreshold: 0}}", "0 is out of range"),
        ("{backends: [{address: h:1}], timeouts: {read: 0ms}}", "expected at least 1ms"),
    ] {
        let faults = service(text);
        assert_eq!(faults.lines().count(), 1, "{text}: {faults}");
        assert!(faults.contains(reason), "{text}: {faults}");
    }
    assert!(faults(&["gateway: {services: {}}"]).contains("services: is empty"));
    assert!(faults(&["gateway: {}"]).contains("`services` is missing"));
    assert!(faults_of("gateway: {services: {'a b': {backends: [{address: h:1}]}}, router: {rules: [{id: x, serviceName: a}]}}").contains("not a name for a service"));
    assert!(
        faults_of("gateway: {services: {b: {backends: [{address: h:1}]}}}")
            .contains("several services, but no rules")
    );
}

#[test]
fn values_of_rules_are_checked() {
    for (text, reason) in [
        ("serviceName: a", "`id` is missing"),
        ("id: r", "`serviceName` is missing"),
        ("id: 'a b', serviceName: a", "printable characters without spaces"),
        ("id: r, serviceName: aa", "there is no service \"aa\"; did you mean `a`?"),
        ("id: r, serviceName: nobody", "there is no service \"nobody\"; write the name of one"),
        ("id: r, serviceName: a, hosts: ['www.*']", "expected a host such as"),
        ("id: r, serviceName: a, hosts: ['www.example.com:80']", "without a port"),
        ("id: r, serviceName: a, path: cart", "expected a path such as"),
        ("id: r, serviceName: a, path: '/a*'", "expected a path such as"),
        ("id: r, serviceName: a, path: '/*/a'", "expected a path such as"),
        ("id: r, serviceName: a, path: /a/../b", "expected a path such as"),
        ("id: r, serviceName: a, path: '*'", "expected a path such as"),
        ("id: r, serviceName: a, methods: [get]", "methods are written in upper case; write GET"),
        ("id: r, serviceName: a, headers: {'a b': x}", "not the name of a header"),
        (
            "id: r, serviceName: a, headers: {x-beta: 1}",
            "expected the value as text (numbers in quotes)",
        ),
        ("id: r, serviceName: a, order: first", "expected a whole number"),
    ] {
        refused(&[(&format!("{{router: {{rules: [{{{text}}}]}}}}"), reason)]);
    }
}

#[test]
fn values_of_affinity_are_checked() {
    for (text, reason) in [
        ("enabled: 'yes'", "expected true or false"),
        ("method: cookie, methods: [cookie]", "stands beside `methods`"),
        ("methods: []", "methods: is empty"),
        ("methods: [cokie]", "did you mean `cookie`?"),
        (
            "duration: 9h",
            "absoluteTimeout (8h) is below idleTimeout (9h); set absoluteTimeout to 9h",
        ),
        ("idleTimeout: 500ms", "expected at least 1s"),
        ("keyRotation: 10m", "or keyRotation to 2058s or more"),
        ("keyRotation: 10ms", "expected at least 1s"),
        ("absoluteTimeout: 60000d", "expected at most"),
        ("keys: [{id: 16, secret: 0123456789abcdef}]", "16 is out of range"),
        ("keys: [{id: 1}]", "`secret` is missing"),
        ("keys: [{secret: 0123456789abcdef}]", "`id` is missing"),
        ("keys: [{id: 1, secret: 0123456789abcde}]", "the secret is too short"),
        ("cookie: {name: 'a b'}", "expected 1 to 64 letters"),
        ("cookie: {path: x}", "expected a path that starts"),
        ("cookie: {path: '/;'}", "expected a path that starts"),
        ("cookie: {domain: 'a;b'}", "expected a domain such as"),
        ("cookie: {maxAge: 0}", "expected at least 1s"),
        ("cookie: {maxAge: -1}", "expected a number of seconds or a duration"),
        ("cookie: {maxAge: 4294967296}", "expected at most"),
        ("cookie: {secure: maybe}", "expected auto or true or false"),
        ("cookie: {sameSite: none, secure: false}", "browsers drop `sameSite: none`"),
        ("onMissing: rejekt", "did you mean `reject`"),
        ("onFull: queue", "expected wait or serve-once or redistribute or reject"),
        ("methods: [cookie, cookie]", "names a method twice"),
        ("methods: [sourceIP], policy: HashCookie", "contradicts the method"),
        ("cookie: {extensions: [Secure]}", "write it as `secure`"),
        ("cookie: {extensions: ['max-age=3']}", "write it as `maxAge`"),
        ("cookie: {extensions: [Partitioned], secure: false}", "browsers drop Partitioned"),
        ("cookie: {name: __Host-x, prefix: host, secure: true}", "has a prefix already"),
        ("adopt: [{format: nginx, cookie: r, secret: x}]", "this format has no secret"),
        ("encoding: plain, failback: immediate", "does not carry what this choice needs"),
        (
            "encoding: hash, onDraining: redistribute-when-idle",
            "does not carry what this choice needs",
        ),
        ("queryName: 'a b'", "expected the name of a parameter"),
        ("learn: [{}]", "write `header: NAME` or `cookie: NAME`"),
        ("learn: [{header: a, cookie: b}]", "is not one place"),
        ("learn: [{header: Host}]", "not spoken for by HTTP"),
        ("learn: [{header: a}, {header: A}]", "names a session twice"),
        ("learn: [{header: a}], envelope: {header: a}", "names a session twice"),
        ("envelope: {headre: a}", "did you mean `header`?"),
        ("burst: {window: soon}", "expected a duration"),
        (
            "algorithm: {type: consistent-hash, consistentHash: {loadFactor: 0.9}}",
            "expected a number from 1 to 100",
        ),
    ] {
        refused(&[(&format!("{{router: {{sessionAffinity: {{{text}}}}}}}"), reason)]);
    }
}

#[test]
fn no_rotation_is_written_as_zero() {
    let over = "gateway: {router: {sessionAffinity: {keyRotation: 0s}}}";
    assert_eq!(config(&[BASE, over]).rules[0].affinity.as_ref().unwrap().key_rotation, None);
}

#[test]
fn what_is_not_built_yet_says_so() {
    let sections = [
        ("gateway: {%}", "session"),
        ("gateway: {websocket: {%}}", "sessions"),
        ("gateway: {websocket: {sessionAffinity: {%}}}", "failover"),
        (
            "gateway: {services: {a: {%}}}",
            "discovery outlierDetection slowStart circuitBreaker rebindRate panicThreshold \
             retries mirror",
        ),
        ("gateway: {router: {rules: [{id: r, serviceName: a, %}]}}", "when rateLimit"),
    ];
    let mut checked = 0;
    for (text, keys) in sections {
        for key in keys.split_whitespace() {
            for value in ["", "{}", "[1]", "true"] {
                let faults = faults_of(&text.replace('%', &format!("{key}: {value}")));
                assert!(
                    faults.ends_with(&format!("{key}: not supported yet; remove it")),
                    "{faults}"
                );
                assert_eq!(faults.lines().count(), 1, "{faults}");
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 4 * 13);
}

#[test]
fn words_that_are_not_built_yet_say_so() {
    let sections = [(
        "gateway: {services: {a: {loadBalancing: {policy: %}}}}",
        "random least-connections power-of-two header-hash",
    )];
    for (text, words) in sections {
        for word in words.split_whitespace() {
            let faults = faults_of(&text.replace('%', word));
            assert!(
                faults.contains(&format!("\"{word}\" is not supported yet; write ")),
                "{faults}"
            );
        }
    }
}

#[test]
fn a_section_that_is_off_is_checked_all_the_same() {
    let over = "gateway: {router: {sessionAffinity: {enabled: false, cookie: {nme: x}}}}";
    let faults = read(&[BASE, over], &[]).unwrap_err();
    assert!(faults.to_string().contains("did you mean `name`?"));
}

#[test]
fn handshakes_are_bound_as_requests_unless_the_websocket_section_says_otherwise() {
    use crate::config::Handshakes;
    let handshakes = |over: &str| config(&[BASE, over]).rules[0].handshakes.clone();
    let word = |word: &str| format!("websocket: {{sessionAffinity: {{{word}}}}}");
    for (router, word, expected) in [
        ("", "websocket: {}".to_owned(), "as requests"),
        ("", word(""), "bound"),
        ("", word("enabled: true, stickyReconnect: false"), "bound"),
        ("", word("enabled: false"), "as requests"),
        ("sessionAffinity: {}", word("enabled: true"), "as requests"),
        ("sessionAffinity: {}", word("enabled: false"), "unbound"),
        ("sessionAffinity: {enabled: false}", word("enabled: true"), "bound"),
    ] {
        let over = format!("gateway: {{router: {{{router}}}, {word}}}");
        let found = match handshakes(&over) {
            Handshakes::AsRequests => "as requests",
            Handshakes::Bound(_) => "bound",
            Handshakes::Unbound => "unbound",
        };
        assert_eq!(found, expected, "{over}");
    }
    let defaults = "gateway: {router: {sessionAffinity: {enabled: false, cookie: {name: c}}}, \
                    websocket: {idleTimeout: 90s, sessionAffinity: {}}}";
    let Handshakes::Bound(affinity) = handshakes(defaults) else { panic!("bound") };
    assert_eq!(affinity.cookie.name, "c", "the router's own words, though they are off");
    let websocket = config(&[BASE, defaults]).websocket;
    assert_eq!(websocket.idle_timeout.as_secs(), 90);
    assert!(websocket.sticky_reconnect);
}
