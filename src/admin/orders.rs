//! What operators ask of the process, and what they are told. Carried out by `server`, which this
//! module cannot name: hence a channel.

use crate::config::Difference;
use serde::Serialize;
use tokio::sync::oneshot;

/// Asks for a change, with the way back for the answer.
#[derive(Debug)]
pub enum Order {
    /// Read the files again.
    Reload(oneshot::Sender<Result<Reloaded, Refused>>),
    /// Hand over to a new process. An error says why that did not come about; nothing has changed
    /// then.
    Upgrade(oneshot::Sender<Result<Upgraded, String>>),
}

/// A configuration that was taken.
#[derive(Clone, Debug, Serialize)]
pub struct Reloaded {
    /// What is different from before.
    pub changed: Vec<Difference>,
    /// Keys whose change takes effect at the next start or upgrade.
    pub needs_restart: Vec<&'static str>,
}

/// A configuration that was not taken; nothing has changed.
#[derive(Clone, Debug, Serialize)]
pub struct Refused {
    /// Each as `file:line:column: path: problem; cure`.
    pub faults: Vec<String>,
}

/// A successor that serves.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Upgraded {
    /// Its process id.
    pub pid: u32,
}
