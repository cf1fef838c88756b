//! What would happen to one request, and why: under some files (`stickfast explain`), or in the
//! running process as it is now (`POST /api/v1/explain`). It asks the functions that serve requests, so
//! that it cannot say other than what they would do. Both get the same report of the same code, which is
//! why it lies below [`crate::admin`].
//!
//! ```text
//! files, or process ─► world ─┬─► sources: what each way of a key yields ───────────┐
//! question ─► request ────────┴─► tell: outcome, placing, what_if ──► report ───────┴─► text, JSON
//! ```

mod outcome;
mod placing;
mod question;
mod report;
mod request;
mod sources;
mod tell;
#[cfg(test)]
mod tests;
mod text;
mod what_if;
mod words;
mod world;

pub use question::Question;
pub use report::Report;
pub use world::World;

use crate::config::Faults;
use crate::model::UnixTime;
use report::Asked;
use request::{Nowhere, Request};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// No client could ask that.
    #[error("{0}")]
    Question(String),
    /// The configuration does not compile (any more, with a backend in another state).
    #[error(transparent)]
    Faults(#[from] Faults),
    /// There is nothing to compile against.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

/// Answers `question`. Compiles the configuration several times and may look up names, so it blocks.
///
/// # Errors
/// A question that no client could ask, or a configuration that does not compile.
pub fn explain(world: &World, question: &Question, now: UnixTime) -> Result<Report, ExplainError> {
    let snapshot = &world.snapshot;
    let request = Request::of(question, snapshot)?;
    let asked = Asked {
        method: request.method.to_string(),
        host: request.host.clone(),
        path: request.path.clone(),
        client: request.caller.client,
    };
    let mut report = Report::new(asked, world.is_process());
    let found = match request.find(snapshot) {
        Ok(found) => found,
        Err(Nowhere::NoRule) => return Ok(report),
        Err(Nowhere::Unknown) => {
            report.outcome.meaning = "the request names no known service or version".into();
            report.outcome.course = "is answered with 404 (no-subset)".into();
            return Ok(report);
        }
    };
    tell::tell(&mut report, world, &request, &found, now)?;
    Ok(report)
}
