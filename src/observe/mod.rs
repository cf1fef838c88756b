//! What operators see: metrics, one line for each request, and diagnostics.

mod access_line;
mod access_log;
mod diagnostics;
mod metrics;

pub use access_line::{AccessLine, Format};
pub use access_log::{AccessLog, Output};
pub use diagnostics::{Diagnostics, Level, start_diagnostics};
pub use metrics::{BackendMetrics, Metrics, RuleMetrics, ServiceMetrics};
