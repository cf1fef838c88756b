//! When a header that comes in pieces is worth reading: reading it from its start with every piece would
//! take the square of its length.

use memchr::memchr;

/// How far one header has been looked through.
#[derive(Debug, Default)]
pub(super) struct Seek {
    /// Bytes that were there when it was last read, in vain.
    read: usize,
    /// Bytes before this place do not end it.
    looked: usize,
    /// Whether its first line has begun: httparse passes over empty ones before it.
    begun: bool,
}

impl Seek {
    /// Whether the header that starts with `bytes` is to be read now: at its first piece, which is nearly
    /// always the whole of it; when its end has come; and when it has doubled, so that what is wrong
    /// with one that never ends is found out all the same.
    pub(super) fn is_due(&mut self, bytes: &[u8]) -> bool {
        let due = bytes.len() / 2 >= self.read || self.finds_end(bytes);
        if due {
            self.read = bytes.len();
        }
        due
    }

    /// Whether there is an empty line that was not seen yet.
    fn finds_end(&mut self, bytes: &[u8]) -> bool {
        let mut rest = bytes.get(self.looked..).unwrap_or_default();
        if !self.begun {
            let text = rest.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
            self.begun = text.is_some();
            rest = rest.get(text.unwrap_or(rest.len())..).unwrap_or_default();
        }
        let found = loop {
            let Some(at) = memchr(b'\n', rest) else {
                rest = &[];
                break false;
            };
            let behind = rest.get(at + 1..).unwrap_or_default();
            match behind {
                // the next piece tells
                [] | [b'\r'] => {
                    rest = rest.get(at..).unwrap_or_default();
                    break false;
                }
                [b'\n', ..] | [b'\r', b'\n', ..] => {
                    rest = behind;
                    break true;
                }
                _ => rest = behind,
            }
        };
        self.looked = bytes.len() - rest.len();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::hot::head::{self, Head};

    const HEADERS: [&str; 7] = [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\nA: b\nContent-Length: 5\n\n",
        "HTTP/1.1 200 OK\nA: b\r\nContent-Length: 5\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\n c\r\n\t\r\n d\r\n\n",
        "\r\n\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\n",
    ];

    /// How often a response is read that comes in these pieces, and with which the header was whole.
    fn reads<'p>(pieces: impl IntoIterator<Item = &'p str>) -> (usize, Option<usize>) {
        let (mut seek, mut bytes, mut reads) = (Seek::default(), Vec::new(), 0);
        for (nth, piece) in pieces.into_iter().enumerate() {
            bytes.extend_from_slice(piece.as_bytes());
            if seek.is_due(&bytes) {
                reads += 1;
                if head::response(&bytes).unwrap().is_some() {
                    return (reads, Some(nth));
                }
            }
        }
        (reads, None)
    }

    #[test]
    fn a_header_is_whole_with_its_last_byte_wherever_it_is_cut() {
        for header in HEADERS {
            let whole = header.len();
            assert!(head::response(&header.as_bytes()[..whole - 1]).unwrap().is_none());
            for first in 0..=whole {
                for second in first..=whole {
                    let cut = [&header[..first], &header[first..second], &header[second..]];
                    let expected = if second == whole { usize::from(first != whole) } else { 2 };
                    assert_eq!(reads(cut).1, Some(expected), "{cut:?}");
                }
            }
            let bytes = (0..whole).map(|at| &header[at..=at]);
            assert_eq!(reads(bytes).1, Some(whole - 1), "{header:?}");
            // what is behind it belongs to the body, and does not hide its end
            let with_body = format!("{header}\n\n\nbody");
            for at in 0..whole {
                let cut = [&with_body[..at], &with_body[at..]];
                assert_eq!(reads(cut).1, Some(1), "{cut:?}");
            }
        }
    }

    #[test]
    fn requests_end_where_responses_do() {
        for header in HEADERS.iter().take(5) {
            let request =
                header.replace("HTTP/1.1 200 OK", "GET / HTTP/1.1").replace("A:", "Host:");
            let mut seek = Seek::default();
            for end in 1..request.len() {
                let bytes = &request.as_bytes()[..end];
                assert!(!seek.is_due(bytes) || matches!(head::request(bytes), Head::Partial));
            }
            assert!(seek.is_due(request.as_bytes()));
            assert!(!matches!(head::request(request.as_bytes()), Head::Partial));
        }
    }

    #[test]
    fn a_long_header_in_tiny_pieces_is_read_a_few_times() {
        let long = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(200));
        let (often, whole) = reads((0..long.len()).map(|at| &long[at..=at]));
        assert_eq!(whole, Some(long.len() - 1));
        assert!(often < 20, "{often} times");
        let (often, whole) = reads((0..10_000).map(|_| "\n"));
        assert_eq!(whole, None);
        assert!(often < 20, "{often} times");
    }

    #[test]
    fn what_never_ends_is_read_again_when_it_has_doubled() {
        let mut seek = Seek::default();
        let bytes = [b'a'; 100];
        let due: Vec<_> = (1..=100).filter(|end| seek.is_due(&bytes[..*end])).collect();
        assert_eq!(due, [1, 2, 4, 8, 16, 32, 64]);
    }
}
