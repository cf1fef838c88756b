//! One try: the request to a backend, and what it says to the client.

use super::Conn;
use super::body::{self, Body, Part};
use super::exchange::Exchange;
use super::head::{self, Outbound};
use super::links::write_all;
use super::scratch::Scratch;
use super::seek::Seek;
use super::trouble::{
    backend_is_silent, client_gone, client_is_silent, cut_off, invalid, malformed, upstream_read,
    upstream_write,
};
use super::upload::Step;
use crate::model::{Fields, clock};
use crate::pool::{Last, Member, Wire};
use crate::proxy::message::{Message, Request};
use crate::proxy::{answer, respond, sign};
use crate::snapshot::{Rule, Timeouts};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{StatusCode, Version};
use pingora::Result;
use pingora_core::protocols::http::date;
use std::future::poll_fn;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, ReadBuf};

/// The longest header of a response, as in Pingora.
const MAX_HEAD: usize = 1_048_575;
/// Pieces of a body that are passed on before others get their turn.
const TURN: u32 = 16;
/// The same for one of many streams, which are served by one task.
const TURN_OF_STREAM: u32 = 2;

/// How a connection to a backend was come by.
#[derive(Clone, Copy)]
pub(super) struct Link<'m> {
    pub(super) rule: &'m Rule,
    pub(super) member: &'m Arc<Member>,
    pub(super) timeouts: Timeouts,
    /// When it was at hand.
    pub(super) since: Instant,
}

impl Exchange<'_, '_> {
    /// Asks one backend and passes on what it says.
    pub(super) async fn attempt(&mut self, mut wire: Wire, link: Link<'_>) -> Result<()> {
        let Link { rule, member, timeouts, since } = link;
        self.sign()?;
        self.upload.begin();
        let conn = &mut *self.conn;
        conn.out.clear();
        head::write_request(&self.request, &mut conn.out);
        conn.out.extend_from_slice(self.upload.first(&conn.inbox));
        conn.alarm.set(since + timeouts.read);
        write_all(&mut wire, &conn.out, timeouts.write).await.map_err(upstream_write)?;
        conn.out.clear();
        let mut inflow = Inflow::default();
        let mut response = loop {
            let mut response = self.head(&mut wire, &mut inflow, timeouts).await?;
            if !answer::is_interim(&response) {
                break response;
            }
            if !self.conn.client.is_stream() {
                self.respond(&mut response, rule)?;
                self.say(&response, false)?;
                self.send(&[], false, false).await?;
            }
            self.set_alarm(timeouts);
        };
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(invalid("101 to a request that asked for none"));
        }
        let last = body::last(self.request.method(), response.status, &response)
            .filter(|_| backend_keeps(&response));
        let (mut body, wraps) = self.frame(&mut response)?;
        let last = last.filter(|_| !matches!(body, Body::Rest));
        let early = inflow.rest();
        let part = self.take(&mut body, early)?;
        self.respond(&mut response, rule)?;
        self.keeps &= (!matches!(body, Body::Rest) || wraps) && !self.conn.is_closing();
        // who leaves before it has read the request will not read the rest of it
        self.keeps &= last.is_some() || !self.upload.goes_on();
        if !self.conn.client.is_stream() {
            response.set(&DATE, date::get_cached_date().as_bytes())?;
            response.set(&CONNECTION, self.connection())?;
        }
        let mut overread = part.length < early.len();
        self.say(&response, part.payload == 0 && (body.is_whole() || overread))?;
        self.status = response.status.as_u16();
        let mut piece = self.as_it_is(early, part);
        let mut pieces = 0_u32;
        let turn = if self.conn.client.is_stream() { TURN_OF_STREAM } else { TURN };
        while !body.is_whole() && !overread {
            self.send(piece, wraps, false).await?;
            pieces = pieces.wrapping_add(1);
            if pieces.is_multiple_of(turn) {
                inflow.scratch = None;
                tokio::task::yield_now().await;
            }
            self.set_alarm(timeouts);
            let read = self.part(&mut wire, &mut inflow.scratch, timeouts).await?;
            let read = inflow.scratch.as_deref().and_then(|read_in| read_in.get(..read));
            let read = read.unwrap_or_default();
            if read.is_empty() && !matches!(body, Body::Rest) {
                return Err(cut_off());
            }
            let part = self.take(&mut body, read)?;
            overread = part.length < read.len();
            piece = self.as_it_is(read, part);
            if read.is_empty() {
                break;
            }
        }
        let last = last.filter(|_| !overread);
        let mut wire = Some(wire);
        if !self.upload.goes_on() {
            // the backend is through: what is left goes to the client
            self.give_back(wire.take(), last, member);
        }
        self.send(piece, wraps, true).await?;
        if wraps {
            self.conn.out.extend_from_slice(b"0\r\n\r\n");
            self.send(&[], false, true).await?;
        }
        let Some(mut wire) = wire else { return Ok(()) };
        // it has answered, and may want the rest of the request all the same
        let silent = last.is_some() && self.rest(&mut wire, timeouts).await;
        self.give_back(Some(wire), last.filter(|_| silent), member);
        Ok(())
    }

    /// The backend has done its part.
    fn give_back(&mut self, wire: Option<Wire>, last: Option<Last>, member: &Member) {
        let goes_on = self.upload.is_whole() && !self.asks_once();
        if let Some((wire, last)) = wire.zip(last).filter(|_| goes_on) {
            member.idle().put(wire, last, clock::monotonic_now());
        }
        self.ctx.free_seat();
    }

    /// Sends the rest of the body behind the answer; whether the backend took it and said no more.
    async fn rest(&mut self, wire: &mut Wire, timeouts: Timeouts) -> bool {
        let Self { conn, upload, patience, .. } = self;
        let mut turn = Step::Done;
        let mut byte = [0];
        poll_fn(|cx| {
            if Pin::new(&mut *wire).poll_read(cx, &mut ReadBuf::new(&mut byte)).is_ready() {
                return Poll::Ready(false);
            }
            let Ok((step, moved)) = upload.poll(conn, wire, cx) else { return Poll::Ready(false) };
            if step == Step::Done {
                return Poll::Ready(upload.is_whole());
            }
            if moved || turn != step {
                conn.alarm.set(clock::monotonic_now() + limit_of(step, timeouts, *patience));
                turn = step;
            }
            conn.alarm.poll(cx).map(|()| false)
        })
        .await
    }

    /// What `Connection` says to the client.
    pub(super) const fn connection(&self) -> &'static [u8] {
        if self.keeps { b"keep-alive" } else { b"close" }
    }

    fn asks_once(&self) -> bool {
        sign::ends_connection(self.request.method(), &self.ctx)
    }

    /// Puts the headers in that tell of us; for each try anew, as they may tell of the last one.
    fn sign(&mut self) -> Result<()> {
        if self.signed {
            return sign::sign_again(&mut self.request, &self.ctx);
        }
        self.signed = true;
        self.request.remove(&CONNECTION);
        if self.asks_once() {
            self.request.set(&CONNECTION, b"close")?;
        }
        let version = self.request.version();
        sign::sign(&mut self.request, version, self.conn.tls.as_deref(), &self.ctx)
    }

    /// Makes a response ready for the client.
    fn respond(&mut self, response: &mut Outbound, rule: &Rule) -> Result<()> {
        respond::respond(self.request.method(), response, Some(rule), &mut self.ctx, self.live)
    }

    /// Reads the header of a response, while the client stays.
    async fn head(
        &mut self,
        wire: &mut Wire,
        inflow: &mut Inflow,
        timeouts: Timeouts,
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
            if !inflow.rest().is_empty() {
                inflow.keep();
                self.set_alarm(timeouts);
            }
            let got = self.part(wire, &mut inflow.scratch, timeouts).await?;
            if got == 0 {
                return Err(cut_off());
            }
            inflow.take_in(got);
        }
    }

    /// The time for what is to come next begins.
    fn set_alarm(&mut self, timeouts: Timeouts) {
        self.conn.alarm.set(clock::monotonic_now() + timeouts.read);
    }

    /// Reads a part of a response, while the client stays and the rest of its body goes on.
    async fn part(
        &mut self,
        wire: &mut Wire,
        scratch: &mut Option<Scratch>,
        timeouts: Timeouts,
    ) -> Result<usize> {
        let Self { conn, upload, patience, .. } = self;
        let mut watches = conn.has_room(upload.used());
        let mut sends = upload.goes_on();
        let mut turn = Step::Done;
        poll_fn(|cx| {
            let mut buffer = ReadBuf::new(scratch.get_or_insert_default());
            match Pin::new(&mut *wire).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(buffer.filled().len())),
                Poll::Ready(Err(why)) => return Poll::Ready(Err(upstream_read(why))),
                // others can use it meanwhile
                Poll::Pending => *scratch = None,
            }
            if sends {
                let (step, moved) = upload.poll(conn, wire, cx)?;
                sends = step != Step::Done;
                if moved || turn != step {
                    conn.alarm.set(clock::monotonic_now() + limit_of(step, timeouts, *patience));
                    turn = step;
                }
            }
            while watches && !sends {
                match conn.poll_read(cx) {
                    Poll::Ready(Ok(read)) if read > 0 => watches = conn.has_room(upload.used()),
                    Poll::Ready(_) => return Poll::Ready(Err(client_gone())),
                    Poll::Pending => break,
                }
            }
            if conn.alarm.poll(cx).is_pending() {
                return Poll::Pending;
            }
            Poll::Ready(Err(match turn {
                Step::ClientsTurn => client_is_silent(),
                Step::BackendsTurn => upstream_write(io::ErrorKind::TimedOut.into()),
                Step::Done => backend_is_silent(),
            }))
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
        let frames = self.conn.client.is_stream() || response.has(&TRANSFER_ENCODING);
        let wraps = body == Body::Rest && !frames;
        if wraps {
            response.set(&TRANSFER_ENCODING, b"chunked")?;
        }
        Ok((body, wraps))
    }

    /// Takes in what was read of the body.
    fn take(&mut self, body: &mut Body, read: &[u8]) -> Result<Part> {
        let Conn { client, out, .. } = &mut *self.conn;
        let part = client.take(body, read, out).map_err(malformed)?;
        self.bytes += part.payload as u64;
        Ok(part)
    }

    /// What of that is passed on with its framing.
    fn as_it_is<'r>(&self, read: &'r [u8], part: Part) -> &'r [u8] {
        let piece = read.get(..part.length).filter(|_| !self.conn.client.is_stream());
        piece.unwrap_or_default()
    }

    /// Has the header of a response sent with the next piece of its body; a stream may `end` with it.
    fn say(&mut self, response: &Outbound, end: bool) -> Result<()> {
        let Conn { client, out, .. } = &mut *self.conn;
        client.say(response, out, end)
    }

    /// Sends what is to be sent, and a piece of the body behind it; with the last one a stream ends.
    pub(super) async fn send(&mut self, piece: &[u8], wraps: bool, end: bool) -> Result<()> {
        let limit = self.ctx.snapshot.limits.body_timeout;
        let Conn { client, out, .. } = &mut *self.conn;
        if wraps && !piece.is_empty() {
            let _ = write!(out, "{:X}\r\n", piece.len());
            out.extend_from_slice(piece);
            out.extend_from_slice(b"\r\n");
        }
        client.send(out, if wraps { &[] } else { piece }, end, limit).await
    }
}

/// What was read of a backend and is not used up.
#[derive(Default)]
struct Inflow {
    /// Only while there is something in it: many wait for their backends at the same time.
    scratch: Option<Scratch>,
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
        let read = || self.scratch.as_deref()?.get(self.used..self.length);
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
        if self.rest().is_empty() {
            self.kept = Vec::new();
        }
        if self.kept.is_empty() {
            (self.length, self.used) = (got, 0);
        } else {
            let read = self.scratch.as_deref().and_then(|scratch| scratch.get(..got));
            self.kept.extend_from_slice(read.unwrap_or_default());
        }
    }
}

/// How long whoever's turn it is may take.
const fn limit_of(turn: Step, timeouts: Timeouts, patience: Duration) -> Duration {
    match turn {
        Step::Done => timeouts.read,
        Step::ClientsTurn => patience,
        Step::BackendsTurn => timeouts.write,
    }
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
