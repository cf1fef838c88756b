//! How far a client connection has come: its phases, what may last how long in each, and the size of
//! the header so far. Separate from the bytes, which `io` moves: here they are only counted.

use super::pace::Pace;
use crate::model::clock;
use crate::snapshot::Limits;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::Context;
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// Between two requests.
const IDLE: u8 = 0;
/// A header is on its way; the deadline runs.
const HEADER: u8 = 1;
/// Hooks are in charge.
const REQUEST: u8 = 2;
/// We have answered instead of Pingora; whatever it writes is dropped.
const REFUSED: u8 = 3;
/// The backend has been asked for an upgrade and has to answer by a deadline.
const UPGRADING: u8 = 4;
/// It did not.
const UPGRADE_FAILED: u8 = 5;
/// HTTP/2 began, and its first request is on its way; the deadline runs.
const PREFACE: u8 = 6;
/// Requests come as streams, which take care of themselves.
const STREAMS: u8 = 7;
/// The body came slower than it may.
const TOO_SLOW: u8 = 8;

/// Fields of a header that Pingora takes; and its longest header.
const MOST_FIELDS: usize = 256;
const LONGEST_HEADER: usize = 1_048_575;

/// Whether reading may go on.
pub(super) enum Due {
    /// It may.
    Nothing,
    /// What was to come until now has not.
    Late,
    /// A header has begun, and not ended in time.
    HeaderLate,
    /// The header is longer than it may be.
    HeaderTooLarge,
}

/// Whose words are written.
pub(super) enum Author {
    /// Hooks decide about them.
    Hooks,
    /// Pingora's, although no hook has run.
    Pingora,
    /// Ours: the request is refused already.
    Ourselves,
}

/// What is known of a connection besides its bytes. Hooks change it through a shared reference,
/// hence the atomics.
pub(super) struct Progress {
    phase: Arc<AtomicU8>,
    /// Bytes and lines of the header so far. Lines are of interest to Pingora only.
    header: (usize, usize),
    counts_lines: bool,
    pace: Pace,
    /// Runs in the phases that have one; which of them it is for.
    deadline: Option<(u8, Pin<Box<Sleep>>)>,
    /// How long an upgrade may take, in milliseconds.
    upgrade_limit: AtomicU64,
    /// Whether any byte of the header has come.
    begun: bool,
    opened: Instant,
}

impl Progress {
    /// A connection that has just come.
    pub(super) fn start() -> Self {
        Self {
            phase: Arc::new(AtomicU8::new(HEADER)),
            header: (0, 0),
            counts_lines: true,
            pace: Pace::default(),
            deadline: None,
            upgrade_limit: AtomicU64::new(0),
            begun: false,
            opened: clock::monotonic_now(),
        }
    }

    fn phase(&self) -> u8 {
        self.phase.load(Ordering::Relaxed)
    }

    fn enter(&self, phase: u8) {
        self.phase.store(phase, Ordering::Relaxed);
    }

    pub(super) fn header_is_complete(&self) {
        self.enter(REQUEST);
    }

    pub(super) fn request_is_over(&self) {
        self.pace.demand(0);
        self.enter(IDLE);
    }

    /// The rest of this connection is what we say.
    pub(super) fn is_refused(&self) {
        self.enter(REFUSED);
    }

    /// Who reads looks at the header itself.
    pub(super) fn is_on_the_short_way(&mut self) {
        self.counts_lines = false;
    }

    /// What was read and not used will be read again, by Pingora; `any`: there is something.
    pub(super) fn is_put_back(&mut self, any: bool) {
        self.header = (0, 0);
        self.counts_lines = true;
        self.begun = any;
        self.deadline = None;
        self.enter(if any { HEADER } else { IDLE });
    }

    /// A header is at hand, at least in part: its time begins now.
    pub(super) fn header_is_at_hand(&mut self, part: &[u8]) {
        self.header = (part.len(), self.lines(part));
        self.begun = true;
        self.opened = clock::monotonic_now();
        self.deadline = None;
        self.enter(HEADER);
    }

    /// What was read so far will be read again.
    pub(super) fn forget_header(&mut self) {
        self.header = (0, 0);
    }

    /// The first of the streams is to come.
    pub(super) fn carries_streams(&self) {
        self.enter(PREFACE);
    }

    /// What is told when it has.
    pub(super) fn begun(&self) -> Begun {
        Begun(Arc::clone(&self.phase))
    }

    /// A body comes; `rate` is the least number of bytes in a second, 0 for any.
    pub(super) fn demand_pace(&self, rate: u32) {
        self.pace.demand(rate);
    }

    pub(super) fn body_was_too_slow(&self) -> bool {
        self.phase() == TOO_SLOW
    }

    /// The backend has so long to answer an upgrade.
    pub(super) fn await_upgrade(&self, limit: Duration) {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.upgrade_limit.store(limit, Ordering::Relaxed);
        self.enter(UPGRADING);
    }

    pub(super) fn upgrade_has_failed(&self) -> bool {
        self.phase() == UPGRADE_FAILED
    }

    /// How long ago the request, or the connection, has begun.
    pub(super) fn age(&self) -> Duration {
        clock::monotonic_now().saturating_duration_since(self.opened)
    }

    /// Whether the header is more than Pingora takes.
    pub(super) fn header_is_beyond_pingora(&self) -> bool {
        let (bytes, lines) = self.header;
        bytes >= LONGEST_HEADER || lines > MOST_FIELDS
    }

    pub(super) fn author(&self) -> Author {
        match self.phase() {
            HEADER | IDLE => Author::Pingora,
            REFUSED => Author::Ourselves,
            _ => Author::Hooks,
        }
    }

    /// Whether the deadline of this phase has passed; it begins to run when first asked for.
    fn is_late(&mut self, cx: &mut Context<'_>, limit: Duration) -> bool {
        let phase = self.phase();
        self.deadline = self.deadline.take().filter(|(of, _)| *of == phase);
        let start = || (phase, Box::pin(tokio::time::sleep(limit)));
        let (_, deadline) = self.deadline.get_or_insert_with(start);
        deadline.as_mut().poll(cx).is_ready()
    }

    /// Asked before each read.
    pub(super) fn due(&mut self, cx: &mut Context<'_>, limits: impl FnOnce() -> Limits) -> Due {
        match self.phase() {
            HEADER => {
                let limits = limits();
                let late = self.is_late(cx, limits.header_timeout);
                match (late, self.begun) {
                    (true, true) => Due::HeaderLate,
                    // to one who has sent nothing there is nothing to say
                    (true, false) => Due::Late,
                    _ if self.header.0 > limits.max_header_bytes => Due::HeaderTooLarge,
                    _ => Due::Nothing,
                }
            }
            PREFACE if self.is_late(cx, limits().header_timeout) => Due::Late,
            UPGRADING => {
                let limit = self.upgrade_limit.load(Ordering::Relaxed);
                if !self.is_late(cx, Duration::from_millis(limit)) {
                    return Due::Nothing;
                }
                self.enter(UPGRADE_FAILED);
                Due::Late
            }
            _ => Due::Nothing,
        }
    }

    /// Lines of a header in what was read; those behind its end are another's.
    fn lines(&self, read: &[u8]) -> usize {
        if !self.counts_lines {
            return 0;
        }
        let end = memchr::memmem::find(read, b"\r\n\r\n").unwrap_or(read.len());
        memchr::memchr_iter(b'\n', read.get(..end).unwrap_or_default()).count()
    }

    /// Takes in what a read has brought; `false` when that was too slow.
    pub(super) fn note_read(&mut self, read: &[u8]) -> bool {
        let phase = self.phase();
        if phase == REQUEST && !self.pace.is_enough(read.len()) {
            self.enter(TOO_SLOW);
            return false;
        }
        if matches!(phase, HEADER | IDLE) {
            let so_far = if phase == IDLE { (0, 0) } else { self.header };
            self.header = (so_far.0 + read.len(), so_far.1 + self.lines(read));
        }
        if !read.is_empty() {
            match phase {
                HEADER => self.begun = true,
                IDLE => {
                    self.enter(HEADER);
                    self.begun = true;
                    self.opened = clock::monotonic_now();
                    self.deadline = None;
                }
                _ => {}
            }
        }
        true
    }
}

/// Tells a connection that its first stream has come.
pub(super) struct Begun(Arc<AtomicU8>);

impl Begun {
    pub(super) fn note(&self) {
        self.0.store(STREAMS, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_behind_the_end_of_a_header_are_not_of_it() {
        let progress = Progress::start();
        assert_eq!(progress.lines(b"GET / HTTP/1.1\r\nHost: a\r\n"), 2);
        assert_eq!(progress.lines(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody\nbody\n"), 1);
    }

    #[test]
    fn each_request_counts_its_own_header() {
        let mut progress = Progress::start();
        progress.note_read(&b"a: b\n".repeat(300));
        assert!(progress.header_is_beyond_pingora());
        progress.header_is_complete();
        progress.note_read(b"a body\n");
        progress.request_is_over();
        progress.note_read(b"GET / HTTP/1.1\n");
        assert_eq!(progress.header, (15, 1));
    }

    #[test]
    fn hooks_write_only_between_their_first_and_their_last() {
        let mut progress = Progress::start();
        assert!(matches!(progress.author(), Author::Pingora));
        progress.note_read(b"GET / HTTP/1.1\r\n\r\n");
        progress.header_is_complete();
        assert!(matches!(progress.author(), Author::Hooks));
        progress.request_is_over();
        assert!(matches!(progress.author(), Author::Pingora));
        progress.is_refused();
        assert!(matches!(progress.author(), Author::Ourselves));
    }
}
