//! The long way of a connection: request after request by Pingora, until the short way may have it back.

use super::ClientIo;
use crate::proxy::Gateway;
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp};
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use std::fmt::{self, Write as _};
use std::sync::Arc;

/// Until hooks say otherwise, in seconds, as in Pingora's own loop.
const KEEPALIVE: u64 = 60;

/// Settings are shown in fewer bytes than this, but for what was read ahead.
const ENOUGH: usize = 512;

/// Has Pingora serve at least so many requests; gives the connection back when the next is to come.
pub(super) async fn serve(
    proxy: &Arc<HttpProxy<Gateway>>,
    io: ClientIo,
    least: u32,
    closing: &ShutdownWatch,
) -> Option<ClientIo> {
    let before = io.served();
    let mut session = ServerSession::new_http1(Box::new(io));
    let keepalive = if *closing.borrow() { None } else { Some(KEEPALIVE) };
    session.set_keepalive(keepalive);
    let mut served = 0_u32;
    loop {
        let (stream, settings) = proxy.process_new_http(session, closing).await?.consume();
        served = served.saturating_add(1);
        if served >= least && !settings.as_ref().is_some_and(has_read_ahead) {
            let mut io = stream.into_any().downcast::<ClientIo>().ok()?;
            io.has_served(before.saturating_add(served));
            return Some(*io);
        }
        session = ServerSession::new_http1(stream);
        if let Some(settings) = settings {
            settings.apply_to_session(&mut session);
        }
    }
}

/// Whether Pingora has read a part of the next request, which it gives to nobody but itself. It does not
/// say so either, but for what it shows of itself; where that is not what we know, it may have.
fn has_read_ahead(settings: &HttpPersistentSettings) -> bool {
    let mut shown = Start(String::new());
    let _ = write!(shown, "{settings:?}");
    // what was read is shown too, and may say anything
    shown.0.contains("pipelined_prefix: Some") || !shown.0.contains("pipelined_prefix: None")
}

/// The first of what is written.
struct Start(String);

impl fmt::Write for Start {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push_str(text);
        if self.0.len() < ENOUGH { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

    #[test]
    fn what_pingora_has_read_ahead_is_seen() {
        let session = ServerSession::new_http1(Box::new(tokio::io::duplex(1).0));
        let mut settings = HttpPersistentSettings::for_session(&session);
        assert!(!has_read_ahead(&settings));
        let forged = "pipelined_prefix: None".repeat(1000);
        settings.set_pipelined_prefix(BytesMut::from(&*forged));
        assert!(has_read_ahead(&settings));
    }
}
