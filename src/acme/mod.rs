//! Certificates that the gateway gets for itself, from an authority that speaks ACME (RFC 8555).
//!
//! ```text
//!  schedule: is one due? ─► order: account, names, challenges, certificate ─► store: files in stateDir
//!                             │            └─► tls::Challenges: shown by the listeners
//!                             └─► caller: HTTPS to the authority
//! ```
//!
//! What is stored is a file like any other to [`crate::tls`], which looks at its files and takes a
//! new one up. When all this happens is up to `server::renewals`.

mod caller;
mod order;
pub mod schedule;
mod store;

pub use order::{AcmeError, obtain};
pub use store::{Lock, Store};
