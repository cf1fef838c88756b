//! TLS, to clients and to backends: files become what rustls serves with, connections become
//! encrypted ones, and a file that changes is taken up while clients go on.
//!
//! ```text
//! files: PEM, checked ─► inbound: for a listener (names: by SNI) ─► io: an accepted connection
//!                    │   (challenges: what authorities are shown)
//!                    └─► outbound: for a service ─► Pingora's connector, and health checks
//!             watched: what is in force, and whether its files have changed
//! ```
//!
//! Clients are met by an accept step of our own, since Pingora's TLS settings fix versions and
//! protocols and panic on a bad file. Backends are connected to by Pingora, which has no other way
//! to keep connections for reuse.

mod caller;
mod challenges;
mod files;
mod inbound;
mod io;
mod names;
mod outbound;
mod subject;
mod tickets;
mod watched;

pub use caller::{CallerError, caller};
pub use challenges::{Challenges, Offer, Proof, ProofError};
pub use files::{Leaf, Warnings};
pub use inbound::{HandshakeError, Inbound, Protocols};
pub use io::{Secured, TlsIo};
pub use outbound::{Outbound, Outward, Trust};
pub use tickets::{TicketKeys, Tickets};
pub use watched::Refreshed;

use rustls::crypto::CryptoProvider;
use std::sync::Arc;

/// Suites and groups: what ring has, which is the "intermediate" list of Mozilla but for DHE.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
