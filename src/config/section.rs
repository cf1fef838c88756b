//! The cursor that reads a map. Each key is named where it is read, so the reading code is the
//! description of the language; what was not named by the end of a section is an unknown key.
//! A fault never stops reading: it is reported and the value counts as absent.

use super::fault::{Refused, Reports};
use super::node::{Content, Node, report_repeats};
use super::place::{At, Origin};
use super::scalar::{Parsed, Scalar};
use super::suggest::did_you_mean;

/// What all sections share.
pub(super) struct Reader<'a> {
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    pub(super) reports: Reports,
    /// A file is missing from the tree, since it could not be parsed. What is absent may stand in
    /// there, so absence is no fault.
    pub(super) partial: bool,
}

impl Reader<'_> {
    pub(super) fn report(&self, at: &Origin, problem: impl Into<String>, cure: impl Into<String>) {
        self.reports.add(at, Refused::new(problem, cure));
    }

    /// A fault that a file which could not be parsed might resolve.
    pub(super) fn report_absence(&self, at: &Origin, problem: &str, cure: &str) {
        if !self.partial {
            self.report(at, problem, cure);
        }
    }

    /// Names that must differ, read and with their defaults.
    pub(super) fn report_repeats<'a>(&self, names: impl Iterator<Item = &'a At<String>>) {
        report_repeats(names.map(|name| (name.value.as_str(), &name.at)), &self.reports);
    }

    /// A map as a section. Anything else is reported and read as an empty one.
    pub(super) fn section<'a>(&'a self, node: &'a Node) -> Section<'a> {
        let is_map = matches!(node.content, Content::Map(_) | Content::Null);
        let entries = self.entries(node);
        let at = node.at.clone();
        Section { at, reader: self, entries, is_map, read: vec![], later: vec![] }
    }

    /// A section that says nothing, for the defaults.
    pub(super) fn empty_section(&self, at: Origin) -> Section<'_> {
        Section { at, reader: self, entries: &[], is_map: true, read: vec![], later: vec![] }
    }

    fn entries<'a>(&self, node: &'a Node) -> &'a [(String, Node)] {
        match &node.content {
            Content::Map(entries) => entries,
            Content::Null | Content::Clash(_) => &[],
            Content::Bool(_) | Content::Number(_) | Content::Text(_) | Content::List(_) => {
                // the kind only: the value may be a secret
                let found = format!("found {}", node.kind());
                self.report(&node.at, found, "expected a map of keys and values");
                &[]
            }
        }
    }

    fn items<'a>(&self, node: &'a Node) -> &'a [Node] {
        match &node.content {
            Content::List(items) => items,
            Content::Null | Content::Clash(_) => &[],
            Content::Bool(_) | Content::Number(_) | Content::Text(_) | Content::Map(_) => {
                self.report(&node.at, format!("found {}", node.kind()), "expected a list");
                &[]
            }
        }
    }

    fn value<T>(&self, node: &Node, parse: impl FnOnce(&Scalar) -> Parsed<T>) -> Option<At<T>> {
        match Scalar::of(node, self.env).and_then(|scalar| parse(&scalar)) {
            Ok(value) => Some(At { value, at: node.at.clone() }),
            Err(refused) => {
                self.reports.add(&node.at, refused);
                None
            }
        }
    }
}

/// A map that is being read. When it is dropped, keys that nobody asked for are reported.
pub(super) struct Section<'a> {
    /// Where it stands; where the section around it stands if it is absent.
    pub(super) at: Origin,
    pub(super) reader: &'a Reader<'a>,
    entries: &'a [(String, Node)],
    /// Otherwise it was reported already, and nothing in it can be missing.
    is_map: bool,
    read: Vec<&'static str>,
    later: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// What a key says, `None` if nothing. Marks the key as known.
    pub(super) fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        self.read.push(key);
        self.peek(key)
    }

    fn peek(&self, key: &str) -> Option<&'a Node> {
        let (_, node) = self.entries.iter().find(|(name, _)| name == key)?;
        // a clash was reported when the files were merged
        (!matches!(node.content, Content::Null | Content::Clash(_))).then_some(node)
    }

    /// Whether the key says anything, be it right or wrong.
    pub(super) fn says(&self, key: &str) -> bool {
        let silent = |node: &Node| matches!(node.content, Content::Null);
        self.entries.iter().any(|(name, node)| name == key && !silent(node))
    }

    /// Reports a key that is missing.
    pub(super) fn require(&self, key: &str, cure: &str) {
        if self.is_map && !self.says(key) {
            self.reader.report_absence(&self.at, &format!("`{key}` is missing"), cure);
        }
    }

    /// Reports a list or a map that has nothing in it.
    pub(super) fn reject_empty(&self, key: &str, cure: &str) {
        let Some(node) = self.peek(key) else { return };
        let is_empty = match &node.content {
            Content::List(items) => items.is_empty(),
            Content::Map(entries) => entries.is_empty(),
            Content::Null
            | Content::Bool(_)
            | Content::Number(_)
            | Content::Text(_)
            | Content::Clash(_) => false,
        };
        if is_empty {
            self.reader.report(&node.at, "is empty", cure);
        }
    }

    /// One value; `None` when it is absent or was refused.
    pub(super) fn value<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Scalar) -> Parsed<T>,
    ) -> Option<T> {
        self.value_at(key, parse).map(|found| found.value)
    }

    /// One value and where it stands.
    pub(super) fn value_at<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Scalar) -> Parsed<T>,
    ) -> Option<At<T>> {
        self.node(key).and_then(|node| self.reader.value(node, parse))
    }

    /// A list of values. Those that are refused are left out.
    pub(super) fn values<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&Scalar) -> Parsed<T>,
    ) -> Vec<T> {
        self.values_at(key, parse).into_iter().map(|found| found.value).collect()
    }

    /// A list of values, each with its place.
    pub(super) fn values_at<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&Scalar) -> Parsed<T>,
    ) -> Vec<At<T>> {
        let items = self.node(key).map_or(&[][..], |node| self.reader.items(node));
        items.iter().filter_map(|item| self.reader.value(item, &parse)).collect()
    }

    /// A map whose keys the operator chooses. Values that are refused are left out.
    pub(super) fn named_values<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&Scalar) -> Parsed<T>,
    ) -> Vec<(At<String>, T)> {
        let entries = self.node(key).map_or(&[][..], |node| self.reader.entries(node));
        let read = |(name, node): &(String, Node)| {
            let value = self.reader.value(node, &parse)?.value;
            Some((At { value: name.clone(), at: node.at.key() }, value))
        };
        entries.iter().filter_map(read).collect()
    }

    /// A section inside; an empty one when it is absent.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'a> {
        let (reader, at) = (self.reader, self.at.clone());
        let absent =
            || Section { at, reader, entries: &[], is_map: true, read: vec![], later: vec![] };
        self.node(key).map_or_else(absent, |node| reader.section(node))
    }

    /// A section inside, if it is there.
    pub(super) fn optional(&mut self, key: &'static str) -> Option<Section<'a>> {
        self.node(key).map(|node| self.reader.section(node))
    }

    /// A list of sections.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let items = self.node(key).map_or(&[][..], |node| self.reader.items(node));
        items.iter().map(|item| self.reader.section(item)).collect()
    }

    /// A map of sections whose keys the operator chooses.
    pub(super) fn named_sections(&mut self, key: &'static str) -> Vec<(At<String>, Section<'a>)> {
        let entries = self.node(key).map_or(&[][..], |node| self.reader.entries(node));
        let read = |(name, node): &'a (String, Node)| {
            (At { value: name.clone(), at: node.at.key() }, self.reader.section(node))
        };
        entries.iter().map(read).collect()
    }

    /// Keys that the language has but this release does not build: present, they are refused.
    pub(super) fn later(&mut self, keys: &[&'static str]) {
        self.later.extend(keys);
        for (name, node) in self.entries {
            if keys.contains(&name.as_str()) {
                self.reader.report(&node.at.key(), "not supported yet", "remove it");
            }
        }
    }

    /// Where to point when several keys contradict each other: to what the rule says rather than
    /// to what it inherits, which stands less deep; to the earlier of `keys` where both do.
    pub(super) fn blame(&self, keys: &[&str]) -> Origin {
        let present = keys.iter().rev().filter_map(|key| self.peek(key)).map(|node| &node.at);
        present.max_by_key(|at| at.depth()).unwrap_or(&self.at).clone()
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let known: Vec<_> = self.read.iter().chain(&self.later).copied().collect();
        for (name, node) in self.entries {
            if known.contains(&name.as_str()) {
                continue;
            }
            let known_keys = || match self.read.len() {
                1..=9 => format!("known here: {}", self.read.join(", ")),
                _ => String::new(),
            };
            let cure = did_you_mean(name, &known).unwrap_or_else(known_keys);
            self.reader.report(&node.at.key(), "unknown key", cure);
        }
    }
}
