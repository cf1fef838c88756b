//! The one table from cause to HTTP answer, for everything that the gateway answers itself: status,
//! word for programs (`X-Stickfast-Reason`, metrics, log) and words for people, side by side.

use http::HeaderName;
use pingora::{Error, ErrorSource, ErrorType};

/// Tells programs why the gateway answered itself.
pub(super) const REASON_HEADER: &str = "X-Stickfast-Reason";
/// The same as a name.
pub(super) static REASON_NAME: HeaderName = HeaderName::from_static("x-stickfast-reason");

/// Why the gateway answers itself, or why an exchange broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request is not HTTP as it should be.
    BadRequest,
    /// It names no host.
    NoHost,
    /// No rule matches.
    NoRoute,
    /// It names a service or a version that is not there.
    NoSubset,
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
    /// The backend that the client is bound to cannot serve, and the policy is to refuse. The
    /// operator may choose another status.
    NotBound,
    /// No backend can serve.
    NoBackend,
    /// Every backend has all the requests that it may have.
    Full,
    /// This machine has no descriptor, port or buffer left.
    Exhausted,
    /// Every backend that was tried refused the connection.
    ConnectFailed,
    /// The last backend that was tried could not be spoken to by TLS: it did not prove its name, or
    /// did not accept our certificate.
    BackendTls,
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
            Self::NoSubset => (404, "no-subset", "the request names no known service or version"),
            Self::NoTunnel => (405, "no-tunnel", "CONNECT is not supported"),
            Self::HeaderTimeout => (408, "header-timeout", "the request header took too long"),
            Self::BodyTimeout => (408, "body-timeout", "the request body was silent for too long"),
            Self::BodyTooLarge => (413, "body-too-large", "the request body is too large"),
            Self::HeaderTooLarge => (431, "header-too-large", "the request header is too large"),
            Self::BackendReset => (502, "backend-reset", "the backend broke off its answer"),
            Self::BackendTls => (502, "backend-tls", "no backend could be spoken to by TLS"),
            Self::NotBound => (503, "affinity-rejected", "the backend of this client cannot serve"),
            Self::NoBackend => (503, "no-backend", "no backend can serve this request"),
            Self::Full => (503, "full", "every backend has all the requests that it may have"),
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
            (ErrorSource::Upstream, ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert)
                if connecting =>
            {
                Self::BackendTls
            }
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
                | ErrorType::ConnectionClosed
                // a stream that was taken back
                | ErrorType::H2Error,
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
            (ErrorType::TLSHandshakeFailure, Upstream, true, Refusal::BackendTls),
            (ReadTimedout, Upstream, false, Refusal::BackendTimeout),
            (ConnectionClosed, Upstream, false, Refusal::BackendReset),
            (ReadTimedout, Downstream, false, Refusal::BodyTimeout),
            (ConnectionClosed, Downstream, false, Refusal::ClientGone),
            (ErrorType::H2Error, Downstream, false, Refusal::ClientGone),
            (ErrorType::InvalidHTTPHeader, Downstream, false, Refusal::BadRequest),
            (ErrorType::InternalError, Internal, false, Refusal::Internal),
        ] {
            assert_eq!(Refusal::of(&error(etype, source), connecting), expected);
        }
    }
}
