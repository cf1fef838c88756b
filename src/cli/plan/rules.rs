//! What becomes of the keys that clients of a rule hold.

use super::places::{Places, moved};
use super::report::{Fate, RuleChange};
use super::{services, settings};
use crate::config::{
    Affinity, At, Backend, BackendState, Config, Encoding, KeyOver, Method, OnMissing, PathPattern,
    Rule,
};
use crate::explain::World;
use crate::model::{RuleId, Secret};
use crate::snapshot::{self, Stickiness};

/// Every rule of either side, and what is in force for requests that name their service.
pub(super) fn changes(old: &World, new: &World) -> Vec<RuleChange> {
    let (before, after) = (rules(&old.config), rules(&new.config));
    let was = |id: &str| before.iter().find(|rule| rule.id.value == id);
    let is = |id: &str| after.iter().any(|rule| rule.id.value == id);
    let mut all: Vec<RuleChange> = after
        .iter()
        .map(|after| match was(&after.id.value) {
            None => alone(after, Fate::Added),
            Some(before) => Both { old, new, before, after }.change(),
        })
        .collect();
    let gone = before.iter().filter(|rule| !is(&rule.id.value));
    all.extend(gone.map(|rule| alone(rule, Fate::Removed)));
    all
}

/// The rules as written, and those that stand for services that requests name.
fn rules(config: &Config) -> Vec<Rule> {
    let named = config.service_header.iter().flat_map(|_| &config.services);
    let named = named.map(|service| Rule {
        id: At { value: format!("service {}", service.id.value), at: service.id.at.clone() },
        order: 0,
        hosts: Vec::new(),
        path: PathPattern::Below(String::new()),
        headers: Vec::new(),
        methods: Vec::new(),
        service: service.id.clone(),
        subset: String::new(),
        version_header: String::new(),
        url_rewriting: false,
        affinity: service.affinity.clone(),
        handshakes: service.handshakes.clone(),
    });
    config.rules.iter().cloned().chain(named).collect()
}

fn alone(rule: &Rule, fate: Fate) -> RuleChange {
    let changes = match fate {
        Fate::Stays => Vec::new(),
        Fate::Added | Fate::Removed => vec![format!("service {}", rule.service.value)],
    };
    let rule = rule.id.value.clone();
    RuleChange { rule, fate, changes, missing: Vec::new(), moved: None, closed: Vec::new() }
}

/// Whether both are written to match alike; what other rules take away is not looked at.
fn same_requests(before: &Rule, after: &Rule) -> bool {
    before.order == after.order
        && before.hosts == after.hosts
        && before.path == after.path
        && before.headers == after.headers
        && before.methods == after.methods
}

/// A rule on both sides.
struct Both<'a> {
    old: &'a World,
    new: &'a World,
    before: &'a Rule,
    after: &'a Rule,
}

impl Both<'_> {
    fn change(&self) -> RuleChange {
        let mut change = alone(self.after, Fate::Stays);
        let (from, to) = (&self.before.service.value, &self.after.service.value);
        if from != to {
            let told = format!("service {from} -> {to}: no key of its clients opens any more");
            change.changes.push(told);
        }
        if !same_requests(self.before, self.after) {
            change.changes.push("takes other requests than before".into());
        }
        let named = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
        for (name, old, new) in [
            ("subset", &self.before.subset, &self.after.subset),
            ("versionHeader", &self.before.version_header, &self.after.version_header),
        ] {
            if old != new {
                change.changes.push(format!("{name} {} -> {}", named(old), named(new)));
            }
        }
        match (self.before.url_rewriting, self.after.url_rewriting) {
            (false, true) => change.changes.push("links in responses get the key".into()),
            (true, false) => {
                let told = "links get no key any more; clients without cookies are not held";
                change.changes.push(told.into());
            }
            (true, true) | (false, false) => {}
        }
        match (&self.before.affinity, &self.after.affinity) {
            (None, None) => {}
            (None, Some(_)) => change.changes.push("session affinity is switched on".into()),
            (Some(_), None) => {
                change.changes.push("session affinity is switched off: no client is held".into());
            }
            (Some(before), Some(after)) => {
                change.missing = self.missing();
                change.changes.extend(gone(&change.missing, after));
                change.changes.extend(self.away(after));
                change.changes.extend(self.cookie(before, after));
                change.changes.extend(other_ways(before, after));
                change.changes.extend(other_keys(before, after));
                change.changes.extend(settings::changes(before, after));
                change.closed = closed(before, after);
            }
        }
        self.placing(&mut change);
        change
    }

    /// How the rule places new clients, where it does so in a way of its own.
    fn placing(&self, change: &mut RuleChange) {
        let (Some(was), Some(is)) =
            (compiled(self.old, self.before), compiled(self.new, self.after))
        else {
            return;
        };
        let (before, after) = (Places::of_rule(was), Places::of_rule(is));
        if !before.is_own() && !after.is_own() {
            return;
        }
        if before.is_by_name() != after.is_by_name() {
            let names = if after.is_by_name() { "may name" } else { "no longer name" };
            change.changes.push(format!("clients {names} their sessions in the header"));
        }
        if before.is_by_name() || after.is_by_name() {
            let both = before.is_by_name() && after.is_by_name();
            change.moved = moved(before, after).filter(|_| both);
            return;
        }
        let (told, now) = (before.told(), after.told());
        if told != now {
            change.changes.push(format!("new clients are placed {now}, not {told}"));
        }
        change.moved = moved(before, after);
    }

    /// The backends of the service on one side, and their state.
    fn backends<'s>(&self, side: &'s World) -> impl Iterator<Item = &'s Backend> {
        let mut services = side.config.services.iter();
        let service = services.find(|service| service.id.value == self.after.service.value);
        service.into_iter().flat_map(|service| &service.backends)
    }

    /// Bindings to backends that go.
    fn missing(&self) -> Vec<String> {
        if self.before.service.value != self.after.service.value {
            return Vec::new();
        }
        let stay: Vec<&str> = self.backends(self.new).map(|b| b.id.value.as_str()).collect();
        let old = self.backends(self.old).map(|backend| backend.id.value.clone());
        old.filter(|id| !stay.contains(&id.as_str())).collect()
    }

    /// Bindings to backends that stay, but do not serve as before.
    fn away(&self, after: &Affinity) -> Vec<String> {
        let mut told = Vec::new();
        for is in self.backends(self.new) {
            let id = &is.id.value;
            let was = self.backends(self.old).find(|was| was.id.value == *id);
            if was.is_none_or(|was| was.state == is.state) {
                continue;
            }
            let policy = match is.state {
                BackendState::Active => continue,
                BackendState::Draining => {
                    format!("onDraining: {}", settings::on_draining(after.on_draining))
                }
                BackendState::Maintenance => {
                    format!("onUnhealthy: {}", settings::on_unhealthy(after.on_unhealthy))
                }
            };
            let is = services::state(is.state);
            told.push(format!("clients bound to {id}, now {is}, follow {policy}"));
        }
        told
    }

    /// The name of the cookie.
    fn cookie(&self, before: &Affinity, after: &Affinity) -> Option<String> {
        let names = |side: &World, rule: &Rule| {
            let stickiness: Option<&Stickiness> = compiled(side, rule)?.stickiness.as_ref();
            stickiness?.names.clone()
        };
        let was = names(self.old, self.before)?;
        let is = names(self.new, self.after)?;
        let renamed = before.cookie.name != after.cookie.name;
        let (old, new) = (was.written(), is.written());
        (old != new || renamed).then(|| {
            let told = if is.either(old.as_bytes()) && !renamed {
                "; the old one is still read"
            } else {
                ": keys under the old one are no longer read"
            };
            format!("cookie {old} -> {new}{told}")
        })
    }
}

fn compiled<'s>(side: &'s World, rule: &Rule) -> Option<&'s snapshot::Rule> {
    let id = RuleId::from(rule.id.value.as_str());
    side.snapshot.rules().iter().find(|rule| rule.id == id)
}

/// What becomes of bindings to these.
fn gone(missing: &[String], after: &Affinity) -> Option<String> {
    let fate = match after.on_missing {
        OnMissing::Redistribute => "are placed anew (onMissing: redistribute)".to_owned(),
        OnMissing::Reject => {
            format!("are refused with {} (onMissing: reject)", after.reject_status)
        }
    };
    (!missing.is_empty()).then(|| format!("clients bound to {} {fate}", missing.join(", ")))
}

/// Changes of how a key travels and what it looks like.
fn other_ways(before: &Affinity, after: &Affinity) -> Vec<String> {
    let mut told = Vec::new();
    let gone = before.methods.iter().filter(|method| !after.methods.contains(method));
    told.extend(gone.filter_map(|method| match method {
        Method::Cookie => Some("keys in cookies are no longer read".to_owned()),
        Method::Header => Some("keys in the header are no longer read".to_owned()),
        Method::Query => Some("keys in the query are no longer read".to_owned()),
        Method::Path => Some("keys in the path are no longer read".to_owned()),
        Method::SourceIp => None,
    }));
    let names: [(_, &str, &str, &str); 3] = [
        (Method::Header, "header", &before.header_name, &after.header_name),
        (Method::Query, "parameter of the query", &before.query_name, &after.query_name),
        (Method::Path, "parameter of the path", &before.path_name, &after.path_name),
    ];
    for (method, what, old, new) in names {
        let both = before.methods.contains(&method) && after.methods.contains(&method);
        if both && old != new {
            told.push(format!("{what} {old} -> {new}: keys in the old one are no longer read"));
        }
    }
    if before.encoding != after.encoding {
        let (old, new) = (encoding(before.encoding), encoding(after.encoding));
        told.push(format!("encoding {old} -> {new}: no key of its clients opens any more"));
    } else if hashes_a_name(after.encoding) && before.key_over != after.key_over {
        let over = |over| match over {
            KeyOver::Id => "id",
            KeyOver::Address => "address",
        };
        let (old, new) = (over(before.key_over), over(after.key_over));
        told.push(format!("keyOver {old} -> {new}: no key of its clients opens any more"));
    }
    told
}

fn encoding(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Secure => "secure",
        Encoding::Hash => "hash",
        Encoding::Plain => "plain",
        Encoding::HashCookie => "HashCookie",
        Encoding::ArrCookie => "ArrCookie",
    }
}

fn hashes_a_name(encoding: Encoding) -> bool {
    match encoding {
        Encoding::HashCookie | Encoding::ArrCookie => true,
        Encoding::Secure | Encoding::Hash | Encoding::Plain => false,
    }
}

fn takes_secrets(encoding: Encoding) -> bool {
    match encoding {
        Encoding::Secure | Encoding::Hash => true,
        Encoding::Plain | Encoding::HashCookie | Encoding::ArrCookie => false,
    }
}

/// Changes that concern all secrets.
fn other_keys(before: &Affinity, after: &Affinity) -> Vec<String> {
    let mut told = Vec::new();
    if before.encoding != after.encoding || !takes_secrets(after.encoding) {
        return told;
    }
    if before.keys.is_empty() != after.keys.is_empty() {
        let (old, new) = if after.keys.is_empty() {
            ("the configured `keys`", "a generated one")
        } else {
            ("the generated key", "`keys`")
        };
        told.push(format!("{old} -> {new}: no key of its clients opens any more"));
    }
    if after.encoding == Encoding::Secure && before.key_rotation != after.key_rotation {
        told.push("keyRotation changes: no key of its clients opens any more".into());
    }
    told
}

/// Ids whose secret is gone, or is another one now.
fn closed(before: &Affinity, after: &Affinity) -> Vec<u8> {
    if !takes_secrets(before.encoding) {
        return Vec::new();
    }
    let opens = |id: u8, secret: &Secret| match after.encoding {
        Encoding::Secure => after.keys.iter().any(|key| key.id == id && key.secret == *secret),
        // a hash does not tell which secret made it
        Encoding::Hash => after.keys.iter().any(|key| key.secret == *secret),
        Encoding::Plain | Encoding::HashCookie | Encoding::ArrCookie => false,
    };
    before.keys.iter().filter(|key| !opens(key.id, &key.secret)).map(|key| key.id).collect()
}
