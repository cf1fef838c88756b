//! How many connections each address has, so that one client cannot have them all.

use crate::observe::Metrics;
use ahash::AHashMap;
use parking_lot::Mutex;
use prometheus::IntGauge;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// The open connections of each address. A household has a network of IPv6, hence /64.
#[derive(Debug, Default)]
pub struct Census(Mutex<AHashMap<IpAddr, u32>>);

/// One connection; leaves when it is dropped.
#[derive(Debug)]
pub(super) struct Entry {
    census: Arc<Census>,
    of: IpAddr,
}

/// A connection that is open, for as long as it is.
#[derive(Debug)]
pub struct Open {
    gauge: IntGauge,
    entry: Option<Entry>,
}

impl Open {
    /// Counts one more.
    pub fn new(metrics: &Metrics) -> Self {
        metrics.connections.inc();
        Self { gauge: metrics.connections.clone(), entry: None }
    }

    /// Counts it for its address too; `false` when that has `most` already.
    pub(super) fn enter(&mut self, census: &Arc<Census>, address: IpAddr, most: u32) -> bool {
        self.entry = census.enter(address, most);
        self.entry.is_some()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

impl Census {
    /// Lets a connection in unless its address has `most` already.
    fn enter(self: &Arc<Self>, address: IpAddr, most: u32) -> Option<Entry> {
        let of = household(address);
        let mut counts = self.0.lock();
        let count = counts.entry(of).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Entry { census: Arc::clone(self), of })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut counts = self.census.0.lock();
        if let Some(count) = counts.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.of);
            }
        }
    }
}

fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_no_more() {
        let census = Arc::new(Census::default());
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|a| a.parse().unwrap());
        let first = census.enter(one, 2).unwrap();
        let _second = census.enter(one, 2).unwrap();
        assert!(census.enter(one, 2).is_none());
        assert!(census.enter(other, 2).is_some());
        drop(first);
        assert!(census.enter(one, 2).is_some());
    }

    #[test]
    fn nothing_is_kept_of_those_who_left() {
        let census = Arc::new(Census::default());
        drop(census.enter("10.0.0.1".parse().unwrap(), 1));
        assert!(census.0.lock().is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let census = Arc::new(Census::default());
        let _held = census.enter("2001:db8::1".parse().unwrap(), 1).unwrap();
        assert!(census.enter("2001:db8::ffff:1".parse().unwrap(), 1).is_none());
        assert!(census.enter("2001:db8:0:1::1".parse().unwrap(), 1).is_some());
    }
}
