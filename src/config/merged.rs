//! The configuration as the operator wrote it, all files laid on each other: to be shown, and to tell
//! what a reload changes. Apart from [`super::Config`], which has defaults filled in and no longer
//! says who wrote what.

use super::node::{Content, Node};
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt;

/// Keys whose values are for nobody's eyes.
const SECRET: [&str; 3] = ["secret", "token", "hashKey"];

/// What a list's items are told apart by, the first that an item has.
const NAMES: [&str; 2] = ["id", "address"];

/// The merged files. Variables of the environment stand there by name.
#[derive(Clone)]
pub struct Merged(Value);

/// One place where two configurations differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Such as `services.shop.backends[b1].weight`.
    pub path: String,
    /// What became of it.
    pub change: Change,
}

/// What became of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Only the later one has it.
    Added,
    /// Only the earlier one has it.
    Removed,
    /// Both have it, with other values.
    Changed,
}

impl Merged {
    pub(super) fn of(root: &Node) -> Self {
        Self(value(root))
    }

    /// What is written, secrets masked.
    pub fn masked(&self) -> Value {
        masked(&self.0)
    }

    /// What is different in `later`, in the order of its keys, removed ones last.
    pub fn differences(&self, later: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        let below = |tree: &Value| tree.get("gateway").cloned().unwrap_or_default();
        compare("", &below(&self.0), &below(&later.0), &mut found);
        found
    }
}

impl fmt::Debug for Merged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Merged({})", self.masked())
    }
}

fn value(node: &Node) -> Value {
    match &node.content {
        Content::Null | Content::Clash(_) => Value::Null,
        Content::Bool(flag) => Value::Bool(*flag),
        Content::Number(text) => {
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()))
        }
        Content::Text(text) => Value::String(text.clone()),
        Content::List(items) => items.iter().map(value).collect(),
        Content::Map(entries) => {
            entries.iter().map(|(key, node)| (key.clone(), value(node))).collect()
        }
    }
}

fn masked(tree: &Value) -> Value {
    match tree {
        Value::Object(entries) => {
            let entry = |(key, value): (&String, &Value)| {
                let hidden = SECRET.contains(&key.as_str()) && says_something(value);
                (key.clone(), if hidden { Value::from("***") } else { masked(value) })
            };
            Value::Object(entries.iter().map(entry).collect())
        }
        Value::Array(items) => items.iter().map(masked).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => tree.clone(),
    }
}

/// The name of a variable is no secret, and worth seeing.
fn says_something(value: &Value) -> bool {
    let text = value.as_str().unwrap_or("?");
    let is_variable = text.starts_with("${") && text.ends_with('}') && !text.contains(":-");
    !text.is_empty() && !is_variable
}

fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<Difference>) {
    if before == after {
        return;
    }
    let (Some(was), Some(is)) = (entries(before), entries(after)) else {
        let change = match (before, after) {
            (Value::Null, _) => Change::Added,
            (_, Value::Null) => Change::Removed,
            _ => Change::Changed,
        };
        return found.push(Difference { path: path.to_owned(), change });
    };
    let earlier = found.len();
    for (key, value) in &is {
        let former = was.iter().find(|(name, _)| name == key).map_or(&Value::Null, |(_, v)| v);
        compare(&step(path, key), former, value, found);
    }
    for (key, value) in &was {
        if !is.iter().any(|(name, _)| name == key) {
            compare(&step(path, key), value, &Value::Null, found);
        }
    }
    if found.len() == earlier {
        // the same things in another order, which counts in lists
        found.push(Difference { path: path.to_owned(), change: Change::Changed });
    }
}

/// What stands in a map, or in a list whose items have names that differ.
fn entries(tree: &Value) -> Option<Vec<(String, &Value)>> {
    match tree {
        Value::Object(map) => Some(map_entries(map)),
        Value::Array(items) => {
            let name = |item: &Value| {
                let name = NAMES.iter().find_map(|key| item.get(key))?;
                Some(format!("[{}]", name.as_str().map_or_else(|| name.to_string(), str::to_owned)))
            };
            let named: Option<Vec<_>> = items.iter().map(|i| Some((name(i)?, i))).collect();
            let named = named?;
            let repeats = |at: usize, key: &str| named.iter().take(at).any(|(name, _)| name == key);
            let differ = !named.iter().enumerate().any(|(at, (key, _))| repeats(at, key));
            differ.then_some(named)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn map_entries(map: &Map<String, Value>) -> Vec<(String, &Value)> {
    map.iter().map(|(key, value)| (key.clone(), value)).collect()
}

fn step(path: &str, key: &str) -> String {
    if path.is_empty() || key.starts_with('[') {
        format!("{path}{key}")
    } else {
        format!("{path}.{key}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn differences(before: Value, after: Value) -> Vec<String> {
        let wrap = |tree| Merged(json!({ "gateway": tree }));
        let found = wrap(before).differences(&wrap(after));
        found.into_iter().map(|d| format!("{:?} {}", d.change, d.path)).collect()
    }

    #[test]
    fn secrets_are_masked_but_not_the_names_of_variables() {
        let tree = json!({
            "keys": [{ "id": 1, "secret": "s3cret" }, { "id": 2, "secret": "${KEY}" }],
            "admin": { "token": "${TOKEN:-s3cret}", "address": "127.0.0.1:1" },
            "hashKey": "",
        });
        let shown = Merged(tree.clone()).masked();
        assert!(!shown.to_string().contains("s3cret"), "{shown}");
        assert!(!format!("{:?}", Merged(tree)).contains("s3cret"));
        assert_eq!(shown["keys"][1]["secret"], "${KEY}");
        assert_eq!(shown["admin"]["address"], "127.0.0.1:1");
        assert_eq!(shown["hashKey"], "");
    }

    #[test]
    fn items_are_told_apart_by_their_names() {
        let before = json!({ "backends": [{ "id": "a", "weight": 1 }, { "id": "b" }], "x": 1 });
        let after = json!({ "backends": [{ "id": "c" }, { "id": "a", "weight": 2 }], "x": 1 });
        let expected = ["Added backends[c]", "Changed backends[a].weight", "Removed backends[b]"];
        assert_eq!(differences(before.clone(), after), expected);
        assert_eq!(differences(before.clone(), before), [""; 0]);
    }

    #[test]
    fn the_order_of_a_list_is_a_difference() {
        let before = json!({ "rules": [{ "id": "a" }, { "id": "b" }], "methods": ["x", "y"] });
        let after = json!({ "rules": [{ "id": "b" }, { "id": "a" }], "methods": ["y", "x"] });
        let mut found = differences(before, after);
        found.sort();
        assert_eq!(found, ["Changed methods", "Changed rules"]);
    }
}
