//! Answers that the gateway makes itself, and what of a response has gone out already.

use super::ctx::Ctx;
use super::front::{self, ClientIo};
use super::grpc;
use super::message::Response;
use super::refusal::{Answer, REASON_HEADER, Refusal};
use crate::model::{Cause, Did, Fields};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, SET_COOKIE};
use pingora::http::ResponseHeader;
use pingora::{Error, Result};
use pingora_proxy::{FailToProxy, Session};
use std::sync::Arc;
use std::time::Duration;

/// How long, and for how many bytes, a refused client may go on sending.
pub(super) const LINGER: Duration = Duration::from_secs(2);
pub(super) const LINGER_BYTES: usize = 64 << 20;

/// Writes an answer instead of a backend's.
pub(super) async fn write(session: &mut Session, ctx: &mut Ctx, refusal: Refusal) -> Result<()> {
    let sent = final_response(session).is_some();
    let Some(status) = status(ctx, refusal).filter(|_| !sent) else {
        session.set_keepalive(None);
        return Ok(());
    };
    if grpc::is_call(session.req_header()) {
        return grpc::answer(session, refusal, status).await;
    }
    front::heed_closing(session);
    let is_http2 = session.is_http2();
    let unread = !session.as_downstream_mut().is_body_done();
    if unread {
        session.set_keepalive(None);
    }
    let (header, body) = compose(session.req_header(), ctx, refusal, status)?;
    let bodiless = session.req_header().method == http::Method::HEAD;
    session.write_response_header(Box::new(header), bodiless).await?;
    if !bodiless {
        session.write_response_body(Some(Bytes::from(body)), true).await?;
    }
    if bodiless && is_http2 {
        session.as_downstream_mut().finish_body().await?;
    }
    // a stream ends without harm to what was sent before
    if unread && !is_http2 && refusal != Refusal::BodyTimeout {
        linger(session).await;
    }
    Ok(())
}

/// Notes why the gateway answers itself, and with which status; `None`: with none.
pub(super) fn status(ctx: &mut Ctx, refusal: Refusal) -> Option<u16> {
    ctx.refusal = Some(refusal);
    let Answer { status, .. } = refusal.answer();
    let chosen = ctx.rule().and_then(|rule| rule.stickiness.as_ref()).map(|s| s.reject_status);
    let status = chosen.filter(|_| refusal == Refusal::NotBound).unwrap_or(status);
    (status != 0).then_some(status)
}

/// An answer to `request`.
pub(super) fn compose(
    request: &impl Fields,
    ctx: &mut Ctx,
    refusal: Refusal,
    status: u16,
) -> Result<(ResponseHeader, String)> {
    let Answer { reason, text, .. } = refusal.answer();
    let body = format!("{reason}: {text}\n");
    let mut header = ResponseHeader::build(status, Some(6))?;
    header.insert_header(CONTENT_TYPE, "text/plain")?;
    header.insert_header(CONTENT_LENGTH, body.len())?;
    header.insert_header(CACHE_CONTROL, "no-store")?;
    header.insert_header(REASON_HEADER, reason)?;
    if status == 503 || refusal == Refusal::NotBound {
        header.insert_header(RETRY_AFTER, "1")?;
    }
    if refusal == Refusal::NotBound && ctx.cause == Some(Cause::Gone) {
        // the policy decides once: whoever comes again begins anew
        let snapshot = Arc::clone(&ctx.snapshot);
        let rule = ctx.rule.and_then(|at| snapshot.rule(at));
        let stickiness = rule.and_then(|rule| rule.stickiness.as_ref());
        let cleared = stickiness
            .iter()
            .flat_map(|stickiness| stickiness.clear_cookies(request, ctx.https, ctx.now));
        for cleared in cleared {
            header.append_header(SET_COOKIE, cleared)?;
            ctx.did = Did::Cleared;
        }
    }
    Ok((header, body))
}

/// Reads on for a while. A connection that is closed with unread bytes is reset, and the client
/// may lose the answer before it has seen it.
async fn linger(session: &mut Session) {
    let mut left = LINGER_BYTES;
    let drain = async {
        while let Ok(Some(part)) = session.as_downstream_mut().read_request_body().await {
            left = left.saturating_sub(part.len());
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, drain).await;
}

/// Answers after the last try has failed.
pub(super) async fn after(session: &mut Session, ctx: &mut Ctx, error: &Error) -> FailToProxy {
    let refusal = refusal_after(ctx, error);
    let upgrade_failed = ClientIo::of(session).is_some_and(ClientIo::upgrade_has_failed);
    let too_slow = ClientIo::of(session).is_some_and(ClientIo::body_was_too_slow);
    let stream_is_silent = session.is_http2() && !session.as_downstream_mut().is_body_done();
    let is_clients_fault = matches!(refusal, Refusal::ClientGone | Refusal::BadRequest);
    let refusal = if refusal == Refusal::ClientGone && upgrade_failed {
        Refusal::BackendTimeout
    } else if (is_clients_fault && too_slow)
        // Pingora does not watch the silence inside the body of a stream; the backend did
        || (refusal == Refusal::BackendTimeout && stream_is_silent)
    {
        Refusal::BodyTimeout
    } else {
        refusal
    };
    // Pingora closes the connection after an error, so the answer must say so
    session.set_keepalive(None);
    if let Err(why) = write(session, ctx, refusal).await {
        tracing::debug!(%why, "the client did not take the answer");
    }
    FailToProxy { error_code: refusal.answer().status, can_reuse_downstream: false }
}

/// Why the last try has failed.
pub(super) fn refusal_after(ctx: &Ctx, error: &Error) -> Refusal {
    let refusal = ctx.refusal.unwrap_or_else(|| Refusal::of(error, false));
    match (refusal, ctx.last_failure) {
        // the error of connecting is final when Pingora's limit of tries is reached
        (Refusal::BackendReset, Some(last)) => last,
        (other, _) => other,
    }
}

/// The response that ends the exchange, once it is written. Pingora counts an interim one (`100`,
/// `103`) as written too, after which a retry or an answer of our own is still possible.
pub(super) fn final_response(session: &Session) -> Option<&ResponseHeader> {
    session.response_written().filter(|written| !is_interim(*written))
}

/// Whether another response is to follow.
pub(super) fn is_interim(response: &impl Response) -> bool {
    let status = response.status();
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}
