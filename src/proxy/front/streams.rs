//! A client that speaks HTTP/2: its requests come as streams of one connection. Pingora's own loop
//! drops an idle connection without a word (GOAWAY), counts no requests and lets a client open and
//! reset streams for ever; hence one of ours around its parts.

use super::chatter::Written;
use super::conduct::Conduct;
use super::io::ClientIo;
use super::upload::Upload;
use crate::model::clock;
use crate::proxy::answer::{LINGER, LINGER_BYTES};
use crate::proxy::company::Fresh;
use crate::proxy::decide::Familiar;
use crate::proxy::finish::Unfinished;
use crate::proxy::hot::{self, Alarm, Visit};
use crate::proxy::{Gateway, Refusal};
use crate::snapshot::{Limits, Live};
use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use h2::Reason;
use parking_lot::Mutex;
use pingora::http::RequestHeader;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{
    self, H2Accept, H2Options, HttpSession, default_h2_options,
};
use pingora_core::protocols::{
    Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, Ssl, Stream,
};
use pingora_core::server::ShutdownWatch;
use pingora_proxy::{HttpProxy, Session};
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout;

/// How long one who was told to go may take when nothing is under way.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long its client may take what is left of the last answers.
const LONGEST_FAREWELL: Duration = Duration::from_mins(5);

/// How often it is looked whether answers that are through here have reached the client.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What of an answer is kept for a client that does not take it, before the backend has to wait.
const UNSENT: usize = 64 * 1024;

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
    /// The cookies of the last request on the short way.
    familiar: Mutex<Familiar>,
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
    pub(in crate::proxy) fn with_fresh<T>(&self, ask: impl FnOnce(&mut Option<Fresh>) -> T) -> T {
        ask(&mut self.shared.fresh.lock())
    }

    /// What is known of cookies.
    pub(in crate::proxy) fn with_familiar<T>(&self, ask: impl FnOnce(&mut Familiar) -> T) -> T {
        ask(&mut self.shared.familiar.lock())
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
    options.max_send_buffer_size(UNSENT);
    options
}

/// Puts `streams` among the extensions, which Pingora's header lets nobody change in place.
fn introduce(header: &mut RequestHeader, streams: Streams) {
    let Ok(blank) = RequestHeader::build_no_case("GET", b"/", None) else { return };
    let mut parts: http::request::Parts = std::mem::replace(header, blank).into();
    parts.extensions.insert(streams);
    *header = parts.into();
}

/// What goes to the client, as looked at now and then.
struct Outflow {
    written: Written,
    bytes: u64,
    since: Instant,
}

impl Outflow {
    fn new(written: Written) -> Self {
        Self { written, bytes: 0, since: clock::monotonic_now() }
    }

    /// Whether nothing has gone out since it was looked at `patience` ago, or before.
    fn rests(&mut self, patience: Duration) -> bool {
        let (bytes, now) = (self.written.bytes(), clock::monotonic_now());
        if bytes != self.bytes {
            (self.bytes, self.since) = (bytes, now);
        }
        now.saturating_duration_since(self.since) >= patience
    }
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

/// How a stream on the short way has ended: see [`hot::serve_stream`].
type Ended = std::thread::Result<(Option<HttpSession>, Alarm)>;

/// Those on the short way. They are served in the task of their connection: what is ready of them goes
/// out at once, in the order in which it came.
struct Short<F> {
    under_way: FuturesUnordered<F>,
    /// Left by those that have ended.
    alarms: Vec<Alarm>,
}

impl<F: Future<Output = Ended>> Short<F> {
    /// Carries on with all of them; ready with one that turns out to be for Pingora, or when all are done.
    async fn carry_on(&mut self) -> Option<HttpSession> {
        poll_fn(|cx| {
            while let Some(ended) = ready!(self.under_way.poll_next_unpin(cx)) {
                // one that panics is reset, and takes nobody with it
                let Ok((handed_back, alarm)) = ended else { continue };
                self.alarms.push(alarm);
                if handed_back.is_some() {
                    return Poll::Ready(handed_back);
                }
            }
            Poll::Ready(None)
        })
        .await
    }
}

/// What serves the streams of one connection.
struct Server<'s> {
    proxy: &'s Arc<HttpProxy<Gateway>>,
    live: &'s Arc<Live>,
    shutdown: &'s ShutdownWatch,
    shared: Arc<Shared>,
    /// Each request that Pingora serves holds a receiver.
    busy: watch::Sender<()>,
}

impl Server<'_> {
    /// Has Pingora serve a stream, in a task of its own.
    fn spawn(&self, mut session: HttpSession) {
        let upload = (!session.is_body_done()).then(Arc::<Upload>::default);
        let streams = Streams { shared: Arc::clone(&self.shared), upload: upload.clone() };
        introduce(session.req_header_mut(), streams);
        let (proxy, live) = (Arc::clone(self.proxy), Arc::clone(self.live));
        let shutdown = self.shutdown.clone();
        let busy = self.busy.subscribe();
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
}

/// Serves all requests of a connection. Ends when both sides are through, or the client is sent
/// away.
pub(super) async fn serve(
    proxy: &Arc<HttpProxy<Gateway>>,
    io: ClientIo,
    live: &Arc<Live>,
    shutdown: &ShutdownWatch,
) {
    let (mut io, (heir, left)) = (io, oneshot::channel());
    io.leave_to(heir);
    let shared = Arc::new(Shared::default());
    let (busy, _) = watch::channel(());
    let server = Server { proxy, live, shutdown, shared, busy };
    let siblings = Streams { shared: Arc::clone(&server.shared), upload: None };
    let (peer, tls, closing) = (io.peer(), io.get_ssl_digest(), shutdown.clone());
    let visit = Arc::new(Visit { peer, tls, closing, siblings });
    let begin = |session, alarm| {
        let served = hot::serve_stream(session, Arc::clone(&visit), alarm, Arc::clone(live));
        AssertUnwindSafe(served).catch_unwind()
    };
    let mut short = Short { under_way: FuturesUnordered::new(), alarms: Vec::new() };
    // each stream stops after two pieces of its answer, and `ClientIo` after some reads
    let parting = tokio::task::unconstrained(accept(&server, io, &mut short, begin)).await;
    // they learn that their client has left
    while short.under_way.next().await.is_some() {}
    if let (End::Fair, Ok((stream, open))) = (parting, left.await) {
        let _ = timeout(LONGEST_FAREWELL, linger(stream)).await;
        drop(open);
    }
}

/// How a connection has ended.
enum End {
    /// With all that was to be said.
    Fair,
    /// In the middle of it.
    Unfair,
}

/// Closes our side, and reads on while the client takes what it was sent: a connection that is closed with
/// unread bytes is reset, and what is on its way is lost.
async fn linger(stream: Stream) {
    let (mut stream, mut unread, mut left) = (stream, [0; 1024], LINGER_BYTES);
    let socket = stream.get_socket_digest();
    let taken = || Some(socket.as_ref()?.tcp_info()?.tcpi_bytes_acked);
    let mut before = None;
    let _ = timeout(LINGER, stream.shutdown()).await;
    let mut look = pin!(tokio::time::sleep(LINGER));
    loop {
        tokio::select! {
            read = stream.read(&mut unread) => match read {
                Ok(read @ 1..) if read <= left => left -= read,
                _ => return,
            },
            () = &mut look => {
                let now = taken();
                if now == before {
                    return;
                }
                before = now;
                look.as_mut().reset(tokio::time::Instant::now() + LINGER);
            }
        }
    }
}

/// Takes the requests of a connection up as they come, and carries those on the short way on.
async fn accept<F: Future<Output = Ended>>(
    server: &Server<'_>,
    io: ClientIo,
    short: &mut Short<F>,
    begin: impl Fn(HttpSession, Alarm) -> F,
) -> End {
    let Server { live, shutdown, shared, busy, .. } = server;
    let digest = Arc::new(Digest {
        ssl_digest: io.get_ssl_digest(),
        timing_digest: io.get_timing_digest(),
        proxy_digest: io.get_proxy_digest(),
        socket_digest: io.get_socket_digest(),
    });
    let (begun, mut outflow) = (io.begun(), Outflow::new(io.written()));
    let limits = live.pin().limits;
    let Ok(mut connection) = server::handshake(Box::new(io), Some(options(&limits))).await else {
        return End::Unfair;
    };
    let mut stopping = (*shutdown).clone();
    let (mut leaving, mut requests, mut malformed) = (false, 0_u32, 0_usize);
    // those that came after the farewell
    let mut late = 0_u32;
    if *stopping.borrow_and_update() {
        connection.graceful_shutdown();
        leaving = true;
    }
    loop {
        // of what is through here, a part may still be on its way
        let flows = short.under_way.is_empty() && connection.has_streams();
        let patience = match (flows, leaving) {
            (true, _) => LOOK_AGAIN,
            (false, true) => FAREWELL / 2,
            (false, false) => limits.idle_timeout,
        };
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
                return send_away(connection, digest).await;
            }
            session = short.carry_on(), if !short.under_way.is_empty() => {
                if let Some(session) = session {
                    server.spawn(session);
                }
                continue;
            }
            accepted = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => accepted,
            () = idle(busy, patience), if short.under_way.is_empty() => {
                if flows {
                    if outflow.rests(limits.body_timeout) && connection.has_streams() {
                        return End::Unfair;
                    }
                } else if leaving {
                    if outflow.rests(FAREWELL / 2) {
                        return End::Fair;
                    }
                } else {
                    connection.graceful_shutdown();
                    leaving = true;
                }
                continue;
            }
        };
        match accepted {
            Ok(Some(H2Accept::Session(session))) => {
                begun.note();
                requests += 1;
                late += u32::from(leaving);
                if late > limits.max_streams {
                    // more than could have been on their way when it was told
                    live.metrics.refused("goaway-ignored");
                    return send_away(connection, digest).await;
                }
                if limits.max_requests.is_some_and(|most| requests >= most) && !leaving {
                    connection.graceful_shutdown();
                    leaving = true;
                }
                if session.is_body_done() && live.pin().hot_path {
                    let alarm =
                        short.alarms.pop().unwrap_or_else(|| Alarm::new(clock::monotonic_now()));
                    short.under_way.push(begin(session, alarm));
                } else {
                    server.spawn(session);
                }
            }
            Ok(Some(H2Accept::Rejected)) => {
                live.metrics.refused("bad-request");
                malformed += 1;
                if malformed >= TOLERATED {
                    return send_away(connection, digest).await;
                }
            }
            Ok(None) => return End::Fair,
            Err(_) => return End::Unfair,
        }
    }
}

/// Ends a connection whose client does not behave, and tells it.
async fn send_away(
    mut connection: h2::server::Connection<Stream, Bytes>,
    digest: Arc<Digest>,
) -> End {
    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
    let farewell = HttpSession::from_h2_conn(&mut connection, digest);
    let _ = timeout(FAREWELL, farewell).await;
    End::Unfair
}
