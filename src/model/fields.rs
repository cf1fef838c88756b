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

/// What a name of fields is, when it is one.
pub fn named(name: &[u8]) -> Option<HeaderName> {
    HeaderName::from_bytes(name).ok()
}
