#![doc = include_str!("ARCHITECTURE.md")]
// The modules in dependency order, which is the order of the request path: each may name only
// modules listed above it. `tests/layering.rs` fails otherwise.
pub mod model;
pub mod config;
pub mod observe;
pub mod tls;
pub mod acme;
pub mod pool;
pub mod routing;
pub mod identity;
pub mod affinity;
pub mod balance;
pub mod rewriting;
pub mod websocket;
pub mod snapshot;
pub mod proxy;
pub mod explain;
pub mod admin;
pub mod server;
pub mod cli;
