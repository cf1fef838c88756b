//! What a failed try leads to: the next backend, the same one once more, or an answer of our own.

#![allow(clippy::unnecessary_box_returns, reason = "Pingora's hooks hand boxed errors on")]

use super::answer::final_response;
use super::ctx::Ctx;
use super::refusal::Refusal;
use crate::affinity::course::OnUnhealthy;
use crate::model::{Cause, clock};
use pingora::{Error, ErrorSource, ErrorType, RetryType};
use pingora_proxy::Session;

/// Tries after the request was sent. Each of them may have been carried out by a backend that died
/// while answering, so there are few.
const LATE_RETRIES: u32 = 2;

/// Tries of a request that nobody has looked at.
const UNTAKEN_RETRIES: u32 = 8;

/// A request that finds no backend in so many times the connect timeout has waited long enough.
/// Refused connections take no time, so that all backends are tried.
const CONNECT_PATIENCE: u32 = 5;

/// Nothing was sent yet: any request, with any body, goes on to the next backend.
pub(super) fn to_connect(ctx: &mut Ctx, mut error: Box<Error>) -> Box<Error> {
    if out_of_resources(&error, ctx.bond.is_some()) {
        // no fault of the backend's: the next one would fail alike, or has not what the client is bound to
        ctx.refusal = Some(Refusal::Exhausted);
        error.set_retry(false);
        return error;
    }
    ctx.last_failure = Some(Refusal::of(&error, true));
    ctx.give_up_on_backend();
    if policy_rejects(ctx) {
        ctx.refusal = Some(Refusal::NotBound);
        error.set_retry(false);
        return error;
    }
    let patience = ctx.rule().map(|rule| rule.service.timeouts.connect * CONNECT_PATIENCE);
    let took = clock::monotonic_now().saturating_duration_since(ctx.arrived + ctx.waited);
    error.set_retry(patience.is_some_and(|patience| took < patience));
    error
}

/// A bound backend that fails counts as unhealthy for this request, so `onUnhealthy` decides.
fn policy_rejects(ctx: &Ctx) -> bool {
    let rejects = ctx
        .rule()
        .and_then(|rule| rule.stickiness.as_ref())
        .is_some_and(|stickiness| stickiness.policies.on_unhealthy == OnUnhealthy::Reject);
    rejects && ctx.cause == Some(Cause::Unhealthy)
}

/// Whether this machine has no descriptor or buffer left. Ports run out for one backend at a time, which matters to
/// those who are bound to it.
fn out_of_resources(error: &Error, bound: bool) -> bool {
    // Pingora wraps the system's in a cause of its own that tells our address
    let root: &(dyn std::error::Error + 'static) = error.root_cause();
    let mut causes = std::iter::successors(Some(root), |cause| cause.source());
    let system = causes.find_map(|cause| cause.downcast_ref::<std::io::Error>());
    match system.and_then(std::io::Error::raw_os_error) {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => true,
        Some(libc::EADDRNOTAVAIL) => bound,
        _ => false,
    }
}

/// The request was sent, at least in part. It goes on only if the client has seen nothing of an
/// answer, the body is still at hand as a whole, and doing it twice does no harm.
pub(super) fn while_proxying(
    session: &mut Session,
    ctx: &mut Ctx,
    error: Box<Error>,
    reused: bool,
) -> Box<Error> {
    let untouched = final_response(session).is_none() && !session.as_ref().retry_buffer_truncated();
    if untouched && is_untaken(&error) && ctx.attempts < UNTAKEN_RETRIES {
        ctx.once_more.clone_from(&ctx.backend);
        let mut error = error;
        error.set_retry(true);
        return error;
    }
    let repeatable = untouched && session.req_header().method.is_idempotent();
    after_sending(ctx, error, repeatable, reused)
}

/// Whether a backend of HTTP/2 has said that it did not look at the request (RFC 9113 §8.7): it ends the
/// connection, or takes no more streams. Any request can be sent again then.
fn is_untaken(error: &Error) -> bool {
    *error.etype() == ErrorType::H2Error && matches!(error.retry, RetryType::Decided(true))
}

/// The same where it is known whether the request is `repeatable`.
pub(super) fn after_sending(
    ctx: &mut Ctx,
    mut error: Box<Error>,
    repeatable: bool,
    reused: bool,
) -> Box<Error> {
    let by_backend = *error.esource() == ErrorSource::Upstream;
    let in_time = !matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
    let retry = by_backend
        && in_time
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
            if policy_rejects(ctx) {
                ctx.refusal = Some(Refusal::NotBound);
                error.set_retry(false);
                return error;
            }
        }
    }
    // always decided, else Pingora panics
    error.set_retry(retry);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Pingora tells of it.
    #[derive(Debug)]
    struct Told(std::io::Error);

    impl std::fmt::Display for Told {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "from somewhere: {}", self.0)
        }
    }

    impl std::error::Error for Told {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn the_next_backend_would_fail_alike_where_this_machine_is_out_of_something() {
        let of = |code, bound| {
            let cause = || std::io::Error::from_raw_os_error(code);
            let plain = Error::because(ErrorType::ConnectError, "cannot connect", cause());
            let told = Error::because(ErrorType::BindError, "cannot connect", Told(cause()));
            let nested = Error::because(ErrorType::InternalError, "to a backend", told);
            let [plain, nested] = [plain, nested].map(|error| out_of_resources(&error, bound));
            assert_eq!(plain, nested);
            plain
        };
        assert!([libc::EMFILE, libc::ENOBUFS].map(|code| of(code, false)).iter().all(|out| *out));
        // no port is left for this address, or there is no way to its kind of addresses
        assert!(of(libc::EADDRNOTAVAIL, true) && !of(libc::EADDRNOTAVAIL, false));
        assert!(!of(libc::ECONNREFUSED, true));
    }
}
