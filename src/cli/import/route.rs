//! A route of theirs, one or several rules of ours.

use super::cluster::Cluster;
use super::matching::{self, Match};
use super::page::{Page, list, scalar};
use super::section::Section;
use super::{Import, ImportError, Names};

/// More rules than this from one route are a mistake.
const MOST: usize = 1_000;

/// The items of `rules`.
pub(super) fn read_all<'a>(
    import: &'a Import<'a>,
    proxy: &mut Section<'a>,
    clusters: &[Cluster],
) -> Result<Page, ImportError> {
    let mut page = Page::default();
    let mut ids = Names::default();
    let routes = proxy.section("Routes")?;
    let mut live = 0;
    for (key, node) in routes.entries() {
        let path = routes.path_of(key);
        live += route(Section::of(import, node, path)?, key, clusters, &mut ids, &mut page)?;
    }
    if live == 0 {
        let then = if clusters.len() == 1 { ": its one service takes every request" } else { "" };
        import.warn(format!("no route became a rule{then}; add one before use"));
    }
    Ok(page)
}

/// Says how many rules it became.
fn route(
    mut route: Section,
    key: &str,
    clusters: &[Cluster],
    ids: &mut Names,
    page: &mut Page,
) -> Result<usize, ImportError> {
    let import = route.import;
    let order = route.number("Order")?;
    let mut found = matching::read(&mut route)?;
    let service = match route.text("ClusterId")? {
        None => {
            found.reasons.push("it has no `ClusterId`".to_owned());
            None
        }
        Some(id) => Some(one_of(clusters, id, &route)?),
    };
    let mut metadata = route.section("Metadata")?;
    let mut comments = std::mem::take(&mut found.comments);
    if let Some(mirror) = metadata.text("MirrorCluster")? {
        metadata.not_yet(&mut comments, 0, "MirrorCluster", &format!("mirror: {mirror}"), "");
    }
    metadata.comment_on_the_rest(&mut comments, 0);
    route.comment_on_the_rest(&mut comments, 0);

    let mut rules = Page::default();
    let alternatives = alternatives(&found);
    if alternatives.len() > MOST {
        return Err(route.refuse("its paths and header values would become over 1000 rules"));
    }
    let count = alternatives.len();
    for (path, headers) in alternatives {
        let id = ids.make(key, 64, |c| c.is_ascii_graphic() && c != '$');
        rules.line(0, format!("- id: {}", scalar(&id)));
        if let Some(order) = order {
            rules.line(1, format!("order: {order}"));
        }
        if !found.hosts.is_empty() {
            rules.line(1, format!("hosts: {}", list(found.hosts.iter().map(String::as_str))));
        }
        rules.line(1, format!("path: {}", scalar(path)));
        if !found.methods.is_empty() {
            rules.line(1, format!("methods: {}", list(found.methods.iter().map(String::as_str))));
        }
        if !headers.is_empty() {
            let pairs = headers.iter().map(|(n, v)| format!("{}: {}", scalar(n), quoted(v)));
            rules.line(1, format!("headers: {{ {} }}", pairs.collect::<Vec<_>>().join(", ")));
        }
        if let Some(cluster) = service {
            rules.line(1, format!("serviceName: {}", scalar(&cluster.name)));
            rules.add(1, cluster.affinity.clone());
        }
        rules.add(1, std::mem::take(&mut comments));
    }
    if found.reasons.is_empty() {
        page.add(0, rules);
        return Ok(count);
    }
    let why = found.reasons.join(", ");
    page.comment(0, format!("left out, since {why}; what comes nearest:"));
    page.add_as_comment(0, rules);
    import.warn(format!("{}: left out, since {why}", route.path));
    Ok(0)
}

fn one_of<'c, 'k>(
    clusters: &'c [Cluster<'k>],
    id: &str,
    route: &Section,
) -> Result<&'c Cluster<'k>, ImportError> {
    let found = clusters.iter().find(|cluster| cluster.key.eq_ignore_ascii_case(id));
    found.ok_or_else(|| {
        let problem = format!("there is no cluster \"{id}\"");
        match route.peek("ClusterId") {
            Some(node) => route.import.error(node, problem),
            None => route.refuse(&problem),
        }
    })
}

type Alternative<'m> = (&'m str, Vec<(&'m str, &'m str)>);

/// Every path with every choice of header values.
fn alternatives(found: &Match) -> Vec<Alternative<'_>> {
    let mut all: Vec<Alternative> =
        found.paths.iter().map(|path| (path.as_str(), Vec::new())).collect();
    for (name, values) in &found.headers {
        if values.is_empty() || all.len() > MOST {
            continue; // the route is left out or refused
        }
        let longer = all
            .iter()
            .flat_map(|one| values.iter().map(move |value| with(one, name, value)))
            .collect();
        all = longer;
    }
    all
}

fn with<'m>(one: &Alternative<'m>, name: &'m str, value: &'m str) -> Alternative<'m> {
    let (path, headers) = one;
    (path, [headers.as_slice(), &[(name, value)]].concat())
}

/// Always in quotes: in a flow map, and a number would not be text.
fn quoted(text: &str) -> String {
    let scalar = scalar(text);
    if scalar.starts_with('"') { scalar } else { format!("\"{scalar}\"") }
}
