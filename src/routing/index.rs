//! The rules, arranged so that the one that wins is found without looking at the others: a table
//! for each host that a rule names, and in it the candidates for each path.
//!
//! `order` comes before the closeness of host and path, so the closest table need not hold the
//! winner. Every entry therefore gets one rank among all when the index is built, all tables that
//! apply are asked, and those whose best rank has already lost are skipped.

use super::matchers::{Host, Matchers};
use super::precedence::Precedence;
use super::table::{Asked, Best, Candidate, Table};
use crate::model::Fields;
use ahash::HashMap;
use http::Method;

/// Finds the rule that wins. Immutable once built.
pub struct Index {
    exact: HashMap<String, Table>,
    below: HashMap<String, Table>,
    any: Table,
    /// Labels in the deepest wildcard: longer suffixes of a host are not looked up.
    deepest: usize,
    /// The best rank in `below`: without it every wildcard would be looked up even where an exact
    /// host has already won.
    least_below: usize,
}

impl Index {
    /// Arranges the rules; their position in the slice is their position in the file. Hosts and
    /// paths must be in normal form.
    pub fn build(rules: &[Matchers]) -> Self {
        let mut entries: Vec<_> = rules
            .iter()
            .enumerate()
            .flat_map(|(position, rule)| {
                let hostless = rule.hosts.is_empty().then_some(None);
                let hosts = rule.hosts.iter().map(Some).chain(hostless);
                hosts.map(move |host| (Precedence::new(rule, host, position), position, rule, host))
            })
            .collect();
        entries.sort_by(|(one, ..), (other, ..)| one.cmp(other));

        let mut index = Self {
            exact: HashMap::default(),
            below: HashMap::default(),
            any: Table::default(),
            deepest: 0,
            least_below: usize::MAX,
        };
        for (rank, (_, position, rule, host)) in entries.into_iter().enumerate() {
            index.table(host, rank).add(&rule.path, Candidate::new(rank, position, rule));
        }
        index
    }

    fn table(&mut self, host: Option<&Host>, rank: usize) -> &mut Table {
        match host {
            Some(Host::Exact(name)) => self.exact.entry(name.clone()).or_default(),
            Some(Host::Below(name)) => {
                self.deepest = self.deepest.max(name.split('.').count());
                self.least_below = self.least_below.min(rank);
                self.below.entry(name.clone()).or_default()
            }
            None => &mut self.any,
        }
    }

    /// The position of the rule that wins in the slice given to [`build`](Self::build); `None`
    /// where no rule fits. `host` and `path` are in normal form, `path` without query. The cost
    /// grows with the labels and segments that rules name, not with the number of rules.
    pub fn find(
        &self,
        host: &str,
        path: &str,
        method: &Method,
        headers: &impl Fields,
    ) -> Option<usize> {
        let asked = Asked { path, method, headers };
        let mut best = Best::default();
        if let Some(table) = self.exact.get(host) {
            table.search(&asked, &mut best);
        }
        if best.loses_to(self.least_below) {
            for suffix in suffixes(host, self.deepest) {
                if let Some(table) = self.below.get(suffix) {
                    table.search(&asked, &mut best);
                }
            }
        }
        self.any.search(&asked, &mut best);
        best.0.map(|winner| winner.rule)
    }
}

/// What `host` lies below, with at most `deepest` labels.
fn suffixes(host: &str, deepest: usize) -> impl Iterator<Item = &str> {
    memchr::memrchr_iter(b'.', host.as_bytes()).take(deepest).filter_map(|dot| host.get(dot + 1..))
}

#[cfg(test)]
mod tests;
