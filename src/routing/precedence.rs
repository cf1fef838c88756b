//! Which of two rules wins, as data: the derived order of [`Precedence`] is the rule of the
//! documentation, field by field.

use super::matchers::{Host, Matchers, Path};
use std::cmp::Reverse;

/// The standing of a rule for one of its hosts. The least wins.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Precedence {
    order: i64,
    host: Closeness,
    path: Closeness,
    matchers: Reverse<usize>,
    position: usize,
}

/// How closely a pattern describes what it fits; the closest is the least. Lengths decide between
/// patterns that fit the same text, and of those the longer one always lies below the shorter.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Closeness {
    Exact,
    Below(Reverse<usize>),
    Any,
}

impl Precedence {
    /// `host` is one of the rule's hosts, `None` where it has none; `position` its place in the
    /// file.
    pub(super) fn new(rule: &Matchers, host: Option<&Host>, position: usize) -> Self {
        let host = match host {
            Some(Host::Exact(_)) => Closeness::Exact,
            Some(Host::Below(name)) => Closeness::Below(Reverse(name.len())),
            None => Closeness::Any,
        };
        let path = match &rule.path {
            Path::Exact(_) => Closeness::Exact,
            Path::Below(prefix) => Closeness::Below(Reverse(prefix.len())),
            Path::Any => Closeness::Any,
        };
        let matchers = rule.headers.len() + usize::from(!rule.methods.is_empty());
        Self { order: rule.order, host, path, matchers: Reverse(matchers), position }
    }
}
