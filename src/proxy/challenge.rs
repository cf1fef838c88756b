//! Answers to certificate authorities that look for a challenge at a plain listener (HTTP-01). Before
//! routing, and only for what is pending: everything else is a request like any other.

use super::ctx::Ctx;
use super::receive::peer;
use crate::tls::Challenges;
use bytes::Bytes;
use http::Method;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;

/// Answers if it is for us to answer.
pub(super) async fn answered(
    session: &mut Session,
    ctx: &mut Ctx,
    challenges: &Challenges,
) -> Result<bool> {
    let header = session.req_header();
    let bodiless = header.method == Method::HEAD;
    let reads = bodiless || header.method == Method::GET;
    let Some(text) = challenges.by_http(header.uri.path()).filter(|_| reads) else {
        return Ok(false);
    };
    if session.digest().is_some_and(|digest| digest.ssl_digest.is_some()) {
        return Ok(false);
    }
    ctx.client = peer(session);
    let mut header = ResponseHeader::build(200, Some(3))?;
    // RFC 8555 §8.3
    header.insert_header(CONTENT_TYPE, "application/octet-stream")?;
    header.insert_header(CONTENT_LENGTH, text.len())?;
    header.insert_header(CACHE_CONTROL, "no-store")?;
    session.write_response_header(Box::new(header), bodiless).await?;
    if !bodiless {
        let body = Bytes::copy_from_slice(text.as_bytes());
        session.write_response_body(Some(body), true).await?;
    }
    Ok(true)
}
