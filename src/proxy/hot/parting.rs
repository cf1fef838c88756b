//! Word that idle connections are to end. Whoever waits for it takes a lock that all connections of a
//! listener share, so each does that once, not for every request.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::sync::watch;

/// What one connection hears of it.
pub(super) struct Parting<'w, F> {
    told: watch::Receiver<bool>,
    /// Ready when the word is given.
    word: Pin<&'w mut F>,
    /// Whom `word` wakes.
    listener: Option<Waker>,
}

impl<'w, F: Future> Parting<'w, F> {
    /// `word` waits for what `told` can see too.
    pub(super) fn new(told: watch::Receiver<bool>, word: Pin<&'w mut F>) -> Self {
        Self { told, word, listener: None }
    }

    /// Ready when idle connections are to end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let listens = self.listener.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if listens {
            // an error: its listener is gone
            let given = self.told.has_changed().unwrap_or(true);
            return if given { Poll::Ready(()) } else { Poll::Pending };
        }
        self.listener = Some(cx.waker().clone());
        self.word.as_mut().poll(cx).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::pin::pin;

    async fn is_pending<F: Future>(parting: &mut Parting<'_, F>) -> bool {
        poll_fn(|cx| Poll::Ready(parting.poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn who_listens_already_hears_of_it() {
        let sender = watch::Sender::new(false);
        let mut waits = sender.subscribe();
        let word = pin!(waits.wait_for(|parting| *parting));
        let mut parting = Parting::new(sender.subscribe(), word);
        for _ in 0..3 {
            assert!(is_pending(&mut parting).await);
        }
        let tell = async {
            tokio::task::yield_now().await;
            sender.send_replace(true);
        };
        // the task is woken by what it has waited for the first time
        tokio::join!(poll_fn(|cx| parting.poll(cx)), tell);
        assert!(!is_pending(&mut parting).await);
    }

    #[tokio::test]
    async fn what_was_said_before_counts() {
        let sender = watch::Sender::new(true);
        let mut waits = sender.subscribe();
        let word = pin!(waits.wait_for(|parting| *parting));
        assert!(!is_pending(&mut Parting::new(sender.subscribe(), word)).await);
    }
}
