//! The application's own session in a response: who minted it is remembered (`learn`), or the key
//! goes out with it (`envelope`).

use super::ctx::Ctx;
use super::decide::{self, Written};
use super::message::Response;
use super::refusal::Refusal;
use crate::affinity::app_session::{Role, SetBy, Source, set_by, wrap};
use crate::affinity::{AppSession, Learnt, Stamp};
use crate::model::{Cause, Did, UnixTime};
use crate::pool::Member;
use crate::snapshot::{Live, Rule, Stickiness, Text};
use http::header::SET_COOKIE;
use pingora::Result;
use std::sync::Arc;

/// Seconds for which a session is remembered that no backend here has minted.
const UNCONFIRMED: u32 = 60;

/// What a response says of the client's binding, for the application's sessions.
pub(super) struct Word<'a> {
    pub(super) rule: &'a Rule,
    pub(super) stickiness: &'a Stickiness,
    pub(super) answered: &'a Arc<Member>,
    pub(super) stamp: &'a Stamp,
    /// The binding after this response.
    pub(super) written: &'a Written,
    pub(super) tag: u64,
    pub(super) now: UnixTime,
}

/// Carries it out; tells whether a session was bound.
pub(super) fn respond(
    word: &Word<'_>,
    response: &mut impl Response,
    ctx: &Ctx,
    live: &Live,
) -> Result<bool> {
    let mut bound = false;
    for (at, session) in word.stickiness.sessions.iter().enumerate() {
        bound |= match session.role {
            Role::Learnt => word.learn(at, session, response, ctx, live),
            Role::Envelope => word.wrap(at, session, response, ctx)?,
        };
    }
    Ok(bound)
}

/// Forgets the sessions of a client that is refused since its backend is gone: the policy decides
/// once, and whoever comes again begins anew.
pub(super) fn forget_refused(refusal: Refusal, ctx: &mut Ctx, live: &Live) {
    let snapshot = Arc::clone(&ctx.snapshot);
    let Some(rule) = ctx.rule.and_then(|at| snapshot.rule(at)) else { return };
    if refusal != Refusal::NotBound || ctx.cause != Some(Cause::Gone) {
        return;
    }
    let service = rule.service.pool.service.as_str();
    let sessions = rule.stickiness.iter().flat_map(|stickiness| &stickiness.sessions);
    for (at, session) in sessions.enumerate().filter(|(_, one)| one.role == Role::Learnt) {
        for (_, value) in ctx.sessions.iter().filter(|(of, _)| *of == at) {
            if live.learned.forget(live.learned.key(service, &session.label, value)) {
                ctx.did = Did::Cleared;
            }
        }
    }
}

/// The values that a response gives to a session of the application's.
fn minted<'r>(
    session: &'r AppSession,
    response: &'r impl Response,
    now: UnixTime,
) -> impl Iterator<Item = SetBy<'r>> {
    let (header, cookie) = match &session.source {
        Source::Header(name) => (Some(name), None),
        Source::Cookie(name) => (None, Some(name)),
    };
    let in_header = header.and_then(|name| response.first(name));
    let in_header = in_header.map(|value| SetBy { value, attributes: &[], ends: value.is_empty() });
    let lines = cookie.into_iter().flat_map(move |name| {
        response.all(&SET_COOKIE).filter_map(move |line| set_by(line, name, now))
    });
    in_header.into_iter().chain(lines)
}

impl Word<'_> {
    /// Binds what was minted to who minted it, and what the client brought to where it is now.
    fn learn(
        &self,
        at: usize,
        session: &AppSession,
        response: &impl Response,
        ctx: &Ctx,
        live: &Live,
    ) -> bool {
        let service = self.rule.service.pool.service.as_str();
        let key = |value: &[u8]| live.learned.key(service, &session.label, value);
        let learnt = |written: &Written| Learnt {
            backend: written.member().backend.id.clone(),
            incarnation: written.incarnation(),
            since: written.kept().issued,
            seen: self.now,
            idle: self.stickiness.terms.idle,
            tag: written.kept().tag,
        };
        let brought = || ctx.sessions.iter().filter(|(of, _)| *of == at).map(|(_, value)| value);
        let mut bound = false;
        let mut ended = false;
        for minted in minted(session, response, self.now) {
            if minted.ends {
                ended = true;
            } else {
                live.learned.bind(key(minted.value), learnt(&self.of(at, minted.value, ctx)));
                bound = true;
            }
        }
        // one is enough: a client that names many must not drive out the sessions of others
        for value in brought().take(1) {
            if ended {
                live.learned.forget(key(value));
            } else if matches!(self.stamp, Stamp::Bind(_))
                && let Some(idle) = self.worth(ctx, response)
            {
                live.learned.bind(key(value), Learnt { idle, ..learnt(self.written) });
                bound = true;
            }
        }
        bound
    }

    /// How long a session is remembered that the client has brought: one that was known, as long as
    /// any; one that nobody has minted here, which may be made up, until it is used again.
    fn worth(&self, ctx: &Ctx, response: &impl Response) -> Option<u32> {
        let idle = self.stickiness.terms.idle;
        match ctx.cause {
            Some(
                Cause::NoKey
                | Cause::Unreadable
                | Cause::UnknownKey
                | Cause::IdleExpired
                | Cause::TooOld,
            ) => (!is_refusal(response)).then_some(idle.min(UNCONFIRMED)),
            Some(
                Cause::WrongIncarnation
                | Cause::Gone
                | Cause::Unhealthy
                | Cause::Draining
                | Cause::Full
                | Cause::OtherSubset,
            )
            | None => Some(idle),
        }
    }

    /// Puts the key before what the application sends, or before what the client brought, where
    /// that has moved.
    fn wrap(
        &self,
        at: usize,
        session: &AppSession,
        response: &mut impl Response,
        ctx: &Ctx,
    ) -> Result<bool> {
        let key = |written: &Written| {
            let nonce = rand::random();
            written.key(self.stickiness, &self.rule.service, Text::Envelope, nonce)
        };
        let speaks = minted(session, response, self.now).next().is_some();
        if speaks {
            let wrapped =
                |set: &SetBy<'_>| Some(wrap(&key(&self.of(at, set.value, ctx))?, set.value));
            match &session.source {
                Source::Header(name) => {
                    let value = minted(session, response, self.now).find(|set| !set.ends);
                    if let Some(value) = value.as_ref().and_then(wrapped) {
                        response.set(name, &value)?;
                    }
                }
                Source::Cookie(name) => {
                    let line = |line: &[u8]| {
                        let set = set_by(line, name, self.now).filter(|set| !set.ends);
                        let line_of = |set: SetBy<'_>| {
                            let value = wrapped(&set)?;
                            Some([&**name, b"=", &value, set.attributes].concat())
                        };
                        set.and_then(line_of).unwrap_or_else(|| line.to_vec())
                    };
                    let lines: Vec<Vec<u8>> = response.all(&SET_COOKIE).map(line).collect();
                    response.remove(&SET_COOKIE);
                    for line in lines {
                        response.add(&SET_COOKIE, &line)?;
                    }
                }
            }
            return Ok(true);
        }
        let mut brought = ctx.sessions.iter().filter(|(of, _)| *of == at);
        let moved = matches!(self.stamp, Stamp::Bind(_)) || self.has_returned(ctx);
        let Some((_, value)) = brought.next().filter(|_| moved) else { return Ok(false) };
        let Some(value) = key(self.written).map(|key| wrap(&key, value)) else { return Ok(false) };
        match &session.source {
            Source::Header(name) => {
                response.set(name, &value)?;
            }
            Source::Cookie(name) => {
                let line = self.stickiness.set_cookie_named(name, &value, ctx.https, self.now);
                response.add(&SET_COOKIE, &line)?;
            }
        }
        Ok(true)
    }

    /// Whether the client was called home, and is there.
    fn has_returned(&self, ctx: &Ctx) -> bool {
        ctx.bond
            .as_ref()
            .is_some_and(|bond| bond.until_then.is_some() && bond.member.is(self.answered))
    }

    /// The binding of a session that a response names: what is new there is with the backend that
    /// answered, also when the client was only its guest; what the client has brought is not new.
    fn of(&self, at: usize, value: &[u8], ctx: &Ctx) -> Written {
        let brought = ctx.sessions.iter().any(|(of, name)| *of == at && name.as_slice() == value);
        if brought || self.written.member().is(self.answered) {
            return self.written.clone();
        }
        let stamp = Stamp::Bind(None);
        decide::written(&stamp, ctx.bond.as_ref(), self.answered, self.tag, self.now)
    }
}

fn is_refusal(response: &impl Response) -> bool {
    response.status().is_client_error() || response.status().is_server_error()
}
