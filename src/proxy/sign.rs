//! What a backend is told of a request by us: who the client is, which request this is, where it
//! comes from; and that nobody else has said so.

use super::ctx::Ctx;
use super::message::{Message, Request};
use super::receive::put;
use super::refusal::Refusal;
use crate::affinity::stamp::Elsewhere;
use crate::identity::Forwarded;
use crate::identity::forwarded::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use crate::model::fields::{begins_alike, is_alike, named, text};
use crate::model::{Cause, Fields};
use crate::tls::Secured;
use http::Method;
use http::header::{HeaderName, VIA};
use pingora::Result;
use pingora_core::protocols::tls::SslDigest;
use smallvec::SmallVec;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static X_AFFINITY_FAILOVER: HeaderName = HeaderName::from_static("x-affinity-failover");

/// A trusted proxy's id is kept, so that one request has one id all the way.
pub(super) fn request_id(header: &impl Fields, trusted: bool) -> String {
    let given = header.first(&X_REQUEST_ID).filter(|_| trusted).and_then(text);
    match given {
        Some(id) if !id.is_empty() && id.len() <= 128 => id.to_owned(),
        _ => hex(rand::random()),
    }
}

/// What `{:032x}` writes, without its machinery: this is done for every request.
fn hex(number: u128) -> String {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble };
    let mut text = [0; 32];
    for (two, byte) in text.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        two.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    std::str::from_utf8(&text).unwrap_or_default().to_owned()
}

/// Tells who the client is.
pub(super) fn speak_for_client(
    header: &mut impl Request,
    forwarded: &Forwarded,
    host: &[u8],
) -> std::result::Result<(), Refusal> {
    // one with a `_` in it would stand beside ours
    let ours = |name: &&[u8]| {
        if !matches!(name, [b'x' | b'X', ..]) {
            return false;
        }
        begins_alike(name, b"x-affinity-")
            || (is_alike(name, &X_REQUEST_ID) && name.contains(&b'_'))
    };
    let names = header.each().map(|(name, _)| name);
    let pretended: SmallVec<[HeaderName; 2]> = names.filter(ours).filter_map(named).collect();
    for name in forwarded.dropped.iter().chain(&pretended) {
        header.remove(name);
    }
    put(header.set(&X_FORWARDED_FOR, &forwarded.for_))?;
    if let Some(proto) = forwarded.proto {
        put(header.set(&X_FORWARDED_PROTO, proto.as_bytes()))?;
    }
    if forwarded.host {
        put(header.set(&X_FORWARDED_HOST, host))?;
    }
    Ok(())
}

/// Tells who the client's certificate is for. No client says so itself, whatever listener it came
/// by.
pub(super) fn tell_subject(
    header: &mut impl Message,
    told: &[HeaderName],
    tls: Option<&SslDigest>,
) -> std::result::Result<(), Refusal> {
    if told.is_empty() {
        return Ok(());
    }
    let names = header.each().map(|(name, _)| name);
    let pretended: SmallVec<[HeaderName; 2]> = names
        .filter(|name| told.iter().any(|told| is_alike(name, told)))
        .filter_map(named)
        .collect();
    for name in pretended {
        header.remove(&name);
    }
    put(write_subject(header, tls))
}

fn write_subject(header: &mut impl Message, tls: Option<&SslDigest>) -> Result<()> {
    let subject = tls.and_then(|tls| Secured::of(tls).subject);
    match subject.and_then(|(subject, name)| Some((subject, named(name.as_bytes())?))) {
        Some((subject, name)) => header.set(&name, subject.as_bytes()),
        None => Ok(()),
    }
}

/// A backend that expects no body with a method (RFC 9110 §9.3.1), or does not know it, may not read it, and take it
/// for its next request. Nobody else is to have the answer to that: the connection ends with this request.
pub(super) fn ends_connection(method: &Method, ctx: &Ctx) -> bool {
    ctx.streams && ![Method::POST, Method::PUT, Method::PATCH].contains(method)
}

/// The headers that a client could take away again by naming them in `Connection`; put in when
/// that has been carried out.
pub(super) fn sign(
    request: &mut impl Message,
    version: http::Version,
    tls: Option<&SslDigest>,
    ctx: &Ctx,
) -> Result<()> {
    request.set(&X_REQUEST_ID, ctx.request_id.as_bytes())?;
    let via: &[u8] = match version {
        http::Version::HTTP_10 => b"1.0 stickfast",
        http::Version::HTTP_2 => b"2 stickfast",
        _ => b"1.1 stickfast",
    };
    request.add(&VIA, via)?;
    write_subject(request, tls)?;
    tell_failover(request, ctx)
}

/// The same for another try.
pub(super) fn sign_again(request: &mut impl Message, ctx: &Ctx) -> Result<()> {
    request.remove(&X_AFFINITY_FAILOVER);
    tell_failover(request, ctx)
}

fn tell_failover(request: &mut impl Message, ctx: &Ctx) -> Result<()> {
    if let Some(told) = failover(ctx) {
        request.set(&X_AFFINITY_FAILOVER, told.as_bytes())?;
    }
    Ok(())
}

/// What the new backend of a client is told, once: where the client comes from, and why.
fn failover(ctx: &Ctx) -> Option<String> {
    let (from, backend) = (ctx.from.as_ref()?, ctx.backend.as_ref()?);
    let Some(cause) = ctx.cause else {
        // called home, and it has not refused
        let returns = ctx.bond.as_ref().is_some_and(|bond| bond.until_then.is_some());
        return returns.then(|| format!("from={from}; reason=failback"));
    };
    let moves = ctx.bond.as_ref().is_none_or(|bond| bond.elsewhere != Elsewhere::Visits);
    let elsewhere = backend.backend.id != *from || cause == Cause::WrongIncarnation;
    (moves && elsewhere).then(|| format!("from={from}; reason={}", cause.label()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_all_its_digits() {
        for number in [0, 1, 0x0123_4567_89ab_cdef, u128::MAX, u128::MAX << 4] {
            assert_eq!(hex(number), format!("{number:032x}"));
        }
    }
}
