//! The nouns: what every other module speaks of. Nothing here decides anything or does I/O.

pub mod address;
pub mod backend;
pub mod cause;
pub mod clock;
pub mod fields;
pub mod ids;
pub mod proxy_protocol;
pub mod secret;
pub mod sharded;
pub mod units;
pub mod verdict;

pub use address::Address;
pub use backend::{Backend, Duty};
pub use cause::Cause;
pub use clock::UnixTime;
pub use fields::Fields;
pub use ids::{BackendId, RuleId, ServiceId};
pub use proxy_protocol::ProxyProtocol;
pub use secret::Secret;
pub use sharded::Sharded;
pub use verdict::{Brought, Did, Verdict};
