//! `stickfast plan`: what a change of the configuration moves. Two configurations in, one report
//! out; nothing is asked of a running gateway.

mod report;
mod rules;
mod services;
#[cfg(test)]
mod tests;
mod text;

use super::explain::offline::Offline;
use super::files;
use crate::model::clock;
use clap::{Args, Parser};
use report::{Plan, Share};
use std::path::PathBuf;

/// Two configurations.
#[derive(Args, Debug)]
pub(super) struct Change {
    /// A file of the configuration in force; several are merged in order.
    #[arg(short = 'c', long = "config", value_name = "OLD", required = true)]
    old: Vec<PathBuf>,
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Behind `--`: the same for the configuration to come.
    #[arg(last = true, required = true, value_name = "-c NEW", allow_hyphen_values = true)]
    new: Vec<String>,
}

/// What stands behind `--`.
#[derive(Parser, Debug)]
#[command(name = "stickfast plan -c OLD --", no_binary_name = true)]
struct Next {
    /// A file of the configuration to come; several are merged in order.
    #[arg(short = 'c', long = "config", value_name = "NEW", required = true)]
    config: Vec<PathBuf>,
    #[arg(long)]
    json: bool,
}

/// Tells on standard output what `change` moves.
///
/// # Errors
/// Faults in the files of either side.
pub(super) fn run(change: Change) -> anyhow::Result<()> {
    let next = Next::try_parse_from(&change.new)?;
    let now = clock::unix_now();
    let old = Offline::load(&files(None, change.old), now)?;
    let new = Offline::load(&files(None, next.config), now)?;
    let plan = plan(&old, &new);
    if change.json || next.json {
        println!("{}", serde_json::to_string_pretty(&plan)?);
    } else {
        print!("{plan}");
    }
    Ok(())
}

fn plan(old: &Offline, new: &Offline) -> Plan {
    let services = services::changes(old, new);
    let rules = rules::changes(old, new);
    let shares = || services.iter().filter_map(|service| service.moved);
    let total = Share { moved: shares().map(|s| s.moved).sum(), of: shares().map(|s| s.of).sum() };
    Plan { services, rules, total: Some(total).filter(|total| total.of > 0) }
}
