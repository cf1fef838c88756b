//! How several files, or a rule and the router, become one tree. Merging is associative: `a` with
//! `b`, then `c`, is `a` with (`b` with `c`).
//!
//! | under \ over | nothing | scalar | list | map |
//! | --- | --- | --- | --- | --- |
//! | nothing | nothing | over | over | over |
//! | scalar | under | over | clash | clash |
//! | list | under | clash | over, or item by item | clash |
//! | map | under | clash | clash | key by key |

use super::node::{Clash, Content, Node};
use super::place::Origin;

/// Lays `over` on `under`.
pub(super) fn merge(under: Node, over: Node) -> Node {
    merge_entry("", under, over)
}

fn merge_entry(key: &str, under: Node, over: Node) -> Node {
    use Content::{Bool, List, Map, Null, Number, Text};
    let kinds = (under.kind(), over.kind());
    let (at, content) = match (under.content, over.content) {
        (Null, content) => (over.at, content),
        (content, Null) | (content @ Content::Clash(_), _) => (under.at, content),
        (List(old), List(new)) if is_merged_by_item(key) => {
            (under.at, List(merge_items(key, old, new)))
        }
        (Map(old), Map(new)) => (under.at, Map(merge_maps(old, new))),
        (_, content @ Content::Clash(_))
        | (List(_), content @ List(_))
        | (Bool(_) | Number(_) | Text(_), content @ (Bool(_) | Number(_) | Text(_))) => {
            (over.at, content)
        }
        _ => {
            let clash = Clash { under: (kinds.0, under.at), over: (kinds.1, over.at.clone()) };
            (over.at, Content::Clash(clash))
        }
    };
    Node { at, content }
}

fn merge_maps(mut entries: Vec<(String, Node)>, new: Vec<(String, Node)>) -> Vec<(String, Node)> {
    for (key, over) in new {
        match entries.iter().position(|(name, _)| *name == key) {
            Some(index) => {
                let (_, under) = entries.remove(index);
                let merged = merge_entry(&key, under, over);
                entries.insert(index, (key, merged));
            }
            None => entries.push((key, over)),
        }
    }
    entries
}

fn merge_items(list: &str, mut items: Vec<Node>, new: Vec<Node>) -> Vec<Node> {
    for over in new {
        let name = name_of_item(list, &over).map(|(name, _)| name);
        let same = |item: &Node| name.is_some() && name_of_item(list, item).map(|n| n.0) == name;
        match items.iter().position(same) {
            Some(index) => {
                let under = items.remove(index);
                items.insert(index, merge_entry("", under, over));
            }
            None => items.push(over),
        }
    }
    items
}

fn is_merged_by_item(list: &str) -> bool {
    matches!(list, "rules" | "keys" | "backends" | "listeners")
}

/// What tells the items of a list apart, and where it stands. `None`: nothing does.
pub(super) fn name_of_item<'a>(list: &str, item: &'a Node) -> Option<(&'a str, &'a Origin)> {
    let of = |key| item.get(key).and_then(|node| Some((node.scalar_text()?, &node.at)));
    match list {
        "rules" | "keys" => of("id"),
        "backends" => of("id").or_else(|| of("address")),
        // several listeners may ask for any free port
        "listeners" => of("address").filter(|(address, _)| !address.ends_with(":0")),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
