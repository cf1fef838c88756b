//! What one request costs before and after it is forwarded. The targets are in README.md.

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(
    unreachable_pub,
    clippy::format_collect,
    reason = "the support module is shared with tests"
)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench fails by panicking")]

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Method, header};
use std::hint::black_box;
use stickfast::affinity::sealed::OpenBuffer;
use stickfast::snapshot::{Rule, Snapshot};
use support::{NOW, binding, decide, snapshot, yaml};

const APPLICATION: &str = "theme=dark; lang=en; JSESSIONID=0123456789ABCDEF; _ga=GA1.2.3.4";

fn first_rule(snapshot: &Snapshot) -> &Rule {
    snapshot.rule(0).unwrap()
}

/// The `Cookie` value of a client that is bound to `backend`.
fn cookie(snapshot: &Snapshot, backend: &str) -> String {
    let stickiness = first_rule(snapshot).stickiness.as_ref().unwrap();
    let set = support::seal(stickiness, &binding(backend)).unwrap();
    let (pair, _) = set.split_once(';').unwrap();
    format!("theme=dark; {pair}; {APPLICATION}")
}

fn route(c: &mut Criterion) {
    for rules in [10, 10_000] {
        let snapshot = snapshot(&yaml(3, rules, "round-robin"));
        let last = rules - 1;
        let (host, path) = (format!("h{}.example.com", last % 100), format!("/area{last}/cart/1"));
        let headers = HeaderMap::new();
        assert_eq!(snapshot.route(&host, &path, &Method::GET, &headers), Some(last));
        c.bench_function(&format!("route/{rules} rules"), |b| {
            b.iter(|| snapshot.route(black_box(&host), black_box(&path), &Method::GET, &headers));
        });
    }
}

fn keys(c: &mut Criterion) {
    let snapshot = snapshot(&yaml(3, 1, "round-robin"));
    let stickiness = first_rule(&snapshot).stickiness.as_ref().unwrap();
    let line = cookie(&snapshot, "b1");
    c.bench_function("cut", |b| {
        b.iter(|| snapshot.cutter.cut(black_box(line.as_bytes()), stickiness.wanted()));
    });
    let found = snapshot.cutter.cut(line.as_bytes(), stickiness.wanted()).found;
    c.bench_function("open", |b| {
        b.iter(|| {
            let mut buffer = OpenBuffer::default();
            black_box(stickiness.carriers[0].codec.open(black_box(found[0].key), NOW, &mut buffer));
        });
    });
    c.bench_function("seal", |b| {
        b.iter(|| support::seal(stickiness, black_box(&binding("b1"))));
    });
}

fn pick(c: &mut Criterion) {
    for (policy, counts) in
        [("round-robin", &[10][..]), ("consistent-hash", &[10, 100, 1000]), ("maglev", &[1000])]
    {
        for &count in counts {
            let snapshot = snapshot(&yaml(count, 1, policy));
            let service = &first_rule(&snapshot).service;
            let mut client = 0_u32;
            c.bench_function(&format!("pick/{policy} of {count}"), |b| {
                b.iter(|| {
                    client = client.wrapping_add(0x9E37_79B9);
                    service.pick(&client.to_be_bytes(), |_| true)
                });
            });
        }
    }
}

fn whole(c: &mut Criterion) {
    let snapshot = snapshot(&yaml(100, 1000, "consistent-hash"));
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, "bench".parse().unwrap());
    headers.insert(header::COOKIE, cookie(&snapshot, "b42").parse().unwrap());
    c.bench_function("whole decision, bound client", |b| {
        b.iter(|| decide(&snapshot, "h99.example.com", "/area999/cart", black_box(&headers)));
    });
    headers.remove(header::COOKIE);
    c.bench_function("whole decision, new client", |b| {
        b.iter(|| decide(&snapshot, "h99.example.com", "/area999/cart", black_box(&headers)));
    });
}

criterion_group!(benches, route, keys, pick, whole);
criterion_main!(benches);
