//! Links of responses that get the key, for clients without cookies.

use super::ctx::Ctx;
use super::message::Response;
use crate::model::fields::text;
use crate::rewriting::{HtmlRewriter, KeyPlace, Links, Site, wants};
use crate::snapshot::Rule;
use bytes::Bytes;
use http::Method;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    LAST_MODIFIED, LOCATION, REFERRER_POLICY, REFRESH, TRANSFER_ENCODING,
};
use parking_lot::Mutex;
use pingora::Result;
use std::sync::Arc;

/// Where links may be, in the header of a response.
const LINKS: [HeaderName; 3] = [LOCATION, CONTENT_LOCATION, REFRESH];
/// What is true of the page as the backend wrote it, and of no other.
const OF_THE_WHOLE: [HeaderName; 8] = [
    CONTENT_LENGTH,
    ACCEPT_RANGES,
    ETAG,
    LAST_MODIFIED,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// Puts `key` into the links of `response`: those of the header at once, those of the page as it
/// passes. Tells whether there are any, or may be.
pub(super) fn rewrite(
    rule: &Rule,
    place: &KeyPlace,
    key: &str,
    method: &Method,
    response: &mut impl Response,
    ctx: &mut Ctx,
) -> Result<bool> {
    let Some(page) = &ctx.page else { return Ok(false) };
    let scheme = if ctx.https { "https" } else { "http" };
    let Some(site) = Site::new(scheme, &page.host, &page.target) else { return Ok(false) };
    let (snapshot, now) = (Arc::clone(&ctx.snapshot), ctx.now);
    let at = ctx.rule;
    // a key of ours by the look of it: the same question as when it comes back
    let ours = move |value: &str| {
        let rule = at.and_then(|at| snapshot.rule(at));
        let in_url = rule.and_then(|rule| rule.stickiness.as_ref()?.in_url());
        in_url.is_some_and(|(_, carrier, _)| carrier.codec.looks_like_key(value.as_bytes(), now))
    };
    let links = Links::new(site, place.clone(), key, Arc::new(ours));
    let mut any = false;
    for name in LINKS {
        let value = response.first(&name).and_then(text);
        let Some(with_key) = value.and_then(|value| links.header(&name, value)) else { continue };
        if let Ok(value) = HeaderValue::try_from(with_key) {
            response.set(&name, value.as_bytes())?;
            any = true;
        }
    }
    debug_assert!(rule.rewrites_urls, "asked for only where the rule says so");
    if !wants(response.status(), response) {
        return Ok(any);
    }
    let kind = response.first(&CONTENT_TYPE).and_then(text);
    let Some(page) = HtmlRewriter::new(Arc::new(links), kind.unwrap_or_default()) else {
        return Ok(any);
    };
    for name in OF_THE_WHOLE {
        response.remove(&name);
    }
    if !keeps_referrer(response) {
        // what the page loads from other sites must not learn the key from its URL
        response.set(&REFERRER_POLICY, b"same-origin")?;
    }
    if method != Method::HEAD {
        if !response.has(&TRANSFER_ENCODING) {
            // without a length and without chunks its end would be that of the connection
            response.set(&TRANSFER_ENCODING, b"chunked")?;
        }
        ctx.html = Some(Box::new(Mutex::new(page)));
    }
    Ok(true)
}

/// Whether other sites learn no more of this page's URL than its origin. Of several policies the
/// last one that a browser knows counts, so one that tells too much is not let by.
fn keeps_referrer(response: &impl Response) -> bool {
    let mut lines = response.all(&REFERRER_POLICY).peekable();
    let tells = |policy: &str| {
        let policy = policy.trim();
        ["unsafe-url", "no-referrer-when-downgrade"].iter().any(|p| policy.eq_ignore_ascii_case(p))
    };
    lines.peek().is_some()
        && lines.all(|line| text(line).is_some_and(|line| !line.split(',').any(tells)))
}

/// Passes a part of a page on.
pub(super) fn pass(body: &mut Option<Bytes>, end: bool, ctx: &mut Ctx) {
    let Some(page) = &mut ctx.html else { return };
    let mut out = Vec::new();
    if let Some(part) = body.take() {
        page.get_mut().write(&part, &mut out);
    }
    if end && let Some(page) = ctx.html.take() {
        page.into_inner().end(&mut out);
    }
    *body = (!out.is_empty() || end).then(|| Bytes::from(out));
}
