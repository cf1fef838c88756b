//! The short way: requests that need nothing special, served on the client's connection and one to
//! the backend, without Pingora between. It asks the same functions as Pingora's hooks do
//! (`receive`, `choose`, `sign`, `respond`, `fail`, `answer`, `finish`); what it cannot do it leaves to them
//! before anything is used up.
//!
//! ```text
//!  ClientIo ─► head: plain? ─┬► exchange: receive ─► choose ─► relay: wire ─► respond ─► body ─► finish ─┐
//!      ▲                     └► Pingora, with every byte that was read                                   │
//!      └─────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```

mod alarm;
mod body;
mod exchange;
mod head;
mod lines;
mod links;
mod parting;
mod relay;
mod scratch;
mod seek;
mod trouble;
mod upload;

use super::answer::{LINGER, LINGER_BYTES};
use super::company::Fresh;
use super::decide::Familiar;
use super::front::ClientIo;
use crate::model::clock;
use crate::snapshot::Live;
use alarm::Alarm;
use exchange::{After, Exchange};
use head::Head;
use parting::Parting;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{Shutdown, Ssl};
use pingora_core::server::ShutdownWatch;
use scratch::Scratch;
use seek::Seek;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::watch;

/// What is read of a connection before any of it is used: the longest header.
const MOST: usize = 1 << 20;
/// Room for what was read that is kept from one request to the next.
const KEPT: usize = 8 * 1024;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The connection is done with.
    Closed,
    /// The next request is one for Pingora.
    NotOurs,
}

/// A client's connection.
pub(super) struct Conn<'c> {
    io: &'c mut ClientIo,
    peer: IpAddr,
    tls: Option<Arc<SslDigest>>,
    /// What was read and is not used up.
    inbox: Vec<u8>,
    /// What is to be written.
    out: Vec<u8>,
    alarm: Alarm,
    /// The binding that an earlier request without a key was given.
    fresh: Option<Fresh>,
    /// The cookies of the last request.
    familiar: Familiar,
    /// Requests so far.
    served: u32,
    /// Whether a part of the last request's body is still to come.
    owes_body: bool,
    /// Whether the listener has closed.
    closing: &'c ShutdownWatch,
}

impl Conn<'_> {
    fn is_closing(&self) -> bool {
        // it is told once; an error: its door is gone
        self.closing.has_changed().unwrap_or(true)
    }

    /// Reads what there is; `Ok(0)`: the client has left.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut scratch = Scratch::take();
        let read = self.poll_fill(cx, &mut scratch);
        if let Poll::Ready(Ok(read)) = read {
            self.inbox.extend_from_slice(scratch.get(..read).unwrap_or_default());
        }
        read
    }

    /// Reads what there is, past the inbox.
    fn poll_fill(&mut self, cx: &mut Context<'_>, to: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(to);
        let read = Pin::new(&mut *self.io).poll_read(cx, &mut buffer);
        read.map_ok(|()| buffer.filled().len())
    }

    /// More of the next request; `false` when none is to come.
    async fn more(&mut self, parting: &mut Parting<'_, impl Future>) -> bool {
        poll_fn(|cx| match self.poll_read(cx) {
            Poll::Ready(read) => Poll::Ready(read.is_ok_and(|read| read > 0)),
            Poll::Pending => {
                // once it has begun, the deadline for headers counts
                let idle = self.inbox.is_empty();
                let over = idle && (self.alarm.poll(cx).is_ready() || parting.poll(cx).is_ready());
                if over { Poll::Ready(false) } else { Poll::Pending }
            }
        })
        .await
    }

    /// Ends our side. A connection that is closed with unread bytes is reset, and the client may lose the
    /// answer before it has seen it: what it has sent ahead is read, for a while.
    async fn part(&mut self) {
        if self.inbox.is_empty() && !self.owes_body {
            return;
        }
        let rest = async {
            self.io.shutdown().await;
            let mut left = LINGER_BYTES;
            while left > 0 && poll_fn(|cx| self.poll_read(cx)).await.is_ok_and(|read| read > 0) {
                left = left.saturating_sub(self.inbox.len());
                self.inbox.clear();
            }
        };
        let _ = tokio::time::timeout(LINGER, rest).await;
    }

    /// Forgets what was used up.
    fn use_up(&mut self, length: usize) {
        self.inbox.drain(..length.min(self.inbox.len()));
        if self.inbox.is_empty() && self.inbox.capacity() > KEPT {
            self.inbox = Vec::new();
        }
        if self.out.capacity() > KEPT {
            self.out = Vec::new();
        }
    }
}

/// Serves a connection for as long as its requests are plain. `parting` turns true when idle
/// connections are to be closed.
pub(super) async fn serve(
    io: &mut ClientIo,
    live: &Arc<Live>,
    closing: &ShutdownWatch,
    parting: watch::Receiver<bool>,
) -> Ended {
    let mut waits = parting.clone();
    // what is to be heard of later must be listened for now, whatever the task has done before
    let word = tokio::task::unconstrained(waits.wait_for(|parting| *parting));
    let word = std::pin::pin!(word);
    let mut parting = Parting::new(parting, word);
    let now = clock::monotonic_now();
    io.is_on_the_short_way();
    let (peer, tls) = (io.peer(), io.get_ssl_digest());
    let (inbox, out) = (Vec::new(), Vec::new());
    let alarm = Alarm::new(now);
    let (fresh, familiar) = (None, Familiar::default());
    let (served, owes_body) = (0, false);
    let mut conn =
        Conn { io, peer, tls, inbox, out, alarm, fresh, familiar, served, owes_body, closing };
    let mut seek = Seek::default();
    loop {
        let due = seek.is_due(&conn.inbox);
        let head = if due { head::request(&conn.inbox) } else { Head::Partial };
        let request = match head {
            Head::Whole(request) => request,
            Head::Partial if conn.inbox.len() < MOST => {
                if conn.more(&mut parting).await {
                    continue;
                }
                return Ended::Closed;
            }
            Head::Partial | Head::Odd => break,
        };
        seek = Seek::default();
        match Exchange::new(&mut conn, request, live).run().await {
            After::NotOurs => break,
            After::Close => {
                // what it sends now is no header
                conn.part().await;
                conn.io.request_is_over();
                return Ended::Closed;
            }
            After::Next(until) => {
                conn.io.request_is_over();
                conn.next(until);
            }
        }
    }
    if let Some(fresh) = conn.fresh.take() {
        conn.io.set_fresh(fresh);
    }
    conn.io.has_served(conn.served);
    let unused = std::mem::take(&mut conn.inbox);
    conn.io.put_back(unused);
    Ended::NotOurs
}

impl Conn<'_> {
    /// Turns to the next request, which is awaited until then.
    fn next(&mut self, until: Instant) {
        self.served = self.served.saturating_add(1);
        self.alarm.set(until);
        if !self.inbox.is_empty() {
            self.io.header_is_at_hand(&self.inbox);
        }
    }
}
