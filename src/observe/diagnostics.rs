//! What the process says of itself, on standard error. Access lines are a stream of their own
//! ([`super::AccessLog`]), so that one can be kept without the other.

use super::access_line::Format;
use std::io::IsTerminal;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Messages that may wait.
const QUEUE: usize = 4096;

/// Least severity that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Only errors.
    Error,
    /// And warnings.
    Warn,
    /// And what an operator wants to know.
    Info,
    /// And what a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// Keeps the writer alive; dropping it writes out what waits, for at most about a second.
pub struct Diagnostics {
    _writer: WorkerGuard,
    dropped: ErrorCounter,
}

impl Diagnostics {
    /// Messages that found no room.
    pub fn dropped(&self) -> usize {
        self.dropped.dropped_lines()
    }
}

/// Starts writing, on a thread of its own behind a bounded queue: a standard error that blocks costs
/// messages, never the end of the process. Later calls change nothing.
pub fn start_diagnostics(level: Level, format: Format) -> Diagnostics {
    let ours = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    // Pingora writes headers, queries and bodies out at its finer levels, which may hold secrets;
    // what it reports as errors is in the access log and the metrics already.
    let filter = Targets::new()
        .with_default(LevelFilter::WARN.min(ours))
        .with_target("stickfast", ours)
        .with_target("pingora", LevelFilter::OFF);
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(QUEUE)
        .thread_name("diagnostics")
        .finish(std::io::stderr());
    let dropped = writer.error_counter();
    let layer = match format {
        Format::Text => tracing_subscriber::fmt::layer()
            .with_writer(writer)
            .with_ansi(std::io::stderr().is_terminal())
            .boxed(),
        Format::Json => {
            tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(writer).boxed()
        }
    };
    let started = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    if let Err(why) = started {
        tracing::debug!(%why, "diagnostics had been started before");
    }
    Diagnostics { _writer: guard, dropped }
}
