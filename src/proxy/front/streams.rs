//! A client that speaks HTTP/2: its requests come as streams of one connection. Pingora's own loop
//! drops an idle connection without a word (GOAWAY), counts no requests and lets a client open and
//! reset streams for ever; hence one of ours around its parts.

use super::conduct::Conduct;
use super::io::ClientIo;
use super::upload::Upload;
use crate::proxy::company::Fresh;
use crate::proxy::finish::Unfinished;
use crate::proxy::{Gateway, Refusal};
use crate::snapshot::{Limits, Live};
use h2::Reason;
use parking_lot::Mutex;
use pingora::http::RequestHeader;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{
    self, H2Accept, H2Options, HttpSession, default_h2_options,
};
use pingora_core::protocols::{Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, Ssl};
use pingora_core::server::ShutdownWatch;
use pingora_proxy::{HttpProxy, Session};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// How long one who was told to go may take when nothing is under way.
const FAREWELL: Duration = Duration::from_secs(2);

/// Malformed requests of one connection, as in Pingora.
const TOLERATED: usize = 32;

/// What one stream may send before it is read: the default of HTTP/2.
const WINDOW: u32 = 65_535;
/// The largest window there is (RFC 9113 §6.9.1).
const MOST: u32 = (1 << 31) - 1;

/// What the streams of a connection share, and the body of this one. Each request has it among its
/// extensions.
#[derive(Clone)]
pub(in crate::proxy) struct Streams {
    shared: Arc<Shared>,
    /// `None`: the request has no body.
    upload: Option<Arc<Upload>>,
}

#[derive(Default)]
struct Shared {
    /// The binding that the first request without a key was given.
    fresh: Mutex<Option<Fresh>>,
    conduct: Mutex<Conduct>,
    /// Wakes the loop when the client is to be sent away.
    unfair: Notify,
}

impl Streams {
    /// Those of a session's connection; `None` for other versions of HTTP.
    pub(in crate::proxy) fn of(session: &Session) -> Option<&Self> {
        session.req_header().extensions.get()
    }

    /// The binding that an earlier request without a key was given.
    pub(in crate::proxy) fn fresh(&self) -> Option<Fresh> {
        self.shared.fresh.lock().clone()
    }

    /// Remembers it.
    pub(in crate::proxy) fn set_fresh(&self, fresh: Fresh) {
        *self.shared.fresh.lock() = Some(fresh);
    }

    /// Takes in how a request has ended.
    pub(in crate::proxy) fn note_end(&self, client_left: bool, after: Duration) {
        if !self.shared.conduct.lock().is_fair(client_left, after) {
            self.shared.unfair.notify_one();
        }
    }

    /// The body of this request, if it has one, is asked for, and may be silent for `limit` at most.
    pub(in crate::proxy) fn ask_for_body(&self, limit: Duration, of: impl FnOnce() -> Unfinished) {
        if let Some(upload) = &self.upload {
            upload.remember(of());
            upload.ask(limit);
        }
    }

    /// A part of it, or of the answer, has come.
    pub(in crate::proxy) fn note_part(&self) {
        self.upload.iter().for_each(|upload| upload.note_part());
    }

    /// It is through, or has to wait.
    pub(in crate::proxy) fn rest(&self) {
        self.upload.iter().for_each(|upload| upload.rest());
    }
}

/// Starts from Pingora's options, which bound more than those of the library do.
fn options(limits: &Limits) -> H2Options {
    let mut options = default_h2_options();
    options.max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX));
    options.max_concurrent_streams(limits.max_streams);
    // by default there is room for one stream, and one that its backend does not read holds up all
    let all = WINDOW.saturating_mul(limits.max_streams).clamp(WINDOW, MOST);
    options.initial_window_size(WINDOW).initial_connection_window_size(all);
    options
}

/// Puts `streams` among the extensions, which Pingora's header lets nobody change in place.
fn introduce(header: &mut RequestHeader, streams: Streams) {
    let Ok(blank) = RequestHeader::build_no_case("GET", b"/", None) else { return };
    let mut parts: http::request::Parts = std::mem::replace(header, blank).into();
    parts.extensions.insert(streams);
    *header = parts.into();
}

/// Nothing has been under way for so long.
async fn idle(busy: &watch::Sender<()>, patience: Duration) {
    busy.closed().await;
    tokio::time::sleep(patience).await;
}

/// Carries an exchange to its end, or to where the client has let its body be silent for too long. Then
/// the stream is reset: Pingora waits for the body, and answers nobody meanwhile.
async fn carry_through<T>(exchange: impl Future<Output = T>, upload: &Upload, live: &Live) {
    tokio::select! {
        biased;
        _ = exchange => return,
        () = upload.silence() => {}
    }
    if let Some(unfinished) = upload.unfinished() {
        unfinished.record(Refusal::BodyTimeout, live);
    }
}

/// Serves all requests of a connection. Ends when both sides are through, or the client is sent
/// away.
pub(super) async fn serve(
    proxy: &Arc<HttpProxy<Gateway>>,
    io: ClientIo,
    live: &Arc<Live>,
    shutdown: &ShutdownWatch,
) {
    let digest = Arc::new(Digest {
        ssl_digest: io.get_ssl_digest(),
        timing_digest: io.get_timing_digest(),
        proxy_digest: io.get_proxy_digest(),
        socket_digest: io.get_socket_digest(),
    });
    let begun = io.begun();
    let limits = live.pin().limits;
    let Ok(mut connection) = server::handshake(Box::new(io), Some(options(&limits))).await else {
        return;
    };
    let shared = Arc::new(Shared::default());
    // each request holds a receiver
    let (busy, _) = watch::channel(());
    let mut stopping = shutdown.clone();
    let (mut leaving, mut requests, mut malformed) = (false, 0_u32, 0_usize);
    if *stopping.borrow_and_update() {
        connection.graceful_shutdown();
        leaving = true;
    }
    loop {
        let patience = if leaving { FAREWELL } else { limits.idle_timeout };
        let accepted = tokio::select! {
            biased;
            changed = stopping.changed(), if !leaving => {
                if changed.is_err() || *stopping.borrow() {
                    connection.graceful_shutdown();
                    leaving = true;
                }
                continue;
            }
            () = shared.unfair.notified() => {
                live.metrics.refused("reset-flood");
                connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                let farewell = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest));
                let _ = tokio::time::timeout(FAREWELL, farewell).await;
                return;
            }
            accepted = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => accepted,
            () = idle(&busy, patience) => {
                if leaving {
                    return;
                }
                connection.graceful_shutdown();
                leaving = true;
                continue;
            }
        };
        match accepted {
            Ok(Some(H2Accept::Session(mut session))) => {
                begun.note();
                requests += 1;
                if limits.max_requests.is_some_and(|most| requests >= most) && !leaving {
                    connection.graceful_shutdown();
                    leaving = true;
                }
                let upload = (!session.is_body_done()).then(Arc::<Upload>::default);
                let streams = Streams { shared: Arc::clone(&shared), upload: upload.clone() };
                introduce(session.req_header_mut(), streams);
                let (proxy, live) = (Arc::clone(proxy), Arc::clone(live));
                let shutdown = shutdown.clone();
                let busy = busy.subscribe();
                tokio::spawn(async move {
                    let session = ServerSession::new_http2(session);
                    let exchange = proxy.process_new_http(session, &shutdown);
                    match upload {
                        Some(upload) => carry_through(exchange, &upload, &live).await,
                        None => drop(exchange.await),
                    }
                    drop(busy);
                });
            }
            Ok(Some(H2Accept::Rejected)) => {
                live.metrics.refused("bad-request");
                malformed += 1;
                if malformed >= TOLERATED {
                    shared.unfair.notify_one();
                }
            }
            Ok(None) | Err(_) => return,
        }
    }
}
