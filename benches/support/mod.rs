//! A snapshot from YAML and a whole decision, for benches and for tests that measure.

use http::{HeaderMap, Method};
use std::net::{IpAddr, Ipv4Addr};
use stickfast::affinity::{Binding, Found, Stamp};
use stickfast::config::{self, Source};
use stickfast::model::{Secret, UnixTime};
use stickfast::observe::Metrics;
use stickfast::pool::Cells;
use stickfast::proxy::decide::{self, Asked, Choice, Wish};
use stickfast::snapshot::{Caller, Snapshot, Stickiness, Surroundings, Text, compile};
use stickfast::tls::Tickets;

/// When the benches take place.
pub const NOW: UnixTime = UnixTime(1_800_000_000);

/// Compiles `yaml`.
pub fn snapshot(yaml: &str) -> Snapshot {
    let source = Source { name: "bench.yaml".into(), text: yaml.into() };
    let config = config::load(vec![source], &|_| None).unwrap();
    let (cells, metrics) = (Cells::default(), Metrics::new().unwrap());
    let around = Surroundings {
        cells: &cells,
        metrics: &metrics,
        tickets: &Tickets::default(),
        lookup: &|_| Ok(vec![]),
        generated_key: &|| Secret::new("a generated key for benches".into()),
        now: NOW,
    };
    compile(&config, &around).unwrap()
}

/// One service of `backends` backends, `rules` rules, affinity on.
pub fn yaml(backends: usize, rules: usize, policy: &str) -> String {
    let backends: String = (0..backends)
        .map(|n| format!("        - {{ id: b{n}, address: 10.0.{}.{}:80 }}\n", n / 256, n % 256))
        .collect();
    let rules: String = (0..rules)
        .map(|n| {
            format!(
                "      - {{ id: r{n}, hosts: [h{}.example.com], path: /area{n}/*, serviceName: s }}\n",
                n % 100
            )
        })
        .collect();
    format!(
        "gateway:\n  services:\n    s:\n      loadBalancing: {{ policy: {policy} }}\n      backends:\n{backends}  \
         router:\n    rules:\n{rules}    sessionAffinity: {{ keys: [{{ id: 1, secret: sixteen bytes or more }}] }}\n"
    )
}

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// A binding of now.
pub fn binding(backend: &str) -> Binding<'_> {
    Binding { issued: NOW, seen: NOW, tag: 9, backend, incarnation: "", version: "", home: "" }
}

/// The `Set-Cookie` value for it; none of its backend's place goes into a sealed key.
pub fn seal(stickiness: &Stickiness, binding: &Binding<'_>) -> Option<String> {
    let key = stickiness.codec(Text::Carrier(0))?.write(binding, 0, [7; 12], NOW)?;
    Some(stickiness.set_cookie(&key, false, NOW))
}

/// Everything that is decided for a request of `path` and `host`; tells the stamp, and the cookie
/// where one is written.
pub fn decide(
    snapshot: &Snapshot,
    host: &str,
    path: &str,
    headers: &HeaderMap,
) -> Option<(Stamp, Option<String>)> {
    let at = snapshot.route(host, &snapshot.bare_path(path), &Method::GET, headers)?;
    let target = snapshot.target(at, headers).ok()?;
    let rule = snapshot.rule(target.rule)?;
    let stickiness = rule.stickiness.as_ref()?;
    let asked = Asked {
        snapshot,
        rule,
        subset: target.subset.as_deref(),
        headers,
        target: path,
        caller: Caller { client: ADDRESS, peer: ADDRESS },
        recall: &|_, _| Found::Nothing,
        now: NOW,
    };
    let identified = decide::identify(&asked, None);
    let (subset, bound) = (target.subset.as_ref(), identified.version.as_ref());
    let choice = decide::choose(Wish {
        service: &rule.service,
        choices: &rule.service.choices,
        key: &[10, 0, 0, 1],
        within: &decide::within(subset, bound, &rule.service.split, || 0),
        bond: identified.bond.as_ref(),
        company: None,
        tried: &[],
    });
    let (Choice::Bound(member) | Choice::Placed(member)) = choice else { return None };
    let bond = identified.bond.as_ref();
    let stamp = decide::stamped(bond, &member, stickiness.terms, NOW);
    if stamp == Stamp::Nothing {
        return Some((stamp, None));
    }
    let written = decide::written(&stamp, bond, &member, 9, NOW);
    let key = written.key(stickiness, &rule.service, Text::Carrier(0), [7; 12])?;
    Some((stamp, Some(stickiness.set_cookie(&key, false, NOW))))
}
