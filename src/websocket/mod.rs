//! Connections that outlive a request: a WebSocket after its handshake. Pingora's own tunnel cuts one
//! that is silent for 60 s and loses one whose backend answers before it has read the request
//! (cloudflare/pingora#946), so the gateway relays the bytes itself.
//!
//! ```text
//! handshake: what a request asks for, the request as the backend gets it
//! frames:    where one frame ends and the next begins; close frames of our own
//! relay:     the bytes both ways, and how a tunnel ends
//! way:       one direction of that
//! tunnels:   those that are open, and the word that the process ends
//! ```
//!
//! Messages are not looked into: subprotocols, extensions and compression are between client and
//! backend. Frames are followed only so that a close frame of ours stands between two of theirs.

mod frames;
mod handshake;
mod relay;
mod tunnels;
mod way;

pub use frames::{CloseCode, Frames, close_frame};
pub use handshake::{Asks, Nominated, asks, for_backend};
pub use relay::{Carried, End, Side, Terms, relay};
pub use tunnels::{Tunnel, Tunnels};
