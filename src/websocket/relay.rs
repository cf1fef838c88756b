//! The bytes of one WebSocket, both ways at once: neither direction waits for the other, and each
//! holds one buffer, so that whoever reads slowly slows down who writes.
//!
//! ```text
//!  open ─► one side has closed or left ─► the other may say its last word ─► over
//!    └───► told to end (idle, restart) ─► a close frame to both ─► their replies ─► over
//! ```

use super::frames::CloseCode;
use super::way::{Last, Way};
use bytes::Bytes;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::sync::watch;
use tokio::time::sleep;

/// How long the sides may take to answer a close frame of ours, and a client to go when its backend
/// is gone.
const PARTING: Duration = Duration::from_secs(2);
/// Silence that ends it when one side has closed and the other does not answer, as common libraries
/// wait for a reply.
const LAST_WORD: Duration = Duration::from_secs(30);

/// One end of a WebSocket.
#[derive(Debug)]
pub struct Side<S> {
    /// The connection, after the handshake.
    pub stream: S,
    /// What came right behind the handshake.
    pub early: Bytes,
}

/// What a relay goes by.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Silence in both directions that ends it.
    pub idle: Duration,
    /// Random, for the mask of our own frame.
    pub mask: [u8; 4],
    /// The monotonic clock.
    pub now: fn() -> Instant,
}

/// How a WebSocket has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// One side has closed it, as it should.
    Closed,
    /// The client went away without a word.
    ClientGone,
    /// The backend went away without a word.
    BackendGone,
    /// Nobody has said anything for too long.
    Idle,
    /// The gateway was told to end.
    Stopped,
}

/// What a relay has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Bytes, ours included.
    pub to_client: u64,
    /// Bytes, ours included.
    pub to_backend: u64,
    /// How it has ended.
    pub end: End,
}

/// When something was last said, by either side.
pub(super) struct Clock {
    now: fn() -> Instant,
    start: Instant,
    /// In milliseconds since the start.
    last: AtomicU64,
}

impl Clock {
    fn new(now: fn() -> Instant) -> Self {
        Self { now, start: now(), last: AtomicU64::new(0) }
    }

    fn elapsed(&self) -> Duration {
        (self.now)().saturating_duration_since(self.start)
    }

    pub(super) fn touch(&self) {
        let now = u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    fn silence(&self) -> Duration {
        self.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}

/// Relays until both sides have ended, or until it has to end: for silence, or as `stop` returns.
pub async fn relay<C, B>(
    client: Side<C>,
    backend: Side<B>,
    terms: Terms,
    stop: impl Future<Output = ()>,
) -> Carried
where
    C: AsyncRead + AsyncWrite,
    B: AsyncRead + AsyncWrite,
{
    let clock = Clock::new(terms.now);
    let (order, ordered) = watch::channel(None);
    let (from_client, to_client) = split(client.stream);
    let (from_backend, to_backend) = split(backend.stream);
    let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
    let way = |carried, mask, lost| Way::new(&clock, carried, ordered.clone(), mask, lost);
    let upwards = way(&up, Some(terms.mask), None);
    let downwards = way(&down, None, Some(CloseCode::BackendLost));
    let mut upwards = pin!(upwards.run(client.early, from_client, to_backend));
    let mut downwards = pin!(downwards.run(backend.early, from_backend, to_client));
    let mut stop = pin!(stop);
    let mut ended = Ended::default();
    // when both were told to close
    let mut told: Option<Duration> = None;
    while !ended.both() {
        let left = match told {
            Some(at) => PARTING.saturating_sub(clock.elapsed().saturating_sub(at)),
            None => ended.patience(terms.idle).saturating_sub(clock.silence()),
        };
        let tell = tokio::select! {
            last = &mut upwards, if ended.up.is_none() => {
                ended.up(last);
                continue;
            }
            last = &mut downwards, if ended.down.is_none() => {
                ended.down(last);
                continue;
            }
            () = &mut stop, if told.is_none() => (End::Stopped, CloseCode::Restart),
            () = sleep(left) => match told {
                Some(_) => break,
                None if clock.silence() < ended.patience(terms.idle) => continue,
                None if ended.any() => break,
                None => (End::Idle, CloseCode::Idle),
            },
        };
        let (end, code) = tell;
        ended.why.get_or_insert(end);
        told = Some(clock.elapsed());
        order.send_replace(Some(code));
    }
    Carried {
        to_client: down.load(Ordering::Relaxed),
        to_backend: up.load(Ordering::Relaxed),
        end: ended.why.unwrap_or(End::Closed),
    }
}

/// Which directions have ended, and why the first one did.
#[derive(Default)]
struct Ended {
    up: Option<Last>,
    down: Option<Last>,
    why: Option<End>,
}

impl Ended {
    fn up(&mut self, last: Last) {
        self.up = Some(last);
        self.why.get_or_insert(match last {
            Last::Close => End::Closed,
            Last::Gone => End::ClientGone,
            Last::Deaf => End::BackendGone,
        });
    }

    fn down(&mut self, last: Last) {
        self.down = Some(last);
        self.why.get_or_insert(match last {
            Last::Close => End::Closed,
            Last::Gone => End::BackendGone,
            Last::Deaf => End::ClientGone,
        });
    }

    fn any(&self) -> bool {
        self.up.is_some() || self.down.is_some()
    }

    fn both(&self) -> bool {
        self.up.is_some() && self.down.is_some()
    }

    /// The silence that ends what is left.
    fn patience(&self, idle: Duration) -> Duration {
        match (self.any(), self.why) {
            (false, _) => idle,
            (true, Some(End::BackendGone)) => PARTING.min(idle),
            (true, _) => LAST_WORD.min(idle),
        }
    }
}

#[cfg(test)]
mod tests;
