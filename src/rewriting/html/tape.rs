//! The way of the bytes from the parser to the body: it counts them, and makes the changes that the
//! handlers asked for where they belong.

use lol_html::OutputSink;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// What the parser's handlers and its output share.
#[derive(Debug, Default)]
pub(super) struct Tape {
    /// Bytes of the page that have come by.
    position: usize,
    /// To be made, in ascending order.
    changes: VecDeque<Change>,
    out: Vec<u8>,
}

#[derive(Debug)]
struct Change {
    at: Range<usize>,
    text: String,
}

/// The parser's output.
#[derive(Debug)]
pub(super) struct Sink(pub Arc<Mutex<Tape>>);

impl OutputSink for Sink {
    fn handle_chunk(&mut self, chunk: &[u8]) {
        self.0.lock().pass(chunk);
    }
}

impl Tape {
    /// Asks for a change at a place of the page that has not come by.
    pub(super) fn change(&mut self, at: Range<usize>, text: String) {
        self.changes.push_back(Change { at, text });
    }

    /// Lets the tape write to `out`, and tells the position.
    pub(super) fn load(&mut self, out: &mut Vec<u8>) -> usize {
        std::mem::swap(&mut self.out, out);
        self.position
    }

    /// Gives `out` back, and tells the position.
    pub(super) fn unload(&mut self, out: &mut Vec<u8>) -> usize {
        self.load(out)
    }

    fn pass(&mut self, mut chunk: &[u8]) {
        // a tag comes in one piece, so a change never lies across the end
        while let Some(change) = self.changes.front()
            && change.at.end <= self.position + chunk.len()
        {
            let before = change.at.start.saturating_sub(self.position);
            let skip = change.at.end.saturating_sub(self.position);
            self.out.extend_from_slice(chunk.get(..before).unwrap_or_default());
            self.out.extend_from_slice(change.text.as_bytes());
            chunk = chunk.get(skip..).unwrap_or_default();
            self.position += skip;
            self.changes.pop_front();
        }
        self.out.extend_from_slice(chunk);
        self.position += chunk.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_made_where_they_belong_however_the_bytes_come() {
        for size in 1..10 {
            let mut tape = Tape::default();
            tape.change(0..0, "<".into());
            tape.change(2..2, "|".into());
            tape.change(3..4, "D".into());
            tape.change(9..9, ">".into());
            "abcdefghi".as_bytes().chunks(size).for_each(|chunk| tape.pass(chunk));
            assert_eq!(tape.out, b"<ab|cDefghi>", "pieces of {size}");
            assert_eq!(tape.position, 9);
        }
    }
}
