//! The fields of a header as they came: one text, and where in it each of them is. A change puts
//! text behind it and moves what points there, so that most of a header is passed on as it is.

use crate::model::Fields;
use http::header::HeaderName;
use std::cell::RefCell;
use std::ops::Range;

/// Texts that a thread keeps for later, and the longest of them.
const KEPT: usize = 64;
const LONGEST: usize = 8 * 1024;

const LINE_END: &[u8] = b"\r\n";

thread_local! {
    static SPARE: RefCell<Vec<(Vec<u8>, Vec<Line>)>> = const { RefCell::new(Vec::new()) };
}

/// Where one field is.
#[derive(Clone, Copy, Debug)]
struct Line {
    name: u32,
    name_length: u32,
    value: u32,
    value_length: u32,
}

/// No header is as long as 4 GiB.
fn short(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

impl Line {
    fn name(self) -> Range<usize> {
        let start = self.name as usize;
        start..start + self.name_length as usize
    }

    fn value(self) -> Range<usize> {
        let start = self.value as usize;
        start..start + self.value_length as usize
    }
}

/// The fields of a header.
#[derive(Debug)]
pub(super) struct Lines {
    text: Vec<u8>,
    lines: Vec<Line>,
}

impl Lines {
    /// Of a header with these bytes, none of whose fields is known yet.
    pub(super) fn of(header: &[u8]) -> Self {
        let spare = SPARE.with_borrow_mut(Vec::pop);
        let (mut text, lines) = spare.unwrap_or_else(|| (Vec::with_capacity(1024), Vec::new()));
        text.extend_from_slice(header);
        Self { text, lines }
    }

    /// A field that is in the text.
    pub(super) fn find(&mut self, name: Range<usize>, value: Range<usize>) {
        self.lines.push(Line {
            name: short(name.start),
            name_length: short(name.len()),
            value: short(value.start),
            value_length: short(value.len()),
        });
    }

    /// Room for all of it, and for a first line.
    pub(super) fn reserve_in(&self, out: &mut Vec<u8>) {
        out.reserve(self.text.len() + 64);
    }

    /// A part of the text.
    pub(super) fn part(&self, part: Range<usize>) -> &[u8] {
        self.text.get(part).unwrap_or_default()
    }

    /// Changes a part of the text in its place.
    pub(super) fn part_mut(&mut self, part: Range<usize>) -> &mut [u8] {
        self.text.get_mut(part).unwrap_or_default()
    }

    fn is(&self, line: Line, name: &str) -> bool {
        line.name_length as usize == name.len()
            && self.part(line.name()).eq_ignore_ascii_case(name.as_bytes())
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.lines.iter().position(|line| self.is(*line, name))
    }

    pub(super) fn remove(&mut self, name: &HeaderName) {
        self.remove_from(0, name.as_str());
    }

    /// Removes the lines of `name` that are not before `start`.
    fn remove_from(&mut self, start: usize, name: &str) {
        let mut at = start;
        while let Some(line) = self.lines.get(at) {
            if self.is(*line, name) {
                self.lines.remove(at);
            } else {
                at += 1;
            }
        }
    }

    pub(super) fn set(&mut self, name: &HeaderName, value: &[u8]) {
        let Some(at) = self.position(name.as_str()) else { return self.add(name, value) };
        let line = self.lines.get(at).copied();
        let line = line.and_then(|line| self.put_in_place(line, name, value));
        let line = line.unwrap_or_else(|| self.write_line(name, value));
        if let Some(place) = self.lines.get_mut(at) {
            *place = line;
        }
        self.remove_from(at + 1, name.as_str());
    }

    /// Writes a value over the longer one of `line`, which has this name: cookies without ours among them.
    fn put_in_place(&mut self, line: Line, name: &HeaderName, value: &[u8]) -> Option<Line> {
        let end = value.len() + LINE_END.len();
        let place = self.text.get_mut(line.value())?.get_mut(..end)?;
        let (text, line_end) = place.split_at_mut(value.len());
        text.copy_from_slice(value);
        line_end.copy_from_slice(LINE_END);
        self.part_mut(line.name()).copy_from_slice(titled(name).as_bytes());
        Some(Line { value_length: short(value.len()), ..line })
    }

    pub(super) fn add(&mut self, name: &HeaderName, value: &[u8]) {
        let line = self.write_line(name, value);
        self.lines.push(line);
    }

    fn write_line(&mut self, name: &HeaderName, value: &[u8]) -> Line {
        let name = titled(name);
        let start = self.text.len();
        self.text.reserve(name.len() + value.len() + 4);
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(b": ");
        self.text.extend_from_slice(value);
        self.text.extend_from_slice(LINE_END);
        Line {
            name: short(start),
            name_length: short(name.len()),
            value: short(start + name.len() + 2),
            value_length: short(value.len()),
        }
    }

    /// Writes all of them; neighbours that came next to each other in one piece.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut run = 0..0;
        for line in &self.lines {
            let (name, value) = (line.name(), line.value());
            let whole = name.start..value.end + 2;
            let as_usual = self.part(name.end..value.start) == b": "
                && self.part(value.end..whole.end) == LINE_END;
            if as_usual && run.end == whole.start {
                run.end = whole.end;
                continue;
            }
            out.extend_from_slice(self.part(std::mem::take(&mut run)));
            if as_usual {
                run = whole;
            } else {
                for part in [self.part(name), b": ", self.part(value), LINE_END] {
                    out.extend_from_slice(part);
                }
            }
        }
        out.extend_from_slice(self.part(run));
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let (mut text, mut lines) =
            (std::mem::take(&mut self.text), std::mem::take(&mut self.lines));
        if text.capacity() > LONGEST || lines.capacity() * size_of::<Line>() > LONGEST {
            return;
        }
        text.clear();
        lines.clear();
        // an error: the thread is ending
        let _ = SPARE.try_with(|spare| {
            if let Ok(mut spare) = spare.try_borrow_mut()
                && spare.len() < KEPT
            {
                spare.push((text, lines));
            }
        });
    }
}

impl Fields for Lines {
    fn all<'f>(&'f self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'f [u8]> {
        let name = name.as_str();
        let lines = self.lines.iter().filter(move |line| self.is(**line, name));
        lines.map(|line| self.part(line.value()))
    }

    fn each(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|line| (self.part(line.name()), self.part(line.value())))
    }
}

/// A name as Pingora writes it: it has some with capitals.
fn titled(name: &HeaderName) -> &str {
    match name.as_str() {
        "accept-ranges" => "Accept-Ranges",
        "age" => "Age",
        "cache-control" => "Cache-Control",
        "connection" => "Connection",
        "content-type" => "Content-Type",
        "content-encoding" => "Content-Encoding",
        "content-length" => "Content-Length",
        "date" => "Date",
        "transfer-encoding" => "Transfer-Encoding",
        "host" => "Host",
        "server" => "Server",
        "set-cookie" => "Set-Cookie",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(header: &str) -> Lines {
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let (end, found) = match httparse::parse_headers(header.as_bytes(), &mut fields).unwrap() {
            httparse::Status::Complete(whole) => whole,
            httparse::Status::Partial => panic!(),
        };
        let mut lines = Lines::of(&header.as_bytes()[..end]);
        let at = |part: &[u8]| {
            let start = part.as_ptr() as usize - header.as_ptr() as usize;
            start..start + part.len()
        };
        for field in found {
            lines.find(at(field.name.as_bytes()), at(field.value));
        }
        lines
    }

    fn written(lines: &Lines) -> String {
        let mut out = Vec::new();
        lines.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    static X_NEW: HeaderName = HeaderName::from_static("x-new");

    #[test]
    fn what_nobody_changes_is_written_as_it_came() {
        let header = "Host: a\r\nX-Twice: 1\r\nx-twice: 2\r\nEmpty: \r\n";
        assert_eq!(written(&lines(&format!("{header}\r\n"))), header);
    }

    #[test]
    fn odd_spacing_is_put_right() {
        let odd = lines("A:1\r\nB:  2 \r\nC: 3\nD: 4\r\n\r\n");
        assert_eq!(written(&odd), "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n");
    }

    #[test]
    fn changes_take_the_place_of_what_was_there() {
        let mut lines = lines("A: 1\r\nX-New: 2\r\nB: 3\r\nx-new: 4\r\n\r\n");
        lines.set(&X_NEW, b"5");
        assert_eq!(written(&lines), "A: 1\r\nx-new: 5\r\nB: 3\r\n");
        lines.add(&X_NEW, b"6");
        lines.add(&http::header::SET_COOKIE, b"7");
        assert_eq!(written(&lines), "A: 1\r\nx-new: 5\r\nB: 3\r\nx-new: 6\r\nSet-Cookie: 7\r\n");
        assert_eq!(lines.all(&X_NEW).collect::<Vec<_>>(), [b"5", b"6"]);
        assert_eq!(lines.all(&X_NEW).next_back(), Some(&b"6"[..]));
        lines.remove(&X_NEW);
        assert_eq!(written(&lines), "A: 1\r\nB: 3\r\nSet-Cookie: 7\r\n");
        assert_eq!(lines.first(&X_NEW), None);
    }

    #[test]
    fn a_value_is_written_over_a_longer_one_and_nothing_else() {
        for (cookies, kept, over) in [
            ("Cookie: a=1; ours=2\r\n", "a=1", true),
            ("Cookie: a=123\r\n", "a=1", true),
            ("Cookie: a=12\r\n", "a=1", false),
            ("COOKIE:\t a=1; o=2 \n", "a=1", true),
            ("cookie:a=123\n", "a=1", true),
            ("cookie:a=12\n", "a=1", false),
            ("Cookie: a\r\n", "a=1", false),
            ("Cookie:\r\n", "a=1", false),
            ("Cookie: a=1\r\n", "", true),
        ] {
            let mut lines = lines(&format!("A: 1\r\n{cookies}B: 2\r\nCookie: b=3\r\n\r\n"));
            let length = lines.text.len();
            for value in [kept, "longer=than=before"] {
                lines.set(&http::header::COOKIE, value.as_bytes());
                let text = written(&lines);
                assert_eq!(text, format!("A: 1\r\ncookie: {value}\r\nB: 2\r\n"), "{cookies}");
                assert_eq!(lines.first(&http::header::COOKIE), Some(value.as_bytes()));
                assert_eq!(lines.text.len() == length, over && value == kept, "{cookies}");
            }
        }
        let mut lines = lines("SERVER: nginx\r\nA: 1\r\n\r\n");
        lines.set(&http::header::SERVER, b"it");
        assert_eq!(written(&lines), "Server: it\r\nA: 1\r\n");
    }

    #[test]
    fn a_header_that_was_dropped_leaves_nothing_to_the_next() {
        drop(lines("Secret: 1\r\n\r\n"));
        let next = lines("A: 1\r\n\r\n");
        assert_eq!(next.each().collect::<Vec<_>>(), [(&b"A"[..], &b"1"[..])]);
    }
}
