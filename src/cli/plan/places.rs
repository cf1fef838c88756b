//! Where sample clients are placed by a hash, before and after.

use super::report::Share;
use crate::balance::Selection;
use crate::model::BackendId;
use crate::pool::{Ability, Member};
use crate::snapshot::{By, Caller, Choices, Rule, Service};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use std::net::{IpAddr, Ipv4Addr};

/// Sample clients for each hash.
const SAMPLES: u32 = 10_000;

/// How one side places clients.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    service: &'a Service,
    choices: &'a Choices,
    subset: Option<&'a str>,
    /// `None`: the address as it is.
    by: Option<&'a By>,
}

impl<'a> Places<'a> {
    /// Those of a service.
    pub(super) fn of_service(service: &'a Service) -> Self {
        Self { service, choices: &service.choices, subset: None, by: None }
    }

    /// Those of a rule, which may have a hash of its own.
    pub(super) fn of_rule(rule: &'a Rule) -> Self {
        let own = rule.stickiness.as_ref().and_then(|stickiness| stickiness.placement.as_ref());
        let service = &*rule.service;
        let choices = own.map_or(&service.choices, |own| &own.choices);
        Self { service, choices, subset: rule.subset.as_deref(), by: own.map(|own| &own.by) }
    }

    /// Whether the rule places clients in a way of its own.
    pub(super) fn is_own(&self) -> bool {
        self.by.is_some()
    }

    /// Whether it does so only with clients that name their session.
    pub(super) fn is_by_name(&self) -> bool {
        self.by == Some(&By::Name)
    }

    /// How, in words.
    pub(super) fn told(&self) -> String {
        let of = match self.by {
            None => "the client's address".to_owned(),
            Some(By::Session(_)) => "the application's session, else the client's address".into(),
            Some(By::Client(prefixes)) => {
                format!("the client's network (/{} and /{})", prefixes.ipv4, prefixes.ipv6)
            }
            Some(By::Peer(prefixes)) => {
                format!("the network of the connection (/{} and /{})", prefixes.ipv4, prefixes.ipv6)
            }
            Some(By::Header(name)) => format!("the header {name}"),
            Some(By::Name) => "the name that a client gives its session".into(),
        };
        match &*self.choices.all {
            Selection::RoundRobin(_) => "in turn".into(),
            Selection::ConsistentHash(_) => format!("by consistent-hash of {of}"),
            Selection::Maglev(_) => format!("by maglev of {of}"),
        }
    }

    fn hashes(&self) -> bool {
        !matches!(&*self.choices.all, Selection::RoundRobin(_))
    }

    fn place(&self, nth: u32) -> Option<BackendId> {
        // Knuth's multiplicative hash: odd, so that no two samples are one
        let address = Ipv4Addr::from(nth.wrapping_mul(2_654_435_761));
        let split = &self.service.split;
        let fits = |m: &Member| {
            let takes = self.subset.is_some() || split.takes(&m.backend.version);
            takes && m.ability() == Ability::Anyone
        };
        let key = match self.by {
            None => address.octets().to_vec(),
            Some(By::Name) => address.to_string().into_bytes(),
            Some(by) => by.key(caller(address), &headers(by, address), None)?.to_vec(),
        };
        // a client that a hash places draws its version by it, too
        let hash = self.choices.spread(&key).filter(|_| self.subset.is_none());
        let version = hash.and_then(|hash| split.draw(hash)).map(|version| &**version);
        let members = self.service.pool.members();
        let pick = |version| self.choices.pick(version, &key, members, fits);
        let in_version = version.and_then(|version| pick(Some(version)));
        let member = in_version.or_else(|| pick(self.subset))?;
        Some(member.backend.id.clone())
    }
}

fn caller(address: Ipv4Addr) -> Caller {
    let address = IpAddr::V4(address);
    Caller { client: address, peer: address }
}

fn headers(by: &By, address: Ipv4Addr) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_str(&address.to_string()).ok();
    if let (By::Header(name), Some(value)) = (by, value) {
        headers.insert(HeaderName::clone(name), value);
    }
    headers
}

/// How many sample clients go elsewhere; `None` unless both sides hash.
pub(super) fn moved(before: Places<'_>, after: Places<'_>) -> Option<Share> {
    (before.hashes() && after.hashes()).then(|| {
        let moved = (0..SAMPLES).filter(|nth| before.place(*nth) != after.place(*nth)).count();
        Share { moved: u32::try_from(moved).unwrap_or(SAMPLES), of: SAMPLES }
    })
}
