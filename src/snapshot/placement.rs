//! Where a rule places clients by itself instead of by its service's policy: by their address, by a
//! header, or by the name that they give their session.

use super::choices::Choices;
use crate::model::Fields;
use http::HeaderName;
use smallvec::SmallVec;
use std::net::IpAddr;

/// What is hashed for one client.
pub type PlaceKey = SmallVec<[u8; 64]>;

/// A selection of the rule's own.
pub struct Placement {
    /// What is laid out is shared between rules that place alike.
    pub choices: Choices,
    /// What of a request is hashed.
    pub by: By,
}

/// What of a request is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// The name of its session, else the address of the client behind trusted proxies.
    Session(Prefixes),
    /// The address of the client behind trusted proxies.
    Client(Prefixes),
    /// The address that the connection came from.
    Peer(Prefixes),
    /// The value of this header. Without it the service's policy places the client.
    Header(HeaderName),
    /// Nothing but the name that a client gives its session.
    Name,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The client behind trusted proxies.
    pub client: IpAddr,
    /// The other end of the connection.
    pub peer: IpAddr,
}

impl By {
    /// What is hashed for a request of the application's `session`, if it has one; `None` leaves it
    /// to the service.
    pub fn key(
        &self,
        caller: Caller,
        headers: &impl Fields,
        session: Option<&[u8]>,
    ) -> Option<PlaceKey> {
        match self {
            Self::Session(prefixes) => Some(match session {
                Some(name) => PlaceKey::from_slice(name),
                None => prefixes.key(caller.client),
            }),
            Self::Client(prefixes) => Some(prefixes.key(caller.client)),
            Self::Peer(prefixes) => Some(prefixes.key(caller.peer)),
            Self::Header(name) => {
                headers.first(name).filter(|value| !value.is_empty()).map(PlaceKey::from_slice)
            }
            Self::Name => None,
        }
    }
}

/// Leading bits of an address that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefixes {
    /// Of IPv4.
    pub ipv4: u8,
    /// Of IPv6.
    pub ipv6: u8,
}

impl Prefixes {
    /// What counts of `address`.
    pub fn key(self, address: IpAddr) -> PlaceKey {
        let mask = |bytes: &[u8], bits: u8| {
            let whole = bytes.iter().enumerate().map(|(nth, byte)| {
                let left = u32::from(bits).saturating_sub(8 * u32::try_from(nth).unwrap_or(32));
                byte & u8::MAX.checked_shl(8_u32.saturating_sub(left)).unwrap_or(0)
            });
            whole.collect()
        };
        match address {
            IpAddr::V4(address) => mask(&address.octets(), self.ipv4),
            IpAddr::V6(address) => mask(&address.octets(), self.ipv6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_leading_bits_count() {
        let prefixes = Prefixes { ipv4: 20, ipv6: 64 };
        let key = |text: &str| prefixes.key(text.parse().unwrap()).to_vec();
        assert_eq!(key("10.1.255.7"), [10, 1, 240, 0]);
        assert_eq!(key("10.1.241.9"), key("10.1.255.7"));
        assert_ne!(key("10.1.239.9"), key("10.1.255.7"));
        assert_eq!(key("2001:db8:1:2:3::4"), key("2001:db8:1:2::9"));
        assert_ne!(key("2001:db8:1:3::4"), key("2001:db8:1:2::9"));
        let all = Prefixes { ipv4: 32, ipv6: 128 };
        assert_eq!(all.key("10.1.2.3".parse().unwrap()).as_slice(), [10, 1, 2, 3]);
    }
}
