//! Puts the answer together for a request that some rule takes.

use super::outcome::Case;
use super::placing::{self, Placing, Share};
use super::report::{Limits, Matched, Outcome, Report, Row, Version, Versions, Yield};
use super::request::{Client, Found, Request};
use super::what_if::Bound;
use super::{ExplainError, World, sources, words};
use crate::affinity::{AppSession, Policies};
use crate::config::{Affinity, AlgorithmKind};
use crate::model::{Duty, UnixTime};
use crate::pool::{Ability, Health, Member};
use crate::proxy::decide::{Identified, Within};
use crate::snapshot::{Rule, Snapshot};
use std::sync::Arc;

/// Fills in all of `report` that follows from the rule.
///
/// # Errors
/// The configuration does not compile with a backend in another state.
pub(super) fn tell(
    report: &mut Report,
    world: &World,
    request: &Request,
    found: &Found<'_>,
    now: UnixTime,
) -> Result<(), ExplainError> {
    let rule = found.rule;
    let stickiness = rule.stickiness.as_ref();
    let recall = |session: &AppSession, value: &[u8]| world.recall(found.rule, session, value, now);
    let asked = request.asked(&world.snapshot, found, &recall, now);
    let affinity = world.affinity(&rule.id, request.handshake);
    let blind = affinity.and_then(sources::blind_for).filter(|_| !world.knows_generated_key());
    report.sources = sources::sources(&asked, world.is_process(), blind);
    let Client { identified, anew } = request.identify(&asked);
    if anew {
        report.sources.iter_mut().for_each(|source| source.decides = false);
    }
    let named = report.yields(|yielded| matches!(yielded, Yield::ClientName));
    let hidden = report.yields(|yielded| matches!(yielded, Yield::NotHere));
    let placing = Placing::of(found, &asked, &identified, named, world.knows_places());
    let bound = identified.bond.as_ref().map(|bond| &bond.member).filter(|_| !hidden);

    report.rule = Some(Matched {
        rule: found.taken.id.to_string(),
        service: rule.service.pool.service.to_string(),
        by_name: names_service(&world.snapshot, request),
        policy: placing::policy(&rule.service, stickiness),
        sticky: stickiness.is_some(),
        websocket: request.handshake,
    });
    let policies = stickiness.map(|stickiness| stickiness.policies);
    let members = rule.service.pool.members().iter();
    report.backends = members.map(|member| row(member, bound, &placing, policies)).collect();
    report.versions = versions(&world.snapshot, request, found, &identified, &placing);
    report.limits = limits(rule, affinity);
    report.placing = placing.told();
    report.pick = placing.pick().map(|member| member.backend.id.to_string());
    report.outcome = if hidden {
        Outcome {
            meaning: "only the gateway that generated the secret can tell: these files configure \
                      no `keys`"
                .into(),
            course: "goes to the backend that the key names, if it holds".into(),
            ..Outcome::default()
        }
    } else {
        let (found, identified, placing) = (found, &identified, &placing);
        Case { found, identified, placing, named, anew, now }.outcome()
    };
    if let (Some(member), Some(stickiness)) = (bound, stickiness) {
        let decisive = report.sources.iter().find(|source| source.decides);
        let seen = decisive.and_then(|source| source.yielded.last_seen());
        let bound = Bound {
            world,
            request,
            service: rule.service.pool.service.as_str(),
            backend: member.backend.id.as_str(),
            policies: stickiness.policies,
            terms: stickiness.terms,
            seen,
            now,
        };
        report.what_if = bound.what_if()?;
    }
    notes(report, world, affinity, &placing);
    Ok(())
}

/// What the files leave open.
fn notes(report: &mut Report, world: &World, affinity: Option<&Affinity>, placing: &Placing<'_>) {
    let mut notes = Vec::new();
    let own_keys = affinity.is_some_and(|affinity| affinity.keys.is_empty());
    let own_places = world.config.hash_key.is_empty() && placing.hashes();
    let folder = world.config.server.state_dir.display();
    if (own_keys || own_places) && world.has_kept_key() {
        notes.push(format!(
            "`stateDir` ({folder}) has the key that a gateway on this machine has generated; it is \
             taken for that of the gateway that is asked about"
        ));
    } else if own_places && !world.is_process() {
        notes.push(
            "clients are hashed with a key that each gateway generates, since `router.hashKey` is \
             not set: where there is a choice, these files cannot tell the backend"
                .into(),
        );
    }
    if report.yields(|yielded| matches!(yielded, Yield::OnlyRunning)) {
        notes.push(
            "a session that a gateway has learnt comes before all keys; here it counts as unknown"
                .into(),
        );
    }
    let burst = affinity.map(|affinity| affinity.burst).unwrap_or_default();
    if burst.same_connection || !burst.window.is_zero() {
        let told = "a client without a key may be placed with others of its `burst`";
        notes.push(told.into());
    }
    report.notes.extend(notes);
}

/// Whether the request says which service it is for.
fn names_service(snapshot: &Snapshot, request: &Request) -> bool {
    let header = snapshot.service_header.as_ref();
    header.is_some_and(|header| request.headers.contains_key(&header.name))
}

fn row(
    member: &Arc<Member>,
    bound: Option<&Arc<Member>>,
    placing: &Placing<'_>,
    policies: Option<Policies>,
) -> Row {
    let ability = member.ability();
    let share = placing.share(member);
    Row {
        id: member.backend.id.to_string(),
        address: member.backend.address.to_string(),
        weight: member.backend.weight,
        version: member.backend.version.to_string(),
        state: match member.backend.duty {
            Duty::Maintenance => "maintenance",
            Duty::Active | Duty::Draining if member.health() == Health::Unhealthy => "fails checks",
            Duty::Active | Duty::Draining if member.health() == Health::Unchecked => "unchecked",
            Duty::Draining => "draining",
            Duty::Active if member.backend.weight == 0 => "weight 0",
            Duty::Active if member.is_full() => "full",
            Duty::Active => "healthy",
        },
        candidate: !matches!(share, Share::None),
        chance: match share {
            Share::Turns(chance) => Some(chance),
            Share::Hash | Share::None => None,
        },
        by_hash: matches!(share, Share::Hash),
        bound_clients: match (ability, policies) {
            (_, None) => "-",
            (Ability::Anyone, Some(_)) => "yes",
            (Ability::BoundOnly, Some(policies)) => words::on_draining(policies),
            (Ability::Emergency | Ability::Nobody, Some(policies)) => words::on_unhealthy(policies),
        },
        bound: bound.is_some_and(|bound| bound.is(member)),
    }
}

fn versions(
    snapshot: &Snapshot,
    request: &Request,
    found: &Found<'_>,
    identified: &Identified,
    placing: &Placing<'_>,
) -> Option<Versions> {
    let rule = found.taken;
    let by_version_header = rule.version_header.as_ref();
    let by_version_header = by_version_header.filter(|name| request.headers.contains_key(*name));
    let by = match (&found.subset, &snapshot.service_header, by_version_header) {
        (Some(subset), _, _) if rule.subset.as_ref() == Some(subset) => {
            "`subset` of the rule".to_owned()
        }
        (Some(_), Some(header), _) if names_service(snapshot, request) => {
            format!("named in the header {}", header.name)
        }
        (Some(_), _, Some(name)) => format!("named in the header {name}"),
        (Some(_), _, None) => "named by the request".to_owned(),
        (None, _, _) if identified.version.is_some() => "the client is bound to it".to_owned(),
        (None, _, _) if placing.draws.len() > 1 => "drawn by chance for each new client".to_owned(),
        (None, _, _) if identified.place.is_some() => {
            format!("the split, by a hash of {}", placing.by)
        }
        (None, _, _) => "the only one that takes new clients".to_owned(),
    };
    let version = |draw: &placing::Draw| match &draw.within {
        Within::Any => None,
        Within::Rather(version) | Within::Only(version) => {
            Some(Version { version: version.to_string(), chance: draw.chance })
        }
    };
    let allowed: Vec<Version> = placing.draws.iter().filter_map(version).collect();
    (!allowed.is_empty()).then_some(Versions { allowed, by })
}

fn limits(rule: &Rule, affinity: Option<&Affinity>) -> Option<Limits> {
    let room = rule.service.room;
    let most = |number: u32| (number != u32::MAX).then_some(number);
    let algorithm = affinity.and_then(|affinity| affinity.algorithm.as_ref());
    let on_ring = algorithm.filter(|algorithm| algorithm.kind == AlgorithmKind::ConsistentHash);
    let limits = Limits {
        requests_per_backend: most(room.per_backend),
        waiting: most(room.pending),
        queue_timeout_ms: u64::try_from(room.patience.as_millis()).unwrap_or(u64::MAX),
        load_factor: on_ring.and_then(|algorithm| algorithm.load_factor),
    };
    (limits.requests_per_backend.is_some() || limits.load_factor.is_some()).then_some(limits)
}
