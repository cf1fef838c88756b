//! Faults that show only when all rules are looked at together: cookies that would be mistaken for
//! one another.

use crate::affinity::CookieNames;
use crate::config::{Affinity, Config, Fault, Method, Rule};
use ahash::{AHashMap, AHashSet};
use std::collections::hash_map::Entry;

/// The names that more than one service would write.
pub(super) fn shared_names(config: &Config) -> impl Fn(&str) -> bool {
    let mut first_service: AHashMap<&str, &str> = AHashMap::new();
    let mut shared = Vec::new();
    for (rule, affinity) in sticky(config) {
        let (name, service) = (affinity.cookie.name.as_str(), rule.service.value.as_str());
        if *first_service.entry(name).or_insert(service) != service {
            shared.push(name.to_owned());
        }
    }
    move |name| shared.iter().any(|other| other == name)
}

/// Cookies with one name and two meanings.
pub(super) fn faults(config: &Config) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut seen: AHashMap<(&str, &str), (&Rule, &Affinity)> = AHashMap::new();
    let mut suffixed: AHashMap<Box<str>, &str> = AHashMap::new();
    for (rule, affinity) in sticky(config) {
        let (service, name) = (rule.service.value.as_str(), affinity.cookie.name.as_str());
        suffixed.insert(CookieNames::new(name, service, true).suffixed, service);
        match seen.entry((service, name)) {
            Entry::Vacant(free) => {
                free.insert((rule, affinity));
            }
            Entry::Occupied(taken) => {
                let (other, first) = taken.get();
                if !same_keys(first, affinity) {
                    faults.push(affinity.at.fault(
                        format!(
                            "rules {} and {} write the cookie {name} for service {service} with \
                             different keys or encodings, so that each would undo what the other wrote",
                            other.id.value, rule.id.value
                        ),
                        "give both the same keys, keyRotation and encoding, or one of them another cookie.name",
                    ));
                }
            }
        }
    }
    let ours: AHashSet<&str> = sticky(config).map(|(_, a)| a.cookie.name.as_str()).collect();
    for affinity in config.rules.iter().filter_map(|rule| rule.affinity.as_ref()) {
        let mut adopted = AHashSet::new();
        for name in affinity.adopt.iter().map(|adopt| adopt.cookie.as_str()) {
            if ours.contains(name) || suffixed.contains_key(name) || !adopted.insert(name) {
                faults.push(affinity.at.fault(
                    format!("the cookie {name} that is to be adopted has another meaning as well"),
                    "give our cookie another name, and adopt each name once",
                ));
            }
        }
    }
    for (_, affinity) in sticky(config) {
        let name = affinity.cookie.name.as_str();
        if let Some(service) = suffixed.get(name) {
            faults.push(affinity.at.fault(
                format!("the cookie name {name} is the one that service {service} may write"),
                "choose another cookie.name",
            ));
        }
    }
    faults
}

fn same_keys(one: &Affinity, other: &Affinity) -> bool {
    let keys = |affinity: &Affinity| {
        affinity.keys.iter().map(|key| (key.id, key.secret.clone())).collect::<Vec<_>>()
    };
    let looks = |affinity: &Affinity| (affinity.encoding, affinity.key_over);
    one.key_rotation == other.key_rotation && keys(one) == keys(other) && looks(one) == looks(other)
}

/// Rules whose key rides in a cookie.
fn sticky(config: &Config) -> impl Iterator<Item = (&Rule, &Affinity)> {
    let rules = config.rules.iter();
    let sticky = rules.filter_map(|rule| rule.affinity.as_ref().map(|affinity| (rule, affinity)));
    sticky.filter(|(_, affinity)| affinity.methods.contains(&Method::Cookie))
}
