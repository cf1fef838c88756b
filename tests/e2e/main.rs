//! The product from outside: the real binary, toy backends in this process, raw HTTP over loopback.
//!
//! Every test starts its own gateway on ports that the system chooses and waits by polling. What
//! the tests are made of is in `harness`; every other module is one theme.

#![allow(
    clippy::disallowed_methods,
    reason = "deadlines of tests are real time; nothing here is handed to the product"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation ends a test; .clippy.toml sees only functions marked #[test]"
)]

mod harness;

mod acme;
mod admin;
mod affinity;
mod attack;
mod balancing;
mod burst;
mod curl;
mod cookies;
mod drivers;
mod explain;
mod failures;
mod forwarding;
mod framing;
mod handed_over;
mod hashing;
mod grpc;
mod health;
mod hot;
mod hot_bodies;
mod http2;
mod http2_both;
mod http2_drain;
mod http2_tls;
mod import;
mod instances;
mod jar;
mod keys;
mod layers;
mod limits;
mod logs;
mod methods;
mod metrics;
mod pairs;
mod peers;
mod policies;
mod process;
mod queue;
mod proxy_protocol;
mod reload;
mod services;
mod sessions;
mod spec2;
mod subsets;
mod tls;
mod tls_backends;
mod tls_openssl;
mod urls;
mod websocket;
mod systemd;
mod upgrade;
mod unix;
mod written;
