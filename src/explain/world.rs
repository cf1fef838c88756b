//! What a request is decided against: files alone, with nothing behind them (no check has run and no
//! key is made), or the running process as it is now. Shared with `stickfast plan`.

use super::ExplainError;
use crate::affinity::AppSession;
use crate::affinity::learned::{self, Learned};
use crate::config::{Affinity, Config, Handshakes};
use crate::model::{RuleId, Secret, UnixTime};
use crate::observe::Metrics;
use crate::pool::{Cells, Member, Seat};
use crate::snapshot::{Live, Pinned, Rule, Surroundings, compile};
use crate::tls::Tickets;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

/// One configuration, and what is known besides.
pub struct World {
    /// As checked.
    pub config: Arc<Config>,
    /// As compiled.
    pub snapshot: Arc<Pinned>,
    /// The key that a gateway has generated under this configuration.
    generated: Option<Secret>,
    behind: Behind,
}

/// What is behind the files.
#[derive(Clone)]
enum Behind {
    /// Nothing: every backend counts as healthy and idle.
    Nothing,
    /// A process that serves.
    Process(Arc<Live>),
}

impl World {
    /// Compiles `config`, away from any gateway, with the key that one has generated.
    ///
    /// # Errors
    /// All faults that show only then.
    pub fn of_files(
        mut config: Config,
        generated: Option<Secret>,
        now: UnixTime,
    ) -> Result<Self, ExplainError> {
        // one that waits for its first check would serve nobody
        for service in &mut config.services {
            service.health_check = None;
        }
        Self::lay_out(config, generated, Behind::Nothing, &Cells::default(), &resolve, now)
    }

    /// The process as it is now; `generated` is the key that it has made, if it has needed one.
    pub fn of_process(live: Arc<Live>, config: Arc<Config>, generated: Option<Secret>) -> Self {
        Self { config, snapshot: live.pin(), generated, behind: Behind::Process(live) }
    }

    /// This world after `change` of its configuration, with the marks of checks that there are and
    /// nobody's requests under way. Where it is a process, that one is not touched.
    ///
    /// # Errors
    /// All faults that the change makes.
    pub(super) fn changed(
        &self,
        change: impl FnOnce(&mut Config),
        now: UnixTime,
    ) -> Result<Self, ExplainError> {
        let mut config = (*self.config).clone();
        change(&mut config);
        let cells = Cells::default();
        if let Behind::Process(live) = &self.behind {
            cells.import(live.cells.export());
        }
        // whoever asks twice is to be answered twice alike, and without asking the network
        let known = |name: &str| match self.address_of(name) {
            Some(address) => Ok(vec![address]),
            None => resolve(name),
        };
        let (generated, behind) = (self.generated.clone(), self.behind.clone());
        Self::lay_out(config, generated, behind, &cells, &known, now)
    }

    fn lay_out(
        mut config: Config,
        generated: Option<Secret>,
        behind: Behind,
        cells: &Cells,
        lookup: &dyn Fn(&str) -> io::Result<Vec<SocketAddr>>,
        now: UnixTime,
    ) -> Result<Self, ExplainError> {
        // what is encrypted with need not be at hand here, and changes nothing
        for service in &mut config.services {
            service.tls = None;
        }
        for listener in &mut config.server.listeners {
            listener.tls = None;
        }
        let metrics = Metrics::new()?;
        let stand_in = || Secret::new("stands in for the generated key".into());
        let around = Surroundings {
            cells,
            metrics: &metrics,
            tickets: &Tickets::default(),
            lookup,
            generated_key: &|| generated.clone().unwrap_or_else(stand_in),
            now,
        };
        let snapshot = Arc::new(compile(&config, &around)?.into());
        Ok(Self { config: Arc::new(config), snapshot, generated, behind })
    }

    fn address_of(&self, written: &str) -> Option<SocketAddr> {
        let members = self.snapshot.services().iter().flat_map(|service| service.pool.members());
        let mut backends = members.map(|member| &member.backend);
        backends
            .find(|backend| &*backend.written == written)
            .and_then(|backend| backend.address.inet())
    }

    /// Whether it is a process that serves.
    pub(super) fn is_process(&self) -> bool {
        matches!(self.behind, Behind::Process(_))
    }

    /// Whether the generated key is one that was found beside the files.
    pub(super) fn has_kept_key(&self) -> bool {
        !self.is_process() && self.generated.is_some()
    }

    /// Whether the key is known that a gateway has generated, where it needs one.
    pub(super) fn knows_generated_key(&self) -> bool {
        self.is_process() || self.generated.is_some()
    }

    /// Whether clients are hashed as a gateway hashes them.
    pub(super) fn knows_places(&self) -> bool {
        self.knows_generated_key() || !self.config.hash_key.is_empty()
    }

    /// What is remembered of a session of the application under `rule`. Nothing is known of it
    /// without a process; with one, that somebody has asked leaves no trace.
    pub(super) fn recall(
        &self,
        rule: &Rule,
        session: &AppSession,
        value: &[u8],
        now: UnixTime,
    ) -> learned::Found {
        let Behind::Process(live) = &self.behind else { return learned::Found::Nothing };
        let learned: &Learned = &live.learned;
        let idle = rule.stickiness.as_ref().map_or(0, |stickiness| stickiness.terms.idle);
        let key = learned.key(rule.service.pool.service.as_str(), &session.label, value);
        learned.peek(key, idle, now)
    }

    /// Takes all seats at those of `members` who have none left in the process.
    pub(super) fn occupy(&self, service: &str, members: &[Arc<Member>]) -> Vec<Seat> {
        let Behind::Process(live) = &self.behind else { return Vec::new() };
        let snapshot = live.pin();
        let mut services = snapshot.services().iter();
        let Some(there) = services.find(|there| there.pool.service.as_str() == service) else {
            return Vec::new();
        };
        let of = |member: &Arc<Member>| {
            let found = there.pool.find(member.backend.id.as_str()).filter(|found| found.is_full());
            let taken = found.map_or(0, |found| found.seats().taken().max(1));
            (0..taken).map_while(|_| Seat::take(member)).collect::<Vec<_>>()
        };
        members.iter().flat_map(of).collect()
    }

    /// What is in force for requests of `rule`, or for its WebSocket handshakes; `None` where affinity
    /// is off for them.
    pub(super) fn affinity(&self, rule: &RuleId, handshake: bool) -> Option<&Affinity> {
        // requests that name their service have a rule that nobody has written
        let (affinity, handshakes) = if let Some(name) = rule.as_str().strip_prefix("service ") {
            let mut services = self.config.services.iter();
            let service = services.find(|service| service.id.value == name)?;
            (service.affinity.as_ref(), &service.handshakes)
        } else {
            let mut rules = self.config.rules.iter();
            let rule = rules.find(|written| written.id.value == rule.as_str())?;
            (rule.affinity.as_ref(), &rule.handshakes)
        };
        match handshakes {
            Handshakes::Bound(own) if handshake => Some(&**own),
            Handshakes::Unbound if handshake => None,
            Handshakes::AsRequests | Handshakes::Bound(_) | Handshakes::Unbound => affinity,
        }
    }
}

fn resolve(name: &str) -> io::Result<Vec<SocketAddr>> {
    name.to_socket_addrs().map(Iterator::collect)
}
