//! What operators see: metrics, one line for each request, and diagnostics.

mod access_line;
mod access_log;
mod collect;
mod counters;
mod diagnostics;
mod metrics;

pub use access_line::{AccessLine, Format};
pub use access_log::{AccessLog, Output};
pub use counters::{BackendMetrics, Guard, RuleMetrics, ServiceMetrics};
pub use diagnostics::{Diagnostics, Level, start_diagnostics};
pub use metrics::Metrics;
