//! What the backend is told of the client (`X-Forwarded-*`), and what a proxy before us told us of
//! its scheme. A plan, not an edit of headers: the proxy applies it to Pingora's own header type,
//! which keeps the case of names.

use crate::model::fields::{Fields, begins_alike, named};
use http::header::HeaderName;
use smallvec::SmallVec;
use std::net::{IpAddr, Ipv4Addr};

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
    pub for_: SmallVec<[u8; 64]>,
    /// `X-Forwarded-Proto`; `None`: leave it.
    pub proto: Option<&'static str>,
    /// Whether `X-Forwarded-Host` becomes what the client sent as `Host` or `:authority`.
    pub host: bool,
}

impl Forwarded {
    /// Plans the change. `peer` is the other end of the connection, `trusted` whether it is one of
    /// the trusted proxies, `scheme` that of the listener.
    ///
    /// From a peer that is not trusted every `X-Forwarded-*` and `Forwarded` is dropped and ours
    /// are written anew. A trusted one has its `X-Forwarded-For` continued, and keeps what else it
    /// said.
    pub fn plan(peer: IpAddr, trusted: bool, headers: &impl Fields, scheme: Scheme) -> Self {
        let kept = |name: &HeaderName| trusted && headers.has(name);
        Self {
            dropped: if trusted {
                SmallVec::new()
            } else {
                let names = headers.each().map(|(name, _)| name);
                names.filter(|name| speaks_of_the_client(name)).filter_map(named).collect()
            },
            for_: chain(peer, headers.all(&X_FORWARDED_FOR).filter(|_| trusted)),
            proto: (!kept(&X_FORWARDED_PROTO)).then(|| scheme.name()),
            host: !kept(&X_FORWARDED_HOST),
        }
    }
}

impl Scheme {
    const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Whether the client came by https: by the listener, or by the word of a trusted proxy, the first
/// entry in the last line of `X-Forwarded-Proto`. An entry that is no scheme of the web counts for
/// nothing.
pub fn came_by_https(trusted: bool, headers: &impl Fields, listener_https: bool) -> bool {
    let Some(line) = headers.all(&X_FORWARDED_PROTO).next_back().filter(|_| trusted) else {
        return listener_https;
    };
    let first = line.split(|byte| *byte == b',').next().unwrap_or_default();
    let is = |scheme: &[u8]| first.trim_ascii().eq_ignore_ascii_case(scheme);
    is(b"https") || is(b"wss") || (listener_https && !is(b"http") && !is(b"ws"))
}

fn speaks_of_the_client(name: &[u8]) -> bool {
    match name {
        [b'x' | b'X', ..] => begins_alike(name, b"x-forwarded-"),
        _ => name.eq_ignore_ascii_case(b"forwarded"),
    }
}

/// All lines and the peer as one list.
fn chain<'a>(peer: IpAddr, lines: impl Iterator<Item = &'a [u8]>) -> SmallVec<[u8; 64]> {
    let mut list = SmallVec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        list.extend_from_slice(line);
        list.extend_from_slice(b", ");
    }
    match peer.to_canonical() {
        IpAddr::V4(address) => write_ipv4(address, &mut list),
        IpAddr::V6(address) => list.extend_from_slice(address.to_string().as_bytes()),
    }
    list
}

/// What `Display` writes, without its machinery: this is done for every request.
fn write_ipv4(address: Ipv4Addr, list: &mut SmallVec<[u8; 64]>) {
    for (at, octet) in address.octets().into_iter().enumerate() {
        if at > 0 {
            list.push(b'.');
        }
        if octet >= 100 {
            list.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            list.push(b'0' + octet / 10 % 10);
        }
        list.push(b'0' + octet % 10);
    }
}

#[cfg(test)]
mod tests;
