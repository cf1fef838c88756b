//! A snapshot from YAML, for benches and for tests that measure.

use stickfast::config::{self, Source};
use stickfast::model::{Secret, UnixTime};
use stickfast::observe::Metrics;
use stickfast::pool::Cells;
use stickfast::snapshot::{Snapshot, Surroundings, compile};

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
