//! A deadline that is moved with every request and hardly ever met: moving it touches no timer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// The one deadline of a connection.
#[derive(Debug)]
pub(in crate::proxy) struct Alarm {
    at: Instant,
    /// Goes off no later than that; when it is early, it is set anew.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// None that is met soon.
    pub(in crate::proxy) fn new(now: Instant) -> Self {
        Self { at: now + Duration::from_hours(1), sleep: None }
    }

    /// Moves it.
    pub(super) fn set(&mut self, at: Instant) {
        self.at = at;
    }

    /// Ready when it is met.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let at = tokio::time::Instant::from_std(self.at);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn it_is_met_when_it_was_set_last() {
        let start = tokio::time::Instant::now();
        let mut alarm = Alarm::new(start.into_std());
        for (set, met) in [(10, 10), (5, 5), (20, 20)] {
            let from = tokio::time::Instant::now();
            alarm.set((from + Duration::from_secs(30)).into_std());
            assert!(poll_fn(|cx| Poll::Ready(alarm.poll(cx))).await.is_pending());
            alarm.set((from + Duration::from_secs(set)).into_std());
            poll_fn(|cx| alarm.poll(cx)).await;
            assert_eq!(from.elapsed(), Duration::from_secs(met));
        }
    }
}
