//! A cluster of theirs, a service of ours.

use super::affinity::{self, Sticky};
use super::page::{Page, scalar};
use super::section::Section;
use super::{Feature, Import, ImportError, Names, address, time_span};
use std::time::Duration;

const INSTANT: Duration = Duration::from_millis(1);

/// One service.
pub(super) struct Cluster<'a> {
    /// Its key in the JSON.
    pub(super) key: &'a str,
    /// The name of the service.
    pub(super) name: String,
    /// `name:` and all below it.
    pub(super) page: Page,
    /// `sessionAffinity:` and all below it, for each of its rules.
    pub(super) affinity: Page,
}

pub(super) fn read_all<'a>(
    import: &'a Import<'a>,
    proxy: &mut Section<'a>,
) -> Result<Vec<Cluster<'a>>, ImportError> {
    let mut names = Names::default();
    let clusters = proxy.section("Clusters")?;
    let mut read = Vec::new();
    for (key, node) in clusters.entries() {
        let path = clusters.path_of(key);
        let name = names.make(key, 64, |c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if name != *key {
            import.warn_at(node, &path, format!("is called `{name}` here"));
        }
        read.push(cluster(Section::of(import, node, path)?, key, name)?);
    }
    Ok(read)
}

fn cluster<'a>(
    mut cluster: Section<'a>,
    key: &'a str,
    name: String,
) -> Result<Cluster<'a>, ImportError> {
    let import = cluster.import;
    let mut page = Page::default();
    page.line(0, format!("{}:", scalar(&name)));
    let backends = backends(&mut cluster, &mut page)?;
    load_balancing(&mut cluster, &mut page)?;
    let mut metadata = cluster.section("Metadata")?;
    health(&mut cluster, &mut metadata, &mut page)?;
    timeouts(&mut cluster, &mut page)?;
    if backends.https {
        tls(&mut cluster, &mut page)?;
    }
    let sticky = match affinity::of_yarp(&mut cluster)? {
        Some(sticky) => Some(sticky),
        None => affinity::of_vkproxy(&mut metadata)?,
    };
    let mut affinity = sticky.as_ref().map(|s| affinity::write(&cluster, s)).unwrap_or_default();
    if let Some(sticky) = &sticky {
        warn_of_other_keys(import, &name, sticky, &backends);
    }
    if import.has(Feature::AffinityOfService) {
        page.add(1, std::mem::take(&mut affinity));
    }
    metadata.comment_on_the_rest(&mut page, 1);
    cluster.comment_on_the_rest(&mut page, 1);
    Ok(Cluster { key, name, page, affinity })
}

/// What the rest of the cluster needs to know of them.
#[derive(Default)]
struct Backends {
    https: bool,
    /// Some have another id, or an address that the old gateway spelled otherwise.
    renamed: bool,
    respelled: bool,
}

fn backends(cluster: &mut Section, page: &mut Page) -> Result<Backends, ImportError> {
    let import = cluster.import;
    let mut facts = Backends::default();
    let mut names = Names::default();
    let (mut written, mut lines) = (0, Page::default());
    // a service of ours speaks TLS to all of its backends, or to none
    let mut first = None;
    for (key, mut destination) in cluster.sections("Destinations")? {
        let Some(text) = destination.text("Address")? else {
            return Err(destination.refuse("`Address` is missing"));
        };
        let expected = "a URL such as http://10.0.0.1:8080";
        let Some(address) = destination.parsed("Address", expected, address::parse)? else {
            continue;
        };
        let id = key.map(|key| {
            let name = names.make(key, 100, |c| c.is_ascii_graphic() && !"\"',;\\$".contains(c));
            facts.renamed |= name != key;
            format!("id: {}, ", scalar(&name))
        });
        let id = id.unwrap_or_default();
        let line = format!("{{ {id}address: {} }}", scalar(&address.target));
        facts.respelled |= address.is_named || text.ends_with('/');
        let others = *first.get_or_insert(address.https) != address.https;
        let not_yet = if address.https && !import.has(Feature::HttpsBackends) {
            Some(format!("https: {text}"))
        } else if others {
            Some(format!("http and https in one service: {text}"))
        } else if !address.path.is_empty() {
            Some(format!("a path before that of the request: {text}"))
        } else {
            None
        };
        if let Some(ours) = not_yet {
            destination.not_yet(&mut lines, 0, "Address", &ours, "; the backend is left out");
        } else {
            facts.https |= address.https;
            written += 1;
            lines.line(0, format!("- {line}"));
        }
        destination.comment_on_the_rest(&mut lines, 0);
    }
    if written == 0 {
        page.line(1, "backends: []");
        import.warn(format!("{}: no backend is left; add one before use", cluster.path));
    } else {
        page.line(1, "backends:");
    }
    page.add(2, lines);
    Ok(facts)
}

fn load_balancing(cluster: &mut Section, page: &mut Page) -> Result<(), ImportError> {
    let key = "LoadBalancingPolicy";
    let Some(policy) = cluster.text(key)? else { return Ok(()) };
    let (ours, built) = match policy.to_ascii_lowercase().as_str() {
        "roundrobin" => ("round-robin", true),
        "random" => ("random", cluster.import.has(Feature::Random)),
        "leastrequests" => ("least-connections", cluster.import.has(Feature::LeastConnections)),
        "poweroftwochoices" => ("power-of-two", cluster.import.has(Feature::PowerOfTwo)),
        _ => (policy, false),
    };
    let line = format!("loadBalancing: {{ policy: {} }}", scalar(ours));
    if built {
        page.line(1, line);
    } else {
        cluster.not_yet(page, 1, key, &line, "; round-robin stands in");
    }
    Ok(())
}

/// The two say `Enabled` and `Enable`, and differ in defaults: YARP probes `/` every 15 s and gives
/// up after two failures, `VKProxy` connects every 60 s and gives up after one.
fn health(
    cluster: &mut Section,
    metadata: &mut Section,
    page: &mut Page,
) -> Result<(), ImportError> {
    let mut health = cluster.section("HealthCheck")?;
    let mut passive = health.section("Passive")?;
    if passive.flag("Enabled")? == Some(true) || passive.flag("Enable")? == Some(true) {
        health.not_yet(page, 1, "Passive", "outlierDetection (HealthCheck.Passive)", "");
    }
    let mut active = health.section("Active")?;
    let is_vkproxy = active.says("Enable");
    let on = active.flag("Enabled")?.or(active.flag("Enable")?).unwrap_or(false);
    if on {
        let interval = active.time("Interval", INSTANT)?;
        let interval = interval.unwrap_or(Duration::from_secs(if is_vkproxy { 60 } else { 15 }));
        let timeout = active.time("Timeout", INSTANT)?.unwrap_or(Duration::from_secs(10));
        let path = active.text("Path")?;
        let query = active.text("Query")?.unwrap_or_default();
        let policy = active.text("Policy")?.unwrap_or_default();
        let is_tcp = is_vkproxy && !policy.eq_ignore_ascii_case("http");
        let passes = active.number("Passes")?.unwrap_or(1);
        let threshold = metadata.number("ConsecutiveFailuresHealthPolicy.Threshold")?;
        let fails = active.number("Fails")?.or(threshold).unwrap_or(if is_vkproxy { 1 } else { 2 });
        page.line(1, "healthCheck:");
        if is_tcp {
            page.line(2, "type: tcp");
        } else {
            let path = path.unwrap_or("/");
            let slash = if path.starts_with('/') { "" } else { "/" };
            page.line(2, "type: http");
            page.line(2, format!("path: {}", scalar(&format!("{slash}{path}{query}"))));
        }
        page.line(2, format!("interval: {}", time_span::in_words(interval)));
        page.line(2, format!("timeout: {}", time_span::in_words(timeout)));
        page.line(2, format!("healthyThreshold: {passes}"));
        page.line(2, format!("unhealthyThreshold: {fails}"));
        active.comment_on_the_rest(page, 2);
    }
    health.comment_on_the_rest(page, 1);
    Ok(())
}

fn timeouts(cluster: &mut Section, page: &mut Page) -> Result<(), ImportError> {
    let mut request = cluster.section("HttpRequest")?;
    if let Some(silence) = request.time("ActivityTimeout", INSTANT)? {
        page.line(1, format!("timeouts: {{ read: {} }}", time_span::in_words(silence)));
    }
    request.comment_on_the_rest(page, 1);
    Ok(())
}

fn tls(cluster: &mut Section, page: &mut Page) -> Result<(), ImportError> {
    let key = if cluster.says("HttpClient") { "HttpClient" } else { "HttpClientConfig" };
    let mut client = cluster.section(key)?;
    let any = client.flag("DangerousAcceptAnyServerCertificate")? == Some(true);
    page.line(1, format!("tls: {{ verify: {} }}", !any));
    client.comment_on_the_rest(page, 1);
    Ok(())
}

/// Says which clients lose their binding once.
fn warn_of_other_keys(import: &Import, name: &str, sticky: &Sticky, backends: &Backends) {
    let why = if sticky.is_sealed() {
        "keys sealed by .NET Data Protection cannot be read"
    } else if !sticky.is_read(import) {
        "its keys cannot be read yet"
    } else if sticky.is_over_address() && backends.respelled {
        "its keys are made of addresses that the old gateway looked up or wrote with a `/`"
    } else if !sticky.is_over_address() && backends.renamed {
        "its keys are made of ids that are not the same here"
    } else {
        return;
    };
    import.warn(format!("service `{name}`: {why}: each of its clients is bound anew, once"));
}
