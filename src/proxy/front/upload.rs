//! The body of a request that comes as a stream, and how long it may be silent. Pingora reads it without
//! a limit, and tells only of what has come; so this stands beside the exchange, and ends it.

use crate::model::clock;
use crate::proxy::finish::Unfinished;
use parking_lot::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How the body of one request comes along.
#[derive(Default)]
pub(super) struct Upload {
    awaited: Mutex<Option<Awaited>>,
    /// Wakes who watches when the body is asked for.
    asked: Notify,
    /// Told of the request when it is broken off.
    unfinished: Mutex<Option<Box<Unfinished>>>,
}

#[derive(Clone, Copy)]
struct Awaited {
    since: Instant,
    limit: Duration,
}

impl Upload {
    /// More of it is asked for, and has to come within `limit`.
    pub(super) fn ask(&self, limit: Duration) {
        *self.awaited.lock() = Some(Awaited { since: clock::monotonic_now(), limit });
        self.asked.notify_one();
    }

    /// What is to be told of the request if it is broken off.
    pub(super) fn remember(&self, unfinished: Unfinished) {
        *self.unfinished.lock() = Some(Box::new(unfinished));
    }

    /// The same, for who breaks it off.
    pub(super) fn unfinished(&self) -> Option<Box<Unfinished>> {
        self.unfinished.lock().take()
    }

    /// A part of it, or of the answer, has come.
    pub(super) fn note_part(&self) {
        if let Some(awaited) = &mut *self.awaited.lock() {
            awaited.since = clock::monotonic_now();
        }
    }

    /// Nothing is asked for: it is through, or has to wait.
    pub(super) fn rest(&self) {
        *self.awaited.lock() = None;
    }

    /// Ends when nothing has come for too long.
    pub(super) async fn silence(&self) {
        loop {
            let awaited = *self.awaited.lock();
            let Some(Awaited { since, limit }) = awaited else {
                self.asked.notified().await;
                continue;
            };
            let passed = clock::monotonic_now().saturating_duration_since(since);
            let left = limit.saturating_sub(passed);
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);

    /// Whether it falls silent within some ten times the limit.
    async fn falls_silent(upload: &Upload) -> bool {
        tokio::time::timeout(LIMIT * 10, upload.silence()).await.is_ok()
    }

    #[tokio::test]
    async fn a_body_is_silent_only_while_it_is_asked_for() {
        let upload = Upload::default();
        assert!(!falls_silent(&upload).await, "nobody has asked");
        upload.ask(LIMIT);
        upload.rest();
        assert!(!falls_silent(&upload).await, "it is through");
        upload.ask(LIMIT);
        assert!(falls_silent(&upload).await);
    }

    #[tokio::test]
    async fn each_part_buys_time() {
        let upload = Upload::default();
        let begun = clock::monotonic_now();
        upload.ask(LIMIT);
        let parts = async {
            while begun.elapsed() < LIMIT * 3 {
                tokio::time::sleep(LIMIT / 20).await;
                upload.note_part();
            }
        };
        tokio::join!(upload.silence(), parts);
        assert!(begun.elapsed() >= LIMIT * 4, "{:?}", begun.elapsed());
    }
}
