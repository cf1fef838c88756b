//! Answers of our own to calls of gRPC: their clients look for a status of theirs in the header,
//! and take any other answer for a broken server (gRPC's `PROTOCOL-HTTP2.md`, "Trailers-Only").

use super::message::Request;
use super::refusal::{Answer, REASON_HEADER, Refusal};
use http::header::CONTENT_TYPE;
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora_core::protocols::http::HttpTask;
use pingora_proxy::Session;

/// Whether a request is a call. What browsers send (`application/grpc-web`) is not: they look at
/// the status of HTTP.
pub(super) fn is_call(header: &impl Request) -> bool {
    let kind = header.first(&CONTENT_TYPE);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    header.version() == http::Version::HTTP_2
        && rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Writes an answer that is a header and no more.
pub(super) async fn answer(session: &mut Session, refusal: Refusal, status: u16) -> Result<()> {
    let Answer { reason, text, .. } = refusal.answer();
    let mut header = ResponseHeader::build(200, Some(4))?;
    header.insert_header(CONTENT_TYPE, "application/grpc")?;
    header.insert_header("grpc-status", code(status).to_string())?;
    header.insert_header("grpc-message", format!("{reason}: {text}"))?;
    header.insert_header(REASON_HEADER, reason)?;
    let tasks = vec![HttpTask::Header(Box::new(header), true)];
    session.as_downstream_mut().response_duplex_vec(tasks).await?;
    Ok(())
}

/// The status of gRPC for one of HTTP, as gRPC's `http-grpc-status-mapping.md` has it, but for what
/// it lumps together and a client can make use of: too large, and too late.
const fn code(status: u16) -> u8 {
    match status {
        400 | 500 => 13,
        401 => 16,
        403 => 7,
        404 | 405 => 12,
        408 | 504 => 4,
        413 | 431 => 8,
        429 | 502 | 503 => 14,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora::http::RequestHeader;

    fn is(kind: &str, version: http::Version) -> bool {
        let mut header = RequestHeader::build("POST", b"/", None).unwrap();
        header.insert_header(CONTENT_TYPE, kind).unwrap();
        header.set_version(version);
        is_call(&header)
    }

    #[test]
    fn calls_are_told_by_their_type() {
        let http2 = http::Version::HTTP_2;
        for kind in ["application/grpc", "application/grpc+proto", "application/grpc;x=y"] {
            assert!(is(kind, http2), "{kind}");
        }
        for kind in ["application/grpc-web", "application/grpc-web+proto", "application/json", ""] {
            assert!(!is(kind, http2), "{kind}");
        }
        assert!(!is("application/grpc", http::Version::HTTP_11));
    }

    #[test]
    fn every_refusal_has_a_status_that_tells_something() {
        for (refusal, expected) in [
            (Refusal::NoRoute, 12),
            (Refusal::NoBackend, 14),
            (Refusal::BackendReset, 14),
            (Refusal::BackendTimeout, 4),
            (Refusal::BodyTooLarge, 8),
            (Refusal::HeaderTooLarge, 8),
            (Refusal::BadRequest, 13),
            (Refusal::Internal, 13),
        ] {
            assert_eq!(code(refusal.answer().status), expected, "{refusal:?}");
        }
    }
}
