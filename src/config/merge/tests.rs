//! Merging is associative, and nothing is lost on the way.

use super::{Node, merge};
use crate::config::fault::Reports;
use crate::config::node::Content;
use crate::config::place::Source;
use proptest::prelude::*;
use serde_yaml::Value;
use std::sync::Arc;

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3i64).prop_map(Value::from),
        "[ab]".prop_map(Value::from),
    ]
}

/// Maps, keyed lists with unique names, other lists and scalars, over few names so that they meet.
fn tree() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 24, 4, |inner| {
        let key = prop::sample::select(vec!["x", "y", "rules", "backends", "listeners", "id"]);
        let map = prop::collection::btree_map(key, inner.clone(), 0..4);
        let item = (prop::option::of(0..4i64), 0..4i64, inner.clone());
        let keyed = prop::collection::vec(item, 0..4).prop_map(|items| {
            let mut names = std::collections::BTreeSet::new();
            let fresh = items.into_iter().filter(|(id, address, _)| {
                names.insert(id.unwrap_or(*address))
            });
            fresh
                .map(|(id, address, value)| {
                    let mut item = serde_yaml::Mapping::new();
                    if let Some(id) = id {
                        item.insert("id".into(), id.into());
                    }
                    item.insert("address".into(), address.into());
                    item.insert("value".into(), value);
                    Value::Mapping(item)
                })
                .collect::<Vec<_>>()
        });
        let name = prop::sample::select(vec!["rules", "keys", "backends"]);
        prop_oneof![
            3 => map.prop_map(|map| map.into_iter().map(|(k, v)| (k.into(), v)).collect::<serde_yaml::Mapping>().into()),
            2 => (name, keyed).prop_map(|(name, items)| {
                serde_yaml::Mapping::from_iter([(name.into(), Value::Sequence(items))]).into()
            }),
            1 => prop::collection::vec(inner, 0..3).prop_map(Value::Sequence),
        ]
    })
}

fn node(value: &Value) -> Node {
    let text = serde_yaml::to_string(value).unwrap();
    Node::parse(&Arc::new(Source { name: String::new(), text }), &Reports::default()).unwrap()
}

/// The tree without places. Clashes are all alike: which pair is named depends on the order.
fn plain(node: &Node) -> String {
    match &node.content {
        Content::Null => "null".to_owned(),
        Content::Clash(_) => "clash".to_owned(),
        Content::Bool(_) | Content::Number(_) | Content::Text(_) => {
            format!("{:?}", node.scalar_text().unwrap())
        }
        Content::List(items) => {
            format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(", "))
        }
        Content::Map(entries) => {
            let entries = entries.iter().map(|(key, node)| format!("{key}: {}", plain(node)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn merging_is_associative(a in tree(), b in tree(), c in tree()) {
        let left = merge(merge(node(&a), node(&b)), node(&c));
        let right = merge(node(&a), merge(node(&b), node(&c)));
        prop_assert_eq!(plain(&left), plain(&right));
    }

    #[test]
    fn nothing_said_changes_nothing(a in tree()) {
        let same = plain(&node(&a));
        prop_assert_eq!(plain(&merge(node(&a), node(&Value::Null))), same.clone());
        prop_assert_eq!(plain(&merge(node(&Value::Null), node(&a))), same);
    }
}
