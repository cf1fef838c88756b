//! `logging`: what is counted and written when a request has ended.

use super::answer::final_response;
use super::ctx::Ctx;
use super::front::{ClientIo, Streams};
use super::message::Request;
use super::refusal::Refusal;
use crate::model::fields::text;
use crate::model::{Brought, Cause, Verdict, clock};
use crate::observe::AccessLine;
use crate::pool::Member;
use crate::routing::host;
use crate::snapshot::{Live, Pinned};
use http::header::HOST;
use pingora::http::RequestHeader;
use pingora_proxy::Session;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Ends a request of `session`.
pub(super) fn finish(session: &mut Session, ctx: &Ctx, live: &Live) {
    if !session.as_downstream_mut().is_body_done() {
        // the rest of the body would be taken for the next header
        session.set_keepalive(None);
    }
    if let Some(io) = ClientIo::of(session) {
        io.request_is_over();
    }
    let status = final_response(session).map_or(0, |response| response.status.as_u16());
    let took = clock::monotonic_now().saturating_duration_since(ctx.arrived);
    if let Some(streams) = Streams::of(session) {
        streams.note_end(ctx.refusal == Some(Refusal::ClientGone), took);
    }
    let bytes = session.body_bytes_sent() as u64 + ctx.tunnelled;
    record(session.req_header(), Outcome { status, bytes, took }, ctx, live);
}

/// What is known of a request that may be broken off from outside its hooks.
pub(super) struct Unfinished {
    header: RequestHeader,
    snapshot: Arc<Pinned>,
    rule: Option<usize>,
    backend: Option<Arc<Member>>,
    arrived: Instant,
    wall: Duration,
    client: IpAddr,
    request_id: String,
    brought: Brought,
    cause: Option<Cause>,
    attempts: u32,
}

impl Unfinished {
    /// A request that goes to a backend.
    pub(super) fn of(header: &RequestHeader, ctx: &Ctx) -> Self {
        Self {
            header: header.clone(),
            snapshot: Arc::clone(&ctx.snapshot),
            rule: ctx.rule,
            backend: ctx.backend.clone(),
            arrived: ctx.arrived,
            wall: ctx.wall,
            client: ctx.client,
            request_id: ctx.request_id.clone(),
            brought: ctx.brought,
            cause: ctx.cause,
            attempts: ctx.attempts,
        }
    }

    /// Counts it as ended without an answer, and writes its line.
    pub(super) fn record(self, refusal: Refusal, live: &Live) {
        let mut ctx = Ctx::new(self.snapshot, &live.metrics);
        ctx.rule = self.rule;
        ctx.backend = self.backend;
        ctx.arrived = self.arrived;
        ctx.wall = self.wall;
        ctx.client = self.client;
        ctx.request_id = self.request_id;
        ctx.brought = self.brought;
        ctx.cause = self.cause;
        ctx.attempts = self.attempts;
        ctx.refusal = Some(refusal);
        let took = clock::monotonic_now().saturating_duration_since(ctx.arrived);
        record(&self.header, Outcome { status: 0, bytes: 0, took }, &ctx, live);
    }
}

/// What became of a request.
#[derive(Clone, Copy)]
pub(super) struct Outcome {
    /// 0: the client has got no answer.
    pub(super) status: u16,
    /// Of the body.
    pub(super) bytes: u64,
    pub(super) took: Duration,
}

/// Counts a request that has ended, and writes its line.
pub(super) fn record(header: &impl Request, outcome: Outcome, ctx: &Ctx, live: &Live) {
    let Outcome { status, bytes, took: duration } = outcome;
    let verdict = Verdict { brought: ctx.brought, did: ctx.did };
    let refusal = ctx.refusal.map(|refusal| refusal.answer().reason);
    if let Some(reason) = refusal {
        live.metrics.refused(reason);
    }
    if let Some(rule) = ctx.rule() {
        rule.metrics.answered(status);
        rule.service.metrics.took(duration);
        if rule.stickiness.is_some() {
            rule.service.metrics.verdict(verdict);
            match ctx.cause {
                Some(cause) => rule.service.metrics.missed(cause),
                None => rule.service.metrics.hit(),
            }
        }
    }
    if !live.access_log.is_on() {
        return;
    }
    let sent_host = header.first(&HOST).and_then(text);
    let rule = ctx.rule();
    let backend = ctx.backend.as_ref().map(|member| &member.backend);
    live.access_log.write(&AccessLine {
        time: ctx.wall,
        client: ctx.client,
        method: header.method().as_str(),
        host: &host::normalise(sent_host.unwrap_or_default()),
        // a key in it is a secret, be it ours or the application's
        path: &ctx.snapshot.bare_path(header.path()),
        status,
        bytes,
        duration,
        rule: rule.map_or("", |rule| rule.id.as_str()),
        service: rule.map_or("", |rule| rule.service.pool.service.as_str()),
        backend: backend.map_or("", |backend| backend.id.as_str()),
        version: backend.map_or("", |backend| &backend.version),
        verdict,
        retries: ctx.attempts.saturating_sub(1),
        request_id: &ctx.request_id,
        reason: refusal.or(ctx.panicked.then_some("panic")).unwrap_or_default(),
    });
}
