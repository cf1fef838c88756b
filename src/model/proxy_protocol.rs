//! The versions of the PROXY protocol (haproxy.org, `proxy-protocol.txt`).

/// How a connection is announced to whoever accepts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}
