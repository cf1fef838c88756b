//! The rules of one host, found by path. One half of the index: the other half finds the tables.

use super::matchers::{Matchers, Path};
use crate::model::Fields;
use ahash::HashMap;
use http::{HeaderName, HeaderValue, Method};

/// What is asked about a request once its host has led to a table.
pub(super) struct Asked<'a, F> {
    pub(super) path: &'a str,
    pub(super) method: &'a Method,
    pub(super) headers: &'a F,
}

/// A rule that fits by host and path. Methods and headers are still to be compared.
pub(super) struct Candidate {
    /// Its place among all entries of the index; the least wins.
    rank: usize,
    pub(super) rule: usize,
    methods: Box<[Method]>,
    headers: Box<[(HeaderName, HeaderValue)]>,
}

impl Candidate {
    pub(super) fn new(rank: usize, position: usize, rule: &Matchers) -> Self {
        Self {
            rank,
            rule: position,
            methods: rule.methods.clone().into(),
            headers: rule.headers.clone().into(),
        }
    }

    fn fits(&self, asked: &Asked<'_, impl Fields>) -> bool {
        (self.methods.is_empty() || self.methods.contains(asked.method))
            && self
                .headers
                .iter()
                .all(|(name, value)| asked.headers.all(name).any(|line| value == line))
    }
}

/// The best candidate so far.
#[derive(Default)]
pub(super) struct Best<'i>(pub(super) Option<&'i Candidate>);

impl<'i> Best<'i> {
    /// Whether an entry of this rank would win.
    pub(super) fn loses_to(&self, rank: usize) -> bool {
        self.0.is_none_or(|best| rank < best.rank)
    }

    /// `candidates` are sorted by rank, so the first that fits is the best of them.
    fn consider(&mut self, candidates: &'i [Candidate], asked: &Asked<'_, impl Fields>) {
        let fitting = candidates
            .iter()
            .take_while(|candidate| self.loses_to(candidate.rank))
            .find(|candidate| candidate.fits(asked));
        self.0 = fitting.or(self.0);
    }
}

/// The candidates of one host.
pub(super) struct Table {
    exact: HashMap<String, Vec<Candidate>>,
    below: HashMap<String, Vec<Candidate>>,
    any: Vec<Candidate>,
    /// Slashes in the deepest prefix of `below`: longer prefixes of a path are not looked up.
    deepest: usize,
    /// The best rank in here.
    least: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            exact: HashMap::default(),
            below: HashMap::default(),
            any: Vec::new(),
            deepest: 0,
            least: usize::MAX,
        }
    }
}

impl Table {
    /// Candidates come in the order of their rank.
    pub(super) fn add(&mut self, path: &Path, candidate: Candidate) {
        self.least = self.least.min(candidate.rank);
        let candidates = match path {
            Path::Exact(path) => self.exact.entry(path.clone()).or_default(),
            Path::Below(prefix) => {
                let depth = prefix.bytes().filter(|byte| *byte == b'/').count();
                self.deepest = self.deepest.max(depth);
                self.below.entry(prefix.clone()).or_default()
            }
            Path::Any => &mut self.any,
        };
        candidates.push(candidate);
    }

    pub(super) fn search<'i>(&'i self, asked: &Asked<'_, impl Fields>, best: &mut Best<'i>) {
        if !best.loses_to(self.least) {
            return;
        }
        if let Some(candidates) = self.exact.get(asked.path) {
            best.consider(candidates, asked);
        }
        for prefix in prefixes(asked.path, self.deepest) {
            if let Some(candidates) = self.below.get(prefix) {
                best.consider(candidates, asked);
            }
        }
        best.consider(&self.any, asked);
    }
}

/// Every prefix of `path` that ends before a slash, and the path itself, with at most `deepest`
/// slashes.
fn prefixes(path: &str, deepest: usize) -> impl Iterator<Item = &str> {
    memchr::memchr_iter(b'/', path.as_bytes())
        .filter_map(|slash| path.get(..slash))
        .chain([path])
        .take(deepest + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_before_slashes() {
        let all: Vec<_> = prefixes("/a/b", 9).collect();
        assert_eq!(all, ["", "/a", "/a/b"]);
    }

    #[test]
    fn a_path_of_slashes_costs_no_more_than_the_deepest_prefix() {
        assert_eq!(prefixes(&"/".repeat(8192), 2).count(), 3);
    }
}
