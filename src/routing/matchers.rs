//! What a rule asks of a request. Apart from the configuration's own types, so that the index
//! depends on nothing but values that are ready to compare.

use http::{HeaderName, HeaderValue, Method};

/// The conditions of one rule; a request must meet all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matchers {
    /// Lower wins.
    pub order: i64,
    /// One of these; empty: any host.
    pub hosts: Vec<Host>,
    /// Where the path must lie.
    pub path: Path,
    /// For each, some field line of that name has exactly that value.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// One of these; empty: any method.
    pub methods: Vec<Method>,
}

/// A host in [normal form](super::host::normalise).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// That host.
    Exact(String),
    /// `example.com` for `*.example.com`: any depth below it, not itself.
    Below(String),
}

/// A path in [normal form](super::path::normalise), without query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Path {
    /// Every path, also `*` of an `OPTIONS *`.
    #[default]
    Any,
    /// That path.
    Exact(String),
    /// `/chat` for `/chat/*`: that path and all below it, not `/chatter`. Empty for `/*`.
    Below(String),
}
