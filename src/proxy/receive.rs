//! From the request as it came to the request as the backend gets it: limits, host and path in
//! normal form, the rule, the client's binding, and the headers that a proxy adds.

use super::ctx::Ctx;
use super::decide;
use super::front::ClientIo;
use super::refusal::Refusal;
use crate::identity::forwarded::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use crate::identity::{Forwarded, Scheme, came_by_https, client_address};
use crate::routing::{host, path};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderName, HeaderValue, VIA};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType, Result};
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_proxy::Session;
use std::net::IpAddr;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const VIA_HTTP_1_0: HeaderValue = HeaderValue::from_static("1.0 stickfast");
const VIA_HTTP_1_1: HeaderValue = HeaderValue::from_static("1.1 stickfast");
/// An upgraded connection may be silent for this long, as in HAProxy's usual `timeout tunnel`.
const TUNNEL_TIMEOUT: std::time::Duration = std::time::Duration::from_hours(1);

/// Sets how long this connection may take for what.
pub(super) fn set_limits(session: &mut Session, ctx: &Ctx) {
    if let Some(io) = ClientIo::of(session) {
        io.header_is_complete();
    }
    let limits = &ctx.snapshot.limits;
    let silence = if session.is_upgrade_req() { TUNNEL_TIMEOUT } else { limits.body_timeout };
    let downstream = session.as_downstream_mut();
    if downstream.get_keepalive().is_some() {
        downstream.set_keepalive(Some(limits.idle_seconds));
    }
    downstream.set_pipelining_enabled(true);
    downstream.set_read_timeout(Some(silence));
    downstream.set_write_timeout(Some(limits.body_timeout));
    downstream.set_total_drain_timeout(Some(limits.body_timeout));
}

/// Makes a request ready for its backend.
pub(super) fn receive(session: &mut Session, ctx: &mut Ctx) -> std::result::Result<(), Refusal> {
    let peer = peer(session);
    let header = session.req_header();
    let trusted = ctx.snapshot.trusted.contains(peer);
    ctx.client = client_address(peer, &header.headers, &ctx.snapshot.trusted);
    ctx.https = came_by_https(trusted, &header.headers, false);
    ctx.request_id = request_id(header, trusted);
    check_size(header, ctx)?;

    let host_as_sent = host_as_sent(header)?;
    let host_text = host_as_sent.to_str().map_err(|_| Refusal::BadRequest)?;
    if !host_is_sane(host_text) {
        return Err(Refusal::BadRequest);
    }
    if !header.raw_path_is_utf8() {
        return Err(Refusal::BadRequest);
    }
    let path = path::normalise(header.uri.path());
    ctx.rule =
        ctx.snapshot.route(&host::normalise(host_text), &path, &header.method, &header.headers);
    let path =
        (path != header.uri.path() || header.uri.authority().is_some()).then(|| {
            match header.uri.query() {
                Some(query) => format!("{path}?{query}"),
                None => path.into_owned(),
            }
        });
    let forwarded =
        Forwarded::plan(peer, trusted, &header.headers, Scheme::Http, Some(host_as_sent.clone()));

    let header = session.req_header_mut();
    if let Some(path) = path {
        header.set_uri(path.parse().map_err(|_| Refusal::BadRequest)?);
    }
    let snapshot = std::sync::Arc::clone(&ctx.snapshot);
    let rule = ctx.rule.and_then(|at| snapshot.rule(at)).ok_or(Refusal::NoRoute)?;
    let sticky = rule.stickiness.as_ref().map(|stickiness| (stickiness, &*rule.service));
    let identified = decide::identify(&snapshot, sticky, &header.headers, ctx.now);
    ctx.brought = identified.brought;
    ctx.cause = identified.cause;
    ctx.bond = identified.bond;
    if let Some(lines) = identified.cookies {
        header.remove_header(&COOKIE);
        for line in lines {
            put(header.append_header(COOKIE, line))?;
        }
    }
    speak_for_client(header, forwarded, &ctx.request_id)
}

/// Counts the request body against its limit. Runs again for each try, with the same bytes.
pub(super) fn count_body(session: &Session, body: Option<&Bytes>, ctx: &mut Ctx) -> Result<()> {
    ctx.body_bytes += body.map_or(0, |part| part.len() as u64);
    if ctx.body_bytes > ctx.snapshot.limits.max_body_bytes && !session.was_upgraded() {
        ctx.refusal = Some(Refusal::BodyTooLarge);
        return Error::e_explain(ErrorType::HTTPStatus(413), "request body over the limit");
    }
    Ok(())
}

fn peer(session: &Session) -> IpAddr {
    match session.client_addr() {
        Some(SocketAddr::Inet(address)) => address.ip().to_canonical(),
        Some(SocketAddr::Unix(_)) | None => IpAddr::from([127, 0, 0, 1]),
    }
}

fn check_size(header: &RequestHeader, ctx: &Ctx) -> std::result::Result<(), Refusal> {
    let limits = &ctx.snapshot.limits;
    let fields = header.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let line = header.raw_path().len() + header.method.as_str().len() + 12;
    if fields.sum::<usize>() + line > limits.max_header_bytes {
        return Err(Refusal::HeaderTooLarge);
    }
    let announced = header.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let announced = announced.and_then(|text| text.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limits.max_body_bytes) {
        return Err(Refusal::BodyTooLarge);
    }
    Ok(())
}

fn host_as_sent(header: &RequestHeader) -> std::result::Result<HeaderValue, Refusal> {
    let host = header.headers.get(HOST).filter(|host| !host.is_empty());
    host.cloned().ok_or(Refusal::NoHost)
}

fn host_is_sane(host: &str) -> bool {
    host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+,;=".contains(&b))
}

/// A trusted proxy's id is kept, so that one request has one id all the way.
fn request_id(header: &RequestHeader, trusted: bool) -> String {
    let given = header.headers.get(&X_REQUEST_ID).filter(|_| trusted);
    let given = given.and_then(|id| id.to_str().ok());
    match given {
        Some(id) if !id.is_empty() && id.len() <= 128 => id.to_owned(),
        _ => format!("{:032x}", rand::random::<u128>()),
    }
}

fn speak_for_client(
    header: &mut RequestHeader,
    forwarded: Forwarded,
    request_id: &str,
) -> std::result::Result<(), Refusal> {
    let pretended: smallvec::SmallVec<[HeaderName; 2]> = header
        .headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-affinity-"))
        .cloned()
        .collect();
    for name in forwarded.dropped.iter().chain(&pretended) {
        header.remove_header(name);
    }
    put(header.insert_header(X_FORWARDED_FOR.clone(), forwarded.for_))?;
    if let Some(proto) = forwarded.proto {
        put(header.insert_header(X_FORWARDED_PROTO.clone(), proto))?;
    }
    if let Some(host) = forwarded.host {
        put(header.insert_header(X_FORWARDED_HOST.clone(), host))?;
    }
    put(header.insert_header(X_REQUEST_ID.clone(), request_id))?;
    let via = if header.version == http::Version::HTTP_10 { VIA_HTTP_1_0 } else { VIA_HTTP_1_1 };
    put(header.append_header(VIA, via))
}

/// A header map has room for 32,768 fields, far more than a request may have.
fn put<T>(result: Result<T>) -> std::result::Result<(), Refusal> {
    result.map(|_| ()).map_err(|_| Refusal::HeaderTooLarge)
}
