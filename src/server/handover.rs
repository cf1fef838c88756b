//! How a new process takes over from this one without a lost request.
//!
//! ```text
//!  old                                          new
//!  starts the new binary ─────────────────────► connects                        Hello
//!  keys, health marks, hash key     State     ► keeps them
//!  each listening socket, as a copy Socket    ► keeps them
//!  what shows who still lives       Lineage   ► holds it
//!                                   Prepare   ► reads the files, compiles, checks backends
//!                                   Prepared  ◄ ready to serve
//!  learnt sessions                  Learnt    ► takes them in
//!                                   Commit    ► accepts clients, on the same sockets
//!                                   Serving   ◄
//!  MAINPID to systemd               Released  ► writes the pid file, READY to systemd
//!  accepts no more, drains;         Learnt    ► sessions that were learnt meanwhile
//! ```
//!
//! The sockets are shared, not passed on: whoever waits in their queue is accepted by one of the two,
//! so nobody is refused at any moment. Until `Serving` the old process serves as if nothing were
//! going on, and whatever goes wrong before it (the new one ends, says `Failed`, is silent for too
//! long) ends with the new one killed and nothing changed.

mod heir;
mod lineage;
mod link;
mod message;
mod nook;
mod predecessor;
mod program;

pub(super) use heir::{Estate, Heir, UpgradeError, hand_over, has_failed};
pub(super) use lineage::Lineage;
pub(super) use link::LinkError;
pub(super) use predecessor::{Inheritance, Predecessor};
pub use program::Program;
