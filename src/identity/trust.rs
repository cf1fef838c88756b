//! Whose word counts: the proxies that the operator trusts, ready for look-up.

use ipnet::{IpNet, Ipv4Net};
use std::net::IpAddr;

/// The networks of `trustedProxies`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// First and last address of each network, sorted. They never overlap, so one comparison after
    /// a binary search decides, for one network as for a cloud provider's thousands.
    ranges: Box<[(IpAddr, IpAddr)]>,
}

impl TrustedProxies {
    /// Compiles the networks; none trusts nobody. IPv4-mapped IPv6 networks
    /// (`::ffff:10.0.0.0/104`) are taken as IPv4.
    pub fn new(networks: &[IpNet]) -> Self {
        let networks: Vec<IpNet> = networks.iter().copied().map(canonical).collect();
        let mut ranges: Box<[_]> = IpNet::aggregate(&networks)
            .iter()
            .map(|network| (network.network(), network.broadcast()))
            .collect();
        // Aggregating takes care of overlaps; it promises no order.
        ranges.sort_unstable();
        Self { ranges }
    }

    /// Whether the address is one of a trusted proxy. An IPv4-mapped IPv6 address counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let after = self.ranges.partition_point(|(first, _)| *first <= address);
        after
            .checked_sub(1)
            .and_then(|at| self.ranges.get(at))
            .is_some_and(|(_, last)| address <= *last)
    }
}

fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    v6.addr()
        .to_ipv4_mapped()
        .zip(v6.prefix_len().checked_sub(96))
        .and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok())
        .map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trust(networks: &[&str]) -> TrustedProxies {
        let networks: Vec<IpNet> = networks.iter().map(|text| text.parse().unwrap()).collect();
        TrustedProxies::new(&networks)
    }

    fn trusts(networks: &[&str], address: &str) -> bool {
        trust(networks).contains(address.parse().unwrap())
    }

    #[test]
    fn nobody_is_trusted_by_default() {
        assert!(!trusts(&[], "127.0.0.1"));
        assert!(!trusts(&[], "::1"));
    }

    #[test]
    fn a_network_reaches_from_its_first_to_its_last_address() {
        for (address, inside) in [
            ("9.255.255.255", false),
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
        ] {
            assert_eq!(trusts(&["10.0.0.0/8"], address), inside, "{address}");
        }
    }

    #[test]
    fn host_bits_of_a_network_do_not_matter() {
        assert!(trusts(&["10.1.2.3/8"], "10.0.0.1"));
    }

    #[test]
    fn a_mapped_address_counts_as_ipv4() {
        assert!(trusts(&["10.0.0.0/8"], "::ffff:10.0.0.1"));
        assert!(trusts(&["::ffff:10.0.0.0/104"], "10.0.0.1"));
        assert!(trusts(&["::ffff:10.0.0.0/104"], "::ffff:10.0.0.1"));
    }

    #[test]
    fn all_of_ipv6_is_not_ipv4_and_the_other_way_round() {
        assert!(!trusts(&["::/0"], "10.0.0.1"));
        assert!(!trusts(&["0.0.0.0/0"], "2001:db8::1"));
    }

    #[test]
    fn networks_may_lie_in_each_other_in_any_order() {
        let networks = ["10.1.0.0/16", "2001:db8::/32", "10.0.0.0/8", "192.168.0.1/32"];
        for inside in ["10.1.0.1", "10.200.0.1", "2001:db8::1", "192.168.0.1"] {
            assert!(trusts(&networks, inside), "{inside}");
        }
        assert!(!trusts(&networks, "192.168.0.2"));
    }

    fn network() -> impl Strategy<Value = IpNet> {
        let address = any::<[u8; 2]>().prop_map(|[a, b]| [a & 3, 0, 0, b & 15]);
        let v4 = (address.clone(), 0..=32u8).prop_map(|(a, p)| IpNet::new(a.into(), p));
        let v6 = (address, 0..=128u8).prop_map(|([a, .., b], p)| {
            IpNet::new([u16::from(a), 0, 0, 0, 0, 0, 0, u16::from(b)].into(), p)
        });
        prop_oneof![v4, v6].prop_map(Result::unwrap)
    }

    proptest! {
        #[test]
        fn look_up_agrees_with_a_scan(
            networks in prop::collection::vec(network(), 0..24),
            address in network(),
        ) {
            let address = address.addr();
            prop_assume!(address == address.to_canonical());
            let scan = networks.iter().any(|network| network.contains(&address));
            prop_assert_eq!(TrustedProxies::new(&networks).contains(address), scan);
        }
    }
}
