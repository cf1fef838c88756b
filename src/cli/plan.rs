//! `stickfast plan`: what a change of the configuration moves. Two configurations in, one report
//! out; nothing is asked of a running gateway.

mod places;
mod report;
mod rules;
mod services;
mod settings;
#[cfg(test)]
mod tests;
mod text;

use super::explain;
use super::files;
use crate::config::{Config, HandshakeAffinity, WebSocket};
use crate::explain::World;
use crate::model::{Secret, clock};
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
    let old = explain::load(&files(None, change.old), now)?;
    let new = explain::load(&files(None, next.config), now)?;
    let plan = plan(&old, &new);
    if change.json || next.json {
        println!("{}", serde_json::to_string_pretty(&plan)?);
    } else {
        print!("{plan}");
    }
    Ok(())
}

fn plan(old: &World, new: &World) -> Plan {
    let services = services::changes(old, new);
    let rules = rules::changes(old, new);
    let by_services = services.iter().filter_map(|service| service.moved);
    let shares: Vec<Share> =
        by_services.chain(rules.iter().filter_map(|rule| rule.moved)).collect();
    let total = Share {
        moved: shares.iter().map(|share| share.moved).sum(),
        of: shares.iter().map(|share| share.of).sum(),
    };
    Plan {
        changes: gateway(&old.config, &new.config),
        services,
        rules,
        total: Some(total).filter(|total| total.of > 0),
    }
}

/// What concerns the whole gateway.
fn gateway(old: &Config, new: &Config) -> Vec<String> {
    let mut told = Vec::new();
    let (was, is) = (&old.hash_key, &new.hash_key);
    if was != is {
        let named =
            |key: &Secret| if key.is_empty() { "the generated key" } else { "a configured one" };
        let change = match (was.is_empty(), is.is_empty()) {
            (false, false) => "router.hashKey is another one".to_owned(),
            _ => format!("router.hashKey: {} -> {}", named(was), named(is)),
        };
        told.push(format!("{change}: every place by a hash is another"));
    }
    let (was, is) = (&old.server.state_dir, &new.server.state_dir);
    if was != is {
        let (was, is) = (was.display(), is.display());
        told.push(format!(
            "stateDir {was} -> {is}: unless `affinity.key` moves along, the generated key is another              one"
        ));
    }
    let header = |config: &Config| {
        let header = config.service_header.as_ref();
        header.map_or("none".to_owned(), |header| header.name.clone())
    };
    let (was, is) = (header(old), header(new));
    if was != is {
        told.push(format!("serviceHeader {was} -> {is}: requests name their service otherwise"));
    }
    if old.server.trusted_proxies != new.server.trusted_proxies {
        told.push(
            "trustedProxies: addresses of clients, which hashes may use, can be others".into(),
        );
    }
    told.extend(websockets(&old.websocket, &new.websocket));
    let (was, is) = (old.server.limits.max_learned, new.server.limits.max_learned);
    if was != is {
        told.push(format!("maxLearned {was} -> {is}"));
    }
    told
}

/// What becomes of WebSockets.
fn websockets(old: &WebSocket, new: &WebSocket) -> Vec<String> {
    let named = |affinity: HandshakeAffinity| match affinity {
        HandshakeAffinity::AsRequests => "bound as the requests of their rule",
        HandshakeAffinity::On => "bound, also where requests are not",
        HandshakeAffinity::Off => "not bound",
    };
    let mut told = Vec::new();
    if old.affinity != new.affinity {
        let (was, is) = (named(old.affinity), named(new.affinity));
        told.push(format!("websocket.sessionAffinity: handshakes were {was}, and are {is}"));
    }
    match (old.sticky_reconnect, new.sticky_reconnect) {
        (true, false) => told.push(
            "websocket.sessionAffinity.stickyReconnect: the key of a handshake counts no more"
                .into(),
        ),
        (false, true) => told.push(
            "websocket.sessionAffinity.stickyReconnect: the key of a handshake counts".into(),
        ),
        (true, true) | (false, false) => {}
    }
    if old.idle_timeout != new.idle_timeout {
        let [was, is] = [old, new].map(|side| humantime::format_duration(side.idle_timeout));
        told.push(format!("websocket.idleTimeout {was} -> {is}"));
    }
    told
}
