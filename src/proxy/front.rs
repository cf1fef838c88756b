//! In front of Pingora's HTTP: an application that wraps each client connection in an IO type of our
//! own. Pingora's header timeout is for each read, so that one byte every few seconds holds a
//! connection for ever, and what it cannot parse it answers before any hook runs; both are dealt
//! with here.
//!
//! ```text
//!  accept ─► PROXY header ─► address cap ─► TLS ─► ClientIo ─┬► the short way ◄─► long   HTTP/1.1
//!                                                            └► streams                HTTP/2
//! ```

mod census;
mod chatter;
mod conduct;
mod io;
mod long;
mod pace;
mod progress;
mod proxy_protocol;
mod streams;
mod upload;

pub use census::{Census, Open};
pub(super) use io::ClientIo;
pub(super) use streams::Streams;

use super::Gateway;
use super::company::Fresh;
use super::hot::{self, Ended};
use crate::snapshot::{Door, Live};
use crate::tls::{HandshakeError, Inbound};
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::{ALPN, GetSocketDigest, Shutdown, Ssl, Stream};
use pingora_core::server::ShutdownWatch;
use pingora_proxy::{HttpProxy, Session};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long a stopping listener leaves idle kept-alive connections open: a request may already be
/// on its way there.
const LAME_DUCK: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Requests that Pingora serves on end where the short way could not serve any lately.
const LONGEST_DETOUR: u32 = 64;

/// The application behind a listener.
pub struct Front {
    proxy: Arc<HttpProxy<Gateway>>,
    live: Arc<Live>,
    census: Arc<Census>,
    /// What the snapshot calls this listener.
    key: Arc<str>,
    /// For clients that came just before a reload removed the listener.
    first: Door,
    /// Turns true when idle connections are to be closed.
    parting: watch::Sender<bool>,
}

impl Front {
    /// Serves `proxy`, which serves `live`, behind the listener of that key. All listeners share one
    /// `census`.
    pub fn new(
        proxy: Arc<HttpProxy<Gateway>>,
        live: Arc<Live>,
        census: Arc<Census>,
        key: Arc<str>,
    ) -> Self {
        let first = live.pin().doors.get(&key).cloned().unwrap_or_default();
        let parting = watch::Sender::new(false);
        Self { proxy, live, census, key, first, parting }
    }

    /// Shakes hands where the listener speaks TLS; `None`: the client was not let in. Runs in the
    /// task of the connection.
    async fn secure(&self, stream: Stream, tls: Option<Arc<Inbound>>) -> Option<Stream> {
        let Some(tls) = tls else { return Some(stream) };
        let limit = self.live.pin().limits.header_timeout;
        let shaken = tls.accept(stream, limit, &self.live.challenges).await;
        self.live.metrics.shook_hands(match &shaken {
            Ok(io) if io.was_resumed() => "resumed",
            Ok(_) => "full",
            Err(HandshakeError::Failed(_)) => "failed",
            Err(HandshakeError::TooSlow) => "timeout",
            Err(HandshakeError::Challenge) => "challenge",
        });
        match shaken {
            Ok(io) => Some(Box::new(io)),
            Err(why) => {
                tracing::debug!(%why, "TLS with a client failed");
                None
            }
        }
    }

    /// Who connects: the other end, or the one that it announces. `None` when the connection is cut.
    async fn caller(&self, stream: &mut Stream, door: &Door) -> Option<IpAddr> {
        let peer = peer(&**stream);
        if !door.proxy_protocol {
            return Some(peer);
        }
        let snapshot = self.live.pin();
        if !snapshot.trusted.contains(peer) {
            self.live.metrics.refused("proxy-untrusted");
            tracing::debug!(%peer, "cut: not a trusted proxy, so its PROXY header does not count");
            return None;
        }
        let taken = proxy_protocol::take(stream);
        match tokio::time::timeout(snapshot.limits.header_timeout, taken).await {
            Ok(Ok(())) => Some(self::peer(&**stream)),
            Ok(Err(why)) => {
                self.live.metrics.refused("proxy-header");
                tracing::debug!(%peer, %why, "cut");
                None
            }
            Err(_) => {
                self.live.metrics.refused("header-timeout");
                None
            }
        }
    }

    /// Serves a connection until it ends. `closing` turns true when the listener has closed.
    pub async fn serve(&self, stream: Stream, open: Open, closing: &ShutdownWatch) {
        match self.let_in(stream, open, closing).await {
            Some((io, Version::Http1)) => self.serve_one_by_one(io, closing).await,
            Some((mut io, Version::Http2)) => {
                io.carries_streams();
                Box::pin(streams::serve(&self.proxy, io, &self.live, closing)).await;
            }
            None => {}
        }
    }

    /// Serves one request after the other, the short way where that can be.
    async fn serve_one_by_one(&self, io: ClientIo, closing: &ShutdownWatch) {
        let mut io = io;
        // how many requests Pingora is to serve before the next is tried on the short way
        let mut detour = 1;
        loop {
            let tries = self.live.pin().hot_path;
            if tries {
                let before = io.served();
                let parting = self.parting.subscribe();
                let ended = hot::serve(&mut io, &self.live, closing, parting).await;
                if ended == Ended::Closed {
                    // one that takes nothing any more must not hold the connection
                    let _ = tokio::time::timeout(LAME_DUCK, io.shutdown()).await;
                    return;
                }
                if io.served() > before {
                    detour = 1;
                }
            }
            let least = if tries { detour } else { u32::MAX };
            // boxed: every idle connection would have room for it
            match Box::pin(long::serve(&self.proxy, io, least, closing)).await {
                Some(back) => io = back,
                None => return,
            }
            // who gets nowhere there is not looked at twice for each request
            detour = (detour * 2).min(LONGEST_DETOUR);
        }
    }

    /// Who may not come in, or leaves before it has said anything, is `None`.
    async fn let_in(
        &self,
        mut stream: Stream,
        mut open: Open,
        closing: &ShutdownWatch,
    ) -> Option<(ClientIo, Version)> {
        let door = self.live.pin().doors.get(&self.key).unwrap_or(&self.first).clone();
        let caller = self.caller(&mut stream, &door).await?;
        let snapshot = self.live.pin();
        let most = snapshot.limits.max_connections_per_address;
        // a proxy brings the clients of a whole world
        let capped = most != u32::MAX && !snapshot.trusted.contains(caller);
        if capped && !open.enter(&self.census, caller, most) {
            self.live.metrics.refused("too-many-connections");
            return None;
        }
        drop(snapshot);
        let stream = self.secure(stream, door.tls).await?;
        let mut io = ClientIo::new(stream, Arc::clone(&self.live), open, closing.clone());
        let asked = matches!(io.selected_alpn_proto(), Some(ALPN::H2));
        let may_begin = door.http2 && io.get_ssl_digest().is_none();
        let streams = asked || (may_begin && io.begins_with_http2().await.ok()?);
        Some((io, if streams { Version::Http2 } else { Version::Http1 }))
    }

    /// Runs when the listener has stopped: gives requests that are on their way a chance, then
    /// closes idle connections. Open requests go on.
    pub async fn close_idle(&self) {
        let patience = async {
            while self.live.metrics.connections.get() > 0 {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let _ = tokio::time::timeout(LAME_DUCK, patience).await;
        self.parting.send_replace(true);
        self.proxy.http_cleanup().await;
    }
}

/// How a client speaks.
enum Version {
    Http1,
    Http2,
}

/// The other end; one that came by a unix socket is on this machine.
fn peer(stream: &(impl GetSocketDigest + ?Sized)) -> IpAddr {
    let digest = stream.get_socket_digest();
    match digest.as_ref().and_then(|digest| digest.peer_addr()) {
        Some(SocketAddr::Inet(address)) => address.ip().to_canonical(),
        Some(SocketAddr::Unix(_)) | None => Ipv4Addr::LOCALHOST.into(),
    }
}

/// The binding that the first request of a connection without a key was given; at hand also while it is
/// watched whether the client leaves.
pub(super) enum Known {
    /// There is one request at a time.
    Own(Option<Fresh>),
    /// There are several.
    Shared(Streams),
}

impl Known {
    /// What is known on the connection of `session`.
    pub(super) fn of(session: &Session) -> Self {
        match Streams::of(session) {
            Some(streams) => Self::Shared(streams.clone()),
            None => Self::Own(ClientIo::of(session).and_then(ClientIo::fresh)),
        }
    }

    pub(super) fn with<T>(&mut self, ask: impl FnOnce(&mut Option<Fresh>) -> T) -> T {
        match self {
            Self::Own(fresh) => ask(fresh),
            Self::Shared(streams) => streams.with_fresh(ask),
        }
    }

    /// Remembers it for the next request.
    pub(super) fn keep(self, session: &Session) {
        if let (Self::Own(Some(fresh)), Some(io)) = (self, ClientIo::of(session)) {
            io.set_fresh(fresh);
        }
    }
}

/// Has the answer of `session` say that its connection ends where its listener has closed meanwhile.
pub(super) fn heed_closing(session: &mut Session) {
    if ClientIo::of(session).is_some_and(ClientIo::is_closing) {
        session.set_keepalive(None);
    }
}
