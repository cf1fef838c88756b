//! Who the client is behind proxies, and what the backend is told of it. The first byte says whether
//! the peer is trusted; the rest is lines of `X-Forwarded-For`, with those that start with a digit
//! and a colon taken as other headers.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;
use std::sync::LazyLock;
use stickfast::identity::client::client_address;
use stickfast::identity::forwarded::{
    Forwarded, Scheme, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, came_by_https,
};
use stickfast::identity::trust::TrustedProxies;

static TRUSTED: LazyLock<TrustedProxies> = LazyLock::new(|| {
    TrustedProxies::new(&["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()])
});

/// As the headers of a request.
pub fn holds(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let trusted = first % 2 == 1;
    let peer: IpAddr = if trusted { [10, 0, 0, 9].into() } else { [203, 0, 113, 9].into() };
    let headers = headers(data);
    let client = client_address(peer, &headers, &TRUSTED);
    let entries = headers
        .get_all(&X_FORWARDED_FOR)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii));
    let entries: Vec<&[u8]> = entries.collect();
    assert_eq!(client, client.to_canonical());
    if !trusted {
        assert_eq!(client, peer, "nobody vouches for what it says");
    }
    if client != peer {
        let named = entries.iter().any(|entry| names(entry, client));
        assert!(named, "{client} stands in {entries:?}");
    }
    next_hop(peer, trusted, &headers, client, entries.len());
    scheme(trusted, &headers);
}

/// A line is `for`, unless it starts with `1:` (the scheme), `2:` (the host) or `3:` (a look-alike).
fn headers(data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let (name, value) = match line {
            [b'1', b':', value @ ..] => (X_FORWARDED_PROTO.clone(), value),
            [b'2', b':', value @ ..] => (X_FORWARDED_HOST.clone(), value),
            [b'3', b':', value @ ..] => (HeaderName::from_static("x_forwarded_for"), value),
            value => (X_FORWARDED_FOR.clone(), value),
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    headers
}

/// Whether an entry is this address, in any way to write it.
fn names(entry: &[u8], address: IpAddr) -> bool {
    let Ok(text) = std::str::from_utf8(entry) else { return false };
    let starts = [text, text.rsplit_once(':').map_or(text, |(start, _)| start)];
    let mut bare = starts.iter().map(|text| text.trim_matches(['[', ']']));
    bare.any(|text| text.parse::<IpAddr>().is_ok_and(|found| found.to_canonical() == address))
}

/// A gateway behind us that trusts whom we trust sees the same client, and what we do not believe
/// does not reach it.
fn next_hop(peer: IpAddr, trusted: bool, headers: &HeaderMap, client: IpAddr, entries: usize) {
    let plan = Forwarded::plan(peer, trusted, headers, Scheme::Https);
    let told = &*plan.for_;
    assert!(told.ends_with(peer.to_string().as_bytes()), "the peer is the nearest hop");
    if trusted {
        assert!(plan.dropped.is_empty());
        assert_eq!(plan.proto.is_none(), headers.contains_key(&X_FORWARDED_PROTO));
        assert_eq!(!plan.host, headers.contains_key(&X_FORWARDED_HOST));
    } else {
        assert_eq!(told, peer.to_string().as_bytes(), "nothing of what it said");
        assert!(headers.keys().all(|name| plan.dropped.contains(name)), "all of these go");
        assert!(plan.proto.is_some() && plan.host);
    }
    // it looks at one hop more than we did, and no chain is looked at for ever
    if entries < 31 {
        let told = HeaderValue::from_bytes(told).expect("a value");
        let next = HeaderMap::from_iter([(X_FORWARDED_FOR.clone(), told)]);
        assert_eq!(client_address([10, 0, 0, 1].into(), &next, &TRUSTED), client);
    }
}

fn scheme(trusted: bool, headers: &HeaderMap) {
    let said = headers.contains_key(&X_FORWARDED_PROTO);
    for listener in [false, true] {
        let https = came_by_https(trusted, headers, listener);
        assert!(https == listener || trusted && said, "the listener knows, unless a proxy says");
    }
    let by = |listener| came_by_https(trusted, headers, listener);
    assert!(!by(false) || by(true), "a listener with https never makes it less");
}
