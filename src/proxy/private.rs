//! Keeping a response that carries one client's key out of shared caches (RFC 9111).

use super::message::Response;
use crate::model::fields::text;
use http::Method;
use http::header::{CACHE_CONTROL, EXPIRES};

/// Statuses that a cache may keep without being told (RFC 9110 §15.1), and 304, which updates what
/// it has.
const KEPT_BY_DEFAULT: [u16; 13] =
    [200, 203, 204, 206, 300, 301, 304, 308, 404, 405, 410, 414, 501];

/// The `Cache-Control` that keeps a shared cache from handing one client's key to others; `None`
/// when no shared cache would keep the response anyway.
pub(super) fn private(method: &Method, response: &impl Response) -> Option<String> {
    let mut kept = vec!["private"];
    let mut explicit = response.has(&EXPIRES);
    for directive in response.all(&CACHE_CONTROL).filter_map(text).flat_map(directives) {
        let (name, value) = match directive.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (directive, None),
        };
        match (name.trim().to_ascii_lowercase().as_str(), value) {
            ("private", None) | ("no-store", _) => return None,
            // for some fields only, which says nothing of the cookie
            ("private", Some(_)) => {}
            ("public" | "s-maxage", _) => explicit = true,
            ("max-age", _) => {
                explicit = true;
                kept.push(directive);
            }
            _ => kept.push(directive),
        }
    }
    let by_default = matches!(*method, Method::GET | Method::HEAD)
        && KEPT_BY_DEFAULT.contains(&response.status().as_u16());
    (explicit || by_default).then(|| kept.join(", "))
}

/// The directives of one line; a comma inside quotes does not end one.
fn directives(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let parts = line.split(move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    parts.map(str::trim).filter(|directive| !directive.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora::http::ResponseHeader;

    fn cache_control(
        method: &Method,
        status: u16,
        fields: &[(&'static str, &str)],
    ) -> Option<String> {
        let mut response = ResponseHeader::build(status, None).unwrap();
        for (name, value) in fields {
            response.append_header(*name, *value).unwrap();
        }
        private(method, &response)
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
        for value in ["private", "no-store", "max-age=1, PRIVATE"] {
            assert_eq!(cache_control(&Method::GET, 200, &[("Cache-Control", value)]), None);
        }
        assert_eq!(cache_control(&Method::POST, 200, &[]), None);
        assert_eq!(cache_control(&Method::GET, 302, &[]), None);
    }

    #[test]
    fn private_for_some_fields_only_is_not_private() {
        let with = |value| cache_control(&Method::GET, 200, &[("Cache-Control", value)]);
        assert_eq!(
            with("max-age=9, private=\"x-a, public\"").as_deref(),
            Some("private, max-age=9"),
        );
    }
}
