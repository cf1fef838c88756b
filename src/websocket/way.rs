//! One direction of a WebSocket: passes the bytes on as they are, up to the close frame, and puts a
//! close frame of ours between two frames where it has to.

use super::frames::{CloseCode, Frames, close_frame};
use super::relay::Clock;
use bytes::Bytes;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

/// Bytes under way in one direction, besides what the kernel holds.
const BUFFER: usize = 8 * 1024;

/// The last that came from a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// A close frame.
    Close,
    /// Nothing: it was gone.
    Gone,
    /// It does not matter, as the other side takes no more.
    Deaf,
}

/// One direction.
pub(super) struct Way<'r> {
    clock: &'r Clock,
    carried: &'r AtomicU64,
    /// Says that both sides are to be told to close.
    order: watch::Receiver<Option<CloseCode>>,
    /// For a frame of ours.
    mask: Option<[u8; 4]>,
    /// What the other side is told when this one is gone.
    lost: Option<CloseCode>,
    frames: Frames,
    /// Whether a close frame of ours has gone out.
    said: bool,
}

impl<'r> Way<'r> {
    pub(super) fn new(
        clock: &'r Clock,
        carried: &'r AtomicU64,
        order: watch::Receiver<Option<CloseCode>>,
        mask: Option<[u8; 4]>,
        lost: Option<CloseCode>,
    ) -> Self {
        Self { clock, carried, order, mask, lost, frames: Frames::default(), said: false }
    }

    /// Passes on what comes until nothing may follow.
    pub(super) async fn run(
        mut self,
        early: Bytes,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> Last {
        let mut told = None;
        match self.pass(&early, &mut told, &mut to).await {
            Ok(()) if self.frames.closed() => return Last::Close,
            Ok(()) => {}
            Err(_) => return Last::Deaf,
        }
        drop(early);
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = tokio::select! {
                biased;
                code = ordered(&mut self.order), if told.is_none() => {
                    told = Some(code);
                    if self.pass(&[], &mut told, &mut to).await.is_err() {
                        return Last::Deaf;
                    }
                    continue;
                }
                read = from.read(&mut buffer) => read,
            };
            let bytes = read.ok().and_then(|n| buffer.get(..n)).unwrap_or_default();
            if bytes.is_empty() {
                // an error means that it is gone as well
                let _ = self.part(&mut to).await;
                return Last::Gone;
            }
            self.clock.touch();
            match self.pass(bytes, &mut told, &mut to).await {
                Ok(()) if self.frames.closed() => return Last::Close,
                Ok(()) => {}
                Err(_) => return Last::Deaf,
            }
        }
    }

    /// Passes `bytes` on, up to the end of a close frame. After our own close frame they are followed
    /// but go nowhere.
    async fn pass(
        &mut self,
        bytes: &[u8],
        told: &mut Option<CloseCode>,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let mut passed = 0;
        let until = |frames: &Frames| frames.closed() || (told.is_some() && frames.at_boundary());
        while passed < bytes.len() && !until(&self.frames) {
            passed += self.frames.step(bytes.get(passed..).unwrap_or_default());
        }
        let (goes_on, rest) = bytes.split_at_checked(passed).unwrap_or((bytes, &[]));
        if !self.said {
            self.write(goes_on, to).await?;
        }
        if let Some(code) = *told
            && !self.said
            && !self.frames.closed()
            && self.frames.at_boundary()
        {
            self.said = true;
            self.write(&close_frame(code, self.mask), to).await?;
        }
        if self.said {
            self.frames.pass(rest);
        }
        Ok(())
    }

    /// This side is gone: the other is told, unless it is in the middle of a frame or knows.
    async fn part(&mut self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        if let Some(code) = self.lost
            && !self.said
            && self.frames.at_boundary()
        {
            self.write(&close_frame(code, self.mask), to).await?;
        }
        to.shutdown().await
    }

    async fn write(&self, bytes: &[u8], to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        to.write_all(bytes).await?;
        to.flush().await?;
        self.carried.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// Returns when both sides are to be told to close.
async fn ordered(order: &mut watch::Receiver<Option<CloseCode>>) -> CloseCode {
    let code = order.wait_for(Option::is_some).await.ok().and_then(|code| *code);
    match code {
        Some(code) => code,
        // who could say it is gone
        None => std::future::pending().await,
    }
}
