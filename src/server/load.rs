//! From the operator's files to a snapshot; at start, at a reload, and for `stickfast check`.

use crate::config::{self, Config, Fault, Faults, Source};
use crate::model::{Secret, clock};
use crate::observe::Metrics;
use crate::pool::Cells;
use crate::snapshot::{self, Snapshot, Surroundings, compile};
use crate::tls::Tickets;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

/// Reads a variable of the environment.
pub type Environment = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where the configuration comes from. Read again at each reload.
pub struct Files {
    /// Taken before the files; for the demo, whose base is part of the program.
    pub built_in: Option<(&'static str, &'static str)>,
    /// In the order in which they are merged.
    pub paths: Vec<PathBuf>,
    /// For `${NAME}`.
    pub environment: Environment,
}

/// Why a configuration does not load: every fault of it.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Faults in the files.
    #[error(transparent)]
    Faults(#[from] Faults),
    /// Metrics cannot be set up to compile against.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

impl Files {
    /// Reads, merges and checks all of them.
    ///
    /// # Errors
    /// All faults in all files.
    pub fn read(&self) -> Result<Config, LoadError> {
        let mut unreadable: Vec<Fault> = Vec::new();
        let mut sources: Vec<Source> = Vec::new();
        if let Some((name, text)) = self.built_in {
            sources.push(Source { name: name.into(), text: text.into() });
        }
        for path in &self.paths {
            match Source::read(path) {
                Ok(source) => sources.push(source),
                Err(fault) => unreadable.push(fault),
            }
        }
        if !unreadable.is_empty() {
            return Err(Faults::from(unreadable).into());
        }
        let (config, mut faults) = config::read(sources, &*self.environment);
        match config {
            Some(config) if faults.is_empty() => Ok(config),
            partial => {
                // what the compiler would say comes along, so that nobody has to mend in rounds
                faults.extend(partial.iter().flat_map(|config| snapshot::faults(config, &lookup)));
                Err(Faults::from(faults).into())
            }
        }
    }
}

fn lookup(name: &str) -> io::Result<Vec<SocketAddr>> {
    name.to_socket_addrs().map(Iterator::collect)
}

/// Compiles `config` against what lives on.
pub(super) fn snapshot(
    config: &Config,
    cells: &Cells,
    tickets: &Tickets,
    metrics: &Metrics,
    generated_key: &dyn Fn() -> Secret,
) -> Result<Snapshot, LoadError> {
    let now = clock::unix_now();
    let around = Surroundings { cells, metrics, tickets, lookup: &lookup, generated_key, now };
    Ok(compile(config, &around)?)
}

/// Says what operators should know of a snapshot, although it is no fault.
pub(super) fn warn(snapshot: &Snapshot) {
    for warning in &snapshot.warnings {
        tracing::warn!("{warning}");
    }
}

/// Whether `files` would load, with what there is to say all the same; changes nothing.
///
/// # Errors
/// All faults.
pub fn check(files: &Files) -> Result<Vec<Fault>, LoadError> {
    let config = files.read()?;
    let stand_in = || Secret::new("stands in for the generated key".into());
    let tickets = Tickets::default();
    let snapshot = snapshot(&config, &Cells::default(), &tickets, &Metrics::new()?, &stand_in)?;
    Ok(snapshot.warnings)
}
