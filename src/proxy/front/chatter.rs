//! What a client of HTTP/2 says besides requests and bodies: PING, SETTINGS, `WINDOW_UPDATE`, PRIORITY,
//! frames that nobody knows. Each is small, has to be handled and may have to be answered, and the
//! library below takes any number of them (CVE-2019-9512, CVE-2019-9515). Separate, since it counts
//! frames in bytes that pass.

use crate::model::clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The length of the preface (RFC 9113 §3.4), after which frames begin.
const PREFACE: usize = 24;

/// The head of a frame: length (3 bytes), type, flags, stream (4 bytes).
const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
/// The library below bounds these.
const CONTINUATION: u8 = 9;

/// So many frames more than the business of the connection calls for are anybody's right,
const TOLERATED: u64 = 1000;
/// and as many in each second; a client that measures its network needs a few.
const IN_A_SECOND: u64 = 200;
/// A request may come with a priority, with windows, and be taken back.
const FOR_A_REQUEST: u64 = 4;
/// Whoever gets so many bytes may open a window, or measure. More than the answer to a PING (17).
const FOR_BYTES: u64 = 32;

/// Reads before others get their turn.
const TURN: u32 = 32;

/// Counts frames; fed with all bytes of a connection, in whatever pieces.
#[derive(Debug)]
pub(super) struct Chatter {
    /// As much of a head as has come.
    head: [u8; HEAD],
    has: usize,
    /// Bytes before the next head.
    skip: usize,
    /// Frames beyond the business of the connection, times [`FOR_BYTES`].
    excess: u64,
    since: Instant,
    /// Reads that have brought something, one after the other.
    in_a_row: u32,
    written: Written,
}

/// Bytes that went to the client.
#[derive(Clone, Debug, Default)]
pub(super) struct Written(Arc<AtomicU64>);

impl Written {
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Chatter {
    /// Nothing has come yet, the preface neither.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            head: [0; HEAD],
            has: 0,
            skip: PREFACE,
            excess: 0,
            since: now,
            in_a_row: 0,
            written: Written::default(),
        }
    }

    pub(super) fn written(&self) -> Written {
        self.written.clone()
    }

    /// So many bytes go to the client.
    pub(super) fn note_written(&mut self, bytes: usize) {
        self.excess = self.excess.saturating_sub(bytes as u64);
        self.written.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Whether others are to be served before it is read again. The library below reads for as long as there is
    /// something, and the task that serves the connection is not bound to Tokio's budget.
    pub(super) fn has_had_its_turn(&mut self) -> bool {
        let had = self.in_a_row >= TURN;
        if had {
            self.in_a_row = 0;
        }
        had
    }

    /// Takes in what was read, if it was anything; `false` when the client is to be cut off.
    pub(super) fn is_fair(&mut self, read: &[u8]) -> bool {
        self.in_a_row = if read.is_empty() { 0 } else { self.in_a_row + 1 };
        self.count(read);
        self.excess <= TOLERATED * FOR_BYTES || {
            self.forget(clock::monotonic_now());
            self.excess <= TOLERATED * FOR_BYTES
        }
    }

    fn count(&mut self, mut read: &[u8]) {
        while !read.is_empty() {
            let skipped = self.skip.min(read.len());
            self.skip -= skipped;
            read = read.get(skipped..).unwrap_or_default();
            let wanted = (HEAD - self.has).min(read.len());
            let (part, rest) = read.split_at(wanted);
            if let Some(place) = self.head.get_mut(self.has..self.has + wanted) {
                place.copy_from_slice(part);
            }
            self.has += wanted;
            read = rest;
            if self.has == HEAD {
                self.has = 0;
                let [high, middle, low, kind, ..] = self.head;
                self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                self.weigh(kind);
            }
        }
    }

    fn weigh(&mut self, kind: u8) {
        match kind {
            HEADERS => self.excess = self.excess.saturating_sub(FOR_A_REQUEST * FOR_BYTES),
            DATA if self.skip > 0 => self.excess = self.excess.saturating_sub(FOR_BYTES),
            DATA | CONTINUATION => {}
            _ => self.excess += FOR_BYTES,
        }
    }

    /// Forgives what time allows for.
    fn forget(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since).as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let forgiven = passed.saturating_mul(IN_A_SECOND * FOR_BYTES) / 1000;
        self.excess = self.excess.saturating_sub(forgiven);
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn begun() -> Chatter {
        let mut chatter = Chatter::new(clock::monotonic_now());
        chatter.count(&[b'x'; PREFACE]);
        chatter
    }

    fn frame(kind: u8, length: u8) -> Vec<u8> {
        [&[0, 0, length, kind, 0, 0, 0, 0, 0][..], &vec![9; length.into()]].concat()
    }

    #[test]
    fn frames_are_found_in_pieces_of_any_size() {
        let said = [frame(6, 8), frame(DATA, 200), frame(4, 0), frame(8, 4), frame(HEADERS, 30)];
        let said = [vec![b'x'; PREFACE], said.concat(), vec![6; 0], frame(6, 8)].concat();
        for size in 1..said.len() {
            let mut chatter = Chatter::new(clock::monotonic_now());
            said.chunks(size).for_each(|piece| chatter.count(piece));
            assert_eq!((chatter.excess, chatter.has, chatter.skip), (FOR_BYTES, 0, 0), "{size}");
        }
    }

    #[test]
    fn one_who_only_chatters_is_cut_off() {
        for kind in [2, 4, 6, 8, 77] {
            let mut chatter = begun();
            let said = (0..10_000).take_while(|_| chatter.is_fair(&frame(kind, 8))).count();
            assert!((1000..1300).contains(&said), "{said} of {kind}");
        }
    }

    #[test]
    fn answers_to_pings_are_no_business() {
        let mut chatter = begun();
        let fair = |_: &u32| {
            chatter.note_written(17);
            chatter.is_fair(&frame(6, 8))
        };
        assert!((0..10_000).take_while(fair).count() < 3000);
    }

    #[test]
    fn one_who_downloads_or_asks_a_lot_stays() {
        let mut chatter = begun();
        let all_fair = (0..10_000).all(|_| {
            // a window for the stream and one for the connection
            chatter.note_written(1000);
            chatter.is_fair(&frame(8, 4)) && chatter.is_fair(&frame(8, 4))
        });
        assert!(all_fair);
        let asks = [frame(2, 5), frame(HEADERS, 40), frame(8, 4), frame(3, 4)].concat();
        assert!((0..10_000).all(|_| chatter.is_fair(&asks)));
    }

    #[test]
    fn one_who_never_pauses_takes_turns_with_others() {
        let mut chatter = begun();
        let mut turns = |pause_behind: u32| {
            let reads = (0..TURN * 10).filter(|nth| {
                let had = chatter.has_had_its_turn();
                let pauses = nth % pause_behind == pause_behind - 1;
                chatter.is_fair(if pauses { b"" } else { b"x" });
                had
            });
            reads.count()
        };
        assert_eq!(turns(TURN), 0);
        assert_eq!(turns(u32::MAX), 9);
    }

    #[test]
    fn time_forgives() {
        let mut chatter = begun();
        chatter.count(&frame(6, 8).repeat(1001));
        let later = chatter.since + Duration::from_secs(1);
        chatter.forget(later);
        assert_eq!(chatter.excess, (1001 - IN_A_SECOND) * FOR_BYTES);
    }
}
