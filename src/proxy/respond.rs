//! `response_filter`: writes the binding onto the first final response of the backend that answered.

use super::ctx::Ctx;
use super::decide::{self, Dice};
use http::header::{CACHE_CONTROL, EXPIRES, HeaderValue, SET_COOKIE};
use http::{Method, StatusCode};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;
use std::sync::Arc;

pub(super) fn respond(
    session: &Session,
    response: &mut ResponseHeader,
    ctx: &mut Ctx,
) -> Result<()> {
    let interim =
        response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS;
    let snapshot = Arc::clone(&ctx.snapshot);
    let stickiness =
        ctx.rule.and_then(|at| snapshot.rule(at)).and_then(|rule| rule.stickiness.as_ref());
    let (Some(stickiness), Some(answered), false) = (stickiness, &ctx.backend, interim) else {
        return Ok(());
    };
    let stamp = decide::stamped(ctx.bond.as_ref(), answered);
    let dice = Dice { nonce: rand::random(), tag: rand::random() };
    let cookie = decide::set_cookie(stickiness, stamp, answered, ctx.now, dice, ctx.https);
    let Some(cookie) = cookie else { return Ok(()) };
    response.append_header(SET_COOKIE, cookie)?;
    ctx.did = stamp.did();
    if let Some(value) = private(&session.req_header().method, response) {
        response.insert_header(CACHE_CONTROL, value)?;
    }
    Ok(())
}

/// The `Cache-Control` that keeps a shared cache from handing one client's key to others; `None`
/// when no cache would keep the response anyway.
fn private(method: &Method, response: &ResponseHeader) -> Option<HeaderValue> {
    let lines = || {
        let lines = response.headers.get_all(CACHE_CONTROL).iter();
        lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','))
    };
    let name = |directive: &str| {
        directive.split('=').next().unwrap_or_default().trim().to_ascii_lowercase()
    };
    if lines().any(|directive| matches!(name(directive).as_str(), "private" | "no-store")) {
        return None;
    }
    let by_default = matches!(*method, Method::GET | Method::HEAD)
        && matches!(
            response.status.as_u16(),
            200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
        );
    let explicitly = response.headers.contains_key(EXPIRES)
        || lines()
            .any(|directive| matches!(name(directive).as_str(), "public" | "max-age" | "s-maxage"));
    if !by_default && !explicitly {
        return None;
    }
    let kept = lines()
        .map(str::trim)
        .filter(|d| !d.is_empty() && !matches!(name(d).as_str(), "public" | "s-maxage"));
    let value: Vec<&str> = ["private"].into_iter().chain(kept).collect();
    HeaderValue::from_str(&value.join(", ")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache_control(
        method: &Method,
        status: u16,
        fields: &[(&'static str, &str)],
    ) -> Option<String> {
        let mut response = ResponseHeader::build(status, None).unwrap();
        for (name, value) in fields {
            response.append_header(*name, *value).unwrap();
        }
        private(method, &response).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn what_a_shared_cache_would_keep_becomes_private() {
        let get = Method::GET;
        let with = |value| cache_control(&get, 200, &[("Cache-Control", value)]);
        assert_eq!(cache_control(&get, 200, &[]).as_deref(), Some("private"));
        assert_eq!(with("public, max-age=60").as_deref(), Some("private, max-age=60"));
        assert_eq!(
            with("S-Maxage=9, must-revalidate").as_deref(),
            Some("private, must-revalidate")
        );
        let post = [("Cache-Control", "max-age=60")];
        assert_eq!(
            cache_control(&Method::POST, 200, &post).as_deref(),
            Some("private, max-age=60")
        );
    }

    #[test]
    fn what_no_shared_cache_keeps_is_left_alone() {
        for value in ["private", "no-store", "max-age=1, PRIVATE=\"x\""] {
            assert_eq!(cache_control(&Method::GET, 200, &[("Cache-Control", value)]), None);
        }
        assert_eq!(cache_control(&Method::POST, 200, &[]), None);
        assert_eq!(cache_control(&Method::GET, 302, &[]), None);
    }
}
