//! The PROXY header before anything else of a connection: who the client is, in the words of the
//! proxy in front of us. Separate since it reads raw bytes, and of a trusted proxy only.

use pingora_core::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora_core::protocols::{SocketDigest, Stream};
use ppp::{v1, v2};
use std::net::SocketAddr;
use tokio::io::AsyncReadExt;

/// Longest line of version 1, as the specification counts it.
const LONGEST_LINE: usize = 107;
/// The fixed part of version 2.
const FIXED: usize = 16;
/// The rest of version 2; what HAProxy sends with everything on takes a few hundred bytes.
const LONGEST_REST: usize = 4096;

/// Why a connection is cut.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unannounced {
    /// It ended or failed inside the header.
    #[error("the connection broke off: {0}")]
    Broken(#[from] std::io::Error),
    /// It does not begin with a header.
    #[error("no PROXY header")]
    Absent,
    /// The header is not as it should be.
    #[error("a faulty PROXY header")]
    Faulty,
}

/// The client and where it connected; `None`: the proxy speaks for itself, or does not say.
type Announced = Option<(SocketAddr, SocketAddr)>;

/// Takes the header off `stream` and has the connection be the client's.
pub(super) async fn take(stream: &mut Stream) -> Result<(), Unannounced> {
    let Some((client, server)) = read(stream).await? else { return Ok(()) };
    let digest = SocketDigest::from_raw_fd(stream.id());
    let _ = digest.peer_addr.set(Some(PingoraAddr::Inet(client)));
    let _ = digest.local_addr.set(Some(PingoraAddr::Inet(server)));
    stream.set_socket_digest(digest);
    Ok(())
}

/// Not a byte more than the header is read: what follows is another's.
async fn read(from: &mut (impl AsyncReadExt + Unpin)) -> Result<Announced, Unannounced> {
    let mut header = vec![from.read_u8().await?];
    match header.first() {
        Some(b'P') => {
            while header.last() != Some(&b'\n') {
                if header.len() == LONGEST_LINE {
                    return Err(Unannounced::Faulty);
                }
                header.push(from.read_u8().await?);
                if !(header.starts_with(b"PROXY ") || b"PROXY ".starts_with(&header)) {
                    return Err(Unannounced::Absent);
                }
            }
            line(&header)
        }
        Some(b'\r') => {
            header.resize(FIXED, 0);
            from.read_exact(header.get_mut(1..).unwrap_or_default()).await?;
            let Some((start, [high, low])) = header.split_last_chunk() else {
                return Err(Unannounced::Faulty);
            };
            if !start.starts_with(v2::PROTOCOL_PREFIX) {
                return Err(Unannounced::Absent);
            }
            let rest = usize::from(u16::from_be_bytes([*high, *low]));
            if rest > LONGEST_REST {
                return Err(Unannounced::Faulty);
            }
            header.resize(FIXED + rest, 0);
            from.read_exact(header.get_mut(FIXED..).unwrap_or_default()).await?;
            binary(&header)
        }
        _ => Err(Unannounced::Absent),
    }
}

fn line(header: &[u8]) -> Result<Announced, Unannounced> {
    match v1::Header::try_from(header).map_err(|_| Unannounced::Faulty)?.addresses {
        v1::Addresses::Unknown => Ok(None),
        v1::Addresses::Tcp4(ends) => Ok(Some((
            (ends.source_address, ends.source_port).into(),
            (ends.destination_address, ends.destination_port).into(),
        ))),
        v1::Addresses::Tcp6(ends) => Ok(Some((
            (ends.source_address, ends.source_port).into(),
            (ends.destination_address, ends.destination_port).into(),
        ))),
    }
}

fn binary(header: &[u8]) -> Result<Announced, Unannounced> {
    let header = v2::Header::try_from(header).map_err(|_| Unannounced::Faulty)?;
    match (header.command, header.addresses) {
        (v2::Command::Local, _) | (_, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => {
            Ok(None)
        }
        (v2::Command::Proxy, v2::Addresses::IPv4(ends)) => Ok(Some((
            (ends.source_address, ends.source_port).into(),
            (ends.destination_address, ends.destination_port).into(),
        ))),
        (v2::Command::Proxy, v2::Addresses::IPv6(ends)) => Ok(Some((
            (ends.source_address, ends.source_port).into(),
            (ends.destination_address, ends.destination_port).into(),
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is read of `bytes`, and what is left.
    fn outcome(bytes: &[u8]) -> (Result<Announced, Unannounced>, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut rest = bytes;
        let read = runtime.block_on(read(&mut rest));
        (read, rest.len())
    }

    fn client(bytes: &[u8]) -> String {
        outcome(bytes).0.unwrap().map_or("-".into(), |(client, _)| client.to_string())
    }

    #[test]
    fn a_line_names_the_client_and_what_follows_is_left() {
        let (read, left) = outcome(b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\nGET /");
        let (client, server) = read.unwrap().unwrap();
        assert_eq!(
            (client.to_string(), server.to_string()),
            ("203.0.113.9:4711".into(), "10.0.0.1:80".into())
        );
        assert_eq!(left, 5);
        assert_eq!(client_of_v6(), "[2001:db8::9]:4711");
    }

    fn client_of_v6() -> String {
        client(b"PROXY TCP6 2001:db8::9 ::1 4711 80\r\n")
    }

    #[test]
    fn the_binary_form_names_the_client_whatever_else_it_has() {
        let mut header =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11\xcb\0\x71\x09\x0a\0\0\x01\x12\x67\0\x50".to_vec();
        header.extend_from_slice(b"\x04\0\x02hi rest");
        let (read, left) = outcome(&header);
        assert_eq!(read.unwrap().unwrap().0.to_string(), "203.0.113.9:4711");
        assert_eq!(left, 5);
    }

    #[test]
    fn a_proxy_may_speak_for_itself() {
        assert_eq!(client(b"PROXY UNKNOWN\r\n"), "-");
        assert_eq!(client(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"), "-");
    }

    #[test]
    fn anything_else_is_no_header_and_is_seen_early() {
        for bytes in
            [&b"GET / HTTP/1.1\r\n"[..], b"PRI * HTTP/2.0\r\n", b"\x16\x03\x01", b"PROXYTCP4"]
        {
            assert!(matches!(outcome(bytes).0, Err(Unannounced::Absent)), "{bytes:?}");
        }
    }

    #[test]
    fn a_header_has_an_end() {
        let line = format!("PROXY UNKNOWN {}", "x".repeat(200));
        assert!(matches!(outcome(line.as_bytes()).0, Err(Unannounced::Faulty)));
        let huge = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff";
        assert!(matches!(outcome(huge).0, Err(Unannounced::Faulty)));
        assert!(matches!(outcome(b"PROXY TCP4 1.2.3.4").0, Err(Unannounced::Broken(_))));
        assert!(matches!(outcome(b"PROXY TCP4 1.2.3 1.2.3.4 1 1\r\n").0, Err(Unannounced::Faulty)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(start in prop::sample::select(vec![&b""[..], b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"]), rest in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes = [start, &rest[..]].concat();
            let _ = outcome(&bytes);
        }
    }
}
