//! Which responses are pages that can be rewritten.

use crate::model::fields::{Fields, text};
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderName, StatusCode};

/// Whether the body of a response is an HTML page whose links can get a key: `text/html` or
/// `application/xhtml+xml`, not compressed, whole, no download, and free to be transformed (RFC
/// 9111, 5.2.2.6).
pub fn wants(status: StatusCode, headers: &impl Fields) -> bool {
    let whole = !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED
        );
    let html = headers.first(&CONTENT_TYPE).and_then(text).is_some_and(|of| {
        let essence = of.split([';', ',']).next().unwrap_or_default().trim();
        ["text/html", "application/xhtml+xml"].iter().any(|html| essence.eq_ignore_ascii_case(html))
    });
    whole
        && html
        && headers.all(&CONTENT_TYPE).count() == 1
        && tokens(headers, &CONTENT_ENCODING, |token| token.eq_ignore_ascii_case("identity"))
        && tokens(headers, &CACHE_CONTROL, |token| !token.eq_ignore_ascii_case("no-transform"))
        && tokens(headers, &CONTENT_DISPOSITION, |token| token.eq_ignore_ascii_case("inline"))
}

/// Whether every element of a list header passes, parameters left out; also when there is none.
fn tokens(headers: &impl Fields, name: &HeaderName, passes: impl Fn(&str) -> bool) -> bool {
    headers.all(name).all(|value| {
        text(value).is_some_and(|value| {
            let first = |element: &str| {
                let token = element.split(';').next().unwrap_or_default().trim();
                token.is_empty() || passes(token)
            };
            value.split(',').all(first)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue};

    fn said(status: u16, headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        wants(StatusCode::from_u16(status).unwrap(), &map)
    }

    #[test]
    fn whole_uncompressed_pages_are_wanted() {
        for (wanted, status, kind) in [
            (true, 200, "text/html"),
            (true, 404, "Text/HTML; charset=utf-8"),
            (true, 302, "application/xhtml+xml;charset=utf-8"),
            (false, 200, "text/plain"),
            (false, 200, "text/htmlx"),
            (false, 204, "text/html"),
            (false, 206, "text/html"),
            (false, 304, "text/html"),
            (false, 101, "text/html"),
        ] {
            assert_eq!(said(status, &[("content-type", kind)]), wanted, "{status} {kind}");
        }
        assert!(!said(200, &[]));
        assert!(!said(200, &[("content-type", "text/html"), ("content-type", "text/html")]));
    }

    #[test]
    fn encoded_attached_and_untouchable_pages_are_not() {
        for (wanted, name, value) in [
            (true, "content-encoding", "identity"),
            (true, "content-encoding", ""),
            (false, "content-encoding", "gzip"),
            (false, "content-encoding", "identity, br"),
            (true, "cache-control", "no-store, max-age=0"),
            (false, "cache-control", "public, No-Transform"),
            (true, "content-disposition", "inline; filename=a.html"),
            (false, "content-disposition", "attachment; filename=\"a.html\""),
        ] {
            let headers = [("content-type", "text/html"), (name, value)];
            assert_eq!(said(200, &headers), wanted, "{name}: {value}");
        }
    }
}
