//! Faults that show only when all rules are looked at together: cookies that would be mistaken for
//! one another.

use super::reach::{Way, ways};
use crate::affinity::CookieNames;
use crate::config::{Affinity, Config, Fault, Method, SessionSource};
use ahash::{AHashMap, AHashSet};
use std::collections::hash_map::Entry;

/// The names that more than one service would write.
pub(super) fn shared_names(config: &Config) -> impl Fn(&str) -> bool {
    let mut first_service: AHashMap<&str, &str> = AHashMap::new();
    let mut shared = Vec::new();
    for (way, affinity) in sticky(config) {
        let (name, service) = (affinity.cookie.name.as_str(), way.service);
        if *first_service.entry(name).or_insert(service) != service {
            shared.push(name.to_owned());
        }
    }
    move |name| shared.iter().any(|other| other == name)
}

/// Cookies with one name and two meanings.
pub(super) fn faults(config: &Config) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut seen: AHashMap<(&str, &str), (Way<'_>, &Affinity)> = AHashMap::new();
    let mut suffixed: AHashMap<Box<str>, &str> = AHashMap::new();
    for (way, affinity) in sticky(config) {
        let (service, name) = (way.service, affinity.cookie.name.as_str());
        suffixed.insert(CookieNames::new(name, service, true).suffixed, service);
        match seen.entry((service, name)) {
            Entry::Vacant(free) => {
                free.insert((way, affinity));
            }
            Entry::Occupied(taken) => {
                let (other, first) = taken.get();
                if !same_keys(first, affinity) {
                    faults.push(affinity.at.fault(
                        format!(
                            "{other} and {way} write the cookie {name} for service {service} with \
                             different keys or encodings, so that each would undo what the other wrote",
                        ),
                        "give both the same keys, keyRotation and encoding, or one of them another cookie.name",
                    ));
                }
            }
        }
    }
    let ours: AHashSet<&str> = sticky(config).map(|(_, a)| a.cookie.name.as_str()).collect();
    for affinity in ways(config).map(|way| way.affinity) {
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
    faults.extend(sessions(config, |name| ours.contains(name) || suffixed.contains_key(name)));
    for (_, affinity) in sticky(config) {
        let name = affinity.cookie.name.as_str();
        if let Some(service) = suffixed.get(name) {
            faults.push(affinity.at.fault(
                format!("the cookie name {name} is the one that service {service} may write"),
                "choose another cookie.name",
            ));
        }
    }
    faults.extend(headers(config));
    faults
}

/// Sessions of the application under a name that is taken.
fn sessions(config: &Config, is_ours: impl Fn(&str) -> bool) -> Vec<Fault> {
    let sessions = ways(config).map(|way| way.affinity).flat_map(|affinity| {
        affinity.learn.iter().chain(&affinity.envelope).map(move |source| (affinity, source))
    });
    let taken = sessions.filter_map(|(affinity, source)| {
        let taken = match source {
            SessionSource::Cookie(name) => {
                is_ours(name) || affinity.adopt.iter().any(|adopt| adopt.cookie == *name)
            }
            // told with all other headers
            SessionSource::Header(_) => false,
        };
        let (SessionSource::Cookie(name) | SessionSource::Header(name)) = source;
        taken.then(|| {
            affinity.at.fault(
                format!("the application's session {name} has another meaning as well"),
                "give our cookie or header another name, and name each session once",
            )
        })
    });
    taken.collect()
}

/// Headers with two meanings under one rule.
fn headers(config: &Config) -> Vec<Fault> {
    let mut faults = Vec::new();
    for rule in &config.rules {
        for affinity in rule.affinities() {
            let sessions = affinity.learn.iter().chain(&affinity.envelope);
            let sessions = sessions.filter_map(|source| match source {
                SessionSource::Header(name) => Some(name.as_str()),
                SessionSource::Cookie(_) => None,
            });
            let key = affinity.methods.contains(&Method::Header).then_some(&*affinity.header_name);
            let named = config.service_header.as_ref().map(|header| header.name.as_str());
            let others = [&*affinity.expose_backend, &*rule.version_header];
            let all = sessions.chain(key).chain(named).chain(others).filter(|n| !n.is_empty());
            let mut seen = AHashSet::new();
            faults.extend(all.filter(|name| !seen.insert(name.to_owned())).map(|name| {
                affinity.at.fault(
                    format!("the header {name} has two meanings under rule {}", rule.id.value),
                    "give headerName, exposeBackend, versionHeader, serviceHeader and the \
                     application's session a header each",
                )
            }));
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

/// Ways on which the key rides in a cookie.
fn sticky(config: &Config) -> impl Iterator<Item = (Way<'_>, &Affinity)> {
    let sticky = ways(config).map(|way| (way, way.affinity));
    sticky.filter(|(_, affinity)| affinity.methods.contains(&Method::Cookie))
}
