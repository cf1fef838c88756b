//! What names, hosts and addresses may look like.

use crate::model::Address;
use std::net::{Ipv6Addr, SocketAddr};

/// A token of HTTP: a method, a header name, a cookie name.
pub(super) fn is_token(text: &str) -> bool {
    let special = |b| b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || special(b))
}

/// Printable ASCII that needs no quoting in a cookie, a header or a log line.
pub(super) fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic() && !b"\"',;\\".contains(&b))
}

/// `www.example.com`, or an IPv4 address.
pub(super) fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(plain)
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// What a client may ask for without a port: a host name, or an address (IPv6 in brackets).
pub(super) fn is_host(text: &str) -> bool {
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    is_host_name(text) || bracketed.is_some_and(|v6| v6.parse::<Ipv6Addr>().is_ok())
}

/// As [`is_host_and_port`], or `unix:/path`.
pub(super) fn is_backend_address(text: &str) -> bool {
    is_host_and_port(text) || matches!(text.parse(), Ok(Address::Unix(_)))
}

/// `ip:port`, `[v6]:port` or `host:port`, the port from 1 on.
pub(crate) fn is_host_and_port(text: &str) -> bool {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return address.port() != 0;
    }
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    // a last label of digits only would be a mistyped address
    let top = host.rsplit('.').next().unwrap_or(host);
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let is_port = is_number(port) && port.parse::<u16>().is_ok_and(|port| port != 0);
    is_host_name(host) && !is_number(top) && is_port
}
