//! The body of a request on its way to the backend, part after part, while the answer may already
//! come.

use super::Conn;
use super::scratch::Scratch;
use super::trouble::client_gone;
use crate::pool::Wire;
use pingora::Result;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;

/// A request of so many bytes stays at hand until it is answered, so that it can be sent again.
const AT_HAND: u64 = 64 * 1024;
/// So much of a body goes out in one piece with its header.
const WITH_HEADER: usize = 16 * 1024;

/// How far the body of a request has come.
#[derive(Debug)]
pub(super) struct Upload {
    /// Bytes of the header, behind which the body begins.
    start: usize,
    body: u64,
    /// What of the connection's inbox has been sent, the header included.
    at: usize,
    /// Bytes that were not sent yet.
    left: u64,
    /// The backend takes no more of it.
    refused: bool,
}

/// How a step went.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// All of it is sent, or the backend takes no more.
    Done,
    /// The client's turn.
    ClientsTurn,
    /// The backend's turn.
    BackendsTurn,
}

impl Upload {
    /// Of a header with a body.
    pub(super) fn new(header: usize, body: u64) -> Self {
        Self { start: header, body, at: header, left: body, refused: false }
    }

    /// What of the connection's inbox is used up.
    pub(super) fn used(&self) -> usize {
        self.at
    }

    /// Whether all of it has been sent.
    pub(super) fn is_whole(&self) -> bool {
        self.left == 0 && !self.refused
    }

    /// Whether a backend goes on with it.
    pub(super) fn goes_on(&self) -> bool {
        self.left > 0 && !self.refused
    }

    /// Whether it can be sent again at any time.
    pub(super) fn stays_at_hand(&self) -> bool {
        self.start as u64 + self.body <= AT_HAND
    }

    /// Whether it can be sent to another backend.
    pub(super) fn can_begin_anew(&self) -> bool {
        self.left == self.body || self.stays_at_hand()
    }

    /// Begins anew, for another try.
    pub(super) fn begin(&mut self) {
        if self.can_begin_anew() {
            *self = Self::new(self.start, self.body);
        }
    }

    fn at_hand<'i>(&self, inbox: &'i [u8]) -> &'i [u8] {
        let come = inbox.get(self.at..).unwrap_or_default();
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        come.get(..left).unwrap_or(come)
    }

    fn note(&mut self, sent: usize) {
        self.at += sent;
        self.left = self.left.saturating_sub(sent as u64);
    }

    /// The first part, for the same write as the header.
    pub(super) fn first<'i>(&mut self, inbox: &'i [u8]) -> &'i [u8] {
        let part = self.at_hand(inbox);
        let part = part.get(..WITH_HEADER).unwrap_or(part);
        self.note(part.len());
        part
    }

    /// Sends what of `come` belongs to the body, as far as the backend takes it; 0: it takes no more.
    fn pass(&mut self, come: &[u8], wire: &mut Wire, cx: &mut Context<'_>) -> Poll<usize> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let part = come.get(..left).unwrap_or(come);
        Pin::new(wire).poll_write(cx, part).map(|written| {
            // it may have answered before it left
            let sent = written.unwrap_or(0);
            self.refused = sent == 0;
            self.left = self.left.saturating_sub(sent as u64);
            sent
        })
    }

    /// Moves what can be moved; tells who has to go on, and whether anything was moved.
    pub(super) fn poll(
        &mut self,
        conn: &mut Conn<'_>,
        wire: &mut Wire,
        cx: &mut Context<'_>,
    ) -> Result<(Step, bool)> {
        let mut moved = false;
        while self.goes_on() {
            let part = self.at_hand(&conn.inbox);
            if !part.is_empty() {
                match self.pass(part, wire, cx) {
                    Poll::Ready(sent) => self.at += sent,
                    Poll::Pending => return Ok((Step::BackendsTurn, moved)),
                }
                moved = true;
                if !self.stays_at_hand() && (self.at == conn.inbox.len() || self.left == 0) {
                    conn.inbox.drain(self.start..self.at);
                    self.at = self.start;
                }
                continue;
            }
            let mut scratch = Scratch::take();
            let read = match conn.client.poll_fill(cx, &mut scratch) {
                Poll::Ready(Ok(read)) if read > 0 => read,
                Poll::Ready(_) => return Err(client_gone()),
                Poll::Pending => return Ok((Step::ClientsTurn, moved)),
            };
            moved = true;
            let come = scratch.get(..read).unwrap_or_default();
            // what need not be sent again need not be kept
            let passed =
                if self.stays_at_hand() { Poll::Pending } else { self.pass(come, wire, cx) };
            let passed = if let Poll::Ready(sent) = passed { sent } else { 0 };
            conn.inbox.extend_from_slice(come.get(passed..).unwrap_or_default());
        }
        Ok((Step::Done, moved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_at_hand_goes_out_with_the_header() {
        let inbox = b"HEADbodyNEXT";
        let mut upload = Upload::new(4, 4);
        assert_eq!(upload.first(inbox), b"body");
        assert!(upload.is_whole());
        assert_eq!(upload.used(), 8);
        upload.begin();
        assert!(!upload.is_whole());
        assert_eq!(upload.first(&inbox[..6]), b"bo");
        assert_eq!((upload.is_whole(), upload.used()), (false, 6));
    }

    #[test]
    fn a_large_one_cannot_begin_anew_once_a_part_is_gone() {
        let mut upload = Upload::new(4, AT_HAND);
        assert!(upload.can_begin_anew());
        upload.first(b"HEADpart");
        assert!(!upload.can_begin_anew());
        let mut small = Upload::new(4, AT_HAND - 4);
        small.first(b"HEADpart");
        assert!(small.can_begin_anew());
    }
}
