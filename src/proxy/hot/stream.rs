//! One stream of HTTP/2 on the short way.

use super::alarm::Alarm;
use super::client::{Client, Stream};
use super::exchange::{After, Exchange};
use super::{Conn, head};
use crate::proxy::decide::Familiar;
use crate::proxy::front::Streams;
use crate::snapshot::Live;
use pingora_core::protocols::http::v2::server::HttpSession;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::server::ShutdownWatch;
use std::net::IpAddr;
use std::sync::Arc;

/// What the streams of a connection have in common.
pub(in crate::proxy) struct Visit {
    pub(in crate::proxy) peer: IpAddr,
    pub(in crate::proxy) tls: Option<Arc<SslDigest>>,
    pub(in crate::proxy) closing: ShutdownWatch,
    pub(in crate::proxy) siblings: Streams,
}

/// Serves a stream whose request has no body, if it is plain: else it is handed back, and nothing of it is
/// used up. The alarm is handed back in any case, for the next one.
pub(in crate::proxy) async fn serve_stream(
    mut session: HttpSession,
    visit: Arc<Visit>,
    alarm: Alarm,
    live: Arc<Live>,
) -> (Option<HttpSession>, Alarm) {
    let Some(request) = head::of_stream(session.req_header()) else {
        return (Some(session), alarm);
    };
    let client = Client::Stream(Stream::new(&mut session, &visit.siblings));
    let (peer, tls, closing) = (visit.peer, visit.tls.clone(), &visit.closing);
    let (inbox, out) = (Vec::new(), Vec::new());
    // its siblings know more
    let (fresh, familiar) = (None, Familiar::default());
    let (served, owes_body) = (0, false);
    let mut conn =
        Conn { client, peer, tls, inbox, out, alarm, fresh, familiar, served, owes_body, closing };
    let after = Exchange::new(&mut conn, request, &live).run().await;
    let alarm = conn.alarm;
    (matches!(after, After::NotOurs).then_some(session), alarm)
}
