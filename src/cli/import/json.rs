//! JSON as .NET reads it: comments and trailing commas are taken, keys keep their order, every
//! scalar is text. A node knows where it stands by its number; the text is read once more when a
//! place is asked for.

use super::ImportError;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::fmt;

/// A value.
#[derive(Debug)]
pub(super) struct Node {
    /// How many values begin before it.
    nth: usize,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Null,
    /// A boolean, a number or text: .NET does not tell them apart.
    Scalar(String),
    List(Vec<Node>),
    /// In the order written.
    Map(Vec<(String, Node)>),
}

/// `text` must be [`plain`].
pub(super) fn parse(text: &str) -> Result<Node, ImportError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let reading = Reading { count: Cell::new(0), stop_at: None };
    let tree = reading.deserialize(&mut json).and_then(|tree| json.end().map(|()| tree));
    tree.map_err(|error| {
        let shown = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let problem = shown.strip_suffix(&place).unwrap_or(&shown).to_owned();
        ImportError { line: error.line().max(1), column: error.column().max(1), problem }
    })
}

/// Line and column, from 1.
pub(super) fn place(text: &str, node: &Node) -> (usize, usize) {
    let mut json = serde_json::Deserializer::from_str(text);
    let reading = Reading { count: Cell::new(0), stop_at: Some(node.nth) };
    let stopped = reading.deserialize(&mut json).err();
    // serde_json names what it has read last, which is the character before the value
    stopped.map_or((1, 1), |error| (error.line().max(1), error.column() + 1))
}

/// One walk through the text; fails at the value with the number `stop_at`.
struct Reading {
    count: Cell<usize>,
    stop_at: Option<usize>,
}

impl<'de> DeserializeSeed<'de> for &Reading {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Node, D::Error> {
        let nth = self.count.replace(self.count.get() + 1);
        if self.stop_at == Some(nth) {
            return Err(D::Error::custom("stopped here"));
        }
        Ok(Node { nth, content: value.deserialize_any(self)? })
    }
}

impl<'de> Visitor<'de> for &Reading {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Content, E> {
        Ok(Content::Scalar(flag.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Content, E> {
        Ok(Content::Scalar(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Content, E> {
        Ok(Content::Scalar(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Content, E> {
        Ok(Content::Scalar(number.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Content, E> {
        Ok(Content::Scalar(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Content, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element_seed(self)? {
            nodes.push(node);
        }
        Ok(Content::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if entries.iter().any(|(other, _)| other.eq_ignore_ascii_case(&key)) {
                return Err(A::Error::custom(format!("the key \"{key}\" stands here twice")));
            }
            let node = map.next_value_seed(self)?;
            entries.push((key, node));
        }
        Ok(Content::Map(entries))
    }
}

/// The text as plain JSON: a byte order mark goes, comments and trailing commas become spaces, so
/// that places stay what they are.
pub(super) fn plain(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut plain = String::with_capacity(text.len());
    let mut inside = Inside::Json;
    // where the last comma stands, while only spaces and comments follow it
    let mut comma = None;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let next = rest.peek().copied();
        let shown = match (inside, c, next) {
            (Inside::Json, '/', Some('/')) => {
                inside = Inside::Line;
                ' '
            }
            (Inside::Json, '/', Some('*')) => {
                rest.next();
                plain.push(' ');
                inside = Inside::Block;
                ' '
            }
            (Inside::Json, '"', _) => {
                (inside, comma) = (Inside::Text, None);
                c
            }
            (Inside::Json, ',', _) => {
                comma = Some(plain.len());
                c
            }
            (Inside::Json, '}' | ']', _) => {
                if let Some(at) = comma.take() {
                    plain.replace_range(at..=at, " ");
                }
                c
            }
            (Inside::Json, _, _) => {
                if !c.is_whitespace() {
                    comma = None;
                }
                c
            }
            (Inside::Text, '\\', Some(escaped)) => {
                rest.next();
                plain.push(c);
                escaped
            }
            (Inside::Text, '"', _) | (Inside::Line, '\n', _) => {
                inside = Inside::Json;
                c
            }
            (Inside::Block, '*', Some('/')) => {
                rest.next();
                plain.push(' ');
                inside = Inside::Json;
                ' '
            }
            (Inside::Text, _, _) | (Inside::Block, '\n', _) => c,
            (Inside::Line | Inside::Block, _, _) => ' ',
        };
        plain.push(shown);
    }
    plain
}

#[derive(Clone, Copy)]
enum Inside {
    Json,
    Text,
    Line,
    Block,
}
