//! The one table from cause to HTTP answer, for everything that the gateway answers itself: status,
//! word for programs (`X-Stickfast-Reason`, metrics, log) and words for people, side by side.

use super::ctx::Ctx;
use super::front::ClientIo;
use super::respond::final_response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::{FailToProxy, Session};
use std::time::Duration;

/// Tells programs why the gateway answered itself.
pub(super) const REASON_HEADER: &str = "X-Stickfast-Reason";

/// How long, and for how many bytes, a refused client may go on sending.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

/// Why the gateway answers itself, or why an exchange broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request is not HTTP as it should be.
    BadRequest,
    /// It names no host.
    NoHost,
    /// No rule matches.
    NoRoute,
    /// CONNECT is not for reverse proxies.
    NoTunnel,
    /// The header took too long.
    HeaderTimeout,
    /// The header is too large.
    HeaderTooLarge,
    /// The body went silent.
    BodyTimeout,
    /// The body is too large.
    BodyTooLarge,
    /// No backend can serve.
    NoBackend,
    /// This machine has no descriptor, port or buffer left.
    Exhausted,
    /// Every backend that was tried refused the connection.
    ConnectFailed,
    /// The last backend that was tried did not accept in time.
    ConnectTimeout,
    /// The backend broke off before, or did not speak HTTP in, its answer.
    BackendReset,
    /// The backend did not answer in time.
    BackendTimeout,
    /// The client went away; nobody is left to answer.
    ClientGone,
    /// A fault of our own.
    Internal,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 0 when nobody is left to answer.
    pub status: u16,
    /// For programs.
    pub reason: &'static str,
    /// For people.
    pub text: &'static str,
}

impl Refusal {
    /// The row.
    pub const fn answer(self) -> Answer {
        let (status, reason, text) = match self {
            Self::BadRequest => (400, "bad-request", "the request is malformed"),
            Self::NoHost => (400, "no-host", "the request names no host"),
            Self::NoRoute => {
                (404, "no-route", "no rule matches this host, path, method and headers")
            }
            Self::NoTunnel => (405, "no-tunnel", "CONNECT is not supported"),
            Self::HeaderTimeout => (408, "header-timeout", "the request header took too long"),
            Self::BodyTimeout => (408, "body-timeout", "the request body was silent for too long"),
            Self::BodyTooLarge => (413, "body-too-large", "the request body is too large"),
            Self::HeaderTooLarge => (431, "header-too-large", "the request header is too large"),
            Self::BackendReset => (502, "backend-reset", "the backend broke off its answer"),
            Self::NoBackend => (503, "no-backend", "no backend can serve this request"),
            Self::Exhausted => (503, "exhausted", "the gateway has no resources left"),
            Self::ConnectFailed => (503, "connect-failed", "no backend accepts connections"),
            Self::ConnectTimeout => (504, "connect-timeout", "the backend did not accept in time"),
            Self::BackendTimeout => (504, "backend-timeout", "the backend did not answer in time"),
            Self::ClientGone => (0, "client-gone", ""),
            Self::Internal => (500, "internal", "the gateway failed"),
        };
        Answer { status, reason, text }
    }

    /// What an error of Pingora's means; `connecting` when nothing was sent yet.
    pub(super) fn of(error: &Error, connecting: bool) -> Self {
        #[allow(clippy::wildcard_enum_match_arm, reason = "Pingora's list of errors is open")]
        match (error.esource(), error.etype()) {
            (ErrorSource::Upstream, ErrorType::ConnectTimedout) => Self::ConnectTimeout,
            (ErrorSource::Upstream, _) if connecting => Self::ConnectFailed,
            (ErrorSource::Upstream, ErrorType::ReadTimedout | ErrorType::WriteTimedout) => {
                Self::BackendTimeout
            }
            (ErrorSource::Upstream, _) => Self::BackendReset,
            (ErrorSource::Downstream, ErrorType::ReadTimedout) => Self::BodyTimeout,
            (
                ErrorSource::Downstream,
                ErrorType::ReadError
                | ErrorType::WriteError
                | ErrorType::WriteTimedout
                | ErrorType::ConnectionClosed,
            ) => Self::ClientGone,
            (ErrorSource::Downstream, _) => Self::BadRequest,
            (ErrorSource::Internal | ErrorSource::Unset, _) => Self::Internal,
        }
    }

    /// The answer as it goes out when Pingora's session cannot write it.
    pub(super) fn raw(self) -> Vec<u8> {
        let Answer { status, reason, text } = self.answer();
        let body = format!("{reason}: {text}\n");
        let phrase = http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason());
        format!(
            "HTTP/1.1 {status} {}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nX-Stickfast-Reason: {reason}\r\nConnection: close\r\n\r\n{body}",
            phrase.unwrap_or_default(),
            body.len(),
        )
        .into_bytes()
    }
}

/// Writes an answer instead of a backend's.
pub(super) async fn write(session: &mut Session, ctx: &mut Ctx, refusal: Refusal) -> Result<()> {
    ctx.refusal = Some(refusal);
    let Answer { status, reason, text } = refusal.answer();
    if status == 0 || final_response(session).is_some() {
        session.set_keepalive(None);
        return Ok(());
    }
    let unread = !session.as_downstream_mut().is_body_done();
    if unread {
        session.set_keepalive(None);
    }
    let body = format!("{reason}: {text}\n");
    let mut header = ResponseHeader::build(status, Some(6))?;
    header.insert_header(CONTENT_TYPE, "text/plain")?;
    header.insert_header(CONTENT_LENGTH, body.len())?;
    header.insert_header(CACHE_CONTROL, "no-store")?;
    header.insert_header(REASON_HEADER, reason)?;
    if status == 503 {
        header.insert_header(RETRY_AFTER, "1")?;
    }
    let bodiless = session.req_header().method == http::Method::HEAD;
    session.write_response_header(Box::new(header), bodiless).await?;
    if !bodiless {
        session.write_response_body(Some(Bytes::from(body)), true).await?;
    }
    if unread && refusal != Refusal::BodyTimeout {
        linger(session).await;
    }
    Ok(())
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
    let refusal = ctx.refusal.unwrap_or_else(|| Refusal::of(error, false));
    let upgrade_failed = ClientIo::of(session).is_some_and(ClientIo::upgrade_has_failed);
    let refusal = match (refusal, ctx.last_failure) {
        (Refusal::ClientGone, _) if upgrade_failed => Refusal::BackendTimeout,
        // the error of connecting is final when Pingora's limit of tries is reached
        (Refusal::BackendReset, Some(last)) => last,
        (other, _) => other,
    };
    // Pingora closes the connection after an error, so the answer must say so
    session.set_keepalive(None);
    if let Err(why) = write(session, ctx, refusal).await {
        tracing::debug!(%why, "the client did not take the answer");
    }
    FailToProxy { error_code: refusal.answer().status, can_reuse_downstream: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_raw_answer_is_a_whole_response() {
        let raw = String::from_utf8(Refusal::HeaderTimeout.raw()).unwrap();
        let (head, body) = raw.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
    }

    #[test]
    fn errors_are_told_apart_by_whose_fault_they_are() {
        use ErrorSource::{Downstream, Internal, Upstream};
        use ErrorType::{ConnectRefused, ConnectTimedout, ConnectionClosed, ReadTimedout};
        let error = |etype, source: ErrorSource| {
            let mut error = Error::new(etype);
            error.esource = source;
            error
        };
        for (etype, source, connecting, expected) in [
            (ConnectRefused, Upstream, true, Refusal::ConnectFailed),
            (ConnectTimedout, Upstream, true, Refusal::ConnectTimeout),
            (ReadTimedout, Upstream, false, Refusal::BackendTimeout),
            (ConnectionClosed, Upstream, false, Refusal::BackendReset),
            (ReadTimedout, Downstream, false, Refusal::BodyTimeout),
            (ConnectionClosed, Downstream, false, Refusal::ClientGone),
            (ErrorType::InvalidHTTPHeader, Downstream, false, Refusal::BadRequest),
            (ErrorType::InternalError, Internal, false, Refusal::Internal),
        ] {
            assert_eq!(Refusal::of(&error(etype, source), connecting), expected);
        }
    }
}
