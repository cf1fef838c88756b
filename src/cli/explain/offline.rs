//! The operator's files compiled as for serving, but with nothing behind them: no check has run and
//! no key was generated. Shared with `stickfast plan`.

use crate::config::{Affinity, Config};
use crate::model::{RuleId, Secret, UnixTime};
use crate::observe::Metrics;
use crate::pool::Cells;
use crate::server::Files;
use crate::snapshot::{Snapshot, Surroundings, compile};
use std::net::ToSocketAddrs;

/// One configuration, away from any gateway.
pub(in crate::cli) struct Offline {
    /// As checked.
    pub(in crate::cli) config: Config,
    /// As compiled; every backend counts as healthy.
    pub(in crate::cli) snapshot: Snapshot,
}

impl Offline {
    /// Reads and compiles `files`.
    ///
    /// # Errors
    /// All faults.
    pub(in crate::cli) fn load(files: &Files, now: UnixTime) -> anyhow::Result<Self> {
        Self::compile(files.read()?, now)
    }

    /// Compiles `config`.
    ///
    /// # Errors
    /// All faults that show only then.
    pub(in crate::cli) fn compile(mut config: Config, now: UnixTime) -> anyhow::Result<Self> {
        // one that waits for its first check would serve nobody
        for service in &mut config.services {
            service.health_check = None;
        }
        let (cells, metrics) = (Cells::default(), Metrics::new()?);
        let around = Surroundings {
            cells: &cells,
            metrics: &metrics,
            lookup: &|name| name.to_socket_addrs().map(Iterator::collect),
            generated_key: &|| Secret::new("stands in for the generated key".into()),
            now,
        };
        let snapshot = compile(&config, &around)?;
        Ok(Self { config, snapshot })
    }

    /// What is written for `rule`; `None` where its affinity is off.
    pub(in crate::cli) fn affinity(&self, rule: &RuleId) -> Option<&Affinity> {
        self.config.rules.iter().find(|r| r.id.value == rule.as_str())?.affinity.as_ref()
    }
}
