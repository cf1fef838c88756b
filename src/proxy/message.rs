//! A header under way, whoever has parsed it: what the stages read of it and change in it. Pingora's
//! own types are two of its kinds, those of the short way the others.

use crate::model::Fields;
use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, Result};

/// A header that can be changed. Values are valid ones, or made of pieces of such.
pub(super) trait Message: Fields {
    /// Takes every line of `name` out.
    fn remove(&mut self, name: &HeaderName);

    /// Has `name` stand there once, with this value.
    fn set(&mut self, name: &HeaderName, value: &[u8]) -> Result<()>;

    /// Puts one more line of `name` in.
    fn add(&mut self, name: &HeaderName, value: &[u8]) -> Result<()>;
}

/// The header of a request.
pub(super) trait Request: Message {
    fn method(&self) -> &Method;
    fn version(&self) -> Version;

    /// What is asked for, as it came.
    fn raw_target(&self) -> &[u8];

    /// Host and port of what is asked for, where it names them.
    fn authority(&self) -> Option<&str>;

    /// Path and query.
    fn target(&self) -> &str;

    /// Asks for this path and query instead, if it is one.
    fn set_target(&mut self, target: &str) -> Result<()>;

    fn path(&self) -> &str;

    /// What is behind the first `?`.
    fn query(&self) -> Option<&str>;
}

/// The header of a response.
pub(super) trait Response: Message {
    fn status(&self) -> StatusCode;
}

fn value(bytes: &[u8]) -> Result<HeaderValue> {
    let value = HeaderValue::from_bytes(bytes);
    value.map_err(|why| Error::because(ErrorType::InvalidHTTPHeader, "no value of a field", why))
}

impl Fields for RequestHeader {
    fn all<'f>(&'f self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'f [u8]> {
        self.headers.all(name)
    }

    fn each(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.headers.each()
    }
}

impl Message for RequestHeader {
    fn remove(&mut self, name: &HeaderName) {
        self.remove_header(name);
    }

    fn set(&mut self, name: &HeaderName, bytes: &[u8]) -> Result<()> {
        self.insert_header(name, value(bytes)?)
    }

    fn add(&mut self, name: &HeaderName, bytes: &[u8]) -> Result<()> {
        self.append_header(name, value(bytes)?).map(|_| ())
    }
}

impl Request for RequestHeader {
    fn method(&self) -> &Method {
        &self.method
    }

    fn version(&self) -> Version {
        self.version
    }

    fn raw_target(&self) -> &[u8] {
        self.raw_path()
    }

    fn authority(&self) -> Option<&str> {
        self.uri.authority().map(http::uri::Authority::as_str)
    }

    fn target(&self) -> &str {
        self.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str)
    }

    fn set_target(&mut self, target: &str) -> Result<()> {
        let uri = target.parse().map_err(|why| {
            Error::because(ErrorType::InvalidHTTPHeader, "no path and query", why)
        })?;
        self.set_uri(uri);
        Ok(())
    }

    fn path(&self) -> &str {
        self.uri.path()
    }

    fn query(&self) -> Option<&str> {
        self.uri.query()
    }
}

impl Fields for ResponseHeader {
    fn all<'f>(&'f self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'f [u8]> {
        self.headers.all(name)
    }

    fn each(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.headers.each()
    }
}

impl Message for ResponseHeader {
    fn remove(&mut self, name: &HeaderName) {
        self.remove_header(name);
    }

    fn set(&mut self, name: &HeaderName, bytes: &[u8]) -> Result<()> {
        self.insert_header(name, value(bytes)?)
    }

    fn add(&mut self, name: &HeaderName, bytes: &[u8]) -> Result<()> {
        self.append_header(name, value(bytes)?).map(|_| ())
    }
}

impl Response for ResponseHeader {
    fn status(&self) -> StatusCode {
        self.status
    }
}
