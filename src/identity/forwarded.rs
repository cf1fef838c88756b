//! What the backend is told of the client (`X-Forwarded-*`), and what a proxy before us told us of
//! its scheme. A plan, not an edit of headers: the proxy applies it to Pingora's own header type,
//! which keeps the case of names.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;
use std::io::Write;
use std::net::IpAddr;

/// `X-Forwarded-For`: the chain of addresses, the nearest last.
pub static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `X-Forwarded-Proto`: the scheme that the client used.
pub static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// `X-Forwarded-Host`: the host that the client asked.
pub static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

/// How to change the request on its way to the backend: remove what is [`dropped`](Self::dropped),
/// then replace each header that has a value here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// Headers that the client must not speak in; empty for trusted peers.
    pub dropped: SmallVec<[HeaderName; 4]>,
    /// The one line of `X-Forwarded-For`.
    pub for_: HeaderValue,
    /// `X-Forwarded-Proto`; `None`: leave it.
    pub proto: Option<HeaderValue>,
    /// `X-Forwarded-Host`; `None`: leave it.
    pub host: Option<HeaderValue>,
}

impl Forwarded {
    /// Plans the change. `peer` is the other end of the connection, `trusted` whether it is one of
    /// the trusted proxies, `scheme` that of the listener, `host` what the client sent as `Host` or
    /// `:authority`, unchanged.
    ///
    /// From a peer that is not trusted every `X-Forwarded-*` and `Forwarded` is dropped and ours
    /// are written anew. A trusted one has its `X-Forwarded-For` continued, and keeps what else it
    /// said.
    pub fn plan(
        peer: IpAddr,
        trusted: bool,
        headers: &HeaderMap,
        scheme: Scheme,
        host: Option<HeaderValue>,
    ) -> Self {
        let kept = |name: &HeaderName| trusted && headers.contains_key(name);
        Self {
            dropped: if trusted {
                SmallVec::new()
            } else {
                headers.keys().filter(|name| speaks_of_the_client(name)).cloned().collect()
            },
            for_: chain(peer, headers.get_all(&X_FORWARDED_FOR).iter().filter(|_| trusted)),
            proto: (!kept(&X_FORWARDED_PROTO)).then(|| scheme.value()),
            host: host.filter(|_| !kept(&X_FORWARDED_HOST)),
        }
    }
}

impl Scheme {
    fn value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// Whether the client came by https: by the listener, or by the word of a trusted proxy, the first
/// entry in the last line of `X-Forwarded-Proto`. An entry that is no scheme of the web counts for
/// nothing.
pub fn came_by_https(trusted: bool, headers: &HeaderMap, listener_https: bool) -> bool {
    let Some(line) = headers.get_all(&X_FORWARDED_PROTO).iter().next_back().filter(|_| trusted)
    else {
        return listener_https;
    };
    let first = line.as_bytes().split(|byte| *byte == b',').next().unwrap_or_default();
    let is = |scheme: &[u8]| first.trim_ascii().eq_ignore_ascii_case(scheme);
    is(b"https") || is(b"wss") || (listener_https && !is(b"http") && !is(b"ws"))
}

/// `_` is read as `-`, since servers of the CGI kind (WSGI, Rack, PHP) see no difference.
fn speaks_of_the_client(name: &HeaderName) -> bool {
    let is = |(byte, wanted): (u8, u8)| byte == wanted || (byte == b'_' && wanted == b'-');
    let prefix = b"x-forwarded-";
    let name = name.as_str();
    name == "forwarded"
        || (name.len() >= prefix.len() && name.bytes().zip(prefix.iter().copied()).all(is))
}

/// All lines and the peer as one list.
fn chain<'a>(peer: IpAddr, lines: impl Iterator<Item = &'a HeaderValue>) -> HeaderValue {
    let mut list = Vec::with_capacity(48);
    for line in lines.filter(|line| !line.is_empty()) {
        list.extend_from_slice(line.as_bytes());
        list.extend_from_slice(b", ");
    }
    // Writing to a `Vec` cannot fail, and values joined by commas make a value.
    let _ = write!(list, "{}", peer.to_canonical());
    HeaderValue::from_maybe_shared(bytes::Bytes::from(list))
        .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests;
