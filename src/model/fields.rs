//! The fields of a message's header as decisions read them, however they are kept: Pingora keeps
//! them in maps, the short way as they came.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The fields of a header. Names are compared without regard to case.
pub trait Fields {
    /// The values under `name`, in their order.
    fn all<'f>(&'f self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'f [u8]>;

    /// Every field, with its name as it is kept.
    fn each(&self) -> impl Iterator<Item = (&[u8], &[u8])>;

    /// The first value under `name`.
    fn first<'f>(&'f self, name: &HeaderName) -> Option<&'f [u8]> {
        self.all(name).next()
    }

    /// Whether there is any.
    fn has(&self, name: &HeaderName) -> bool {
        self.first(name).is_some()
    }
}

impl Fields for HeaderMap {
    fn all<'f>(&'f self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'f [u8]> {
        self.get_all(name).iter().map(HeaderValue::as_bytes)
    }

    fn each(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
    }
}

/// A value that is text: visible ASCII, spaces and tabs.
pub fn text(value: &[u8]) -> Option<&str> {
    let visible = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    value.iter().all(visible).then(|| std::str::from_utf8(value).ok()).flatten()
}

/// Whether `name` begins with `prefix` to servers of the CGI kind (WSGI, Rack, PHP): they see no difference
/// between `_` and `-`.
#[inline]
pub fn begins_alike(name: &[u8], prefix: &[u8]) -> bool {
    let read = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() >= prefix.len()
        && name.iter().zip(prefix).all(|(one, other)| read(one) == read(other))
}

/// Whether they see `other` in it.
pub fn is_alike(name: &[u8], other: &HeaderName) -> bool {
    let other = other.as_str().as_bytes();
    name.len() == other.len() && begins_alike(name, other)
}

/// What a name of fields is, when it is one.
pub fn named(name: &[u8]) -> Option<HeaderName> {
    HeaderName::from_bytes(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_servers_of_the_cgi_kind_do_not_tell_apart_are_alike() {
        let name = HeaderName::from_static("x-request-id");
        for other in ["x-request-id", "X_Request-ID"] {
            assert!(is_alike(other.as_bytes(), &name) && begins_alike(other.as_bytes(), b"x-req"));
        }
        for other in ["x-request-i", "x-request-ids", "x.request-id", ""] {
            assert!(!is_alike(other.as_bytes(), &name));
        }
    }
}
