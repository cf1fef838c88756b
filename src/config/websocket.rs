//! `websocket`: connections that outlive a request, for all rules alike.

use super::scalar::Scalar;
use super::section::Section;
use super::written::{HandshakeAffinity, WebSocket};
use std::time::Duration;

pub(super) fn read(mut websocket: Section) -> WebSocket {
    websocket.later(&["sessions"]);
    let idle = websocket.value("idleTimeout", |s| s.duration(Duration::from_millis(1)));
    let affinity = websocket.optional("sessionAffinity").map(|mut affinity| {
        affinity.later(&["failover"]);
        let enabled = affinity.value("enabled", Scalar::flag).unwrap_or(true);
        (enabled, affinity.value("stickyReconnect", Scalar::flag).unwrap_or(true))
    });
    WebSocket {
        idle_timeout: idle.unwrap_or(Duration::from_hours(1)),
        affinity: match affinity {
            None => HandshakeAffinity::AsRequests,
            Some((true, _)) => HandshakeAffinity::On,
            Some((false, _)) => HandshakeAffinity::Off,
        },
        sticky_reconnect: affinity.is_none_or(|(_, sticky)| sticky),
    }
}
