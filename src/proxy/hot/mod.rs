//! The short way: requests that need nothing special, served on the client's connection, or a stream of
//! it, and one to the backend, without Pingora between. It asks the same functions as Pingora's hooks do
//! (`receive`, `choose`, `sign`, `respond`, `fail`, `answer`, `finish`); what it cannot do it leaves to them
//! before anything is used up.
//!
//! ```text
//!  ClientIo ─► head: plain? ─┬► exchange: receive ─► choose ─► relay: wire ─► respond ─► body ─► finish ─┐
//!      ▲                     └► Pingora, with every byte that was read ──────────────────────────────────┤
//!      └─────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```

mod alarm;
mod body;
mod client;
mod exchange;
mod head;
mod lines;
mod links;
mod parting;
mod relay;
mod scratch;
mod seek;
mod stream;
mod trouble;
mod upload;

pub(super) use alarm::Alarm;
pub(super) use stream::{Visit, serve_stream};

use super::answer::{LINGER, LINGER_BYTES};
use super::company::Fresh;
use super::decide::Familiar;
use super::front::{ClientIo, Known};
use crate::model::clock;
use crate::snapshot::Live;
use client::Client;
use exchange::{After, Exchange};
use head::Head;
use parting::Parting;
use pingora_core::protocols::Ssl;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::server::ShutdownWatch;
use scratch::Scratch;
use seek::Seek;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::sync::watch;

/// What is read of a connection before any of it is used: the longest header.
const MOST: usize = 1 << 20;
/// What a client may send ahead of the answer to its last request.
const AHEAD: usize = 64 * 1024;
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
    client: Client<'c>,
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
        let read = self.client.poll_fill(cx, &mut scratch);
        if let Poll::Ready(Ok(read)) = read {
            self.inbox.extend_from_slice(scratch.get(..read).unwrap_or_default());
        }
        read
    }

    /// The binding that an earlier request without a key was given.
    fn with_fresh<T>(&mut self, ask: impl FnOnce(&mut Option<Fresh>) -> T) -> T {
        match &self.client {
            Client::Connection(_) => ask(&mut self.fresh),
            Client::Stream(stream) => stream.siblings().with_fresh(ask),
        }
    }

    /// The same, where the connection is watched meanwhile; [`Self::now_known`] takes it back.
    fn known(&mut self) -> Known {
        match &self.client {
            Client::Connection(_) => Known::Own(self.fresh.take()),
            Client::Stream(stream) => Known::Shared(stream.siblings().clone()),
        }
    }

    fn now_known(&mut self, known: Known) {
        if let Known::Own(fresh) = known {
            self.fresh = fresh;
        }
    }

    /// The cookies of the last request.
    fn with_familiar<T>(&mut self, ask: impl FnOnce(&mut Familiar) -> T) -> T {
        match &self.client {
            Client::Connection(_) => ask(&mut self.familiar),
            Client::Stream(stream) => stream.siblings().with_familiar(ask),
        }
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

    /// Whether more may be read ahead of the answer to a request that ends there.
    fn has_room(&self, end: usize) -> bool {
        self.inbox.len() < end + AHEAD
    }

    /// Ready when the client has gone away. What it sends behind `end` is kept.
    async fn leaves(&mut self, end: usize) {
        poll_fn(|cx| {
            while self.has_room(end) {
                if ready!(self.poll_read(cx)).map_or(true, |read| read == 0) {
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        })
        .await;
    }

    /// Ends our side. A connection that is closed with unread bytes is reset, and the client may lose the
    /// answer before it has seen it: what it has sent ahead is read, for a while.
    async fn part(&mut self) {
        if self.inbox.is_empty() && !self.owes_body {
            return;
        }
        let rest = async {
            self.client.shutdown().await;
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
    let (fresh, served) = (io.fresh(), io.served());
    let client = Client::Connection(io);
    let (inbox, out) = (Vec::new(), Vec::new());
    let mut alarm = Alarm::new(now);
    if served > 0 {
        alarm.set(now + live.pin().limits.idle_timeout);
    }
    let (familiar, owes_body) = (Familiar::default(), false);
    let mut conn =
        Conn { client, peer, tls, inbox, out, alarm, fresh, familiar, served, owes_body, closing };
    let mut seek = Seek::default();
    loop {
        conn.pass_over_empty_lines();
        let due = seek.is_due(&conn.inbox);
        let head = if due { head::request(&conn.inbox) } else { Head::Partial };
        let request = match head {
            Head::Whole(request) => request,
            Head::Partial if conn.inbox.len() < MOST => {
                if conn.more(&mut parting).await {
                    continue;
                }
                if conn.inbox.len() > live.pin().limits.max_header_bytes {
                    // it has been told so, and may still send
                    conn.part().await;
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
                conn.client.request_is_over();
                return Ended::Closed;
            }
            After::Next(until) => {
                conn.client.request_is_over();
                conn.next(until);
            }
        }
    }
    let Conn { client, fresh, served, inbox, .. } = conn;
    if let Client::Connection(io) = client {
        if let Some(fresh) = fresh {
            io.set_fresh(fresh);
        }
        io.has_served(served);
        io.put_back(inbox);
    }
    Ended::NotOurs
}

impl Conn<'_> {
    /// Before a request there may be some (RFC 9112 §2.2): old clients send one behind a body, which begins
    /// no header.
    fn pass_over_empty_lines(&mut self) {
        let mut rest = &*self.inbox;
        while let [b'\r', b'\n', behind @ ..] | [b'\n', behind @ ..] = rest {
            rest = behind;
        }
        let empty = self.inbox.len() - rest.len();
        if empty > 0 {
            self.inbox.drain(..empty);
            if self.inbox.is_empty() && self.served > 0 {
                self.client.request_is_over();
            }
        }
    }

    /// Turns to the next request, which is awaited until then.
    fn next(&mut self, until: Instant) {
        self.served = self.served.saturating_add(1);
        self.alarm.set(until);
        self.pass_over_empty_lines();
        if !self.inbox.is_empty() {
            self.client.header_is_at_hand(&self.inbox);
        }
    }
}
