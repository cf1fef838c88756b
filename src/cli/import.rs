//! `stickfast import yarp`: the JSON of another gateway (`ReverseProxy` of YARP or `VKProxy`) as a
//! configuration of ours. What has no counterpart is never dropped silently: it becomes a comment
//! where it stood and a warning.
//!
//! ```text
//! json: text ─► tree ─► section: reading ─► cluster, route, affinity ─► page: YAML
//! ```

mod address;
mod affinity;
mod cluster;
mod json;
mod matching;
mod page;
mod route;
mod section;
#[cfg(test)]
mod tests;
mod time_span;

use json::Node;
use page::Page;
use section::Section;
use std::cell::RefCell;
use std::fmt;

/// A configuration in our language.
#[derive(Debug)]
pub struct Imported {
    /// The file.
    pub yaml: String,
    /// What the operator has to know, one sentence each.
    pub warnings: Vec<String>,
}

/// Why a file could not be read. Shown as `line:column: problem`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {problem}")]
pub struct ImportError {
    line: usize,
    column: usize,
    problem: String,
}

/// A part of our language that the gateway may or may not have built yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feature {
    /// `policy: HashCookie`
    HashCookie,
    /// `policy: ArrCookie`
    ArrCookie,
    /// `policy: CustomHeader` and `headerName`
    CustomHeader,
    /// `keyOver`
    KeyOver,
    /// `cookie.expires`
    CookieExpires,
    /// `cookie.extensions`
    CookieExtensions,
    /// `cookie.isEssential`
    CookieIsEssential,
    /// `cookie.sameSite: unspecified`
    SameSiteUnspecified,
    /// `onMissing: reject` and `onUnhealthy: reject`
    Reject,
    /// `sessionAffinity` of a service; until then it is written to each of its rules
    AffinityOfService,
    /// `tls` of a service
    HttpsBackends,
    /// `loadBalancing.policy: random`
    Random,
    /// `loadBalancing.policy: least-connections`
    LeastConnections,
    /// `loadBalancing.policy: power-of-two`
    PowerOfTwo,
}

type Table = [(Feature, bool)];

/// What may be written as a key. A test loads each and fails where this is out of date.
const SUPPORTED: &Table = &[
    (Feature::HashCookie, true),
    (Feature::ArrCookie, true),
    (Feature::CustomHeader, true),
    (Feature::KeyOver, true),
    (Feature::CookieExpires, true),
    (Feature::CookieExtensions, true),
    (Feature::CookieIsEssential, true),
    (Feature::SameSiteUnspecified, true),
    (Feature::Reject, true),
    (Feature::AffinityOfService, true),
    (Feature::HttpsBackends, true),
    (Feature::Random, false),
    (Feature::LeastConnections, false),
    (Feature::PowerOfTwo, false),
];

/// Reads the JSON of YARP or `VKProxy`; comments and trailing commas are taken.
///
/// # Errors
/// The first thing that is not JSON or means nothing to those gateways either.
pub fn yarp(json: &str) -> Result<Imported, ImportError> {
    convert(json, SUPPORTED)
}

fn convert(json: &str, supported: &Table) -> Result<Imported, ImportError> {
    let import = Import { text: json::plain(json), supported, warnings: RefCell::new(Vec::new()) };
    let root = json::parse(&import.text)?;
    let mut root = Section::of(&import, &root, "")?;
    let mut proxy = match root.optional("ReverseProxy")? {
        Some(proxy) => proxy,
        None if root.says("Clusters") => root,
        None => return Err(root.refuse("no `ReverseProxy` section")),
    };
    let yaml = write(&import, &mut proxy)?.to_string();
    Ok(Imported { yaml, warnings: import.warnings.into_inner() })
}

fn write<'a>(import: &'a Import<'a>, proxy: &mut Section<'a>) -> Result<Page, ImportError> {
    let clusters = cluster::read_all(import, proxy)?;
    let rules = route::read_all(import, proxy, &clusters)?;
    let mut page = Page::default();
    page.line(0, "# Written by `stickfast import yarp`. Listens on 127.0.0.1:8080 until");
    page.line(0, "# `gateway.server.listeners` says otherwise.");
    page.line(0, "gateway:");
    proxy.comment_on_the_rest(&mut page, 1);
    page.line(1, "services:");
    for cluster in clusters {
        page.add(2, cluster.page);
    }
    page.line(1, "router:");
    page.line(2, "rules:");
    page.add(3, rules);
    Ok(page)
}

/// What all parts of one import share.
struct Import<'a> {
    /// The JSON, without comments, for places in it.
    text: String,
    supported: &'a Table,
    warnings: RefCell<Vec<String>>,
}

impl Import<'_> {
    fn has(&self, feature: Feature) -> bool {
        self.supported.contains(&(feature, true))
    }

    /// A warning about the whole; said once.
    fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        let mut warnings = self.warnings.borrow_mut();
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// A warning about one place.
    fn warn_at(&self, node: &Node, path: &str, text: impl fmt::Display) {
        let (line, column) = json::place(&self.text, node);
        self.warn(format!("{line}:{column}: {path}: {text}"));
    }

    fn error(&self, node: &Node, problem: impl Into<String>) -> ImportError {
        let (line, column) = json::place(&self.text, node);
        ImportError { line, column, problem: problem.into() }
    }
}

/// Makes names fit our language and differ.
#[derive(Default)]
struct Names {
    taken: Vec<String>,
}

impl Names {
    /// `wanted` with other characters than `fits` replaced, at most `longest` long.
    fn make(&mut self, wanted: &str, longest: usize, fits: impl Fn(char) -> bool) -> String {
        let room = longest.saturating_sub(4);
        let fitting = wanted.chars().map(|c| if fits(c) { c } else { '-' });
        let mut name: String = fitting.collect();
        if name.is_empty() {
            name.push('-');
        }
        if name.len() > longest {
            name = name.chars().take(room).collect();
        }
        let numbered = (2..).map(|number| format!("{name:.room$}-{number}"));
        let mut candidates = std::iter::once(name.clone()).chain(numbered);
        let free = candidates.find(|name| !self.taken.contains(name)).unwrap_or(name);
        self.taken.push(free.clone());
        free
    }
}
