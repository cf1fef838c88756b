//! The files of the operator: read, merged, checked. Every fault of every file is found in one go
//! and says where it stands and what to write instead.
//!
//! ```text
//! Source ─► node: the tree ─► merge: one tree ─► section: typed reading ─► written::Config
//!                 └──────────────── faults of all steps ────────────────► Faults
//! ```
//!
//! The reading files (`gateway`, `server`, `tls`, `acme`, `admin`, `services`, `router`, `affinity`,
//! `websocket`) are the one
//! description of the language: each key stands there with its kind, range and default.

mod acme;
mod admin;
mod affinity;
mod env;
mod fault;
mod gateway;
mod handshakes;
mod locate;
mod merge;
mod merged;
mod method;
mod node;
pub mod place;
mod router;
mod scalar;
mod section;
mod server;
mod services;
mod session_source;
mod suggest;
mod syntax;
#[cfg(test)]
mod tests;
mod tls;
mod websocket;
pub mod written;

pub use fault::{Fault, Faults};
pub use merged::{Change, Difference, Merged};
pub use place::{At, Origin, Source};
pub use written::*;

pub(crate) use syntax::is_host_and_port;

use fault::Reports;
use node::Node;
use section::Reader;
use std::sync::Arc;

/// Reads, merges (later files over earlier ones) and checks the files. `env` looks up a variable
/// of the environment.
///
/// # Errors
/// Every fault there is. While a file cannot be parsed, nothing is said about what is absent from
/// the others.
pub fn load(sources: Vec<Source>, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Faults> {
    match read(sources, env) {
        (Some(config), faults) if faults.is_empty() => Ok(config),
        (_, faults) => Err(faults.into()),
    }
}

/// As [`load`], but with what could be read where there are faults: stand-ins take the place of
/// what could not. Good for finding more faults, not for serving.
pub fn read(
    sources: Vec<Source>,
    env: &dyn Fn(&str) -> Option<String>,
) -> (Option<Config>, Vec<Fault>) {
    let reports = Reports::default();
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    for source in sources {
        match Node::parse(&Arc::new(source), &reports) {
            Ok(node) => files.push(node),
            Err(fault) => faults.push(fault),
        }
    }
    let reader = Reader { env, reports, partial: !faults.is_empty() };
    let config = gateway::merge_files(&reader, files).map(|tree| gateway::read(&reader, &tree));
    faults.extend(reader.reports.into_faults());
    if config.is_none() && faults.is_empty() {
        faults.push(Fault::of_file("stickfast".to_owned(), "no configuration file".to_owned()));
    }
    (config, faults)
}
