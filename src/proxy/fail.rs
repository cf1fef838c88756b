//! What a failed try leads to: the next backend, the same one once more, or an answer of our own.

#![allow(clippy::unnecessary_box_returns, reason = "Pingora's hooks hand boxed errors on")]

use super::ctx::Ctx;
use super::refusal::Refusal;
use pingora::{Error, ErrorSource, ErrorType};
use pingora_proxy::Session;

/// Tries after the request was sent. Each of them may have been carried out by a backend that died
/// while answering, so there are few.
const LATE_RETRIES: u32 = 2;

/// Nothing was sent yet: any request, with any body, goes on to the next backend.
pub(super) fn to_connect(ctx: &mut Ctx, mut error: Box<Error>) -> Box<Error> {
    ctx.last_failure = Some(Refusal::of(&error, true));
    ctx.give_up_on_backend();
    error.set_retry(true);
    error
}

/// The request was sent, at least in part. It goes on only if the client has seen nothing of an
/// answer, the body is still at hand as a whole, and doing it twice does no harm.
pub(super) fn while_proxying(
    session: &mut Session,
    ctx: &mut Ctx,
    mut error: Box<Error>,
    reused: bool,
) -> Box<Error> {
    let by_backend = *error.esource() == ErrorSource::Upstream;
    let in_time = !matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
    let untouched =
        session.response_written().is_none() && !session.as_ref().retry_buffer_truncated();
    let repeatable = session.req_header().method.is_idempotent();
    let retry = by_backend
        && in_time
        && untouched
        && repeatable
        && ctx.refusal.is_none()
        && ctx.late_failures < LATE_RETRIES;
    if by_backend {
        ctx.last_failure = Some(Refusal::of(&error, false));
    }
    if retry {
        ctx.late_failures += 1;
        if reused && ctx.late_failures == 1 {
            // the kept-alive connection had ended, which says nothing of the backend
            ctx.once_more.clone_from(&ctx.backend);
        } else {
            ctx.give_up_on_backend();
        }
    }
    // always decided, else Pingora panics
    error.set_retry(retry);
    error
}
