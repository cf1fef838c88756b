//! Every way to a backend on which a client is bound, with the affinity in force there: the rules,
//! for requests and for handshakes, and the services that requests may name themselves. Apart, since whatever is looked for in all
//! of them together must forget none.

use crate::config::{Affinity, Config};
use std::fmt;

/// One way.
#[derive(Clone, Copy)]
pub(super) struct Way<'c> {
    opened_by: OpenedBy<'c>,
    /// The service that it leads to.
    pub(super) service: &'c str,
    pub(super) affinity: &'c Affinity,
}

#[derive(Clone, Copy)]
enum OpenedBy<'c> {
    Rule(&'c str),
    /// `serviceHeader`
    Name(&'c str),
}

/// All ways. A service's own is open only where some rule leads to another one: a request that
/// names the service of its rule has the affinity of the rule.
pub(super) fn ways(config: &Config) -> impl Iterator<Item = Way<'_>> {
    let rules = config.rules.iter().flat_map(|rule| {
        rule.affinities().map(move |affinity| Way {
            opened_by: OpenedBy::Rule(&rule.id.value),
            service: &rule.service.value,
            affinity,
        })
    });
    let named = config.service_header.iter().flat_map(|_| &config.services);
    let from_elsewhere = |service: &str| config.rules.iter().any(|r| r.service.value != service);
    let named = named.filter(move |service| from_elsewhere(&service.id.value));
    rules.chain(named.filter_map(|service| {
        Some(Way {
            opened_by: OpenedBy::Name(&service.id.value),
            service: &service.id.value,
            affinity: service.affinity.as_ref()?,
        })
    }))
}

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.opened_by {
            OpenedBy::Rule(id) => write!(f, "rule {id}"),
            OpenedBy::Name(id) => write!(f, "service {id}"),
        }
    }
}
