//! The client connection as Pingora sees it: bytes pass through, but a header has to be complete by
//! a deadline, and an answer that Pingora makes before any hook has run is replaced by ours. Which
//! of that is due, `progress` knows.

use super::census::Open;
use super::chatter::{Chatter, Written};
use super::progress::{Author, Begun, Due, Progress};
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
use pingora_core::server::ShutdownWatch;
use pingora_proxy::Session;
use std::io::{ErrorKind, IoSlice, Result};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// How a client begins that knows that we speak HTTP/2 (RFC 9113 §3.4).
const HTTP2: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A client connection.
pub(in crate::proxy) struct ClientIo {
    /// Locked only to take it away, through the shared reference that hooks have.
    inner: Mutex<Stream>,
    live: Arc<Live>,
    progress: Progress,
    /// What was read and not used, and is to be read again before anything else. Locked for whoever takes
    /// the connection away.
    peeked: Mutex<Vec<u8>>,
    /// Once this is HTTP/2. Boxed: most connections have none.
    chatter: Option<Box<Chatter>>,
    served: u32,
    /// What is still to be written of our own answer.
    answer: Vec<u8>,
    /// The binding that the first request without a key was given. Hooks have a shared reference
    /// only; they run one after the other.
    fresh: Mutex<Option<Fresh>>,
    /// Turns true when the listener has closed.
    closing: ShutdownWatch,
    open: Option<Open>,
    /// Who is to end the connection when all that serves it is gone.
    heir: Option<oneshot::Sender<(Stream, Open)>>,
}

/// Whoever serves streams drops the connection when it is done, and gives it to nobody.
impl Drop for ClientIo {
    fn drop(&mut self) {
        if let (Some(heir), Some(open)) = (self.heir.take(), self.open.take()) {
            // an error: it is to be dropped
            let _ = heir.send((self.detach().0, open));
        }
    }
}

impl ClientIo {
    pub(super) fn new(inner: Stream, live: Arc<Live>, open: Open, closing: ShutdownWatch) -> Self {
        Self {
            inner: Mutex::new(inner),
            live,
            progress: Progress::start(),
            peeked: Mutex::default(),
            chatter: None,
            served: 0,
            answer: Vec::new(),
            fresh: Mutex::new(None),
            closing,
            open: Some(open),
            heir: None,
        }
    }

    /// Whether the listener has closed, so that no further request is to come.
    pub(super) fn is_closing(&self) -> bool {
        *self.closing.borrow()
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
        *self.peeked.get_mut() = start.get(..length).unwrap_or_default().to_vec();
        self.progress.forget_header();
        Ok(start == *HTTP2)
    }

    /// Has what was read already read again, by whoever reads next. Of what was put back before, not all
    /// may have been read yet.
    pub(in crate::proxy) fn put_back(&mut self, read: Vec<u8>) {
        let peeked = self.peeked.get_mut();
        peeked.splice(..0, read);
        self.progress.is_put_back(!peeked.is_empty());
    }

    /// Requests are read on the short way from here on, until something is put back.
    pub(in crate::proxy) fn is_on_the_short_way(&mut self) {
        self.progress.is_on_the_short_way();
    }

    /// So many requests of it have been served already.
    pub(in crate::proxy) fn has_served(&mut self, requests: u32) {
        self.served = requests;
    }

    /// Requests that were served before it was last handed from one way to the other.
    pub(in crate::proxy) fn served(&self) -> u32 {
        self.served
    }

    /// A header is at hand, at least in part.
    pub(in crate::proxy) fn header_is_at_hand(&mut self, part: &[u8]) {
        self.progress.header_is_at_hand(part);
    }

    /// From here on it is not one request after the other.
    pub(super) fn carries_streams(&mut self) {
        self.chatter = Some(Box::new(Chatter::new(clock::monotonic_now())));
        self.progress.carries_streams();
    }

    /// What is told when the first of the streams has come.
    pub(super) fn begun(&self) -> Begun {
        self.progress.begun()
    }

    /// A body of this request comes; `rate` is the least number of bytes in a second.
    pub(in crate::proxy) fn await_body(&self, rate: u32) {
        self.progress.demand_pace(rate);
    }

    /// It is through.
    pub(in crate::proxy) fn body_is_over(&self) {
        self.progress.demand_pace(0);
    }

    /// Whether it came too slowly.
    pub(in crate::proxy) fn body_was_too_slow(&self) -> bool {
        self.progress.body_was_too_slow()
    }

    /// Has it given to `heir` in the end, instead of closed.
    pub(super) fn leave_to(&mut self, heir: oneshot::Sender<(Stream, Open)>) {
        self.heir = Some(heir);
    }

    /// Tells how much of what streams say has gone to the client.
    pub(super) fn written(&self) -> Written {
        self.chatter.as_ref().map(|chatter| chatter.written()).unwrap_or_default()
    }

    /// The connection under a session.
    pub(in crate::proxy) fn of(session: &Session) -> Option<&Self> {
        session.stream()?.as_any().downcast_ref()
    }

    /// Takes the connection away from Pingora, which is left with one that has ended; with what is to be
    /// read before what comes from there.
    pub(in crate::proxy) fn detach(&self) -> (Stream, Vec<u8>) {
        let (ended, _) = tokio::io::duplex(1);
        let stream = std::mem::replace(&mut *self.inner.lock(), Box::new(ended));
        (stream, std::mem::take(&mut *self.peeked.lock()))
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
        self.progress.header_is_complete();
    }

    /// The last hook runs.
    pub(in crate::proxy) fn request_is_over(&self) {
        self.progress.request_is_over();
    }

    /// Breaks the connection off unless [`Self::upgrade_is_answered`] is called in time.
    pub(in crate::proxy) fn await_upgrade(&self, limit: Duration) {
        self.progress.await_upgrade(limit);
    }

    /// The backend has answered.
    pub(in crate::proxy) fn upgrade_is_answered(&self) {
        self.progress.header_is_complete();
    }

    /// Whether the backend let the time for an upgrade pass.
    pub(in crate::proxy) fn upgrade_has_failed(&self) -> bool {
        self.progress.upgrade_has_failed()
    }

    /// Whether reading has to end.
    fn out_of_time(&mut self, cx: &mut Context<'_>) -> bool {
        let refusal = match self.progress.due(cx, || self.live.pin().limits) {
            Due::Nothing => return false,
            Due::Late => return true,
            Due::HeaderLate => Refusal::HeaderTimeout,
            Due::HeaderTooLarge => Refusal::HeaderTooLarge,
        };
        self.refuse(refusal);
        let _ = self.poll_answer(cx);
        true
    }

    /// Starts to answer in Pingora's place, and counts and logs it, since no hook will.
    fn refuse(&mut self, refusal: Refusal) {
        self.progress.is_refused();
        self.answer = refusal.raw();
        let row = refusal.answer();
        self.live.metrics.refused(row.reason);
        let duration = self.progress.age();
        self.live.access_log.write(&AccessLine {
            time: clock::wall_now().saturating_sub(duration),
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

    /// The other end.
    pub(in crate::proxy) fn peer(&self) -> IpAddr {
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

    fn note_written(&mut self, written: &Poll<Result<usize>>) {
        if let (Some(chatter), Poll::Ready(Ok(bytes))) = (&mut self.chatter, written) {
            chatter.note_written(*bytes);
        }
    }

    /// Takes over when Pingora writes although no hook has run.
    fn poll_refused(&mut self, cx: &mut Context<'_>, theirs: &[u8]) -> Option<Poll<Result<()>>> {
        match self.progress.author() {
            Author::Hooks => return None,
            Author::Ourselves => {}
            Author::Pingora if theirs.starts_with(b"HTTP/1.1 405") => {
                self.refuse(Refusal::NoTunnel);
            }
            Author::Pingora if self.progress.header_is_beyond_pingora() => {
                self.refuse(Refusal::HeaderTooLarge);
            }
            Author::Pingora => self.refuse(Refusal::BadRequest),
        }
        Some(self.poll_answer(cx))
    }
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
        if this.chatter.as_mut().is_some_and(|chatter| chatter.has_had_its_turn()) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let peeked = this.peeked.get_mut();
        let result = if peeked.is_empty() {
            Pin::new(this.inner.get_mut()).poll_read(cx, buffer)
        } else {
            let count = peeked.len().min(buffer.remaining());
            buffer.put_slice(peeked.get(..count).unwrap_or_default());
            peeked.drain(..count);
            Poll::Ready(Ok(()))
        };
        let read = buffer.filled().get(before..).unwrap_or_default();
        if !this.progress.note_read(read) {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        if this.chatter.as_mut().is_some_and(|chatter| !chatter.is_fair(read)) {
            this.live.metrics.refused("frame-flood");
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
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
        if let Some(answered) = self.poll_refused(cx, bytes) {
            return answered.map_ok(|()| bytes.len());
        }
        let written = Pin::new(self.inner.get_mut()).poll_write(cx, bytes);
        self.note_written(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
        if let Some(answered) = self.poll_refused(cx, first) {
            return answered.map_ok(|()| slices.iter().map(|slice| slice.len()).sum());
        }
        let written = Pin::new(self.inner.get_mut()).poll_write_vectored(cx, slices);
        self.note_written(&written);
        written
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
