//! Which backend now: the policies that place a new client. They are laid out, and can be walked, as
//! Pingora's [`BackendSelection`](pingora_load_balancing::selection::BackendSelection); requests take the
//! shorter way over the places of members ([`Selection::pick`]).

mod bound;
mod digest;
mod entrants;
mod maglev;
mod ring;
mod round_robin;
mod selection;

pub use bound::LoadFactor;
pub use maglev::{Maglev, MaglevConfig};
pub use ring::{POINTS_PER_WEIGHT, Ring, RingConfig};
pub use round_robin::RoundRobin;
pub use selection::Selection;

/// Backends and owners for the tests of the hash policies.
#[cfg(test)]
mod fixture;
