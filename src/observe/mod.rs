//! What operators see: metrics, one line for each request, and diagnostics.

mod access_log;
mod diagnostics;
mod metrics;

pub use access_log::{AccessLine, AccessLog, Format, Output};
pub use diagnostics::{Level, start_diagnostics};
pub use metrics::{BackendMetrics, Metrics, RuleMetrics, ServiceMetrics};
