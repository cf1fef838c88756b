//! Who may do what: a bearer token, compared in constant time, for everything but the probes; and no
//! orders from pages that a browser of the operator's happens to show.

use crate::model::Secret;
use axum::http::{HeaderMap, HeaderName, Uri, header};
use std::net::IpAddr;
use subtle::ConstantTimeEq;

/// A page cannot set it without asking first, which is never granted.
const OUR_HEADER: HeaderName = HeaderName::from_static("x-stickfast");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The rules of one admin listener.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Empty: no token is asked for, which configuration allows on loopback only.
    pub token: Secret,
    /// Whether metrics are for everybody, which they are on loopback anyway.
    pub public_metrics: bool,
}

/// What a request may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Granted,
    /// It needs the token.
    Denied,
    /// A browser sends it, for somebody else's page.
    Foreign(&'static str),
}

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// To know something.
    Read,
    /// To change something.
    Write,
}

impl Guard {
    /// Whether a request with these headers may read metrics.
    pub(super) fn metrics(&self, headers: &HeaderMap) -> Access {
        if self.public_metrics { Access::Granted } else { self.token(headers) }
    }

    /// Whether a request with these headers may use the API.
    pub(super) fn api(&self, verb: Verb, headers: &HeaderMap) -> Access {
        let access = self.token(headers);
        if access != Access::Granted {
            return access;
        }
        // without a token, a name that somebody else's DNS points here would let his page read
        if self.token.is_empty() && !is_plainly_here(headers) {
            return Access::Foreign("without admin.token, ask by an IP address or as localhost");
        }
        match verb {
            Verb::Read => Access::Granted,
            Verb::Write => may_write(headers),
        }
    }

    fn token(&self, headers: &HeaderMap) -> Access {
        if self.token.is_empty() {
            return Access::Granted;
        }
        let given = headers.get(header::AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
        let token = match given.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token,
            _ => return Access::Denied,
        };
        if token.ct_eq(self.token.expose()).into() { Access::Granted } else { Access::Denied }
    }
}

fn may_write(headers: &HeaderMap) -> Access {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text(&FETCH_SITE)
        && !["same-origin", "none"].contains(&site)
    {
        return Access::Foreign("a page of another site asks for this");
    }
    if let Some(origin) = text(&header::ORIGIN) {
        let host = origin.split_once("://").map(|(_, host)| host);
        if host != text(&header::HOST) {
            return Access::Foreign("a page of another origin asks for this");
        }
    }
    let essence = text(&header::CONTENT_TYPE).and_then(|value| value.split(';').next());
    let json = essence.is_some_and(|essence| essence.trim() == "application/json");
    if json || headers.contains_key(OUR_HEADER) {
        return Access::Granted;
    }
    Access::Foreign("send `Content-Type: application/json` (or any `X-Stickfast` header)")
}

fn is_plainly_here(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let uri = host.to_str().ok().and_then(|host| host.parse::<Uri>().ok());
    let Some(name) = uri.as_ref().and_then(Uri::host) else { return false };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), value.parse().unwrap())
        };
        fields.iter().map(field).collect()
    }

    fn guard(token: &str) -> Guard {
        Guard { token: Secret::new(token.into()), public_metrics: false }
    }

    #[test]
    fn metrics_need_the_token_unless_they_are_public() {
        let guard = |public_metrics| Guard { token: Secret::new("t0ken".into()), public_metrics };
        let with =
            |value: &str| HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
        assert_eq!(guard(false).metrics(&with("Bearer t0ken")), Access::Granted);
        assert_eq!(guard(false).metrics(&with("bearer t0ken")), Access::Granted);
        for wrong in ["Bearer t0ke", "Bearer t0ken2", "Bearer", "Basic t0ken", "t0ken"] {
            assert_eq!(guard(false).metrics(&with(wrong)), Access::Denied, "{wrong}");
        }
        assert_eq!(guard(false).metrics(&HeaderMap::new()), Access::Denied);
        assert_eq!(guard(true).metrics(&HeaderMap::new()), Access::Granted);
    }

    #[test]
    fn the_api_needs_the_token_even_where_metrics_do_not() {
        let guard = Guard { public_metrics: true, ..guard("t0ken") };
        for verb in [Verb::Read, Verb::Write] {
            assert_eq!(guard.api(verb, &headers(&[])), Access::Denied);
            let right = [("authorization", "Bearer t0ken"), ("x-stickfast", "1")];
            assert_eq!(guard.api(verb, &headers(&right)), Access::Granted);
        }
    }

    #[test]
    fn a_page_of_another_site_changes_nothing() {
        let json = ("content-type", "application/json; charset=utf-8");
        let host = ("host", "127.0.0.1:9901");
        for granted in [
            &[json][..],
            &[("x-stickfast", "ctl")],
            &[json, host, ("origin", "http://127.0.0.1:9901"), ("sec-fetch-site", "same-origin")],
        ] {
            assert_eq!(guard("").api(Verb::Write, &headers(granted)), Access::Granted);
        }
        for foreign in [
            &[][..],
            &[("content-type", "text/plain")],
            &[("content-type", "application/x-www-form-urlencoded")],
            &[json, host, ("origin", "http://evil.example")],
            &[json, host, ("origin", "null")],
            &[json, host, ("sec-fetch-site", "cross-site")],
            &[json, host, ("sec-fetch-site", "same-site")],
        ] {
            let access = guard("").api(Verb::Write, &headers(foreign));
            assert!(matches!(access, Access::Foreign(_)), "{foreign:?}: {access:?}");
        }
    }

    #[test]
    fn without_a_token_a_foreign_name_reads_nothing() {
        for here in ["127.0.0.1", "127.0.0.1:9901", "localhost:9901", "[::1]:9901", "LOCALHOST"] {
            let access = guard("").api(Verb::Read, &headers(&[("host", here)]));
            assert_eq!(access, Access::Granted, "{here}");
        }
        for elsewhere in ["evil.example", "evil.example:9901", "127.0.0.1.evil.example", ""] {
            let access = guard("").api(Verb::Read, &headers(&[("host", elsewhere)]));
            assert!(matches!(access, Access::Foreign(_)), "{elsewhere}");
        }
    }
}
