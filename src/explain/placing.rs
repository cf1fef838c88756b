//! Where a client goes that is not bound: by name where the files decide it, else in words, since a
//! service that takes turns has no answer for one client, and a hash is keyed.

use super::request::Found;
use crate::affinity::AppSession;
use crate::balance::Selection;
use crate::pool::{Ability, Member};
use crate::proxy::decide::{Asked, Identified, Within, within};
use crate::snapshot::{By, Choices, Service, Stickiness};
use http::HeaderMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What places this client.
pub(super) struct Placing<'a> {
    pub(super) service: &'a Service,
    pub(super) choices: &'a Choices,
    /// The versions that it may go to, each with how often they are drawn; at least one.
    pub(super) draws: Vec<Draw>,
    /// What is hashed.
    pub(super) key: Vec<u8>,
    /// What is hashed, in words.
    pub(super) by: String,
    /// Whether the key of the hash is known.
    pub(super) certain: bool,
}

/// One way in which the versions may fall.
pub(super) struct Draw {
    pub(super) within: Within,
    /// Of 1.
    pub(super) chance: f64,
}

/// How a backend comes by new clients.
pub(super) enum Share {
    /// So much of 1, in turn.
    Turns(f64),
    /// By a hash of the client.
    Hash,
    /// It gets none.
    None,
}

/// The policy as it is written.
pub(super) fn name(selection: &Selection) -> &'static str {
    match selection {
        Selection::RoundRobin(_) => "round-robin",
        Selection::ConsistentHash(_) => "consistent-hash",
        Selection::Maglev(_) => "maglev",
    }
}

/// What places new clients under a rule.
pub(super) fn policy(service: &Service, stickiness: Option<&Stickiness>) -> &'static str {
    let own = stickiness.and_then(|s| s.placement.as_ref()).filter(|own| own.by != By::Name);
    name(&own.map_or(&service.choices, |own| &own.choices).all)
}

impl<'a> Placing<'a> {
    /// What places the client of a request; `named`: it names its session.
    pub(super) fn of(
        found: &'a Found<'a>,
        asked: &Asked<'_, HeaderMap>,
        identified: &Identified,
        named: bool,
        certain: bool,
    ) -> Self {
        let (service, caller) = (&*found.rule.service, asked.caller);
        let stickiness = found.rule.stickiness.as_ref();
        let own = stickiness.and_then(|stickiness| stickiness.placement.as_ref());
        let (choices, key, by) = match (own, &identified.place) {
            (Some(placement), Some(place)) => {
                let session = identified.sessions.first();
                let session = session.and_then(|(at, _)| stickiness?.sessions.get(*at));
                let by = match (&placement.by, session) {
                    _ if named => "the name of its session".to_owned(),
                    (By::Session(_), Some(session)) => described(session),
                    (By::Session(_) | By::Client(_), _) => {
                        format!("the network of {}", caller.client)
                    }
                    (By::Peer(_), _) => format!("the network of {}", caller.peer),
                    (By::Header(name), _) => format!("the header {name}"),
                    (By::Name, _) => "the name of its session".to_owned(),
                };
                (&placement.choices, place.to_vec(), by)
            }
            (Some(_) | None, _) => {
                (&service.choices, bytes(caller.client), caller.client.to_string())
            }
        };
        let draws = draws(found, identified, choices.spread(&key).filter(|_| certain));
        Self { service, choices, draws, key, by, certain }
    }

    /// Whether one hash places all.
    pub(super) fn hashes(&self) -> bool {
        !matches!(&*self.choices.all, Selection::RoundRobin(_))
    }

    /// Where the client goes, in words; `None` when nobody takes it.
    pub(super) fn told(&self) -> Option<String> {
        let all = self.draws.iter().map(|draw| Some((draw, self.told_within(&draw.within)?)));
        let all: Vec<(&Draw, String)> = all.flatten().collect();
        match all.as_slice() {
            [] => None,
            [(_, only)] => Some(only.clone()),
            [_, ..] => {
                let parts = all.iter().map(|(draw, to)| match &draw.within {
                    Within::Any => to.clone(),
                    Within::Rather(version) | Within::Only(version) => {
                        format!("{to} in version {version} ({})", percent(draw.chance))
                    }
                });
                Some(parts.collect::<Vec<_>>().join(", or to "))
            }
        }
    }

    /// One of those who take turns, for whoever asks without taking one.
    pub(super) fn in_turn(&self) -> Option<&Arc<Member>> {
        let draw = self.draws.first().filter(|_| !self.hashes())?;
        self.candidates(&draw.within).1.into_iter().find(|member| member.has_room())
    }

    /// The only backend that it can be, if the files tell.
    pub(super) fn pick(&self) -> Option<Arc<Member>> {
        match self.draws.as_slice() {
            [only] => self.one_of(&only.within),
            [] | [_, ..] => None,
        }
    }

    /// Where a guest goes: `host`, unless its version comes first.
    pub(super) fn guest(&self, host: &Member) -> String {
        let in_version = self.draws.iter().any(|draw| match &draw.within {
            Within::Rather(_) => self.candidates(&draw.within).0.is_some(),
            Within::Any | Within::Only(_) => false,
        });
        let host = host.backend.id.to_string();
        if in_version { self.told().unwrap_or(host) } else { host }
    }

    /// How `member` comes by new clients.
    pub(super) fn share(&self, member: &Arc<Member>) -> Share {
        let mut sum = 0.0;
        for draw in &self.draws {
            let (version, candidates) = self.candidates(&draw.within);
            if !candidates.iter().any(|candidate| candidate.is(member)) {
                continue;
            }
            if !matches!(self.choices.of(version), Selection::RoundRobin(_)) {
                return Share::Hash;
            }
            let weights: u32 = candidates.iter().map(|m| m.backend.weight).sum();
            sum += draw.chance * f64::from(member.backend.weight) / f64::from(weights.max(1));
        }
        if sum > 0.0 { Share::Turns(sum) } else { Share::None }
    }

    fn told_within(&self, within: &Within) -> Option<String> {
        let (version, candidates) = self.candidates(within);
        let selection = self.choices.of(version);
        let hashes = !matches!(selection, Selection::RoundRobin(_));
        let hash = || format!("{} of {}", name(selection), self.by);
        match (candidates.as_slice(), self.one_of(within)) {
            ([], _) => None,
            (_, Some(member)) if hashes => Some(format!("{} ({})", member.backend.id, hash())),
            (_, Some(member)) => Some(member.backend.id.to_string()),
            (all, None) => {
                let weighed =
                    |m: &&Arc<Member>| format!("{} (weight {})", m.backend.id, m.backend.weight);
                let ids = all.iter().map(weighed).collect::<Vec<_>>().join(", ");
                Some(if hashes {
                    format!("one of {ids}: {} under a key that is not in the files", hash())
                } else {
                    format!("the next in turn of {ids}")
                })
            }
        }
    }

    fn one_of(&self, within: &Within) -> Option<Arc<Member>> {
        let (version, candidates) = self.candidates(within);
        if let [only] = candidates.as_slice() {
            return Some(Arc::clone(only));
        }
        let known = self.certain && !matches!(self.choices.of(version), Selection::RoundRobin(_));
        let fits = |m: &Member| candidates.iter().any(|c| c.is(m));
        let members = self.service.pool.members();
        known.then(|| self.choices.pick(version, &self.key, members, fits)).flatten()
    }

    /// Who may take the client, and the version that it is for.
    fn candidates<'w>(&self, within: &'w Within) -> (Option<&'w str>, Vec<&Arc<Member>>) {
        let members = || self.service.pool.members().iter().filter(|member| is_candidate(member));
        let of = |version: &str| members().filter(|m| *m.backend.version == *version).collect();
        let any = || members().filter(|m| self.service.split.takes(&m.backend.version)).collect();
        match within {
            Within::Any => (None, any()),
            Within::Only(version) => (Some(version), of(version)),
            Within::Rather(version) => {
                let candidates: Vec<_> = of(version);
                if candidates.is_empty() { (None, any()) } else { (Some(version), candidates) }
            }
        }
    }
}

/// Whether new clients may go to `member`.
fn is_candidate(member: &Member) -> bool {
    member.backend.weight > 0 && member.ability() == Ability::Anyone && !member.is_full()
}

/// One way, unless the version is left to chance, or to a hash that the files do not tell.
fn draws(found: &Found<'_>, identified: &Identified, hash: Option<u64>) -> Vec<Draw> {
    let split = &found.rule.service.split;
    let (subset, bound) = (found.subset.as_ref(), identified.version.as_ref());
    let by_chance = subset.is_none() && bound.is_none() && hash.is_none();
    let total: f64 = split.parts().iter().map(|(_, part)| f64::from(*part)).sum();
    if by_chance && total > 0.0 {
        let parts = split.parts().iter().filter(|(_, part)| *part > 0);
        let draw = |(version, part): &(Arc<str>, u32)| Draw {
            within: Within::Rather(Arc::clone(version)),
            chance: f64::from(*part) / total,
        };
        return parts.map(draw).collect();
    }
    let dice = || hash.unwrap_or(0);
    vec![Draw { within: within(subset, bound, split, dice), chance: 1.0 }]
}

pub(super) fn percent(share: f64) -> String {
    let text = format!("{:.1}", share * 100.0);
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

/// A session of the application's, in words.
pub(super) fn described(session: &AppSession) -> String {
    let (kind, name) = session.label.split_once(':').unwrap_or(("session", &session.label));
    format!("the application's {kind} {name}")
}

fn bytes(client: IpAddr) -> Vec<u8> {
    match client {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
