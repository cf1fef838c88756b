//! The root of the language, and what its sections have to say about each other.

use super::admin;
use super::merge::merge;
use super::merged::Merged;
use super::node::Node;
use super::router::{self, Router};
use super::section::Reader;
use super::server;
use super::services;
use super::websocket;
use super::written::Config;
use crate::model::Address;

/// Reads all of the tree. Where there was a fault, the value is a stand-in.
pub(super) fn read(reader: &Reader, root: &Node) -> Config {
    let merged = Merged::of(root);
    let mut root = reader.section(root);
    root.require("gateway", "everything stands below `gateway:`");
    let mut gateway = root.section("gateway");
    let server = server::read(gateway.section("server"));
    let admin = admin::read(gateway.section("admin"));
    if root.says("gateway") {
        gateway.require("services", "add at least one service");
    }
    let (mut services, sections) = services::read(&mut gateway);
    let websocket = websocket::read(gateway.section("websocket"));
    let router = router::read(&mut gateway, &mut services, &sections, websocket.affinity);
    gateway.later(&["session"]);

    let address = admin.address.value;
    let clashing = |at: &&super::At<Address>| {
        at.value.inet().is_some_and(|listener| server::overlap(listener, address))
    };
    for listener in server.listeners.iter().map(|l| &l.address).filter(clashing) {
        let cure = "give the listener or `admin.address` another port";
        reader.report(&listener.at, "is also the address of `admin`", cure);
    }
    let Router { rules, service_header, hash_key } = router;
    Config { server, admin, services, rules, service_header, hash_key, websocket, merged }
}

/// Lays the files on each other; what they disagree about is reported.
pub(super) fn merge_files(reader: &Reader, files: Vec<Node>) -> Option<Node> {
    let merged = files.into_iter().reduce(merge)?;
    merged.report_clashes(&reader.reports);
    Some(merged)
}
