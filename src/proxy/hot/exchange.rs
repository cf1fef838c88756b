//! One plain request and its response.

use super::Conn;
use super::client::Client;
use super::head::Inbound;
use super::links::connect;
use super::relay::Link;
use super::upload::Upload;
use crate::model::clock;
use crate::pool::{Seat, Tongue};
use crate::proxy::answer;
use crate::proxy::choose::{self, Step};
use crate::proxy::ctx::Ctx;
use crate::proxy::fail;
use crate::proxy::finish::{self, Outcome};
use crate::proxy::message::Request;
use crate::proxy::receive::{self, Origin};
use crate::proxy::refusal::Refusal;
use crate::proxy::sessions;
use crate::snapshot::{Live, Rule, Service, Snapshot};
use http::Method;
use http::header::{CONNECTION, DATE};
use pingora::{Error, ErrorType, Result};
use pingora_core::protocols::http::date;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What follows.
pub(super) enum After {
    /// The next request; until when it is awaited, as the snapshot of this one says.
    Next(Instant),
    /// Nothing more.
    Close,
    /// Pingora is to serve this one.
    NotOurs,
}

/// One request under way.
pub(super) struct Exchange<'e, 'c> {
    pub(super) conn: &'e mut Conn<'c>,
    pub(super) live: &'e Live,
    pub(super) ctx: Ctx,
    pub(super) request: Inbound,
    pub(super) upload: Upload,
    /// How long the client may be silent inside of a body.
    pub(super) patience: Duration,
    /// Whether the connection is to go on.
    pub(super) keeps: bool,
    pub(super) signed: bool,
    /// The status that the client was sent.
    pub(super) status: u16,
    /// Bytes of the body that it was sent.
    pub(super) bytes: u64,
}

impl<'e, 'c> Exchange<'e, 'c> {
    pub(super) fn new(conn: &'e mut Conn<'c>, request: Inbound, live: &'e Live) -> Self {
        let ctx = Ctx::new(live.pin(), &live.metrics);
        let keeps = request.keeps;
        let upload = Upload::new(request.length, request.body);
        let patience = ctx.snapshot.limits.body_timeout;
        let (signed, status, bytes) = (false, 0, 0);
        Self { conn, live, ctx, request, upload, patience, keeps, signed, status, bytes }
    }

    pub(super) async fn run(mut self) -> After {
        if self.live.challenges.by_http(self.request.path()).is_some() {
            return After::NotOurs;
        }
        let has_body = self.request.body > 0;
        let (request, ctx, live) = (&mut self.request, &mut self.ctx, self.live);
        let (peer, tls) = (self.conn.peer, self.conn.tls.clone());
        let received = self.conn.with_familiar(|familiar| {
            let origin = Origin { peer, tls, has_body, familiar: Some(familiar) };
            receive::receive(request, origin, ctx, live)
        });
        let snapshot = Arc::clone(&self.ctx.snapshot);
        let rule = self.ctx.rule.and_then(|at| snapshot.rule(at));
        if rule.is_some_and(|rule| !is_plain(rule)) || !is_plain_for(&snapshot) {
            return After::NotOurs;
        }
        self.conn.client.header_is_complete();
        let more = snapshot.limits.max_requests.is_none_or(|most| self.conn.served + 1 < most);
        self.keeps &= more;
        let done = match (received, rule) {
            (Ok(()), Some(rule)) => match self.serve(rule).await {
                Ok(()) => Ok(()),
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
        self.keeps &= done.is_ok() && self.upload.is_whole();
        self.conn.owes_body = !self.upload.is_whole();
        self.live.metrics.served_hot();
        self.conn.use_up(self.upload.used());
        let now = clock::monotonic_now();
        let took = now.saturating_duration_since(self.ctx.arrived);
        let outcome = Outcome { status: self.status, bytes: self.bytes, took };
        if let Client::Stream(stream) = &self.conn.client {
            stream.siblings().note_end(self.ctx.refusal == Some(Refusal::ClientGone), took);
        }
        finish::record(&self.request, outcome, &self.ctx, self.live);
        if self.keeps { After::Next(now + snapshot.limits.idle_timeout) } else { After::Close }
    }

    /// Asks backends until one has answered, or the last try has failed.
    async fn serve(&mut self, rule: &Rule) -> Result<()> {
        loop {
            let same = self.ctx.once_more.take().and_then(|_| self.ctx.seat.take());
            self.ctx.seat = None;
            let once_more = same.is_some();
            let seat = match same {
                Some(seat) => Ok(seat),
                None => self.find_seat(rule).await,
            };
            let seat = match seat {
                Ok(seat) => seat,
                Err(refusal) => return refuse(&mut self.ctx, refusal),
            };
            let member = Arc::clone(seat.member());
            self.ctx.seat = Some(seat);
            self.ctx.attempts += 1;
            member.metrics.asked();
            self.ctx.backend = Some(Arc::clone(&member));
            let timeouts = rule.service.timeouts;
            // what cannot be repeated is worth a system call
            let surely = !self.request.method().is_idempotent() || !self.upload.stays_at_hand();
            let idle = if once_more { None } else { member.idle().take(self.ctx.arrived, surely) };
            let reused = idle.is_some();
            let wire = match idle {
                Some(wire) => wire,
                None => match connect(&member, timeouts, &self.live.cells).await {
                    Ok(wire) => wire,
                    Err(error) => {
                        let error = fail::to_connect(&mut self.ctx, error);
                        if error.retry() {
                            continue;
                        }
                        return Err(error);
                    }
                },
            };
            let at_once = reused && self.ctx.attempts == 1 && self.ctx.waited.is_zero();
            let since = if at_once { self.ctx.arrived } else { clock::monotonic_now() };
            let link = Link { rule, member: &member, timeouts, since };
            match self.attempt(wire, link).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    let repeatable = self.status == 0
                        && self.request.method().is_idempotent()
                        && self.upload.can_begin_anew();
                    let error = fail::after_sending(&mut self.ctx, error, repeatable, reused);
                    if !error.retry() {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Takes a seat at the backend that is chosen, after a wait where that is the policy.
    async fn find_seat(&mut self, rule: &Rule) -> std::result::Result<Seat, Refusal> {
        let Self { conn, live, ctx, request, upload, .. } = self;
        loop {
            let step = conn.with_fresh(|fresh| choose::at_once(request, fresh, ctx, rule, live));
            match step? {
                Step::Seated(seat) => return Ok(seat),
                Step::WaitFor(member) => {
                    let leaves = conn.leaves(upload.used());
                    // boxed: every idle connection would have room for it
                    let wait = Box::pin(choose::wait_for(&member, ctx, rule, leaves));
                    if let Some(seat) = wait.await? {
                        return Ok(seat);
                    }
                }
                Step::WaitForAny => {
                    let mut known = conn.known();
                    let leaves = conn.leaves(upload.used());
                    let queue = choose::queue(request, &mut known, ctx, rule, live, leaves);
                    let found = Box::pin(queue).await;
                    conn.now_known(known);
                    return found;
                }
            }
        }
    }

    /// Answers in the place of a backend.
    async fn answer(&mut self, refusal: Refusal) -> Result<()> {
        self.ctx.free_seat();
        let status = answer::status(&mut self.ctx, refusal);
        let Some(status) = status.filter(|_| self.status == 0) else {
            self.keeps = false;
            return Ok(());
        };
        self.keeps &= !self.conn.is_closing() && self.upload.is_whole();
        let (mut header, body) = answer::compose(&self.request, &mut self.ctx, refusal, status)?;
        header.insert_header(DATE, date::get_cached_date())?;
        header.insert_header(CONNECTION, self.connection())?;
        let body = if *self.request.method() == Method::HEAD { "" } else { &body };
        let Conn { client, out, .. } = &mut *self.conn;
        client.answer(header, out, body.is_empty())?;
        self.status = status;
        self.bytes += body.len() as u64;
        self.send(body.as_bytes(), false, true).await
    }
}

/// Whether the backends of a rule are spoken to in plain HTTP/1.1, and what they say is passed on as
/// it is.
fn is_plain(rule: &Rule) -> bool {
    let service: &Service = &rule.service;
    !rule.rewrites_urls && service.tls.is_none() && service.tongue == Tongue::default()
}

/// Whether this way may be taken at all, and clients may take their time.
fn is_plain_for(snapshot: &Snapshot) -> bool {
    snapshot.hot_path && snapshot.limits.min_body_rate.is_none()
}

fn refuse<T>(ctx: &mut Ctx, refusal: Refusal) -> Result<T> {
    ctx.refusal = Some(refusal);
    Error::e_explain(ErrorType::HTTPStatus(refusal.answer().status), refusal.answer().reason)
}
