//! Who the client is: its address behind trusted proxies, the scheme it came by, and what the
//! backend is told of both. Pure: facts in, value out.

pub mod client;
pub mod forwarded;
pub mod trust;

pub use client::client_address;
pub use forwarded::{Forwarded, Scheme, came_by_https};
pub use trust::TrustedProxies;
