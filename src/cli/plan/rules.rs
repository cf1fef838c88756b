//! What becomes of the keys that clients of a rule hold.

use super::report::{Fate, RuleChange};
use crate::cli::explain::offline::Offline;
use crate::config::{Affinity, Encoding, KeyOver, Method, OnMissing, Rule};
use crate::model::{RuleId, Secret};
use crate::snapshot::Stickiness;

/// Every rule of either side.
pub(super) fn changes(old: &Offline, new: &Offline) -> Vec<RuleChange> {
    let was = |id: &str| old.config.rules.iter().find(|rule| rule.id.value == id);
    let is = |id: &str| new.config.rules.iter().any(|rule| rule.id.value == id);
    let mut all: Vec<RuleChange> = new
        .config
        .rules
        .iter()
        .map(|after| match was(&after.id.value) {
            None => alone(after, Fate::Added),
            Some(before) => Both { old, new, before, after }.change(),
        })
        .collect();
    let gone = old.config.rules.iter().filter(|rule| !is(&rule.id.value));
    all.extend(gone.map(|rule| alone(rule, Fate::Removed)));
    all
}

fn alone(rule: &Rule, fate: Fate) -> RuleChange {
    let changes = match fate {
        Fate::Stays => Vec::new(),
        Fate::Added | Fate::Removed => vec![format!("service {}", rule.service.value)],
    };
    RuleChange { rule: rule.id.value.clone(), fate, changes, closed: Vec::new() }
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
    old: &'a Offline,
    new: &'a Offline,
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
        match (&self.before.affinity, &self.after.affinity) {
            (None, None) => {}
            (None, Some(_)) => change.changes.push("session affinity is switched on".into()),
            (Some(_), None) => {
                change.changes.push("session affinity is switched off: no client is held".into());
            }
            (Some(before), Some(after)) => {
                change.changes.extend(self.missing(after));
                change.changes.extend(self.cookie(before, after));
                change.changes.extend(other_ways(before, after));
                change.changes.extend(other_keys(before, after));
                change.closed = closed(before, after);
            }
        }
        change
    }

    /// Bindings to backends that go.
    fn missing(&self, after: &Affinity) -> Option<String> {
        if self.before.service.value != self.after.service.value {
            return None;
        }
        let backends = |side: &Offline| -> Vec<String> {
            let mut services = side.config.services.iter();
            let service = services.find(|service| service.id.value == self.after.service.value);
            let backends = service.into_iter().flat_map(|service| &service.backends);
            backends.map(|backend| backend.id.value.clone()).collect()
        };
        let stay = backends(self.new);
        let gone: Vec<String> =
            backends(self.old).into_iter().filter(|id| !stay.contains(id)).collect();
        let fate = match after.on_missing {
            OnMissing::Redistribute => "are placed anew (onMissing: redistribute)".to_owned(),
            OnMissing::Reject => {
                format!("are refused with {} (onMissing: reject)", after.reject_status)
            }
        };
        (!gone.is_empty()).then(|| format!("clients bound to {} {fate}", gone.join(", ")))
    }

    /// The name of the cookie.
    fn cookie(&self, before: &Affinity, after: &Affinity) -> Option<String> {
        let names = |side: &Offline, rule: &Rule| {
            let id = RuleId::from(rule.id.value.as_str());
            let mut rules = side.snapshot.rules().iter();
            let stickiness: Option<&Stickiness> =
                rules.find(|rule| rule.id == id)?.stickiness.as_ref();
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

/// Changes of how a key travels and what it looks like.
fn other_ways(before: &Affinity, after: &Affinity) -> Vec<String> {
    let mut told = Vec::new();
    let gone = before.methods.iter().filter(|method| !after.methods.contains(method));
    told.extend(gone.filter_map(|method| match method {
        Method::Cookie => Some("keys in cookies are no longer read".to_owned()),
        Method::Header => Some("keys in the header are no longer read".to_owned()),
        Method::SourceIp => None,
    }));
    let header = |affinity: &Affinity| affinity.methods.contains(&Method::Header);
    if header(before) && header(after) && before.header_name != after.header_name {
        let (old, new) = (&before.header_name, &after.header_name);
        told.push(format!("header {old} -> {new}: keys in the old one are no longer read"));
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
