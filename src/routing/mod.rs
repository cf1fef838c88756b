//! Which rule a request belongs to. Pure: facts in, value out; nothing here knows the
//! configuration or does I/O.
//!
//! A request is looked up by its [host](host::normalise) and [path](path::normalise) in normal
//! form, and the [`Index`] names the rule that wins.

pub mod host;
pub mod index;
pub mod matchers;
pub mod path;
mod precedence;
pub mod subset;
mod table;

pub use index::Index;
pub use matchers::{Host, Matchers, Path};
