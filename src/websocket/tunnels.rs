//! The tunnels of the process: how many there are, and the word to all of them that it ends.

use prometheus::IntGauge;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// All tunnels.
#[derive(Debug)]
pub struct Tunnels {
    /// Each one holds a clone, so that they are counted.
    open: Arc<()>,
    /// Over what time they are to end, once they are.
    stop: watch::Sender<Option<Duration>>,
}

impl Default for Tunnels {
    fn default() -> Self {
        Self { open: Arc::new(()), stop: watch::Sender::new(None) }
    }
}

impl Tunnels {
    /// How many there are.
    pub fn open(&self) -> usize {
        Arc::strong_count(&self.open) - 1
    }

    /// One more, which is also counted in `gauge`.
    pub fn enter(&self, gauge: IntGauge) -> Tunnel {
        gauge.inc();
        Tunnel { _counted: Arc::clone(&self.open), gauge, stop: self.stop.subscribe() }
    }

    /// Asks every one to end, at a moment of its own within `spread`: clients that are cut all at
    /// once come back all at once. Those that are opened later end as soon.
    pub fn stop(&self, spread: Duration) {
        self.stop.send_replace(Some(spread));
    }
}

/// One tunnel; counts for as long as it lives.
#[derive(Debug)]
pub struct Tunnel {
    _counted: Arc<()>,
    gauge: IntGauge,
    stop: watch::Receiver<Option<Duration>>,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

impl Tunnel {
    /// Returns when this one has to end. `dice` from 0 to 1 is its place among all.
    pub fn stopped(&self, dice: f64) -> impl Future<Output = ()> + Send + use<> {
        let mut stop = self.stop.clone();
        async move {
            match stop.wait_for(Option::is_some).await.map(|spread| *spread) {
                Ok(Some(spread)) => tokio::time::sleep(spread.mul_f64(dice.clamp(0.0, 1.0))).await,
                // who could ask is gone
                Ok(None) | Err(_) => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    #[tokio::test]
    async fn each_one_ends_at_a_moment_of_its_own() {
        let tunnels = Tunnels::default();
        let gauge = IntGauge::new("open", "open").unwrap();
        let enter = || tunnels.enter(gauge.clone());
        let (first, last) = (enter(), enter());
        assert_eq!((tunnels.open(), gauge.get()), (2, 2));
        let soon = Duration::from_millis(20);
        assert!(timeout(soon, first.stopped(0.0)).await.is_err(), "nobody has asked");
        tunnels.stop(Duration::from_hours(1));
        first.stopped(0.0).await;
        assert!(timeout(soon, last.stopped(1.0)).await.is_err(), "its time is an hour away");
        enter().stopped(0.0).await;
        drop((first, last));
        assert_eq!((tunnels.open(), gauge.get()), (0, 0));
    }
}
