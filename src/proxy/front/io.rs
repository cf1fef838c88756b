//! The client connection as Pingora sees it: bytes pass through, but a header has to be complete by
//! a deadline, and an answer that Pingora makes before any hook has run is replaced by ours.

use super::census::Open;
use super::pace::Pace;
use crate::model::{Brought, Did, Verdict, clock};
use crate::observe::AccessLine;
use crate::proxy::company::Fresh;
use crate::proxy::refusal::Refusal;
use crate::snapshot::Live;
use async_trait::async_trait;
use parking_lot::Mutex;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use pingora_proxy::Session;
use std::future::Future;
use std::io::{ErrorKind, IoSlice, Result};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Between two requests.
const IDLE: u8 = 0;
/// A header is on its way; the deadline runs.
const HEADER: u8 = 1;
/// Hooks are in charge.
const REQUEST: u8 = 2;
/// We have answered instead of Pingora; whatever it writes is dropped.
const REFUSED: u8 = 3;
/// The backend has been asked for an upgrade and has to answer by a deadline.
const UPGRADING: u8 = 4;
/// It did not.
const UPGRADE_FAILED: u8 = 5;
/// HTTP/2 began, and its first request is on its way; the deadline runs.
const PREFACE: u8 = 6;
/// Requests come as streams, which take care of themselves.
const STREAMS: u8 = 7;
/// The body came slower than it may.
const TOO_SLOW: u8 = 8;

/// How a client begins that knows that we speak HTTP/2 (RFC 9113 §3.4).
const HTTP2: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Fields of a header that Pingora takes; and its longest header.
const MOST_FIELDS: usize = 256;
const LONGEST_HEADER: usize = 1_048_575;

/// A client connection.
pub(in crate::proxy) struct ClientIo {
    /// Locked only to take it away, through the shared reference that hooks have.
    inner: Mutex<Stream>,
    live: Arc<Live>,
    /// Hooks change it through a shared reference, hence atomic.
    phase: Arc<AtomicU8>,
    /// What was read to see which version of HTTP this is, and has to be read again.
    peeked: Vec<u8>,
    /// Bytes and lines of the header so far.
    header: (usize, usize),
    pace: Pace,
    /// Runs in the phases that have one; which of them it is for.
    deadline: Option<(u8, Pin<Box<Sleep>>)>,
    /// How long an upgrade may take, in milliseconds.
    upgrade_limit: AtomicU64,
    /// Whether any byte of the header has come.
    begun: bool,
    opened: Instant,
    /// What is still to be written of our own answer.
    answer: Vec<u8>,
    /// The binding that the first request without a key was given. Hooks have a shared reference
    /// only; they run one after the other.
    fresh: Mutex<Option<Fresh>>,
    _open: Open,
}

impl ClientIo {
    pub(super) fn new(inner: Stream, live: Arc<Live>, open: Open) -> Self {
        Self {
            inner: Mutex::new(inner),
            live,
            phase: Arc::new(AtomicU8::new(HEADER)),
            peeked: Vec::new(),
            header: (0, 0),
            pace: Pace::default(),
            deadline: None,
            upgrade_limit: AtomicU64::new(0),
            begun: false,
            opened: clock::monotonic_now(),
            answer: Vec::new(),
            fresh: Mutex::new(None),
            _open: open,
        }
    }

    /// Whether the client begins with HTTP/2. Reads no further than it takes to tell.
    pub(super) async fn begins_with_http2(&mut self) -> Result<bool> {
        let (mut start, mut length) = ([0; HTTP2.len()], 0);
        while length < HTTP2.len() {
            let rest = start.get_mut(length..).unwrap_or_default();
            let read = self.read(rest).await?;
            length += read;
            let said = start.get(..length).unwrap_or_default();
            if read == 0 || !HTTP2.starts_with(said) {
                break;
            }
        }
        self.peeked = start.get(..length).unwrap_or_default().to_vec();
        self.header = (0, 0);
        Ok(start == *HTTP2)
    }

    /// From here on it is not one request after the other.
    pub(super) fn carries_streams(&self) {
        self.phase.store(PREFACE, Ordering::Relaxed);
    }

    /// What is told when the first of the streams has come.
    pub(super) fn begun(&self) -> Begun {
        Begun(Arc::clone(&self.phase))
    }

    /// A body of this request comes; `rate` is the least number of bytes in a second.
    pub(in crate::proxy) fn await_body(&self, rate: u32) {
        self.pace.demand(rate);
    }

    /// It is through.
    pub(in crate::proxy) fn body_is_over(&self) {
        self.pace.demand(0);
    }

    /// Whether it came too slowly.
    pub(in crate::proxy) fn body_was_too_slow(&self) -> bool {
        self.phase() == TOO_SLOW
    }

    /// The connection under a session.
    pub(in crate::proxy) fn of(session: &Session) -> Option<&Self> {
        session.stream()?.as_any().downcast_ref()
    }

    /// Takes the connection away from Pingora, which is left with one that has ended.
    pub(in crate::proxy) fn detach(&self) -> Stream {
        let (ended, _) = tokio::io::duplex(1);
        std::mem::replace(&mut *self.inner.lock(), Box::new(ended))
    }

    /// The binding that an earlier request without a key was given.
    pub(in crate::proxy) fn fresh(&self) -> Option<Fresh> {
        self.fresh.lock().clone()
    }

    /// Remembers it.
    pub(in crate::proxy) fn set_fresh(&self, fresh: Fresh) {
        *self.fresh.lock() = Some(fresh);
    }

    /// The first hook runs.
    pub(in crate::proxy) fn header_is_complete(&self) {
        self.phase.store(REQUEST, Ordering::Relaxed);
    }

    /// The last hook runs.
    pub(in crate::proxy) fn request_is_over(&self) {
        self.body_is_over();
        self.phase.store(IDLE, Ordering::Relaxed);
    }

    /// Breaks the connection off unless [`Self::upgrade_is_answered`] is called in time.
    pub(in crate::proxy) fn await_upgrade(&self, limit: Duration) {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.upgrade_limit.store(limit, Ordering::Relaxed);
        self.phase.store(UPGRADING, Ordering::Relaxed);
    }

    /// The backend has answered.
    pub(in crate::proxy) fn upgrade_is_answered(&self) {
        self.phase.store(REQUEST, Ordering::Relaxed);
    }

    /// Whether the backend let the time for an upgrade pass.
    pub(in crate::proxy) fn upgrade_has_failed(&self) -> bool {
        self.phase() == UPGRADE_FAILED
    }

    fn phase(&self) -> u8 {
        self.phase.load(Ordering::Relaxed)
    }

    /// Whether the deadline of this phase has passed; it begins to run when first asked for.
    fn is_late(&mut self, cx: &mut Context<'_>, limit: Duration) -> bool {
        let phase = self.phase();
        self.deadline = self.deadline.take().filter(|(of, _)| *of == phase);
        let start = || (phase, Box::pin(tokio::time::sleep(limit)));
        let (_, deadline) = self.deadline.get_or_insert_with(start);
        deadline.as_mut().poll(cx).is_ready()
    }

    /// Whether reading has to end, as the deadline of this phase has passed.
    fn out_of_time(&mut self, cx: &mut Context<'_>) -> bool {
        match self.phase() {
            HEADER => {
                let limit = self.live.pin().limits.header_timeout;
                let late = self.is_late(cx, limit);
                // to one who has sent nothing there is nothing to say
                if late && self.begun {
                    self.refuse(Refusal::HeaderTimeout);
                    let _ = self.poll_answer(cx);
                }
                if !late && self.header.0 > self.live.pin().limits.max_header_bytes {
                    self.refuse(Refusal::HeaderTooLarge);
                    let _ = self.poll_answer(cx);
                    return true;
                }
                late
            }
            PREFACE => {
                let limit = self.live.pin().limits.header_timeout;
                self.is_late(cx, limit)
            }
            UPGRADING => {
                let limit = self.upgrade_limit.load(Ordering::Relaxed);
                let late = self.is_late(cx, Duration::from_millis(limit));
                if late {
                    self.phase.store(UPGRADE_FAILED, Ordering::Relaxed);
                }
                late
            }
            _ => false,
        }
    }

    /// Starts to answer in Pingora's place, and counts and logs it, since no hook will.
    fn refuse(&mut self, refusal: Refusal) {
        self.phase.store(REFUSED, Ordering::Relaxed);
        self.answer = refusal.raw();
        let row = refusal.answer();
        self.live.metrics.refused(row.reason);
        let now = clock::wall_now();
        let duration = clock::monotonic_now().saturating_duration_since(self.opened);
        self.live.access_log.write(&AccessLine {
            time: now.saturating_sub(duration),
            client: self.peer(),
            method: "",
            host: "",
            path: "",
            status: row.status,
            bytes: 0,
            duration,
            rule: "",
            service: "",
            backend: "",
            version: "",
            verdict: Verdict { brought: Brought::Nothing, did: Did::Nothing },
            retries: 0,
            request_id: "",
            reason: row.reason,
        });
    }

    fn peer(&self) -> IpAddr {
        let digest = self.get_socket_digest();
        match digest.as_ref().and_then(|digest| digest.peer_addr()) {
            Some(SocketAddr::Inet(address)) => address.ip().to_canonical(),
            Some(SocketAddr::Unix(_)) | None => IpAddr::from([127, 0, 0, 1]),
        }
    }

    /// Writes on at our own answer; ready when all of it is out.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while !self.answer.is_empty() {
            match Pin::new(self.inner.get_mut()).poll_write(cx, &self.answer) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    self.answer.drain(..written);
                }
                Poll::Ready(Err(why)) => return Poll::Ready(Err(why)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Pin::new(self.inner.get_mut()).poll_flush(cx)
    }

    /// Takes over when Pingora writes although no hook has run.
    fn poll_refused(&mut self, cx: &mut Context<'_>, theirs: &[u8]) -> Option<Poll<Result<()>>> {
        match self.phase() {
            HEADER | IDLE => {
                let (bytes, lines) = self.header;
                self.refuse(if theirs.starts_with(b"HTTP/1.1 405") {
                    Refusal::NoTunnel
                } else if bytes >= LONGEST_HEADER || lines > MOST_FIELDS {
                    Refusal::HeaderTooLarge
                } else {
                    Refusal::BadRequest
                });
            }
            REFUSED => {}
            _ => return None,
        }
        Some(self.poll_answer(cx))
    }
}

/// Tells a connection that its first stream has come.
pub(super) struct Begun(Arc<AtomicU8>);

impl Begun {
    pub(super) fn note(&self) {
        self.0.store(STREAMS, Ordering::Relaxed);
    }
}

/// Lines of a header in what was read; those behind its end are another's.
fn lines(read: &[u8]) -> usize {
    let end = memchr::memmem::find(read, b"\r\n\r\n").unwrap_or(read.len());
    memchr::memchr_iter(b'\n', read.get(..end).unwrap_or_default()).count()
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let this = &mut *self;
        if this.out_of_time(cx) {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        let result = if this.peeked.is_empty() {
            Pin::new(this.inner.get_mut()).poll_read(cx, buffer)
        } else {
            let count = this.peeked.len().min(buffer.remaining());
            buffer.put_slice(this.peeked.get(..count).unwrap_or_default());
            this.peeked.drain(..count);
            Poll::Ready(Ok(()))
        };
        let phase = this.phase();
        let read = buffer.filled().get(before..).unwrap_or_default();
        if phase == REQUEST && !this.pace.is_enough(read.len()) {
            this.phase.store(TOO_SLOW, Ordering::Relaxed);
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        if matches!(phase, HEADER | IDLE) {
            let so_far = if phase == IDLE { (0, 0) } else { this.header };
            this.header = (so_far.0 + read.len(), so_far.1 + lines(read));
        }
        if !read.is_empty() {
            match phase {
                HEADER => this.begun = true,
                IDLE => {
                    this.phase.store(HEADER, Ordering::Relaxed);
                    this.begun = true;
                    this.opened = clock::monotonic_now();
                    this.deadline = None;
                }
                _ => {}
            }
        }
        result
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        match self.poll_refused(cx, bytes) {
            Some(answered) => answered.map_ok(|()| bytes.len()),
            None => Pin::new(self.inner.get_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
        match self.poll_refused(cx, first) {
            Some(answered) => answered.map_ok(|()| slices.iter().map(|slice| slice.len()).sum()),
            None => Pin::new(self.inner.get_mut()).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.lock().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(self.inner.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(self.inner.get_mut()).poll_shutdown(cx)
    }
}

impl std::fmt::Debug for ClientIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClientIo({:?})", self.inner.lock())
    }
}

#[async_trait]
impl Shutdown for ClientIo {
    async fn shutdown(&mut self) {
        self.inner.get_mut().shutdown().await;
    }
}

impl UniqueID for ClientIo {
    fn id(&self) -> UniqueIDType {
        self.inner.lock().id()
    }
}

impl Ssl for ClientIo {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.lock().get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.lock().selected_alpn_proto()
    }
}

impl GetTimingDigest for ClientIo {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.lock().get_timing_digest()
    }
}

impl GetProxyDigest for ClientIo {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.lock().get_proxy_digest()
    }
}

impl GetSocketDigest for ClientIo {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.lock().get_socket_digest()
    }
}

#[async_trait]
impl Peek for ClientIo {
    async fn try_peek(&mut self, buffer: &mut [u8]) -> Result<bool> {
        self.inner.get_mut().try_peek(buffer).await
    }
}
