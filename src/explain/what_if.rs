//! The same request while its backend is in another state: the configuration is changed and the
//! request decided again, so that every policy has its say.

use super::outcome::{Case, idle_since};
use super::placing::Placing;
use super::report::{Outcome, WhatIf};
use super::request::{Client, Nowhere, Request};
use super::{ExplainError, World, words};
use crate::affinity::course::{Failback, OnDraining};
use crate::affinity::{AppSession, Policies, Terms};
use crate::config::{BackendState, Config, HealthCheck, Probe, Service};
use crate::model::UnixTime;
use crate::pool::{Health, Seat};
use crate::snapshot::Snapshot;
use std::time::Duration;

/// What the bound backend would be.
#[derive(Clone, Copy)]
enum State {
    Draining,
    Maintenance,
    Failing,
    Gone,
    Restarted,
    Full,
}

/// A client and its backend.
pub(super) struct Bound<'a> {
    pub(super) world: &'a World,
    pub(super) request: &'a Request,
    pub(super) service: &'a str,
    pub(super) backend: &'a str,
    pub(super) policies: Policies,
    pub(super) terms: Terms,
    /// When its key was written, where it says so.
    pub(super) seen: Option<UnixTime>,
    pub(super) now: UnixTime,
}

impl Bound<'_> {
    /// All states in turn.
    ///
    /// # Errors
    /// A configuration that does not compile any more.
    pub(super) fn what_if(&self) -> Result<Vec<WhatIf>, ExplainError> {
        type Asked = (&'static str, State, Option<&'static str>, UnixTime);
        let drains = Some(words::on_draining(self.policies));
        let down = Some(words::on_unhealthy(self.policies));
        let missing = Some(words::on_missing(self.policies));
        let full = Some(words::on_full(self.policies));
        let mut states = vec![
            ("in maintenance", State::Maintenance, down, self.now),
            ("failing its checks", State::Failing, down, self.now),
            ("gone", State::Gone, missing, self.now),
            ("restarted", State::Restarted, None, self.now),
            ("full", State::Full, full, self.now),
        ];
        let by_idleness = self.policies.on_draining == OnDraining::RedistributeWhenIdle;
        match self.seen.filter(|_| by_idleness) {
            Some(seen) => {
                let idle = idle_since(seen, self.terms);
                states.insert(0, ("draining, client idle", State::Draining, drains, idle));
                states.insert(0, ("draining, client active", State::Draining, drains, seen));
            }
            None => states.insert(0, ("draining", State::Draining, drains, self.now)),
        }
        let one = |(told, state, policy, now): Asked| {
            let outcome = self.decided_in(state, now)?;
            // only a client that moves has somewhere to come back to
            let returns = self.policies.failback == Failback::Immediate
                && matches!(state, State::Draining | State::Maintenance | State::Failing)
                && outcome.stamp.as_ref().is_some_and(|stamp| stamp.contains("as its home"));
            let failback = returns.then(|| words::failback(self.policies));
            let policies = policy.into_iter().chain(failback).collect();
            Ok(WhatIf { state: told, policies, outcome })
        };
        states.into_iter().map(one).collect()
    }

    fn decided_in(&self, state: State, now: UnixTime) -> Result<Outcome, ExplainError> {
        let world = self.world.changed(|config| self.change(config, state), now)?;
        // held until the request is decided
        let _seats = self.settle(&world.snapshot, state);
        let found = match self.request.find(&world.snapshot) {
            Ok(found) => found,
            Err(Nowhere::NoRule | Nowhere::Unknown) => {
                let meaning = "the request names no known service or version".into();
                let course = "is answered with 404 (no-subset)".into();
                return Ok(Outcome { meaning, course, ..Outcome::default() });
            }
        };
        let recall =
            |session: &AppSession, value: &[u8]| world.recall(found.rule, session, value, now);
        let asked = self.request.asked(&world.snapshot, &found, &recall, now);
        let Client { identified, anew } = self.request.identify(&asked);
        let certain = world.knows_places();
        let placing = Placing::of(&found, &asked, &identified, false, certain);
        let case = Case {
            found: &found,
            identified: &identified,
            placing: &placing,
            named: false,
            anew,
            now,
        };
        let mut outcome = case.outcome();
        let stays = matches!(state, State::Restarted) && identified.cause.is_none();
        if stays {
            outcome.meaning = "the key names no start, so none is held against it".into();
        }
        Ok(outcome)
    }

    fn change(&self, config: &mut Config, state: State) {
        let mut services = config.services.iter_mut();
        let Some(service) = services.find(|service| service.id.value == self.service) else {
            return;
        };
        match state {
            State::Draining => self.set_state(service, BackendState::Draining),
            State::Maintenance => self.set_state(service, BackendState::Maintenance),
            State::Failing => service.health_check = Some(any_check()),
            State::Gone => service.backends.retain(|backend| backend.id.value != self.backend),
            State::Restarted => {
                let backends = service.backends.iter_mut();
                for backend in backends.filter(|backend| backend.id.value == self.backend) {
                    backend.incarnation = "another start".into();
                }
            }
            State::Full => service.limits.max_connections = Some(1),
        }
    }

    fn set_state(&self, service: &mut Service, state: BackendState) {
        let backends = service.backends.iter_mut();
        for backend in backends.filter(|backend| backend.id.value == self.backend) {
            backend.state = state;
        }
    }

    /// What checks and other requests would have done.
    fn settle(&self, snapshot: &Snapshot, state: State) -> Vec<Seat> {
        let mut services = snapshot.services().iter();
        let service = services.find(|service| service.pool.service.as_str() == self.service);
        let Some(service) = service else { return Vec::new() };
        let mut seats = self.world.occupy(self.service, service.pool.members());
        match state {
            State::Failing => {
                for member in service.pool.members() {
                    let passes = member.backend.id.as_str() != self.backend;
                    // what checks have said of the others stands
                    if !passes || member.health() == Health::Unchecked {
                        member.note_check(passes, 1);
                    }
                }
            }
            State::Full => seats.extend(service.pool.find(self.backend).and_then(Seat::take)),
            State::Draining | State::Maintenance | State::Gone | State::Restarted => {}
        }
        seats
    }
}

/// Never run; while there is one, the marks of checks count.
fn any_check() -> HealthCheck {
    HealthCheck {
        probe: Probe::Tcp,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        healthy_threshold: 1,
        unhealthy_threshold: 1,
        incarnation_header: String::new(),
    }
}
