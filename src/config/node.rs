//! The tree of one file, or of several merged: what `serde_yaml` read, with the origin of every
//! node. Separate from reading, since merging needs trees before anyone knows what they mean.

use super::fault::{Fault, Refused, Reports};
use super::merge::name_of_item;
use super::place::{Origin, Source, Step};
use serde_yaml::{Mapping, Value};
use std::sync::Arc;

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Origin,
    pub(super) content: Content,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Nothing said: the same as an absent key.
    Null,
    Bool(bool),
    /// As text, since only the reader knows which kind of number it needs.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the order written.
    Map(Vec<(String, Node)>),
    /// Two files disagree on the kind of this value. Reported once, then read as nothing.
    Clash(Clash),
}

/// The two places that disagree, each with its kind in words.
#[derive(Clone, Debug)]
pub(super) struct Clash {
    pub(super) under: (&'static str, Origin),
    pub(super) over: (&'static str, Origin),
}

impl Node {
    /// Parses a file. Faults that leave the rest readable go to `reports`.
    pub(super) fn parse(source: &Arc<Source>, reports: &Reports) -> Result<Self, Fault> {
        let parsed = serde_yaml::from_str::<Value>(&source.text).and_then(|mut value| {
            value.apply_merge()?;
            Ok(value)
        });
        let value = parsed.map_err(|error| Fault {
            place: Some(error.location().map_or((1, 1), |place| (place.line(), place.column()))),
            ..Fault::of_file(source.name.clone(), error.to_string())
        })?;
        Ok(Self::build(value, Origin::root(Arc::clone(source)), reports))
    }

    fn build(value: Value, at: Origin, reports: &Reports) -> Self {
        let content = match value {
            Value::Null => Content::Null,
            Value::Bool(flag) => Content::Bool(flag),
            Value::Number(number) => Content::Number(number.to_string()),
            Value::String(text) => Content::Text(text),
            Value::Sequence(items) => Content::List(
                items
                    .into_iter()
                    .enumerate()
                    .map(|(index, item)| Self::build(item, at.child(Step::Item(index)), reports))
                    .collect(),
            ),
            Value::Mapping(entries) => Content::Map(Self::build_map(entries, &at, reports)),
            Value::Tagged(_) => {
                reports.add(&at, Refused::new("has a YAML tag", "write the value without `!…`"));
                Content::Null
            }
        };
        Self { at, content }
    }

    fn build_map(entries: Mapping, at: &Origin, reports: &Reports) -> Vec<(String, Self)> {
        let mut map = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let Some(key) = key_text(key) else {
                reports.add(at, Refused::new("a key is not text", "write `name: value`"));
                continue;
            };
            let node = Self::build(value, at.child(Step::Key(key.clone())), reports);
            node.report_repeated_items(&key, reports);
            map.push((key, node));
        }
        map
    }

    /// Items that merging would take for one must not stand twice in one file.
    fn report_repeated_items(&self, list: &str, reports: &Reports) {
        let Content::List(items) = &self.content else { return };
        let names = items.iter().filter_map(|item| name_of_item(list, item));
        report_repeats(names, reports);
    }

    /// What `key` says, if this is a map and it says anything.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Content::Map(entries) = &self.content else { return None };
        let (_, node) = entries.iter().find(|(name, _)| name == key)?;
        (!matches!(node.content, Content::Null)).then_some(node)
    }

    /// Its text, if it is a scalar.
    pub(super) fn scalar_text(&self) -> Option<&str> {
        match &self.content {
            Content::Bool(flag) => Some(if *flag { "true" } else { "false" }),
            Content::Number(text) | Content::Text(text) => Some(text),
            Content::Null | Content::List(_) | Content::Map(_) | Content::Clash(_) => None,
        }
    }

    /// Its kind in words.
    /// Whether it is a map.
    pub(super) fn is_map(&self) -> bool {
        matches!(self.content, Content::Map(_))
    }

    pub(super) fn kind(&self) -> &'static str {
        match &self.content {
            Content::Null | Content::Clash(_) => "nothing",
            Content::Bool(_) => "true or false",
            Content::Number(_) => "a number",
            Content::Text(_) => "text",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }

    /// Reports every clash in the tree.
    pub(super) fn report_clashes(&self, reports: &Reports) {
        match &self.content {
            Content::Clash(Clash { under, over }) => {
                let problem = format!("{} here, but {} at {}", over.0, under.0, under.1);
                reports.add(&over.1, Refused::new(problem, "write the same kind in both places"));
            }
            Content::List(items) => {
                for item in items {
                    item.report_clashes(reports);
                }
            }
            Content::Map(entries) => {
                for (_, node) in entries {
                    node.report_clashes(reports);
                }
            }
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text(_) => {}
        }
    }
}

fn key_text(key: Value) -> Option<String> {
    match key {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}

/// Reports every name that an earlier one equals.
pub(super) fn report_repeats<'a>(
    names: impl Iterator<Item = (&'a str, &'a Origin)>,
    reports: &Reports,
) {
    let mut seen = std::collections::BTreeMap::new();
    for (name, at) in names {
        let first = seen.entry(name).or_insert(at);
        if !std::ptr::eq(*first, at) {
            let problem = format!("\"{name}\" is already used at {}", first.path());
            reports.add(at, Refused::new(problem, "give each its own"));
        }
    }
}
