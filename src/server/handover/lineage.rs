//! The processes that one start of the service has led to. Apart from [`super::link`], which two
//! of them share for as long as both live: a process that stops has to know of all that still finish
//! requests, since systemd ends the others when the main one has.

use parking_lot::Mutex;
use std::io::{PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tokio::sync::oneshot;

/// A pipe into which nothing is ever written. Each process holds its writing end until it ends, however
/// that comes, so that reading ends with the last of them.
pub(in crate::server) struct Lineage {
    reader: PipeReader,
    /// `None` once this process waits for the others.
    writer: Mutex<Option<PipeWriter>>,
}

impl Lineage {
    /// That of a first process.
    pub(in crate::server) fn new() -> std::io::Result<Self> {
        let (reader, writer) = std::io::pipe()?;
        Ok(Self { reader, writer: Mutex::new(Some(writer)) })
    }

    /// From the process before this one.
    pub(super) fn inherited(reader: OwnedFd, writer: OwnedFd) -> Self {
        Self { reader: reader.into(), writer: Mutex::new(Some(writer.into())) }
    }

    /// Shows both ends, the one to read from first; not when this process is about to end.
    pub(super) fn show<T>(&self, to: impl FnOnce([BorrowedFd<'_>; 2]) -> T) -> Option<T> {
        let writer = self.writer.lock();
        writer.as_ref().map(|writer| to([self.reader.as_fd(), writer.as_fd()]))
    }

    /// Waits until every other process has ended.
    pub(in crate::server) async fn others_have_ended(&self) {
        drop(self.writer.lock().take());
        let Ok(mut reader) = self.reader.try_clone() else { return };
        let (ended, end) = oneshot::channel();
        // a thread of its own, which does not keep the process from ending
        std::thread::spawn(move || {
            let _ = reader.read(&mut [0]);
            // an error means that nobody waits any more
            let _ = ended.send(());
        });
        let _ = end.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn copy(lineage: &Lineage) -> Lineage {
        let copies = lineage.show(|ends| ends.map(|end| end.try_clone_to_owned().unwrap()));
        let [reader, writer] = copies.unwrap();
        Lineage::inherited(reader, writer)
    }

    #[tokio::test]
    async fn the_wait_ends_with_the_last_of_the_others() {
        let last = Lineage::new().unwrap();
        let (one, other) = (copy(&last), copy(&last));
        let mut wait = pin!(last.others_have_ended());
        let mut glance = Context::from_waker(Waker::noop());
        assert_eq!(wait.as_mut().poll(&mut glance), Poll::Pending);
        drop(one);
        assert_eq!(wait.as_mut().poll(&mut glance), Poll::Pending);
        drop(other);
        wait.await;
        assert!(last.show(|_| ()).is_none(), "nobody comes after one that waits");
    }

    #[tokio::test]
    async fn who_is_alone_does_not_wait() {
        Lineage::new().unwrap().others_have_ended().await;
    }
}
