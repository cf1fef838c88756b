//! Finds the URL in the value of `Refresh` and of `<meta http-equiv=refresh>`, by the steps of the
//! HTML standard ("shared declarative refresh steps").

use std::ops::Range;

/// Where the URL stands in `5; url=/x`; `None` when there is none.
pub(super) fn url(value: &str) -> Option<Range<usize>> {
    let bytes = value.as_bytes();
    let skip = |from: usize, wanted: fn(u8) -> bool| {
        let tail = bytes.get(from..).unwrap_or_default();
        from + tail.iter().position(|b| !wanted(*b)).unwrap_or(tail.len())
    };
    let space: fn(u8) -> bool = |b| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | b'\x0c');
    let start = skip(0, space);
    let time = skip(start, |b| b.is_ascii_digit() || b == b'.');
    let mut at = skip(time, space);
    let separated = matches!(bytes.get(at), Some(b';' | b','));
    if time == start || (at == time && !separated) {
        return None;
    }
    at = skip(at + usize::from(separated), space);
    let named = bytes.get(at..at + 3).is_some_and(|name| name.eq_ignore_ascii_case(b"url"));
    let equals = skip(at + 3, space);
    if named && bytes.get(equals) == Some(&b'=') {
        at = skip(equals + 1, space);
    }
    let end = match bytes.get(at) {
        Some(quote @ (b'"' | b'\'')) => {
            at += 1;
            let tail = bytes.get(at..).unwrap_or_default();
            at + memchr::memchr(*quote, tail).unwrap_or(tail.len())
        }
        Some(_) => bytes.len(),
        None => return None,
    };
    Some(at..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_found_as_browsers_find_it() {
        for (value, found) in [
            ("5; url=/x", Some("/x")),
            ("5;URL=/x", Some("/x")),
            ("5,uRl = /x", Some("/x")),
            ("  5.5 ; url='/x' tail", Some("/x")),
            ("5; url=\"/x", Some("/x")),
            ("5 url=/x", Some("/x")),
            ("5; /x", Some("/x")),
            ("5; 'quoted'", Some("quoted")),
            (".5; url=/x", Some("/x")),
            ("0; usual/path", Some("usual/path")),
            ("0; url", Some("url")),
            ("0; ur", Some("ur")),
            ("0; url=", None),
            ("5", None),
            ("5;", None),
            ("5; ", None),
            ("", None),
            ("; url=/x", None),
            ("x; url=/x", None),
            ("5x; url=/x", None),
        ] {
            assert_eq!(url(value).map(|at| &value[at]), found, "{value}");
        }
    }
}
