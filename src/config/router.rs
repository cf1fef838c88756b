//! `router`: which request goes to which service.

use super::affinity::Inherited;
use super::fault::Refused;
use super::scalar::{Parsed, Scalar};
use super::section::Section;
use super::suggest::did_you_mean;
use super::syntax::{is_host, is_host_name, is_token};
use super::written::{HostPattern, PathPattern, Rule, Service};
use super::{At, affinity};

pub(super) fn read(gateway: &mut Section, services: &[Service]) -> Vec<Rule> {
    let at = gateway.blame(&["router"]);
    let mut router = gateway.section("router");
    router.later(&["serviceHeader"]);
    let inherited = affinity::read_default(&mut router);
    let sections = router.sections("rules");
    let has_rules = !sections.is_empty();
    let rules: Vec<_> = sections.into_iter().map(|s| rule(s, services, &inherited)).collect();
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
            affinity: inherited.affinity,
        }],
        [] => vec![],
        [_, _, ..] => {
            let cure = "add `router.rules` that say which requests go to which service";
            router.reader.report_absence(&at, "several services, but no rules", cure);
            vec![]
        }
    }
}

fn rule(mut rule: Section, services: &[Service], inherited: &Inherited) -> Rule {
    rule.later(&["subset", "versionHeader", "when", "rateLimit", "urlRewriting"]);
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
    // only seen together with a fault
    let stand_in = || At { value: String::new(), at: rule.at.clone() };
    let (id, service) = (id.unwrap_or_else(stand_in), service.unwrap_or_else(stand_in));
    Rule {
        id,
        order: rule.value("order", |s| s.number(i64::MIN..=i64::MAX)).unwrap_or(0),
        hosts: rule.values("hosts", host),
        path: rule.value("path", path).unwrap_or(PathPattern::Below(String::new())),
        headers: headers(&mut rule),
        methods: rule.values("methods", method),
        service,
        affinity: inherited.read_rule(&mut rule),
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
