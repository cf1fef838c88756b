//! The affinity of WebSocket handshakes: what `websocket.sessionAffinity` makes of the affinity of a
//! rule.

use super::affinity::{Inherited, read_whole};
use super::place::Origin;
use super::section::Reader;
use super::written::{Affinity, HandshakeAffinity, Handshakes};

impl Inherited<'_> {
    /// What is in force for the WebSocket handshakes of a rule or a service that has `affinity`.
    /// `speaks`: a section of its own says so, and what that turns off stays off.
    pub(super) fn handshakes(
        &self,
        reader: &Reader,
        affinity: Option<&Affinity>,
        speaks: bool,
        at: &Origin,
    ) -> Handshakes {
        match (self.handshakes, affinity) {
            (HandshakeAffinity::Off, Some(_)) => Handshakes::Unbound,
            (HandshakeAffinity::On, None) if !speaks => {
                let section = match self.router {
                    Some(node) => reader.section(node),
                    None => reader.empty_section(at.clone()),
                };
                Handshakes::Bound(Box::new(read_whole(section).1))
            }
            (HandshakeAffinity::AsRequests | HandshakeAffinity::Off | HandshakeAffinity::On, _) => {
                Handshakes::AsRequests
            }
        }
    }
}
