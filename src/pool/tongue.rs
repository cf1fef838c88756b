//! How the backends of a service are spoken to, whatever is said: the version of HTTP, and the
//! PROXY header before it. Requests and health checks speak alike, hence here.

use super::wire::connect_unix;
use crate::model::ProxyProtocol;
use async_trait::async_trait;
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use ppp::v2::{Builder, Command, Protocol, Version};
use siphasher::sip::SipHasher24;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Streams that share a connection, as in Pingora's and others' servers.
const STREAMS: u32 = 100;

/// What one stream may bring before it is read. The connection has room for that of every stream, so
/// that a client who does not read holds up nobody else; Pingora's has for one.
const WINDOW: u32 = 256 * 1024;
const WINDOWS: u32 = WINDOW * STREAMS;

/// A connection on which nothing moves is asked whether it still is one.
const PING: Duration = Duration::from_secs(10);

/// How a backend is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tongue {
    /// HTTP/2, by prior knowledge.
    pub http2: bool,
    /// The header that announces a client.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// Both ends of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub client: SocketAddr,
    /// Where it connected.
    pub server: SocketAddr,
}

impl Tongue {
    /// The PROXY header of those who speak for themselves, if there is to be one.
    pub(super) fn own_header(self) -> Option<Vec<u8>> {
        self.proxy_protocol.map(|version| header(version, None))
    }

    /// Has `peer` spoken to in this way, for a client or, without one, for ourselves. A connection
    /// that was announced for one client serves no other.
    pub fn speak(self, peer: &mut HttpPeer, ends: Option<Ends>) {
        if self.http2 {
            peer.options.set_http_version(2, 2);
            peer.options.max_h2_streams = STREAMS as usize;
            peer.options.h2_stream_window_size = Some(WINDOW);
            peer.options.h2_connection_window_size = Some(WINDOWS);
            peer.options.h2_ping_interval = Some(PING);
        }
        let header = self.proxy_protocol.map(|version| header(version, ends));
        if let Some(header) = &header {
            // whatever else keeps connections apart goes on to do so
            peer.group_key ^= SipHasher24::new_with_key(b"stickfast client").hash(header);
        }
        // Pingora does not wait for sockets in the file system
        if header.is_some() || matches!(peer._address, PingoraAddr::Unix(_)) {
            let (header, patience) = (header.unwrap_or_default(), peer.options.connection_timeout);
            peer.options.custom_l4 = Some(Arc::new(Dial { header, patience }));
        }
    }
}

/// The header for a client; without one it says that we speak for ourselves.
fn header(version: ProxyProtocol, ends: Option<Ends>) -> Vec<u8> {
    let ends = ends.map(|ends| alike(ends.client, ends.server));
    match (version, ends) {
        (ProxyProtocol::V1, None) => b"PROXY UNKNOWN\r\n".to_vec(),
        (ProxyProtocol::V1, Some((client, server))) => {
            let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (client.ip(), server.ip());
            format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), server.port())
                .into_bytes()
        }
        (ProxyProtocol::V2, None) => {
            let none = Builder::new(Version::Two | Command::Local, 0);
            none.build().unwrap_or_default()
        }
        (ProxyProtocol::V2, Some(ends)) => {
            let some =
                Builder::with_addresses(Version::Two | Command::Proxy, Protocol::Stream, ends);
            // it fails only when the header is too long, which addresses are not
            some.build().unwrap_or_default()
        }
    }
}

/// A header has room for one family only.
fn alike(one: SocketAddr, other: SocketAddr) -> (SocketAddr, SocketAddr) {
    let canonical = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
    let (one, other) = (canonical(one), canonical(other));
    if one.is_ipv4() == other.is_ipv4() {
        return (one, other);
    }
    let mapped = |a: SocketAddr| match a.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), a.port()),
        IpAddr::V6(_) => a,
    };
    (mapped(one), mapped(other))
}

/// Connects, and says the header, if there is one, before Pingora says anything.
#[derive(Debug)]
struct Dial {
    header: Vec<u8>,
    patience: Option<Duration>,
}

#[async_trait]
impl L4Connect for Dial {
    async fn connect(&self, address: &PingoraAddr) -> Result<Stream> {
        let connected = match self.patience {
            None => self.dial(address).await,
            Some(patience) => match tokio::time::timeout(patience, self.dial(address)).await {
                Ok(connected) => connected,
                Err(_) => Err(ErrorKind::TimedOut.into()),
            },
        };
        connected.map_err(|why| {
            #[allow(clippy::wildcard_enum_match_arm, reason = "the list of kinds is open")]
            let etype = match why.kind() {
                ErrorKind::TimedOut => ErrorType::ConnectTimedout,
                ErrorKind::ConnectionRefused | ErrorKind::NotFound => ErrorType::ConnectRefused,
                _ => ErrorType::ConnectError,
            };
            Error::because(etype, "connecting", why).into_up()
        })
    }
}

impl Dial {
    async fn dial(&self, address: &PingoraAddr) -> std::io::Result<Stream> {
        match address {
            PingoraAddr::Inet(address) => {
                let mut stream = TcpStream::connect(address).await?;
                stream.write_all(&self.header).await?;
                Ok(stream.into())
            }
            PingoraAddr::Unix(address) => {
                let path = address.as_pathname().ok_or(ErrorKind::InvalidInput)?;
                let mut stream = connect_unix(path).await?;
                stream.write_all(&self.header).await?;
                Ok(stream.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(client: &str, server: &str) -> String {
        let ends = Ends { client: client.parse().unwrap(), server: server.parse().unwrap() };
        String::from_utf8(header(ProxyProtocol::V1, Some(ends))).unwrap()
    }

    #[test]
    fn both_addresses_are_of_one_family() {
        assert_eq!(text("1.2.3.4:5", "6.7.8.9:80"), "PROXY TCP4 1.2.3.4 6.7.8.9 5 80\r\n");
        assert_eq!(text("[::ffff:1.2.3.4]:5", "6.7.8.9:80"), "PROXY TCP4 1.2.3.4 6.7.8.9 5 80\r\n");
        assert_eq!(text("1.2.3.4:5", "[::1]:80"), "PROXY TCP6 ::ffff:1.2.3.4 ::1 5 80\r\n");
    }

    #[test]
    fn the_binary_header_is_one_that_others_read() {
        let ends =
            Ends { client: "1.2.3.4:5".parse().unwrap(), server: "6.7.8.9:80".parse().unwrap() };
        let bytes = header(ProxyProtocol::V2, Some(ends));
        let read = ppp::v2::Header::try_from(&bytes[..]).unwrap();
        assert_eq!((read.command, bytes.len()), (Command::Proxy, 28));
        let own = header(ProxyProtocol::V2, None);
        let read = ppp::v2::Header::try_from(&own[..]).unwrap();
        assert_eq!((read.command, own.len()), (Command::Local, 16));
    }

    #[test]
    fn connections_of_two_clients_are_not_shared() {
        let key = |client: &str| {
            let mut peer = HttpPeer::new("127.0.0.1:1", false, String::new());
            let server = "127.0.0.1:2".parse().unwrap();
            let ends = Ends { client: client.parse().unwrap(), server };
            Tongue { http2: false, proxy_protocol: Some(ProxyProtocol::V1) }
                .speak(&mut peer, Some(ends));
            peer.group_key
        };
        assert_eq!(key("1.2.3.4:5"), key("1.2.3.4:5"));
        assert_ne!(key("1.2.3.4:5"), key("1.2.3.4:6"));
    }
}
