//! `sessionAffinity`: how a client finds back to its backend. A rule's own section is laid over its
//! service's, and that over the router's, before any means anything, so that each may change one
//! key.

use super::At;
use super::merge::merge;
use super::method;
use super::node::{Content, Node};
use super::scalar::{Parsed, Scalar, in_words};
use super::section::{Reader, Section};
use super::session_source;
use super::syntax::{is_host_name, is_token};
use super::written::{
    Affinity, Cookie, Encoding, Failback, HandshakeAffinity, Key, Method, OnDraining, OnFull,
    OnMissing, OnUnhealthy, Prefix, SameSite, Secure, Service,
};
use crate::model::Secret;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A sealed key names its period by 4 bits, so 16 in all: besides these the one that runs and the
/// one ahead.
const OPEN_PERIODS: u32 = 14;

/// The `sessionAffinity` of each service that has one.
#[derive(Default)]
pub(super) struct Sections<'a>(Vec<(String, &'a Node)>);

impl<'a> Sections<'a> {
    /// Takes it out of the section of a service.
    pub(super) fn take(&mut self, service: &str, section: &mut Section<'a>) {
        self.0.extend(section.node("sessionAffinity").map(|node| (service.to_owned(), node)));
    }

    /// Whether a service has one.
    pub(super) fn speaks_of(&self, service: &str) -> bool {
        self.of(service).is_some()
    }

    fn of(&self, service: &str) -> Option<&'a Node> {
        self.0.iter().find(|(name, _)| name == service).map(|(_, node)| *node)
    }
}

/// What rules inherit: `router.sessionAffinity`, and what their service says.
pub(super) struct Inherited<'a> {
    pub(super) router: Option<&'a Node>,
    pub(super) services: &'a Sections<'a>,
    affinity: Option<Affinity>,
    pub(super) handshakes: HandshakeAffinity,
}

pub(super) fn read_default<'a>(
    router: &mut Section<'a>,
    services: &'a Sections<'a>,
    handshakes: HandshakeAffinity,
) -> Inherited<'a> {
    let node = router.node("sessionAffinity");
    let affinity = node.and_then(|node| read(router.reader.section(node)));
    Inherited { router: node, services, affinity, handshakes }
}

impl Inherited<'_> {
    /// What is in force for a service.
    pub(super) fn read_service(&self, reader: &Reader, service: &str) -> Option<Affinity> {
        match self.services.of(service) {
            None => self.affinity.clone(),
            Some(own) => read_layers(reader, [self.router, Some(own)]),
        }
    }

    /// What is in force for a rule that leads to `service`.
    pub(super) fn read_rule(
        &self,
        rule: &mut Section,
        service: &str,
        services: &[Service],
    ) -> Option<Affinity> {
        let Some(own) = rule.node("sessionAffinity") else {
            let known = services.iter().find(|known| known.id.value == service);
            return known.map_or_else(|| self.affinity.clone(), |known| known.affinity.clone());
        };
        read_layers(rule.reader, [self.router, self.services.of(service), Some(own)])
    }
}

/// Reads the layers that there are, each laid over those before it.
fn read_layers<const N: usize>(reader: &Reader, layers: [Option<&Node>; N]) -> Option<Affinity> {
    let layers = layers.into_iter().flatten().cloned();
    let merged = layers.reduce(lay_over)?;
    merged.report_clashes(&reader.reports);
    read(reader.section(&merged))
}

/// One section over another. Two ways to say the same replace each other.
fn lay_over(mut under: Node, own: Node) -> Node {
    let says = |key| own.get(key).is_some();
    // a section that is there is on, unless it says otherwise itself
    forget(&mut under, &["enabled"]);
    if says("method") || says("methods") {
        forget(&mut under, &["method", "methods"]);
    }
    if says("duration") {
        forget(&mut under, &["idleTimeout"]);
        if let Some(cookie) = entry(&mut under, "cookie") {
            forget(cookie, &["maxAge"]);
        }
    }
    Node { at: own.at.clone(), ..merge(under, own) }
}

fn forget(node: &mut Node, keys: &[&str]) {
    if let Content::Map(entries) = &mut node.content {
        entries.retain(|(key, _)| !keys.contains(&key.as_str()));
    }
}

fn entry<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    let Content::Map(entries) = &mut node.content else { return None };
    entries.iter_mut().find(|(name, _)| name == key).map(|(_, node)| node)
}

fn read(section: Section) -> Option<Affinity> {
    let (enabled, affinity) = read_whole(section);
    enabled.then_some(affinity)
}

/// Everything is checked even where the section is off.
pub(super) fn read_whole(mut section: Section) -> (bool, Affinity) {
    let enabled = section.value("enabled", Scalar::flag).unwrap_or(true);
    let sessions = session_source::read(&mut section);
    let travel = method::read(&mut section, !sessions.is_empty());
    let duration = section.value("duration", |s| s.duration(SECOND));
    let idle = section.value("idleTimeout", |s| s.duration(SECOND));
    let absolute = section.value("absoluteTimeout", |s| s.duration(SECOND));
    let affinity = Affinity {
        at: section.at.clone(),
        cookie: cookie(section.section("cookie"), duration, travel.by_policy),
        methods: travel.methods,
        encoding: travel.encoding,
        header_name: travel.header_name,
        query_name: travel.query_name,
        path_name: travel.path_name,
        learn: sessions.learn,
        envelope: sessions.envelope,
        burst: session_source::burst(&mut section),
        key_over: travel.key_over,
        source_ip: travel.source_ip,
        adopt: travel.adopt,
        algorithm: method::algorithm(&mut section),
        expose_backend: section
            .value("exposeBackend", |s| {
                s.checked("the name of a header that is not spoken for", |name| {
                    let lower = name.to_ascii_lowercase();
                    name.is_empty() || (is_token(name) && !method::is_spoken_for(&lower))
                })
            })
            .unwrap_or_default()
            .to_ascii_lowercase(),
        consent: section
            .section("consent")
            .value("cookie", |s| s.checked("the name of a cookie", is_token)),
        keys: keys(&mut section),
        key_rotation: section.value("keyRotation", rotation).flatten(),
        idle_timeout: idle.or(duration).unwrap_or(Duration::from_mins(30)),
        absolute_timeout: absolute.unwrap_or(Duration::from_hours(8)),
        on_missing: section
            .value("onMissing", |s| {
                s.choice(
                    &[("redistribute", OnMissing::Redistribute), ("reject", OnMissing::Reject)],
                    &[],
                )
            })
            .unwrap_or(OnMissing::Redistribute),
        on_unhealthy: section
            .value("onUnhealthy", on_unhealthy)
            .unwrap_or(OnUnhealthy::Redistribute),
        on_draining: section.value("onDraining", on_draining).unwrap_or(OnDraining::Keep),
        on_full: section.value("onFull", on_full).unwrap_or(OnFull::Wait),
        failback: section
            .value("failback", |s| {
                s.choice(&[("never", Failback::Never), ("immediate", Failback::Immediate)], &[])
            })
            .unwrap_or(Failback::Never),
        reject_status: section
            .value("rejectStatus", |s| s.number(400..=599))
            .and_then(|status| u16::try_from(status).ok())
            .unwrap_or(503),
    };
    check_times(&section, &affinity);
    check_unsealed(&section, &affinity);
    (enabled, affinity)
}

fn on_unhealthy(scalar: &Scalar) -> Parsed<OnUnhealthy> {
    let choices = [
        ("redistribute", OnUnhealthy::Redistribute),
        ("serve-once", OnUnhealthy::ServeOnce),
        ("reject", OnUnhealthy::Reject),
    ];
    scalar.choice(&choices, &[])
}

fn on_full(scalar: &Scalar) -> Parsed<OnFull> {
    let choices = [
        ("wait", OnFull::Wait),
        ("serve-once", OnFull::ServeOnce),
        ("redistribute", OnFull::Redistribute),
        ("reject", OnFull::Reject),
    ];
    scalar.choice(&choices, &[])
}

fn on_draining(scalar: &Scalar) -> Parsed<OnDraining> {
    let choices = [
        ("keep", OnDraining::Keep),
        ("redistribute-when-idle", OnDraining::RedistributeWhenIdle),
        ("redistribute", OnDraining::Redistribute),
    ];
    scalar.choice(&choices, &[])
}

fn rotation(scalar: &Scalar) -> Parsed<Option<Duration>> {
    match scalar.duration(Duration::ZERO)? {
        Duration::ZERO => Ok(None),
        _ => scalar.duration(SECOND).map(Some),
    }
}

fn keys(section: &mut Section) -> Vec<Key> {
    let (mut keys, mut ids) = (Vec::new(), Vec::new());
    for mut key in section.sections("keys") {
        key.require("id", "add a number from 0 to 15");
        key.require("secret", "add at least 16 bytes; several instances need the same");
        let id = key.value_at("id", |s| s.number(0..=15));
        let secret = key.value_at("secret", Scalar::secret);
        if let Some(secret) = &secret
            && secret.value.expose().len() < 16
        {
            let cure = "use at least 16 bytes, all of them random";
            key.reader.report(&secret.at, "the secret is too short", cure);
        }
        let secret = secret.map_or_else(|| Secret::new(String::new()), |secret| secret.value);
        let Some(id) = id else { continue };
        keys.push(Key { id: u8::try_from(id.value).unwrap_or(0), secret });
        ids.push(At { value: id.value.to_string(), at: id.at });
    }
    section.reader.report_repeats(ids.iter());
    keys
}

fn cookie(mut cookie: Section, duration: Option<Duration>, by_policy: bool) -> Cookie {
    let secure = [("auto", Secure::Auto), ("true", Secure::Always), ("false", Secure::Never)];
    let same_site = [
        ("lax", SameSite::Lax),
        ("strict", SameSite::Strict),
        ("none", SameSite::None),
        ("unspecified", SameSite::Unspecified),
    ];
    let prefixes = [("none", Prefix::None), ("host", Prefix::Host), ("secure", Prefix::Secure)];
    let prefix = cookie.value("prefix", |s| s.choice(&prefixes, &[])).unwrap_or(Prefix::None);
    let (usual_name, usual_same_site) = if by_policy {
        ("SessionAffinity", SameSite::Unspecified)
    } else {
        ("gateway-backend", SameSite::Lax)
    };
    let name = cookie.value("name", |s| {
        s.checked("1 to 64 letters, digits and `!#$%&'*+-.^_`|~`", |name| {
            name.len() <= 64 && is_token(name)
        })
    });
    let path = cookie.value("path", |s| {
        s.checked("a path that starts with `/`, without `;`", |path| {
            path.starts_with('/') && !path.contains(|c: char| c == ';' || c.is_control())
        })
    });
    let domain = cookie.value("domain", |s| {
        s.checked("a domain such as example.com", |domain| {
            domain.is_empty() || is_host_name(domain.strip_prefix('.').unwrap_or(domain))
        })
    });
    let max_age = cookie.value("maxAge", |s| s.seconds(SECOND)).or(duration);
    let name = name.unwrap_or_else(|| usual_name.to_owned());
    if prefix != Prefix::None && name.starts_with("__") {
        let at = cookie.blame(&["prefix", "name"]);
        cookie.reader.report(&at, "the name has a prefix already", "keep one of them");
    }
    let read = Cookie {
        name: format!("{}{name}", prefix.text()),
        path: path.unwrap_or_else(|| "/".to_owned()),
        domain: domain.unwrap_or_default(),
        max_age: max_age.map(|age| age.as_secs()),
        http_only: cookie.value("httpOnly", Scalar::flag).unwrap_or(true),
        secure: cookie.value("secure", |s| s.choice(&secure, &[])).unwrap_or(Secure::Auto),
        same_site: cookie
            .value("sameSite", |s| s.choice(&same_site, &[]))
            .unwrap_or(usual_same_site),
        is_essential: cookie.value("isEssential", Scalar::flag).unwrap_or(false),
        expires: cookie.value("expires", |s| s.duration(SECOND)),
        extensions: cookie.values("extensions", |s| {
            s.checked("an attribute such as Partitioned or Priority=High", |text| {
                !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b';')
            })
        }),
    };
    check_prefix(&cookie, &read);
    check_extensions(&cookie, &read);
    if read.same_site == SameSite::None && read.secure == Secure::Never {
        let at = cookie.blame(&["sameSite", "secure"]);
        let cure = "write `secure: true` or `auto`, or another `sameSite`";
        cookie.reader.report(&at, "browsers drop `sameSite: none` with `secure: false`", cure);
    }
    read
}

/// What has a key of its own is no extension, and Partitioned asks for Secure (CHIPS).
fn check_extensions(cookie: &Section, read: &Cookie) {
    let at = || cookie.blame(&["extensions"]);
    for extension in &read.extensions {
        let name = extension.split('=').next().unwrap_or_default().to_ascii_lowercase();
        let key = match name.as_str() {
            "path" => "path",
            "domain" => "domain",
            "max-age" => "maxAge",
            "expires" => "expires",
            "secure" => "secure",
            "httponly" => "httpOnly",
            "samesite" => "sameSite",
            "partitioned" if read.secure == Secure::Never => {
                let problem = "browsers drop Partitioned with `secure: false`";
                cookie.reader.report(&at(), problem, "write `secure: true` or `auto`");
                continue;
            }
            _ => continue,
        };
        let problem = format!("{extension} is no extension");
        cookie.reader.report(&at(), problem, format!("write it as `{key}`"));
    }
}

/// Browsers drop a cookie that breaks the promise of its name (RFC 6265bis §4.1.3).
fn check_prefix(cookie: &Section, read: &Cookie) {
    let at = || cookie.blame(&["prefix", "name"]);
    let host = read.name.starts_with(Prefix::Host.text());
    if (host || read.name.starts_with(Prefix::Secure.text())) && read.secure != Secure::Always {
        let problem = "browsers take such a cookie only with Secure";
        cookie.reader.report(&at(), problem, "write `secure: true`");
    }
    if host && (read.path != "/" || !read.domain.is_empty()) {
        let problem = "browsers take a `__Host-` cookie only with path / and without a domain";
        cookie.reader.report(&at(), problem, "leave path and domain out, or use `prefix: secure`");
    }
}

/// Only a sealed key says where its client belongs, and when it was here last.
fn check_unsealed(section: &Section, affinity: &Affinity) {
    let carries = affinity.methods.iter().any(|method| *method != Method::SourceIp);
    if affinity.encoding == Encoding::Secure && (carries || affinity.envelope.is_some()) {
        return;
    }
    let needs = [
        ("failback", affinity.failback == Failback::Immediate),
        ("onDraining", affinity.on_draining == OnDraining::RedistributeWhenIdle),
    ];
    for (key, _) in needs.into_iter().filter(|(_, needed)| *needed) {
        let problem = "such a key does not carry what this choice needs";
        let cure = "use `encoding: secure`, or another choice";
        section.reader.report(&section.blame(&[key]), problem, cure);
    }
}

fn check_times(section: &Section, affinity: &Affinity) {
    let (idle, absolute) = (affinity.idle_timeout, affinity.absolute_timeout);
    if idle > absolute {
        let at = section.blame(&["absoluteTimeout", "idleTimeout", "duration"]);
        let (idle, absolute) = (in_words(idle), in_words(absolute));
        let problem = format!("absoluteTimeout ({absolute}) is below idleTimeout ({idle})");
        section.reader.report(&at, problem, format!("set absoluteTimeout to {idle} or more"));
    }
    let longest = affinity.key_rotation.map(|period| period.saturating_mul(OPEN_PERIODS));
    if let Some(longest) = longest
        && absolute > longest
    {
        let at = section.blame(&["keyRotation", "absoluteTimeout"]);
        let problem = format!(
            "absoluteTimeout ({}) is longer than {OPEN_PERIODS} times keyRotation",
            in_words(absolute)
        );
        let period = Duration::from_secs(absolute.as_secs().div_ceil(u64::from(OPEN_PERIODS)));
        let (longest, period) = (in_words(longest), in_words(period));
        let cure =
            format!("set absoluteTimeout to {longest} or less, or keyRotation to {period} or more");
        section.reader.report(&at, problem, cure);
    }
}
