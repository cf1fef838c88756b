//! What a second thread adds: requests are decided and counted by one thread and by two, on one
//! snapshot. What threads write for each request must lie apart, or two are hardly faster than one.
//! No criterion: what is asked is one factor, not a time. Ends with 1 where it is too low.

#![allow(
    unreachable_pub,
    clippy::format_collect,
    reason = "the support module is shared with tests"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench fails by panicking")]

mod support;

use http::{HeaderMap, header};
use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};
use stickfast::model::{Brought, Did, Verdict};
use stickfast::observe::Metrics;
use stickfast::pool::Seat;
use stickfast::snapshot::Snapshot;
use support::{binding, decide, seal, snapshot, yaml};

/// Requests of each thread in a round.
const REQUESTS: u32 = 300_000;
const ROUNDS: usize = 9;
const LEAST: f64 = 1.8;

/// What a thread needs for its requests.
#[derive(Clone)]
struct Gateway {
    snapshot: Arc<Snapshot>,
    metrics: Arc<Metrics>,
}

impl Gateway {
    fn new() -> Self {
        let snapshot = Arc::new(snapshot(&yaml(4, 10, "round-robin")));
        Self { snapshot, metrics: Arc::new(Metrics::new().unwrap()) }
    }

    /// A client that is bound to the backend.
    fn headers(&self) -> HeaderMap {
        let stickiness = self.snapshot.rule(0).unwrap().stickiness.as_ref().unwrap();
        let set = seal(stickiness, &binding("b2")).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, set.split_once(';').unwrap().0.parse().unwrap());
        headers
    }

    /// Many of its requests, each decided and counted as the hooks do; tells how long they took.
    fn serve(&self, start: &Barrier) -> Duration {
        let headers = self.headers();
        let rule = self.snapshot.rule(9).unwrap();
        let member = rule.service.pool.members().get(2).unwrap();
        let took = Duration::from_micros(300);
        start.wait();
        let begun = now();
        for _ in 0..REQUESTS {
            let _active = self.metrics.begin();
            let host = black_box("h9.example.com");
            assert!(decide(&self.snapshot, host, "/area9/cart", &headers).is_some());
            let seat = Seat::take(member);
            member.metrics.asked();
            drop(black_box(seat));
            self.metrics.served_hot();
            rule.metrics.answered(200);
            rule.service.metrics.took(black_box(took));
            rule.service.metrics.verdict(Verdict { brought: Brought::Valid, did: Did::Nothing });
            rule.service.metrics.hit();
        }
        now() - begun
    }
}

#[allow(clippy::disallowed_methods, reason = "a measurement")]
fn now() -> Instant {
    Instant::now()
}

/// Requests a second of threads that begin together, one for each gateway.
fn throughput(gateways: &[Gateway]) -> f64 {
    let start = Barrier::new(gateways.len());
    let took = thread::scope(|scope| {
        let serve = |gateway| {
            let start = &start;
            scope.spawn(move || Gateway::serve(gateway, start))
        };
        let threads: Vec<_> = gateways.iter().map(serve).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    took.iter().map(|took| f64::from(REQUESTS) / took.as_secs_f64()).sum()
}

fn main() {
    let (one, other) = (Gateway::new(), Gateway::new());
    let shared = [one.clone(), one.clone()];
    let apart = [one, other];
    let mut best = [0_f64; 3];
    // in turn, so that whoever else uses the machine is met by all alike
    for _ in 0..ROUNDS {
        let seen = [throughput(&shared[..1]), throughput(&shared), throughput(&apart)];
        for (best, seen) in best.iter_mut().zip(seen) {
            *best = best.max(seen);
        }
    }
    let [alone, together, machine] = best;
    println!("one thread:                      {:.0} ns a request", 1e9 / alone);
    println!("two threads, one snapshot:       {:.2} times as many", together / alone);
    println!(
        "two threads, nothing in common:  {:.2} times (what the machine gives)",
        machine / alone
    );
    if together / alone < LEAST {
        eprintln!("too little: at least {LEAST} is expected, the best of {ROUNDS} rounds");
        std::process::exit(1);
    }
}
