//! `router`: which request goes to which service.

use super::affinity::{Inherited, Sections};
use super::fault::Refused;
use super::method::is_spoken_for;
use super::place::Origin;
use super::scalar::{Parsed, Scalar};
use super::section::Section;
use super::suggest::did_you_mean;
use super::syntax::{is_host, is_host_name, is_plain, is_token};
use super::written::{
    Affinity, HandshakeAffinity, HostPattern, Method, PathPattern, Rule, Service, ServiceHeader,
};
use super::{At, affinity};
use crate::model::Secret;

/// What `router` says.
pub(super) struct Router {
    pub(super) rules: Vec<Rule>,
    pub(super) service_header: Option<ServiceHeader>,
    pub(super) hash_key: Secret,
}

/// Reads `router`, and with it what the services say about affinity in `own`.
pub(super) fn read<'a>(
    gateway: &mut Section<'a>,
    services: &mut [Service],
    own: &Sections<'a>,
    handshakes: HandshakeAffinity,
) -> Router {
    let at = gateway.blame(&["router"]);
    let mut router = gateway.section("router");
    let inherited = affinity::read_default(&mut router, own, handshakes);
    for service in services.iter_mut() {
        service.affinity = inherited.read_service(router.reader, &service.id.value);
        let speaks = own.speaks_of(&service.id.value);
        let affinity = service.affinity.as_ref();
        service.handshakes = inherited.handshakes(router.reader, affinity, speaks, &router.at);
    }
    let service_header = service_header(&mut router);
    let hash_key = router.value_at("hashKey", Scalar::secret);
    if let Some(key) = hash_key.as_ref().filter(|key| key.value.expose().len() < 16) {
        router.reader.report(&key.at, "the key is too short", "use at least 16 bytes, all random");
    }
    Router {
        rules: rules(router, &at, services, &inherited),
        service_header,
        hash_key: hash_key.map_or_else(|| Secret::new(String::new()), |key| key.value),
    }
}

/// The name alone, or a section.
fn service_header(router: &mut Section) -> Option<ServiceHeader> {
    let node = router.node("serviceHeader")?;
    if !node.is_map() {
        let name = router.value("serviceHeader", header_name).map(|name| name.to_ascii_lowercase());
        return name.map(|name| ServiceHeader { name, respond: false });
    }
    let mut section = router.reader.section(node);
    section.require("name", "add the name of the header");
    let name = section.value("name", header_name).map(|name| name.to_ascii_lowercase());
    let respond = section.value("respond", Scalar::flag).unwrap_or(false);
    name.map(|name| ServiceHeader { name, respond })
}

fn header_name(scalar: &Scalar) -> Parsed<String> {
    scalar.checked("the name of a header that is not spoken for by HTTP or the gateway", |name| {
        name.len() <= 64 && is_token(name) && !is_spoken_for(&name.to_ascii_lowercase())
    })
}

fn rules(
    mut router: Section,
    at: &Origin,
    services: &[Service],
    inherited: &Inherited<'_>,
) -> Vec<Rule> {
    let sections = router.sections("rules");
    let has_rules = !sections.is_empty();
    let rules: Vec<_> = sections.into_iter().map(|s| rule(s, services, inherited)).collect();
    router.reader.report_repeats(rules.iter().map(|rule| &rule.id));
    match services {
        _ if has_rules => rules,
        [only] => vec![Rule {
            id: At { value: "default".to_owned(), at: only.id.at.clone() },
            order: 0,
            hosts: vec![],
            path: PathPattern::Below(String::new()),
            headers: vec![],
            methods: vec![],
            service: only.id.clone(),
            subset: String::new(),
            version_header: String::new(),
            url_rewriting: false,
            affinity: only.affinity.clone(),
            handshakes: only.handshakes.clone(),
        }],
        [] => vec![],
        [_, _, ..] => {
            let cure = "add `router.rules` that say which requests go to which service";
            router.reader.report_absence(at, "several services, but no rules", cure);
            vec![]
        }
    }
}

fn rule(mut rule: Section, services: &[Service], inherited: &Inherited) -> Rule {
    rule.later(&["when", "rateLimit"]);
    rule.require("id", "add an `id` of its own");
    rule.require("serviceName", "add the name of one of `services`");
    let id = rule.value_at("id", |s| {
        s.checked("1 to 64 printable characters without spaces", |id| {
            (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
        })
    });
    let service = rule.value_at("serviceName", |s| s.checked("the name of a service", |_| true));
    if let Some(name) = &service {
        check_service(&rule, name, services);
    }
    let subset = rule.value_at("subset", |s| {
        s.checked("the version of some backends (numbers in quotes)", |version| {
            !version.is_empty() && version.len() <= 64 && is_plain(version)
        })
    });
    if let (Some(subset), Some(name)) = (&subset, &service) {
        check_subset(&rule, subset, &name.value, services);
    }
    let version_header = rule.value("versionHeader", header_name).unwrap_or_default();
    // only seen together with a fault
    let stand_in = || At { value: String::new(), at: rule.at.clone() };
    let (id, service) = (id.unwrap_or_else(stand_in), service.unwrap_or_else(stand_in));
    let affinity = inherited.read_rule(&mut rule, &service.value, services);
    let speaks = rule.says("sessionAffinity") || inherited.services.speaks_of(&service.value);
    let handshakes = inherited.handshakes(rule.reader, affinity.as_ref(), speaks, &rule.at);
    let url_rewriting = url_rewriting(&mut rule, affinity.as_ref());
    Rule {
        id,
        order: rule.value("order", |s| s.number(i64::MIN..=i64::MAX)).unwrap_or(0),
        hosts: rule.values("hosts", host),
        path: rule.value("path", path).unwrap_or(PathPattern::Below(String::new())),
        headers: headers(&mut rule),
        methods: rule.values("methods", method),
        subset: subset.map(|subset| subset.value).unwrap_or_default(),
        version_header: version_header.to_ascii_lowercase(),
        url_rewriting,
        affinity,
        handshakes,
        service,
    }
}

fn check_service(rule: &Section, name: &At<String>, services: &[Service]) {
    if services.iter().any(|service| service.id.value == name.value) {
        return;
    }
    let known: Vec<_> = services.iter().map(|service| service.id.value.as_str()).collect();
    let cure = did_you_mean(&name.value, &known)
        .unwrap_or_else(|| "write the name of one of `services`".to_owned());
    let problem = format!("there is no service \"{}\"", name.value);
    rule.reader.report_absence(&name.at, &problem, &cure);
}

fn check_subset(rule: &Section, subset: &At<String>, service: &str, services: &[Service]) {
    let Some(service) = services.iter().find(|known| known.id.value == service) else { return };
    let versions: Vec<_> = service.backends.iter().map(|b| b.version.as_str()).collect();
    if versions.contains(&subset.value.as_str()) {
        return;
    }
    let cure = did_you_mean(&subset.value, &versions)
        .unwrap_or_else(|| "write the `version` of some of its backends".to_owned());
    let problem = format!("no backend has the version {:?}", subset.value);
    rule.reader.report_absence(&subset.at, &problem, &cure);
}

/// There must be a way for a key to ride in a URL.
fn url_rewriting(rule: &mut Section, affinity: Option<&Affinity>) -> bool {
    let written = rule.value("urlRewriting", Scalar::flag).unwrap_or(false);
    let in_url = |method: &Method| matches!(method, Method::Query | Method::Path);
    let rides = affinity.is_some_and(|affinity| affinity.methods.iter().any(in_url));
    if written && !rides {
        let at = rule.blame(&["urlRewriting"]);
        let cure = "add query or path to `sessionAffinity.methods`";
        rule.reader.report_absence(&at, "no key rides in URLs", cure);
    }
    written
}

fn host(scalar: &Scalar) -> Parsed<HostPattern> {
    scalar.text("a host such as www.example.com or *.example.com, without a port", |text| {
        let text = text.to_ascii_lowercase();
        match text.strip_prefix("*.") {
            Some(rest) => is_host_name(rest).then(|| HostPattern::Below(rest.to_owned())),
            None => is_host(&text).then_some(HostPattern::Exact(text)),
        }
    })
}

fn path(scalar: &Scalar) -> Parsed<PathPattern> {
    scalar.text("a path such as /cart, or /cart/* for all below it, without . and ..", |text| {
        let (path, is_prefix) = match text.strip_suffix("/*") {
            Some(path) => (path, true),
            None => (text, false),
        };
        let rooted = path.starts_with('/') || (is_prefix && path.is_empty());
        let odd = |c: char| "*?#".contains(c) || c.is_whitespace() || c.is_control();
        let dots = path.split('/').any(|segment| segment == "." || segment == "..");
        let pattern = if is_prefix { PathPattern::Below } else { PathPattern::Exact };
        (rooted && !dots && !path.contains(odd)).then(|| pattern(path.to_owned()))
    })
}

fn headers(rule: &mut Section) -> Vec<(String, String)> {
    let value = |text: &str| !text.chars().any(char::is_control);
    let headers =
        rule.named_values("headers", |s| s.checked("the value as text (numbers in quotes)", value));
    let mut lower_case: Vec<At<String>> = Vec::with_capacity(headers.len());
    for (name, _) in &headers {
        if !is_token(&name.value) {
            rule.reader.report(&name.at, "not the name of a header", "write it as in x-beta");
        }
        lower_case.push(At { value: name.value.to_ascii_lowercase(), at: name.at.clone() });
    }
    rule.reader.report_repeats(lower_case.iter());
    lower_case.into_iter().zip(headers).map(|(name, (_, value))| (name.value, value)).collect()
}

fn method(scalar: &Scalar) -> Parsed<String> {
    let method = scalar.checked("a method such as GET", is_token)?;
    if method.bytes().any(|b| b.is_ascii_lowercase()) {
        let cure = format!("write {}", method.to_ascii_uppercase());
        return Err(Refused::new("methods are written in upper case", cure));
    }
    Ok(method)
}
