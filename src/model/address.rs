//! Where one connects or listens: an IP address with a port, or a socket in the file system.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

/// What the configuration puts before the path of a socket.
const UNIX: &str = "unix:";

/// Longest path that the system takes, less the zero at its end.
const LONGEST_PATH: usize = 107;

/// One end of a connection. Shown, and read, as `10.0.0.1:80`, `[::1]:80` or `unix:/run/app.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An address with a port.
    Inet(SocketAddr),
    /// The absolute path of a socket.
    Unix(Arc<str>),
}

/// The text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address")]
pub struct NotAnAddress;

impl Address {
    /// The IP address and port, where it has one.
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Inet(address)
    }
}

impl FromStr for Address {
    type Err = NotAnAddress;

    /// A path has neither spaces, which Pingora separates paths by, nor control characters.
    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let Some(path) = text.strip_prefix(UNIX) else {
            return text.parse().map(Self::Inet).map_err(|_| NotAnAddress);
        };
        let sane = path.starts_with('/')
            && !path.ends_with('/')
            && path.len() <= LONGEST_PATH
            && path.bytes().all(|b| b.is_ascii_graphic());
        if sane { Ok(Self::Unix(path.into())) } else { Err(NotAnAddress) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_as_it_is_read() {
        for text in ["10.0.0.1:80", "[::1]:8080", "unix:/run/app.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_path_is_absolute_plain_and_not_too_long() {
        let long = format!("unix:/{}", "a".repeat(107));
        for text in ["unix:", "unix:app.sock", "unix:/run/", "unix:/a b", "unix:/a\n", &long] {
            assert_eq!(text.parse::<Address>(), Err(NotAnAddress), "{text}");
        }
    }
}
