//! The address of a destination, which is a URL there and `host:port` here.

use crate::config::is_host_and_port;
use http::Uri;

/// A destination as our language would name it.
pub(super) struct Address {
    pub(super) https: bool,
    /// `host:port`
    pub(super) target: String,
    /// A path that the old gateway put before that of the request; empty mostly.
    pub(super) path: String,
    /// Whether the host is a name rather than an address.
    pub(super) is_named: bool,
}

/// `None` when it is neither a URL of HTTP nor `host:port`, or names what our language refuses: port
/// 0, a mistyped address.
pub(super) fn parse(text: &str) -> Option<Address> {
    let uri: Uri = text.parse().ok()?;
    let https = match uri.scheme_str() {
        Some("http") | None => false,
        Some("https") => true,
        Some(_) => return None,
    };
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let default = uri.scheme().map(|_| if https { 443 } else { 80 });
    let port = uri.port_u16().or(default)?;
    let host = authority.host();
    let bare = host.trim_matches(['[', ']']);
    let target = format!("{host}:{port}");
    is_host_and_port(&target).then(|| Address {
        https,
        target,
        path: uri.path().trim_end_matches('/').to_owned(),
        is_named: bare.parse::<std::net::IpAddr>().is_err(),
    })
}
