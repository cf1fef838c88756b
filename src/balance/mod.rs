//! Which backend now: the policies that place a new client, behind Pingora's
//! [`BackendSelection`](pingora_load_balancing::selection::BackendSelection).

mod ring;
mod round_robin;
mod selection;

pub use ring::{POINTS_PER_WEIGHT, Ring, RingConfig};
pub use round_robin::RoundRobin;
pub use selection::Selection;
