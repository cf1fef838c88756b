//! The application's own session, which stands in for a key of ours: `learn` remembers who minted
//! it, `envelope` has the binding travel with it.
//!
//! An envelope is `<sealed key>.<the application's value>`. A sealed key has no dot, so the first one
//! ends it, whatever the application writes; a value of the application's that is not wrapped is left
//! alone.

use super::sealed::looks_sealed;
use crate::model::{Fields, UnixTime};
use http::HeaderName;

/// One session of the application's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSession {
    /// Where its name travels.
    pub source: Source,
    /// What it is to us.
    pub role: Role,
    /// The source in words, which tells sources apart in a table.
    pub label: Box<str>,
}

/// Where the name of a session travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In this cookie.
    Cookie(Box<[u8]>),
    /// In this header.
    Header(HeaderName),
}

/// What a session is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is bound to whoever minted it.
    Learnt,
    /// It carries our key.
    Envelope,
}

impl AppSession {
    /// The session that travels in `source`.
    pub fn new(source: Source, role: Role) -> Self {
        let label = match &source {
            Source::Cookie(name) => format!("cookie:{}", String::from_utf8_lossy(name)),
            Source::Header(name) => format!("header:{name}"),
        };
        Self { source, role, label: label.into() }
    }

    /// What of `value`, as the client sent it, is the application's.
    pub fn inner<'v>(&self, value: &'v [u8]) -> &'v [u8] {
        match self.role {
            Role::Learnt => value,
            Role::Envelope => unwrap(value).map_or(value, |(_, inner)| inner),
        }
    }

    /// The value in a header of a request.
    pub fn header<'h>(&self, headers: &'h impl Fields) -> Option<(&HeaderName, &'h [u8])> {
        let Source::Header(name) = &self.source else { return None };
        let value = headers.first(name).filter(|value| !value.is_empty())?;
        Some((name, value))
    }
}

/// The key and the application's value.
pub fn unwrap(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let dot = memchr::memchr(b'.', value)?;
    let (key, inner) = (value.get(..dot)?, value.get(dot + 1..)?);
    looks_sealed(key).then_some((key, inner))
}

/// What [`unwrap`] takes apart.
pub fn wrap(key: &str, inner: &[u8]) -> Vec<u8> {
    [key.as_bytes(), b".", inner].concat()
}

/// A `Set-Cookie` value of the application's, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetBy<'h> {
    /// The value of the cookie.
    pub value: &'h [u8],
    /// All behind it, with its semicolon.
    pub attributes: &'h [u8],
    /// Whether the cookie is taken back.
    pub ends: bool,
}

/// Takes a `Set-Cookie` value of the cookie `name` apart, as it stands at `now`; `None` when it sets
/// another.
pub fn set_by<'h>(line: &'h [u8], name: &[u8], now: UnixTime) -> Option<SetBy<'h>> {
    let end = memchr::memchr(b';', line).unwrap_or(line.len());
    let (pair, attributes) = line.split_at_checked(end)?;
    let equals = memchr::memchr(b'=', pair)?;
    if pair.get(..equals)?.trim_ascii() != name {
        return None;
    }
    let value = pair.get(equals + 1..)?.trim_ascii();
    let ends = value.is_empty() || ends_by(attributes, now);
    Some(SetBy { value, attributes, ends })
}

/// Whether attributes take a cookie back: by `Max-Age`, and where that is absent by `Expires`.
fn ends_by(attributes: &[u8], now: UnixTime) -> bool {
    let value = |name: &str| {
        attributes.split(|b| *b == b';').rev().find_map(|attribute| {
            let equals = memchr::memchr(b'=', attribute)?;
            let (is, value) = (attribute.get(..equals)?, attribute.get(equals + 1..)?);
            let is_it = is.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
            is_it.then_some(value.trim_ascii())
        })
    };
    if let Some(age) = value("max-age") {
        return matches!(age, [b'0'] | [b'-', ..]);
    }
    let expires = value("expires").and_then(|date| std::str::from_utf8(date).ok());
    // the dates of cookies have more forms than those of HTTP
    let expires = expires.and_then(|date| {
        cookie::Cookie::parse(format!("c=; Expires={date}")).ok()?.expires_datetime()
    });
    expires.is_some_and(|date| date.unix_timestamp() <= i64::from(now.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> String {
        format!("AQ{}", "x".repeat(80))
    }

    #[test]
    fn what_was_wrapped_is_unwrapped() {
        let key = key();
        for inner in [&b"A1B2.node1"[..], b"", b".", b"a=b"] {
            let wrapped = wrap(&key, inner);
            assert_eq!(unwrap(&wrapped), Some((key.as_bytes(), inner)));
        }
    }

    #[test]
    fn the_application_s_own_values_are_left_alone() {
        let session = AppSession::new(Source::Cookie((*b"JSESSIONID").into()), Role::Envelope);
        for value in [&b"A1B2.node1"[..], b"A1B2", b"", b".x", b"eyJh.eyJz.SflK"] {
            assert_eq!(unwrap(value), None);
            assert_eq!(session.inner(value), value);
        }
    }

    #[test]
    fn a_set_cookie_is_taken_apart() {
        let ends =
            |line: &str| set_by(line.as_bytes(), b"S", UnixTime(784_111_777)).map(|set| set.ends);
        assert_eq!(ends("S=1; Path=/"), Some(false));
        assert_eq!(ends(" S =1"), Some(false));
        assert_eq!(ends("S=; Path=/"), Some(true));
        assert_eq!(ends("S=1; path=/; MAX-AGE = 0"), Some(true));
        assert_eq!(ends("S=1; Max-Age=-1"), Some(true));
        assert_eq!(ends("S=1; Max-Age=01"), Some(false));
        assert_eq!(ends("S=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT"), Some(true));
        assert_eq!(ends("S=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; path=/"), Some(true));
        assert_eq!(ends("S=1; Expires=Sun, 06 Nov 1994 08:49:37 GMT"), Some(true));
        assert_eq!(ends("S=1; Expires=Sun, 06 Nov 1994 08:49:38 GMT"), Some(false));
        assert_eq!(ends("S=1; Max-Age=9; Expires=Thu, 01 Jan 1970 00:00:00 GMT"), Some(false));
        assert_eq!(ends("S=1; Expires=soon"), Some(false));
        assert_eq!(ends("s=1"), None, "names of cookies are told apart by case");
        assert_eq!(ends("SS=1"), None);
        assert_eq!(ends("nothing"), None);
        let set = set_by(b"S=a.b; Path=/x; HttpOnly", b"S", UnixTime(0)).unwrap();
        assert_eq!((set.value, set.attributes), (&b"a.b"[..], &b"; Path=/x; HttpOnly"[..]));
    }
}
