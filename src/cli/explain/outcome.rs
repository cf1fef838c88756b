//! What becomes of the request: the verdict of [`decide`], in words, and what the rule's policies
//! would make of another state of the bound backend.

use super::placing::{self, Placing};
use super::report::{Outcome, Report, Row, WhatIf, Yield};
use crate::affinity::course::{Failback, OnDraining, OnMissing, OnUnhealthy};
use crate::affinity::stamp::{Elsewhere, Kept};
use crate::affinity::{Course, Policies, Resolution, Stamp, course};
use crate::model::{Cause, Duty, UnixTime};
use crate::pool::{Ability, Member};
use crate::proxy::decide::{self, Choice, Identified};
use crate::snapshot::{By, Caller, Rule, Snapshot, Stickiness};
use http::HeaderMap;
use std::net::IpAddr;
use std::sync::Arc;

const UNAVAILABLE: &str = "is answered with 503, since nobody can serve it";

/// Fills in all of `report` that follows from its rule.
pub(super) fn tell(
    report: &mut Report,
    snapshot: &Snapshot,
    rule: &Rule,
    headers: &HeaderMap,
    caller: Caller,
    now: UnixTime,
) {
    let service = &*rule.service;
    let sticky = rule.stickiness.as_ref().map(|stickiness| (stickiness, service));
    let identified = decide::identify(snapshot, sticky, headers, caller, now);
    let named = report.sources.iter().any(|source| matches!(source.yielded, Yield::ClientName));
    let placing = placing(rule, &identified, caller, named);
    let hidden = report.sources.iter().any(|source| matches!(source.yielded, Yield::NotHere));
    let bound = identified.bond.as_ref().map(|bond| &bond.member).filter(|_| !hidden);
    report.backends = service.pool.members().iter().map(|member| row(member, bound)).collect();
    report.placing = placing.told(None);
    let Some(stickiness) = &rule.stickiness else {
        report.outcome = Outcome {
            meaning: "session affinity is off for this rule".into(),
            course: placing.told(None).map_or(UNAVAILABLE.into(), |to| format!("goes to {to}")),
            ..Outcome::default()
        };
        return;
    };
    report.outcome = if hidden {
        Outcome {
            meaning: "only the gateway that generated the secret can tell: these files configure \
                      no `keys`"
                .into(),
            course: "goes to the backend that the key names, if it holds".into(),
            ..Outcome::default()
        }
    } else {
        outcome(&identified, stickiness, &placing, named, now)
    };
    let moment = Moment { stickiness, placing: &placing, now };
    report.what_if = bound.map(|member| moment.what_if(member)).unwrap_or_default();
}

fn placing<'a>(
    rule: &'a Rule,
    identified: &Identified,
    caller: Caller,
    named: bool,
) -> Placing<'a> {
    let own = rule.stickiness.as_ref().and_then(|stickiness| stickiness.placement.as_ref());
    let (selection, key, by) = match (own, &identified.place) {
        (Some(placement), Some(place)) => {
            let by = match &placement.by {
                _ if named => "the session's name".to_owned(),
                By::Client(_) => format!("the network of {}", caller.client),
                By::Peer(_) => format!("the network of {}", caller.peer),
                By::Header(name) => format!("the header {name}"),
                By::Name => "the session's name".to_owned(),
            };
            (&*placement.selection, place.to_vec(), by)
        }
        (Some(_) | None, _) => {
            (&*rule.service.selection, bytes(caller.client), caller.client.to_string())
        }
    };
    Placing { service: &rule.service, selection, key, by }
}

fn bytes(client: IpAddr) -> Vec<u8> {
    match client {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn outcome(
    identified: &Identified,
    stickiness: &Stickiness,
    placing: &Placing<'_>,
    named: bool,
    now: UnixTime,
) -> Outcome {
    let cause = identified.cause;
    let told = cause.map(Cause::label);
    let meaning = match cause {
        Some(Cause::NoKey) if named => "the client names its session".to_owned(),
        Some(cause) => meaning(cause, stickiness.policies),
        None => "the key holds".to_owned(),
    };
    if identified.rejected {
        let course = format!("is refused with {}", stickiness.reject_status);
        return Outcome { cause: told, meaning, course, stamp: None };
    }
    let bond = identified.bond.as_ref();
    let visits = bond.is_some_and(|bond| bond.elsewhere == Elsewhere::Visits);
    let choice = decide::choose(placing.service, placing.selection, bond, &[], &placing.key);
    let elsewhere = || placing.told(None).unwrap_or_else(|| "nobody".into());
    let (course, answered) = match choice {
        Choice::Bound(member) => {
            (format!("goes to {}, where it is bound", member.backend.id), member)
        }
        Choice::Placed(member) if visits && cause.is_some() => {
            (format!("goes to {} this once; its binding stays", elsewhere()), member)
        }
        Choice::Placed(member) => (format!("goes to {}", elsewhere()), member),
        Choice::Panic(member) => {
            (format!("goes to {}, in need: nobody takes new clients", member.backend.id), member)
        }
        Choice::Nobody => {
            return Outcome { cause: told, meaning, course: UNAVAILABLE.into(), stamp: None };
        }
    };
    let writes = identified.stamps && !stickiness.carriers.is_empty();
    let stamp = match decide::stamped(bond, &answered, stickiness.terms, now) {
        _ if !writes && !named && !stickiness.carriers.is_empty() => {
            "no key is written: the client has not consented to cookies".to_owned()
        }
        _ if !writes => "no key is written".to_owned(),
        Stamp::Nothing => "nothing is written; the client keeps its key".to_owned(),
        Stamp::Refresh(_) => "the key is written anew for the same backend".to_owned(),
        Stamp::Bind(None) => "a key for the backend that answers is written".to_owned(),
        Stamp::Bind(Some(home)) => {
            format!("a key for the backend that answers is written, with {home} as its home")
        }
    };
    Outcome { cause: told, meaning, course, stamp: Some(stamp) }
}

fn meaning(cause: Cause, policies: Policies) -> String {
    let (what, policy) = match cause {
        Cause::NoKey => ("there is no key", None),
        Cause::Unreadable => ("the key cannot be read", None),
        Cause::UnknownKey => ("the key was sealed with a key that is not known", None),
        Cause::IdleExpired => ("the client was silent for longer than idleTimeout", None),
        Cause::TooOld => ("the binding is older than absoluteTimeout", None),
        Cause::WrongIncarnation => ("the backend was restarted since", None),
        Cause::Gone => ("the backend is gone", Some(on_missing(policies))),
        Cause::Unhealthy => ("the backend cannot serve", Some(on_unhealthy(policies))),
        Cause::Draining => ("the backend drains", Some(on_draining(policies))),
    };
    policy.map_or_else(|| what.to_owned(), |policy| format!("{what}; {policy}"))
}

fn on_missing(policies: Policies) -> &'static str {
    match policies.on_missing {
        OnMissing::Redistribute => "onMissing: redistribute",
        OnMissing::Reject => "onMissing: reject",
    }
}

fn on_unhealthy(policies: Policies) -> &'static str {
    match policies.on_unhealthy {
        OnUnhealthy::Redistribute => "onUnhealthy: redistribute",
        OnUnhealthy::ServeOnce => "onUnhealthy: serve-once",
        OnUnhealthy::Reject => "onUnhealthy: reject",
    }
}

fn on_draining(policies: Policies) -> &'static str {
    match policies.on_draining {
        OnDraining::Keep => "onDraining: keep",
        OnDraining::RedistributeWhenIdle => "onDraining: redistribute-when-idle",
        OnDraining::Redistribute => "onDraining: redistribute",
    }
}

fn row(member: &Arc<Member>, bound: Option<&Arc<Member>>) -> Row {
    Row {
        id: member.backend.id.to_string(),
        address: member.backend.address.to_string(),
        weight: member.backend.weight,
        duty: match member.backend.duty {
            Duty::Active => "active",
            Duty::Draining => "draining",
            Duty::Maintenance => "maintenance",
        },
        serves: match member.ability() {
            Ability::Anyone if member.backend.weight == 0 => "bound clients (weight 0)",
            Ability::Anyone => "new and bound clients",
            Ability::BoundOnly => "bound clients, by onDraining",
            Ability::Emergency => "anyone, while nobody else serves",
            Ability::Nobody => "nobody",
        },
        candidate: placing::is_candidate(member),
        bound: bound.is_some_and(|bound| Arc::ptr_eq(bound, member)),
    }
}

/// What the course of a request depends on, besides the state of its backend.
struct Moment<'a> {
    stickiness: &'a Stickiness,
    placing: &'a Placing<'a>,
    now: UnixTime,
}

impl Moment<'_> {
    fn what_if(&self, member: &Arc<Member>) -> Vec<WhatIf> {
        let kept = || Kept { issued: self.now, seen: self.now, tag: 0, home: None };
        let id = member.backend.id.clone();
        let drains = |idle| Resolution::Draining { member, kept: kept(), refresh: false, idle };
        let down = || Resolution::Down { member, kept: kept() };
        let mut states = match self.stickiness.policies.on_draining {
            OnDraining::RedistributeWhenIdle => {
                vec![
                    ("draining, client active", drains(false)),
                    ("draining, client idle", drains(true)),
                ]
            }
            OnDraining::Keep | OnDraining::Redistribute => vec![("draining", drains(false))],
        };
        states.push(("in maintenance", down()));
        states.push(("failing its checks", down()));
        states.push(("gone", Resolution::Gone { from: Some(id.clone()) }));
        states.push(("restarted", Resolution::Restarted { from: id.clone() }));
        let told = |(state, resolution)| WhatIf {
            state,
            course: self.course(state, resolution, id.as_str()),
        };
        states.into_iter().map(told).collect()
    }

    fn course(&self, state: &str, resolution: Resolution<'_>, left: &str) -> String {
        let policies = self.stickiness.policies;
        // one that was restarted may well be placed there again
        let without = (state != "restarted").then_some(left);
        let elsewhere = || {
            // a draining or failing backend serves in need
            let last = match state {
                "gone" | "in maintenance" | "restarted" => UNAVAILABLE.to_owned(),
                _ => format!("stays with {left} in need: nobody takes new clients"),
            };
            self.placing.told(without).ok_or(last)
        };
        match course(resolution, policies) {
            Course::Stay { member, .. } => {
                format!("stays with {}; {}", member.backend.id, on_draining(policies))
            }
            Course::Return { home, .. } => format!("returns to {}", home.backend.id),
            Course::Move { cause, .. } => match elsewhere() {
                Ok(to) => {
                    format!("moves to {to}{}; {}", self.home(cause), meaning(cause, policies))
                }
                Err(last) => last,
            },
            Course::Once { cause, .. } => match elsewhere() {
                Ok(to) => format!("goes to {to} this once; {}", meaning(cause, policies)),
                Err(last) => last,
            },
            Course::Reject(cause) => {
                let status = self.stickiness.reject_status;
                format!("is refused with {status}; {}", meaning(cause, policies))
            }
        }
    }

    /// With failback, a backend that is only away for a while is remembered.
    fn home(&self, cause: Cause) -> &'static str {
        let away = matches!(cause, Cause::Draining | Cause::Unhealthy);
        match self.stickiness.policies.failback {
            Failback::Immediate if away => " until it serves again (failback: immediate)",
            Failback::Immediate | Failback::Never => "",
        }
    }
}
