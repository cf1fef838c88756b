//! The operator's files compiled as for serving, but with nothing behind them: no check has run and
//! no key is made. Shared with `stickfast plan`.

use crate::config::{Affinity, Config};
use crate::model::{RuleId, Secret, UnixTime};
use crate::observe::Metrics;
use crate::pool::Cells;
use crate::server::{Files, kept_key};
use crate::snapshot::{Snapshot, Surroundings, compile};
use crate::tls::Tickets;
use std::net::ToSocketAddrs;

/// One configuration, away from any gateway.
pub(in crate::cli) struct Offline {
    /// As checked.
    pub(in crate::cli) config: Config,
    /// As compiled; every backend counts as healthy.
    pub(in crate::cli) snapshot: Snapshot,
    /// The key that a gateway on this machine has generated under these files.
    kept_key: Option<Secret>,
}

impl Offline {
    /// Reads and compiles `files`; what a gateway generates is not known.
    ///
    /// # Errors
    /// All faults.
    pub(in crate::cli) fn load(files: &Files, now: UnixTime) -> anyhow::Result<Self> {
        Self::compile(files.read()?, None, now)
    }

    /// Reads and compiles `files` with the key that a gateway keeps in their `stateDir`, if there is
    /// one that this user may read.
    ///
    /// # Errors
    /// All faults.
    pub(super) fn load_here(files: &Files, now: UnixTime) -> anyhow::Result<Self> {
        let config = files.read()?;
        let key = kept_key(&config.server.state_dir);
        Self::compile(config, key, now)
    }

    /// Compiles `config`, with the key that a gateway has generated.
    ///
    /// # Errors
    /// All faults that show only then.
    pub(in crate::cli) fn compile(
        mut config: Config,
        kept_key: Option<Secret>,
        now: UnixTime,
    ) -> anyhow::Result<Self> {
        // one that waits for its first check would serve nobody
        for service in &mut config.services {
            service.health_check = None;
            service.tls = None;
        }
        // what it would be encrypted with need not be at hand here, and changes nothing
        for listener in &mut config.server.listeners {
            listener.tls = None;
        }
        Self::lay_out(config, kept_key, now)
    }

    /// This configuration after `change`; where that adds checks, none has run.
    ///
    /// # Errors
    /// All faults that the change makes.
    pub(super) fn changed(
        &self,
        change: impl FnOnce(&mut Config),
        now: UnixTime,
    ) -> anyhow::Result<Self> {
        let mut config = self.config.clone();
        change(&mut config);
        Self::lay_out(config, self.kept_key.clone(), now)
    }

    fn lay_out(config: Config, kept_key: Option<Secret>, now: UnixTime) -> anyhow::Result<Self> {
        let (cells, metrics) = (Cells::default(), Metrics::new()?);
        let stand_in = || Secret::new("stands in for the generated key".into());
        let around = Surroundings {
            cells: &cells,
            metrics: &metrics,
            tickets: &Tickets::default(),
            lookup: &|name| name.to_socket_addrs().map(Iterator::collect),
            generated_key: &|| kept_key.clone().unwrap_or_else(stand_in),
            now,
        };
        let snapshot = compile(&config, &around)?;
        Ok(Self { config, snapshot, kept_key })
    }

    /// Whether the key is known that a gateway has generated.
    pub(super) fn knows_generated_key(&self) -> bool {
        self.kept_key.is_some()
    }

    /// Whether clients are hashed as a gateway hashes them.
    pub(super) fn knows_places(&self) -> bool {
        self.kept_key.is_some() || !self.config.hash_key.is_empty()
    }

    /// What is in force for `rule`; `None` where its affinity is off.
    pub(in crate::cli) fn affinity(&self, rule: &RuleId) -> Option<&Affinity> {
        // requests that name their service have a rule that nobody has written
        if let Some(name) = rule.as_str().strip_prefix("service ") {
            let mut services = self.config.services.iter();
            return services.find(|service| service.id.value == name)?.affinity.as_ref();
        }
        self.config.rules.iter().find(|r| r.id.value == rule.as_str())?.affinity.as_ref()
    }
}
