//! What must hold for whatever a client, or a file, hands in: one module for each decoder, each
//! with one function, `holds`, that takes any bytes and panics where an invariant is broken.
//!
//! Apart from both of its users: the fuzz targets run it on what libFuzzer finds, `tests/decoders.rs`
//! on the seeds and on what proptest makes, in every test run. It sees only what the crate makes
//! public, as its callers do.

pub mod config;
pub mod cookies;
pub mod digests;
pub mod envoy;
pub mod forwarded;
pub mod haproxy;
pub mod host;
pub mod import;
pub mod path;
pub mod routes;
pub mod sealed;
pub mod tables;
