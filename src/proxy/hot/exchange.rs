//! One plain request and its response.

use super::body::{self, Body};
use super::head::{self, Inbound, Outbound};
use super::links::{connect, write_all};
use super::seek::Seek;
use super::trouble::{client_gone, cut_off, invalid, malformed, upstream_read, upstream_write};
use super::{Conn, Scratch};
use crate::model::{Fields, clock};
use crate::pool::{Last, Member, Tongue, Wire};
use crate::proxy::answer;
use crate::proxy::choose::{self, Step};
use crate::proxy::ctx::Ctx;
use crate::proxy::fail;
use crate::proxy::finish::{self, Outcome};
use crate::proxy::message::{Message, Request};
use crate::proxy::receive::{self, Origin};
use crate::proxy::refusal::Refusal;
use crate::proxy::{respond, sessions, sign};
use crate::snapshot::{Live, Rule, Service, Snapshot, Timeouts};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{Method, StatusCode, Version};
use pingora::{Error, ErrorType, Result};
use pingora_core::protocols::http::date;
use std::future::poll_fn;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, ReadBuf};

/// The longest header of a response, as in Pingora.
const MAX_HEAD: usize = 1_048_575;
/// What a client may send ahead of the answer to its last request.
const AHEAD: usize = 64 * 1024;

/// What follows.
pub(super) enum After {
    /// The next request; the time now.
    Next(Instant),
    /// Nothing more.
    Close,
    /// Pingora is to serve this one.
    NotOurs,
}

/// One request under way.
pub(super) struct Exchange<'e, 'c> {
    conn: &'e mut Conn<'c>,
    live: &'e Live,
    ctx: Ctx,
    request: Inbound,
    /// Whether the connection is to go on.
    keeps: bool,
    signed: bool,
    /// The status that the client was sent.
    status: u16,
    /// Bytes of the body that it was sent.
    bytes: u64,
}

impl<'e, 'c> Exchange<'e, 'c> {
    pub(super) fn new(conn: &'e mut Conn<'c>, request: Inbound, live: &'e Live) -> Self {
        let ctx = Ctx::new(live.pin(), &live.metrics);
        let keeps = request.keeps;
        Self { conn, live, ctx, request, keeps, signed: false, status: 0, bytes: 0 }
    }

    pub(super) async fn run(mut self) -> After {
        if self.live.challenges.by_http(self.request.path()).is_some() {
            return After::NotOurs;
        }
        let origin = Origin { peer: self.conn.peer, tls: self.conn.tls.clone(), has_body: false };
        let received = receive::receive(&mut self.request, origin, &mut self.ctx, self.live);
        let snapshot = Arc::clone(&self.ctx.snapshot);
        let rule = self.ctx.rule.and_then(|at| snapshot.rule(at));
        if rule.is_some_and(|rule| !is_plain(rule)) || !is_plain_for(&snapshot) {
            return After::NotOurs;
        }
        self.conn.io.header_is_complete();
        let more = snapshot.limits.max_requests.is_none_or(|most| self.conn.served + 1 < most);
        self.keeps &= more;
        let done = match (received, rule) {
            (Ok(()), Some(rule)) => match self.serve(rule).await {
                Ok(Served::Whole) => Ok(()),
                Ok(Served::NotOurs) => {
                    self.conn.io.header_is_at_hand(&self.conn.inbox);
                    return After::NotOurs;
                }
                Err(error) => {
                    let refusal = answer::refusal_after(&self.ctx, &error);
                    self.keeps = false;
                    self.answer(refusal).await
                }
            },
            (Ok(()), None) => self.answer(Refusal::NoRoute).await,
            (Err(refusal), _) => {
                sessions::forget_refused(refusal, &mut self.ctx, self.live);
                self.answer(refusal).await
            }
        };
        self.keeps &= done.is_ok();
        self.live.metrics.hot.inc();
        self.conn.use_up(self.request.length);
        let now = clock::monotonic_now();
        let took = now.saturating_duration_since(self.ctx.arrived);
        let outcome = Outcome { status: self.status, bytes: self.bytes, took };
        finish::record(&self.request, outcome, &self.ctx, self.live);
        if self.keeps { After::Next(now) } else { After::Close }
    }

    /// Asks backends until one has answered, or the last try has failed.
    async fn serve(&mut self, rule: &Rule) -> Result<Served> {
        loop {
            let same = self.ctx.once_more.take().and_then(|_| self.ctx.seat.take());
            self.ctx.seat = None;
            let (header, ctx) = (&self.request, &mut self.ctx);
            let fresh = &mut self.conn.fresh;
            let once_more = same.is_some();
            let step = same.map_or_else(
                || choose::at_once(header, fresh, ctx, rule, self.live),
                |seat| Ok(Step::Seated(seat)),
            );
            let seat = match step {
                Ok(Step::Seated(seat)) => seat,
                Ok(Step::WaitFor(_) | Step::WaitForAny) if self.ctx.attempts == 0 => {
                    return Ok(Served::NotOurs);
                }
                // others would have to be asked for the first time once more
                Ok(Step::WaitFor(_) | Step::WaitForAny) => {
                    return refuse(&mut self.ctx, Refusal::Full);
                }
                Err(refusal) => return refuse(&mut self.ctx, refusal),
            };
            let member = Arc::clone(seat.member());
            self.ctx.seat = Some(seat);
            self.ctx.attempts += 1;
            member.metrics.requests.inc();
            self.ctx.backend = Some(Arc::clone(&member));
            let timeouts = rule.service.timeouts;
            // what cannot be repeated is worth a system call
            let surely = !self.request.method().is_idempotent();
            let (wire, reused) =
                match member.idle().take(self.ctx.arrived, surely).filter(|_| !once_more) {
                    Some(wire) => (wire, true),
                    None => match connect(&member, timeouts, &self.live.cells).await {
                        Ok(wire) => (wire, false),
                        Err(error) => {
                            let error = fail::to_connect(&mut self.ctx, error);
                            if error.retry() {
                                continue;
                            }
                            return Err(error);
                        }
                    },
                };
            match self.attempt(wire, &member, timeouts).await {
                Ok(()) => return Ok(Served::Whole),
                Err(error) => {
                    let repeatable = self.status == 0 && self.request.method().is_idempotent();
                    let error = fail::after_sending(&mut self.ctx, error, repeatable, reused);
                    if !error.retry() {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Asks one backend and passes on what it says.
    async fn attempt(
        &mut self,
        mut wire: Wire,
        member: &Arc<Member>,
        timeouts: Timeouts,
    ) -> Result<()> {
        self.sign()?;
        self.conn.out.clear();
        head::write_request(&self.request, &mut self.conn.out);
        write_all(&mut wire, &self.conn.out, timeouts.write).await.map_err(upstream_write)?;
        let mut inflow = Inflow::default();
        let mut response = loop {
            let mut response = self.head(&mut wire, &mut inflow, timeouts.read).await?;
            if !answer::is_interim(&response) {
                break response;
            }
            respond::respond(self.request.method(), &mut response, &mut self.ctx, self.live)?;
            self.conn.out.clear();
            head::write_response(&response, &mut self.conn.out);
            self.send().await?;
        };
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(invalid("101 to a request that asked for none"));
        }
        let last = body::last(self.request.method(), response.status, &response)
            .filter(|_| backend_keeps(&response));
        let (mut body, wraps) = self.frame(&mut response)?;
        let early = inflow.rest();
        let part = body.take(early).map_err(malformed)?;
        respond::respond(self.request.method(), &mut response, &mut self.ctx, self.live)?;
        response.set(&DATE, date::get_cached_date().as_bytes())?;
        self.keeps &= (!matches!(body, Body::Rest) || wraps) && !self.conn.is_closing();
        response.set(&CONNECTION, self.connection())?;
        self.conn.out.clear();
        head::write_response(&response, &mut self.conn.out);
        let overread = part.length < early.len();
        self.pass(early.get(..part.length).unwrap_or_default(), part.payload, wraps);
        self.status = response.status.as_u16();
        while !body.is_whole() {
            self.send().await?;
            self.conn.out.clear();
            let read = self.part(&mut wire, &mut inflow.scratch, timeouts.read).await?;
            let read = inflow.scratch.get(..read).unwrap_or_default();
            if read.is_empty() {
                if matches!(body, Body::Rest) {
                    break;
                }
                return Err(cut_off());
            }
            let part = body.take(read).map_err(malformed)?;
            let overread = part.length < read.len();
            self.pass(read.get(..part.length).unwrap_or_default(), part.payload, wraps);
            if overread {
                return self.end(None, wraps).await;
            }
        }
        let last = last.filter(|_| !overread && !matches!(body, Body::Rest));
        self.end(last.map(|last| (wire, last, member)), wraps).await
    }

    const fn connection(&self) -> &'static [u8] {
        if self.keeps { b"keep-alive" } else { b"close" }
    }

    /// The backend is through: what is left goes to the client.
    async fn end(&mut self, wire: Option<(Wire, Last, &Arc<Member>)>, wraps: bool) -> Result<()> {
        if wraps {
            self.conn.out.extend_from_slice(b"0\r\n\r\n");
        }
        if let Some((wire, last, member)) = wire {
            member.idle().put(wire, last, clock::monotonic_now());
        }
        self.ctx.free_seat();
        self.send().await
    }

    /// Puts the headers in that tell of us; for each try anew, as they may tell of the last one.
    fn sign(&mut self) -> Result<()> {
        if self.signed {
            return sign::sign_again(&mut self.request, &self.ctx);
        }
        self.signed = true;
        self.request.remove(&CONNECTION);
        sign::sign(&mut self.request, Version::HTTP_11, self.conn.tls.as_deref(), &self.ctx)
    }

    /// Reads the header of a response, while the client stays.
    async fn head(
        &mut self,
        wire: &mut Wire,
        inflow: &mut Inflow,
        limit: Duration,
    ) -> Result<Outbound> {
        let mut seek = Seek::default();
        loop {
            let unread = inflow.rest();
            if !unread.is_empty() && seek.is_due(unread) {
                match head::response(unread) {
                    Ok(Some(response)) => {
                        inflow.used += response.length;
                        return Ok(response);
                    }
                    Ok(None) => {}
                    Err(why) => return Err(invalid(&why.to_string())),
                }
            }
            if inflow.rest().len() > MAX_HEAD {
                return Err(invalid("too long"));
            }
            inflow.keep();
            let got = self.part(wire, &mut inflow.scratch, limit).await?;
            if got == 0 {
                return Err(cut_off());
            }
            inflow.take_in(got);
        }
    }

    /// Reads a part of a response, while the client stays.
    async fn part(
        &mut self,
        wire: &mut Wire,
        scratch: &mut Scratch,
        limit: Duration,
    ) -> Result<usize> {
        let conn = &mut *self.conn;
        conn.alarm.set(clock::monotonic_now() + limit);
        let mut watches = conn.inbox.len() < self.request.length + AHEAD;
        poll_fn(|cx| {
            let mut buffer = ReadBuf::new(scratch);
            match Pin::new(&mut *wire).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(buffer.filled().len())),
                Poll::Ready(Err(why)) => return Poll::Ready(Err(upstream_read(why))),
                Poll::Pending => {}
            }
            while watches {
                match conn.poll_read(cx) {
                    Poll::Ready(Ok(read)) if read > 0 => {
                        watches = conn.inbox.len() < self.request.length + AHEAD;
                    }
                    Poll::Ready(_) => return Poll::Ready(Err(client_gone())),
                    Poll::Pending => break,
                }
            }
            if conn.alarm.poll(cx).is_ready() {
                let why = Error::explain(ErrorType::ReadTimedout, "the backend is silent");
                return Poll::Ready(Err(why.into_up()));
            }
            Poll::Pending
        })
        .await
    }

    /// How the body is told from what follows it; and whether we have to do so, as the backend
    /// ends it with its connection.
    fn frame(&self, response: &mut Outbound) -> Result<(Body, bool)> {
        if response.has(&TRANSFER_ENCODING) {
            response.remove(&CONTENT_LENGTH);
        }
        let body = Body::of(self.request.method(), response.status, response);
        let body = body.map_err(malformed)?;
        let wraps = body == Body::Rest && !response.has(&TRANSFER_ENCODING);
        if wraps {
            response.set(&TRANSFER_ENCODING, b"chunked")?;
        }
        Ok((body, wraps))
    }

    /// Puts a part of the body behind what is to be written.
    fn pass(&mut self, part: &[u8], payload: usize, wraps: bool) {
        self.bytes += payload as u64;
        let out = &mut self.conn.out;
        if wraps && !part.is_empty() {
            let _ = write!(out, "{:X}\r\n", part.len());
        }
        out.extend_from_slice(part);
        if wraps && !part.is_empty() {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Writes what is to be written.
    async fn send(&mut self) -> Result<()> {
        let limit = self.ctx.snapshot.limits.body_timeout;
        let conn = &mut *self.conn;
        write_all(&mut *conn.io, &conn.out, limit)
            .await
            .map_err(|why| Error::because(ErrorType::WriteError, "to the client", why).into_down())
    }

    /// Answers in the place of a backend.
    async fn answer(&mut self, refusal: Refusal) -> Result<()> {
        self.ctx.free_seat();
        let status = answer::status(&mut self.ctx, refusal);
        let Some(status) = status.filter(|_| self.status == 0) else {
            self.keeps = false;
            return Ok(());
        };
        self.keeps &= !self.conn.is_closing();
        let (mut header, body) = answer::compose(&self.request, &mut self.ctx, refusal, status)?;
        header.insert_header(DATE, date::get_cached_date())?;
        header.insert_header(CONNECTION, self.connection())?;
        self.conn.out.clear();
        head::write_answer(&header, &mut self.conn.out);
        self.status = status;
        if *self.request.method() != Method::HEAD {
            self.pass(body.as_bytes(), body.len(), false);
        }
        self.send().await
    }
}

/// What was read of a backend and is not used up.
#[derive(Default)]
struct Inflow {
    scratch: Scratch,
    /// Bytes in there.
    length: usize,
    /// A header that did not come at once; then nothing of it is there.
    kept: Vec<u8>,
    /// Bytes of either that are used up.
    used: usize,
}

impl Inflow {
    fn rest(&self) -> &[u8] {
        let kept = self.kept.get(self.used..).filter(|_| !self.kept.is_empty());
        let read = || self.scratch.get(self.used..self.length);
        kept.or_else(read).unwrap_or_default()
    }

    /// Makes room for what follows.
    fn keep(&mut self) {
        if self.kept.is_empty() || self.used > 0 {
            self.kept = self.rest().to_vec();
            (self.length, self.used) = (0, 0);
        }
    }

    /// So many bytes were read.
    fn take_in(&mut self, got: usize) {
        if self.kept.is_empty() {
            (self.length, self.used) = (got, 0);
        } else {
            self.kept.extend_from_slice(self.scratch.get(..got).unwrap_or_default());
        }
    }
}

enum Served {
    Whole,
    NotOurs,
}

/// Whether the backends of a rule are spoken to in plain HTTP/1.1, and what they say is passed on as
/// it is.
fn is_plain(rule: &Rule) -> bool {
    let service: &Service = &rule.service;
    !rule.rewrites_urls && service.tls.is_none() && service.tongue == Tongue::default()
}

/// Whether clients may take their time.
fn is_plain_for(snapshot: &Snapshot) -> bool {
    snapshot.limits.min_body_rate.is_none()
}

/// Whether the backend goes on with the connection.
fn backend_keeps(response: &Outbound) -> bool {
    let says = |what: &str| {
        let mut tokens =
            response.all(&CONNECTION).flat_map(|line| line.split(|byte| *byte == b','));
        tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(what.as_bytes()))
    };
    match response.version {
        Version::HTTP_11 => !says("close"),
        _ => says("keep-alive") && !response.has(&TRANSFER_ENCODING),
    }
}

fn refuse<T>(ctx: &mut Ctx, refusal: Refusal) -> Result<T> {
    ctx.refusal = Some(refusal);
    Error::e_explain(ErrorType::HTTPStatus(refusal.answer().status), refusal.answer().reason)
}
