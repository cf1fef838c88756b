//! Where the body of a response ends (RFC 9112 §6.3).

use crate::model::Fields;
use crate::pool::Last;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Method, StatusCode};

/// Bytes of trailers and of the extensions of one chunk, at most.
const ASIDES: u32 = 16 * 1024;

/// The body cannot be told from what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What is still to come of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes.
    Length(u64),
    /// Chunks, which are passed on as they come.
    Chunks(Chunks),
    /// All until the connection ends.
    Rest,
}

/// How a part of what was read belongs to a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Bytes that do.
    pub(super) length: usize,
    /// Those of them that are no framing.
    pub(super) payload: usize,
}

impl Body {
    /// Of a response to a request of this method.
    pub(super) fn of(
        method: &Method,
        status: StatusCode,
        headers: &impl Fields,
    ) -> Result<Self, Malformed> {
        let length = announced(headers)?;
        Ok(match length {
            _ if is_bodiless(method, status) => Self::Length(0),
            _ if is_chunked(headers) => Self::Chunks(Chunks::default()),
            Some(length) if !headers.has(&TRANSFER_ENCODING) => Self::Length(length),
            Some(_) | None => Self::Rest,
        })
    }

    /// Takes in what was read.
    pub(super) fn take(&mut self, read: &[u8]) -> Result<Part, Malformed> {
        self.take_to(read, |_| ())
    }

    /// Takes in what was read; `data` gets what of it is no framing, piece after piece.
    pub(super) fn take_to(
        &mut self,
        read: &[u8],
        mut data: impl FnMut(&[u8]),
    ) -> Result<Part, Malformed> {
        let length = match self {
            Self::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
                *left -= length as u64;
                length
            }
            Self::Chunks(chunks) => return chunks.take(read, data),
            Self::Rest => read.len(),
        };
        data(read.get(..length).unwrap_or_default());
        Ok(Part { length, payload: length })
    }

    /// Whether all of it has come.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunks(chunks) => chunks.at == At::End,
            Self::Rest => false,
        }
    }
}

fn is_bodiless(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// What this response leaves behind on its connection; `None` when that cannot be used again: a 204
/// that announces a body (RFC 9110 §8.6, RFC 9112 §6.1 forbid it) will hardly go without one. Answers
/// to HEAD and 304 may announce what another request would get.
pub(super) fn last(method: &Method, status: StatusCode, headers: &impl Fields) -> Option<Last> {
    if !is_bodiless(method, status) {
        return Some(Last::Framed);
    }
    let announces = headers.has(&TRANSFER_ENCODING)
        || announced(headers).is_ok_and(|length| length.is_some_and(|length| length > 0));
    let lies = status == StatusCode::NO_CONTENT && announces;
    (!lies).then_some(Last::Bodiless)
}

/// The one length that is announced; saying it twice is no fault.
fn announced(headers: &impl Fields) -> Result<Option<u64>, Malformed> {
    if headers.has(&TRANSFER_ENCODING) {
        return Ok(None);
    }
    let mut announced = None;
    for line in headers.all(&CONTENT_LENGTH) {
        for value in line.split(|byte| *byte == b',') {
            let value = value.trim_ascii();
            let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let value = std::str::from_utf8(value).ok().filter(|_| digits);
            let value = value.and_then(|value| value.parse().ok()).ok_or(Malformed)?;
            if announced.is_some_and(|other| other != value) {
                return Err(Malformed);
            }
            announced = Some(value);
        }
    }
    Ok(announced)
}

fn is_chunked(headers: &impl Fields) -> bool {
    let last = headers.all(&TRANSFER_ENCODING).next_back();
    let last = last.and_then(|line| line.rsplit(|byte| *byte == b',').next());
    last.is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// How far the chunks have come.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chunks {
    at: At,
    /// Bytes of data that are left of this chunk, or its size so far.
    left: u64,
    /// Bytes of this line that say nothing of lengths.
    aside: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Before the first digit of a size.
    #[default]
    Start,
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    End,
}

impl Chunks {
    fn take(&mut self, read: &[u8], mut data: impl FnMut(&[u8])) -> Result<Part, Malformed> {
        let mut part = Part { length: 0, payload: 0 };
        while let Some(rest) = read.get(part.length..).filter(|rest| !rest.is_empty()) {
            if self.at == At::End {
                break;
            }
            if self.at == At::Data {
                let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
                self.left -= length as u64;
                data(rest.get(..length).unwrap_or_default());
                part.length += length;
                part.payload += length;
                if self.left == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            let byte = rest.first().copied().unwrap_or_default();
            self.at = self.step(byte)?;
            part.length += 1;
        }
        Ok(part)
    }

    fn step(&mut self, byte: u8) -> Result<At, Malformed> {
        Ok(match (self.at, byte) {
            (At::Start | At::Size, digit) if digit.is_ascii_hexdigit() => {
                let value = char::from(digit).to_digit(16).unwrap_or_default();
                let grown = self.left.checked_mul(16).and_then(|s| s.checked_add(value.into()));
                self.left = grown.filter(|size| *size <= u64::MAX >> 1).ok_or(Malformed)?;
                // any number of zeros makes no more of it
                self.aside(byte, At::Size)?
            }
            (At::Size | At::Extension, b'\r') => At::SizeLf,
            (At::Size, b';' | b' ' | b'\t') => At::Extension,
            (At::Extension, byte) => self.aside(byte, At::Extension)?,
            (At::SizeLf, b'\n') => {
                self.aside = 0;
                if self.left == 0 { At::TrailerStart } else { At::Data }
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Start,
            (At::TrailerStart, b'\r') => At::EndLf,
            (At::Trailer, b'\r') => At::TrailerLf,
            (At::TrailerStart | At::Trailer, byte) => self.aside(byte, At::Trailer)?,
            (At::TrailerLf, b'\n') => At::TrailerStart,
            (At::EndLf, b'\n') => At::End,
            (
                At::Start
                | At::Size
                | At::SizeLf
                | At::Data
                | At::DataCr
                | At::DataLf
                | At::TrailerLf
                | At::EndLf
                | At::End,
                _,
            ) => return Err(Malformed),
        })
    }

    fn aside(&mut self, byte: u8, at: At) -> Result<At, Malformed> {
        self.aside += 1;
        let sane = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        (sane && self.aside <= ASIDES).then_some(at).ok_or(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue};

    fn of(fields: &[(http::HeaderName, &'static str)]) -> Result<Body, Malformed> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_static(value));
        }
        Body::of(&Method::GET, StatusCode::OK, &headers)
    }

    #[test]
    fn lengths_are_told_as_the_standard_says() {
        assert_eq!(of(&[]), Ok(Body::Rest));
        assert_eq!(of(&[(CONTENT_LENGTH, "5")]), Ok(Body::Length(5)));
        assert_eq!(of(&[(CONTENT_LENGTH, "5, 5"), (CONTENT_LENGTH, "5")]), Ok(Body::Length(5)));
        for bad in ["5, 6", "", "+5", "-5", "5 5", "0x5", "99999999999999999999"] {
            assert_eq!(of(&[(CONTENT_LENGTH, bad)]), Err(Malformed), "{bad}");
        }
        let chunks = Ok(Body::Chunks(Chunks::default()));
        assert_eq!(of(&[(TRANSFER_ENCODING, "Chunked"), (CONTENT_LENGTH, "5")]), chunks);
        assert_eq!(of(&[(TRANSFER_ENCODING, "gzip, chunked")]), chunks);
        assert_eq!(of(&[(TRANSFER_ENCODING, "chunked, gzip")]), Ok(Body::Rest));
    }

    #[test]
    fn some_responses_have_none() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        let none = Ok(Body::Length(0));
        assert_eq!(Body::of(&Method::HEAD, StatusCode::OK, &headers), none);
        assert_eq!(Body::of(&Method::GET, StatusCode::NOT_MODIFIED, &headers), none);
    }

    #[test]
    fn a_204_that_announces_a_body_ends_its_connection() {
        let of = |method: Method, status: u16, name: http::HeaderName, value: &'static str| {
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
            last(&method, StatusCode::from_u16(status).unwrap(), &headers)
        };
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(of(method.clone(), 204, CONTENT_LENGTH, "5"), None);
            assert_eq!(of(method.clone(), 204, TRANSFER_ENCODING, "chunked"), None);
            assert_eq!(of(method.clone(), 204, CONTENT_LENGTH, "0"), Some(Last::Bodiless));
            assert_eq!(of(method.clone(), 304, CONTENT_LENGTH, "5"), Some(Last::Bodiless));
            assert_eq!(of(method, 304, TRANSFER_ENCODING, "chunked"), Some(Last::Bodiless));
        }
        assert_eq!(of(Method::HEAD, 200, CONTENT_LENGTH, "5"), Some(Last::Bodiless));
        assert_eq!(of(Method::HEAD, 200, TRANSFER_ENCODING, "chunked"), Some(Last::Bodiless));
        assert_eq!(of(Method::GET, 200, CONTENT_LENGTH, "0"), Some(Last::Framed));
    }

    const CHUNKED: &[u8] = b"5;a=b\r\nhello\r\nB\r\n, my world!\r\n0\r\nX-Sum: 1\r\n\r\n";

    #[test]
    fn chunks_end_where_they_end_however_they_are_cut() {
        for cut in 0..=CHUNKED.len() {
            let mut body = Body::Chunks(Chunks::default());
            let (first, second) = CHUNKED.split_at(cut);
            let second = [second, b"HTTP/1.1"].concat();
            let one = body.take(first).unwrap();
            assert_eq!(one.length, cut);
            let two = body.take(&second).unwrap();
            assert_eq!(one.length + two.length, CHUNKED.len());
            assert_eq!(one.payload + two.payload, 16);
            assert!(body.is_whole());
        }
    }

    #[test]
    fn whatever_else_is_malformed() {
        for bad in [
            "x",
            "\r\n",
            "5\n",
            "5\r\nhello\n",
            "5\r\nhelloo",
            "-1\r\n",
            "5;\x01\r\n",
            "0\r\n\n",
            "ffffffffffffffff\r\n",
            " 5\r\n",
        ] {
            let mut body = Body::Chunks(Chunks::default());
            assert_eq!(body.take(bad.as_bytes()), Err(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn a_size_has_an_end() {
        let mut body = Body::Chunks(Chunks::default());
        assert_eq!(
            body.take(&[b'0'; ASIDES as usize]),
            Ok(Part { length: ASIDES as usize, payload: 0 })
        );
        assert_eq!(body.take(b"0"), Err(Malformed));
    }

    #[test]
    fn trailers_have_an_end() {
        let mut body = Body::Chunks(Chunks::default());
        body.take(b"0\r\n").unwrap();
        let line = [b'a'; 1000];
        assert!((0..20).any(|_| body.take(&line).is_err()));
    }
}
