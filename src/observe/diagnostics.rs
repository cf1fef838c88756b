//! What the process says of itself, on standard error. Access lines are a stream of their own
//! ([`super::AccessLog`]), so that one can be kept without the other.

use super::access_log::Format;
use std::io::IsTerminal;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Least severity that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Only errors.
    Error,
    /// And warnings.
    Warn,
    /// And what an operator wants to know.
    Info,
    /// And what a developer wants to know, Pingora's messages among it.
    Debug,
    /// Everything.
    Trace,
}

/// Starts writing. Later calls change nothing.
pub fn start_diagnostics(level: Level, format: Format) {
    let (ours, pingora) = match level {
        Level::Error => (LevelFilter::ERROR, LevelFilter::OFF),
        Level::Warn => (LevelFilter::WARN, LevelFilter::OFF),
        Level::Info => (LevelFilter::INFO, LevelFilter::OFF),
        Level::Debug => (LevelFilter::DEBUG, LevelFilter::DEBUG),
        Level::Trace => (LevelFilter::TRACE, LevelFilter::TRACE),
    };
    // Pingora reports each failed request and each broken connection as an error of its own;
    // those are in the access log and the metrics already.
    let filter = Targets::new()
        .with_default(LevelFilter::WARN.min(ours))
        .with_target("stickfast", ours)
        .with_target("pingora", pingora);
    let writer = std::io::stderr;
    let layer = match format {
        Format::Text => tracing_subscriber::fmt::layer()
            .with_writer(writer)
            .with_ansi(writer().is_terminal())
            .boxed(),
        Format::Json => {
            tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(writer).boxed()
        }
    };
    let started = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    if let Err(why) = started {
        tracing::debug!(%why, "diagnostics had been started before");
    }
}
