//! The cursor that reads a map of the JSON: keys without regard to case, as .NET does. What was
//! not asked for can be told in the end.

use super::json::{Content, Node};
use super::page::Page;
use super::{Import, ImportError, time_span};
use std::time::Duration;

/// A map that is being read.
pub(super) struct Section<'a> {
    pub(super) import: &'a Import<'a>,
    /// `ReverseProxy.Clusters.a`
    pub(super) path: String,
    /// Where it stands; `None` when it is absent.
    node: Option<&'a Node>,
    read: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn of(
        import: &'a Import<'a>,
        node: &'a Node,
        path: impl Into<String>,
    ) -> Result<Self, ImportError> {
        let path = path.into();
        match &node.content {
            Content::Map(_) | Content::Null => {
                Ok(Self { import, path, node: Some(node), read: vec![] })
            }
            Content::Scalar(_) | Content::List(_) => {
                Err(import.error(node, format!("expected a map of keys and values for `{path}`")))
            }
        }
    }

    /// An error about this section as a whole.
    pub(super) fn refuse(&self, problem: &str) -> ImportError {
        let top = ImportError { line: 1, column: 1, problem: problem.to_owned() };
        self.node.map_or(top, |node| self.import.error(node, problem))
    }

    pub(super) fn entries(&self) -> &'a [(String, Node)] {
        match self.node.map(|node| &node.content) {
            Some(Content::Map(entries)) => entries,
            Some(Content::Null | Content::Scalar(_) | Content::List(_)) | None => &[],
        }
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn says(&self, key: &str) -> bool {
        self.peek(key).is_some()
    }

    pub(super) fn peek(&self, key: &str) -> Option<&'a Node> {
        let (_, node) = self.entries().iter().find(|(name, _)| name.eq_ignore_ascii_case(key))?;
        (!matches!(node.content, Content::Null)).then_some(node)
    }

    /// What a key says, `None` if nothing.
    pub(super) fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        self.read.push(key);
        self.peek(key)
    }

    /// A map inside; an empty one when it is absent.
    pub(super) fn section(&mut self, key: &'static str) -> Result<Self, ImportError> {
        let absent =
            Self { import: self.import, path: self.path_of(key), node: None, read: vec![] };
        Ok(self.optional(key)?.unwrap_or(absent))
    }

    /// A map inside, if it is there.
    pub(super) fn optional(&mut self, key: &'static str) -> Result<Option<Self>, ImportError> {
        let path = self.path_of(key);
        self.node(key).map(|node| Self::of(self.import, node, path)).transpose()
    }

    /// Sections inside a list or a map, each with its key: .NET takes one for the other.
    pub(super) fn sections(
        &mut self,
        key: &'static str,
    ) -> Result<Vec<(Option<&'a str>, Self)>, ImportError> {
        let path = self.path_of(key);
        let mut sections = Vec::new();
        for (nth, (name, node)) in self.children(key)?.into_iter().enumerate() {
            let path = format!("{path}.{}", name.map_or_else(|| nth.to_string(), str::to_owned));
            sections.push((name, Self::of(self.import, node, path)?));
        }
        Ok(sections)
    }

    fn children(
        &mut self,
        key: &'static str,
    ) -> Result<Vec<(Option<&'a str>, &'a Node)>, ImportError> {
        let Some(node) = self.node(key) else { return Ok(vec![]) };
        match &node.content {
            Content::List(nodes) => Ok(nodes.iter().map(|node| (None, node)).collect()),
            Content::Map(entries) => {
                Ok(entries.iter().map(|(name, node)| (Some(name.as_str()), node)).collect())
            }
            Content::Null | Content::Scalar(_) => {
                Err(self.import.error(node, format!("expected a list for `{key}`")))
            }
        }
    }

    /// A scalar; blank text says nothing.
    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<&'a str>, ImportError> {
        self.node(key).map_or(Ok(None), |node| self.text_of(key, node))
    }

    fn text_of(&self, key: &str, node: &'a Node) -> Result<Option<&'a str>, ImportError> {
        let Content::Scalar(text) = &node.content else {
            return Err(self.import.error(node, format!("expected a single value for `{key}`")));
        };
        if text.contains("${") {
            let problem = format!("`{key}`: our YAML would take `${{` for a variable");
            return Err(self.import.error(node, problem));
        }
        Ok(Some(text.trim()).filter(|text| !text.is_empty()))
    }

    /// A list of scalars; a single one counts as a list of one.
    pub(super) fn texts(&mut self, key: &'static str) -> Result<Vec<&'a str>, ImportError> {
        if let Some(node) = self.node(key)
            && matches!(node.content, Content::Scalar(_))
        {
            return Ok(self.text_of(key, node)?.into_iter().collect());
        }
        let mut texts = Vec::new();
        for (_, node) in self.children(key)? {
            texts.extend(self.text_of(key, node)?);
        }
        Ok(texts)
    }

    /// A map of names and texts; `None` when something else stands there.
    pub(super) fn named_texts(
        &mut self,
        key: &'static str,
    ) -> Result<Option<Vec<(&'a str, &'a str)>>, ImportError> {
        let Some(Content::Map(entries)) = self.peek(key).map(|node| &node.content) else {
            return Ok(None);
        };
        if !entries.iter().all(|(_, node)| matches!(node.content, Content::Scalar(_))) {
            return Ok(None);
        }
        self.read.push(key);
        let text = |(name, node): &'a (String, Node)| {
            Ok(self.text_of(key, node)?.map(|text| (name.as_str(), text)))
        };
        entries
            .iter()
            .filter_map(|entry| text(entry).transpose())
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// What `parse` makes of a scalar.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ImportError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let Some(value) = parse(text) else {
            let problem = format!("`{key}`: found \"{text}\", expected {expected}");
            return Err(self.peek(key).map_or_else(
                || self.refuse(&problem),
                |node| self.import.error(node, problem.as_str()),
            ));
        };
        Ok(Some(value))
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Result<Option<bool>, ImportError> {
        self.parsed(key, "true or false", |text| text.to_ascii_lowercase().parse().ok())
    }

    pub(super) fn number(&mut self, key: &'static str) -> Result<Option<i64>, ImportError> {
        self.parsed(key, "a whole number", |text| text.parse().ok())
    }

    /// A time span, at least `shortest`.
    pub(super) fn time(
        &mut self,
        key: &'static str,
        shortest: Duration,
    ) -> Result<Option<Duration>, ImportError> {
        let expected = format!(
            "a time span such as 00:00:13 or 1.00:00:00, at least {}",
            time_span::in_words(shortest)
        );
        self.parsed(key, &expected, |text| time_span::parse(text).filter(|span| *span >= shortest))
    }

    /// Says, as a comment and as a warning, that what a key says has no counterpart today.
    pub(super) fn not_yet(&self, page: &mut Page, depth: usize, key: &str, ours: &str, then: &str) {
        page.comment(depth, format!("not supported yet: {ours}"));
        let text = format!("not supported yet: {ours}{then}");
        match self.peek(key) {
            Some(node) => self.import.warn_at(node, &self.path_of(key), text),
            None => self.import.warn(format!("{}: {text}", self.path)),
        }
    }

    /// Says, as a comment and as a warning, what was never asked for. The keys only: a value may
    /// be a secret.
    pub(super) fn comment_on_the_rest(&self, page: &mut Page, depth: usize) {
        for (key, node) in self.entries() {
            let known = self.read.iter().any(|name| name.eq_ignore_ascii_case(key));
            let says = !matches!(node.content, Content::Null);
            if !known && says {
                let path = self.path_of(key);
                page.comment(depth, format!("not taken over: {path}"));
                self.import.warn_at(node, &path, "not taken over");
            }
        }
    }
}
