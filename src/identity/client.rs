//! The address of the client, which is not the peer's where trusted proxies stand between. Apart
//! from what the backend is told ([`super::forwarded`]): the two read the same header for
//! different ends.

use super::forwarded::X_FORWARDED_FOR;
use super::trust::TrustedProxies;
use crate::model::Fields;
use std::net::{IpAddr, SocketAddr};

/// Entries of `X-Forwarded-For` that are looked at. No chain of proxies is that long, and a client
/// can write any number.
const MOST_HOPS: usize = 32;

/// The nearest address that is not a trusted proxy, from the peer through `X-Forwarded-For`
/// leftwards; where all are trusted, the farthest. An entry that is no address ends the walk at
/// the hop before, since nobody vouches for what lies beyond. Entries may be `ip`, `ip:port`,
/// `[v6]` or `[v6]:port`; empty ones are skipped (RFC 9110 §5.6.1). IPv4-mapped IPv6 comes back as
/// IPv4.
pub fn client_address(peer: IpAddr, headers: &impl Fields, trusted: &TrustedProxies) -> IpAddr {
    let mut hop = peer.to_canonical();
    if !trusted.contains(hop) {
        return hop;
    }
    let lines = headers.all(&X_FORWARDED_FOR).rev();
    let entries = lines.flat_map(|line| line.rsplit(|byte| *byte == b','));
    for entry in entries.map(<[u8]>::trim_ascii).take(MOST_HOPS) {
        if entry.is_empty() {
            continue;
        }
        let Some(address) = parse(entry) else { break };
        hop = address;
        if !trusted.contains(hop) {
            break;
        }
    }
    hop
}

fn parse(entry: &[u8]) -> Option<IpAddr> {
    // a zone means something on its own machine only
    let text = std::str::from_utf8(entry).ok().filter(|text| !text.contains('%'))?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    text.parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip()))
        .or_else(bracketed)
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    fn trusted() -> TrustedProxies {
        TrustedProxies::new(&["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()])
    }

    fn client(peer: &str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        client_address(peer.parse().unwrap(), &headers, &trusted()).to_string()
    }

    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_claims() {
        assert_eq!(client("203.0.113.9", &["10.0.0.1", "1.2.3.4"]), "203.0.113.9");
    }

    #[test]
    fn a_trusted_peer_that_says_nothing_is_the_client() {
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn the_nearest_untrusted_hop_is_the_client() {
        assert_eq!(client("10.0.0.1", &["1.1.1.1, 203.0.113.9, 10.0.0.2"]), "203.0.113.9");
    }

    #[test]
    fn several_lines_are_one_chain() {
        assert_eq!(
            client("10.0.0.1", &["1.1.1.1", "203.0.113.9", "10.0.0.3,10.0.0.2"]),
            "203.0.113.9"
        );
    }

    #[test]
    fn where_all_are_trusted_the_farthest_is_the_client() {
        assert_eq!(client("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    }

    #[test]
    fn every_way_to_write_an_address_is_read() {
        for (entry, address) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("2001:db8::9", "2001:db8::9"),
            ("[2001:db8::9]", "2001:db8::9"),
            ("[2001:DB8::9]:443", "2001:db8::9"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("\t 203.0.113.9  ", "203.0.113.9"),
        ] {
            assert_eq!(client("10.0.0.1", &[entry]), address, "{entry}");
        }
    }

    #[test]
    fn a_mapped_peer_counts_as_ipv4() {
        assert_eq!(client("::ffff:10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("::ffff:203.0.113.9", &["1.1.1.1"]), "203.0.113.9");
    }

    #[test]
    fn trusted_hops_may_be_ipv6() {
        assert_eq!(client("fd00::1", &["203.0.113.9, [fd00::2]:80"]), "203.0.113.9");
    }

    #[test]
    fn garbage_ends_the_walk_at_the_last_good_hop() {
        for garbage in [
            "unknown",
            "_hidden",
            "1.2.3",
            "1.2.3.4:",
            "[1.2.3.4]",
            "fe80::1%eth0",
            "[2001:db8::9%1]:443",
            "é",
        ] {
            let line = format!("203.0.113.9, {garbage}, 10.0.0.2");
            assert_eq!(client("10.0.0.1", &[&line]), "10.0.0.2", "{garbage}");
            assert_eq!(client("10.0.0.1", &["203.0.113.9", garbage]), "10.0.0.1", "{garbage}");
        }
    }

    #[test]
    fn empty_entries_are_skipped() {
        assert_eq!(client("10.0.0.1", &["203.0.113.9,, ,10.0.0.2,", ""]), "203.0.113.9");
    }

    #[test]
    fn no_more_than_thirty_two_entries_are_looked_at() {
        let behind = |hops: usize| format!("203.0.113.9{}", ", 10.0.0.2".repeat(hops));
        assert_eq!(client("10.0.0.1", &[&behind(31)]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &[&behind(32)]), "10.0.0.2");
    }

    proptest! {
        #[test]
        fn any_header_is_taken(lines in prop::collection::vec(any::<Vec<u8>>(), 0..4)) {
            let mut headers = HeaderMap::new();
            for value in lines.iter().filter_map(|line| HeaderValue::from_bytes(line).ok()) {
                headers.append("x-forwarded-for", value);
            }
            client_address([10, 0, 0, 1].into(), &headers, &trusted());
        }

        #[test]
        fn the_client_is_never_one_that_an_untrusted_hop_named(
            claimed in "[0-9.,: a-f\\[\\]]{0,40}",
        ) {
            let line = format!("{claimed}, 203.0.113.9, 10.0.0.2");
            prop_assert_eq!(client("10.0.0.1", &[&line]), "203.0.113.9");
        }
    }
}
