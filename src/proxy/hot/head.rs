//! From bytes to headers, and which requests need nothing special. What looks odd in any way is left
//! to Pingora before a byte of it is used up.

use super::lines::Lines;
use crate::model::Fields;
use crate::proxy::grpc;
use crate::proxy::message::{Message, Request, Response};
use bytes::BufMut;
use http::header::{COOKIE, HOST};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use httparse::{Header, ParserConfig, Status};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, Result};
use std::mem::MaybeUninit;
use std::ops::Range;

/// More fields than that are odd.
const FIELDS: usize = 64;
/// Fields that a backend may send, as in Pingora.
const BACKEND_FIELDS: usize = 256;

/// Room for the header of a request of HTTP/2; most need no more.
const STREAM: usize = 512;

/// What was read so far.
#[allow(clippy::large_enum_variant, reason = "it is taken apart at once")]
pub(super) enum Head {
    /// Part of a header.
    Partial,
    /// Not for here.
    Odd,
    /// A plain request.
    Whole(Inbound),
}

/// A plain request.
pub(super) struct Inbound {
    method: Method,
    /// How the client speaks.
    version: Version,
    /// Path and query.
    target: String,
    /// Bytes of the path.
    path: usize,
    lines: Lines,
    /// Bytes of its header.
    pub(super) length: usize,
    /// Bytes of its body.
    pub(super) body: u64,
    /// Whether the client wants to go on with the connection.
    pub(super) keeps: bool,
}

/// A response as it came.
pub(super) struct Outbound {
    pub(super) version: Version,
    pub(super) status: StatusCode,
    reason: Range<usize>,
    lines: Lines,
    /// Bytes of its header.
    pub(super) length: usize,
}

/// Reads the header of a request.
pub(super) fn request(bytes: &[u8]) -> Head {
    if !bytes.first().is_none_or(u8::is_ascii_uppercase) {
        return Head::Odd;
    }
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    let length = match parsed.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Head::Partial,
        Err(_) => return Head::Odd,
    };
    let (Some(method), Some(target), Some(1)) = (parsed.method, parsed.path, parsed.version) else {
        return Head::Odd;
    };
    let method = match method {
        "GET" => Method::GET,
        "HEAD" => Method::HEAD,
        "POST" => Method::POST,
        "PUT" => Method::PUT,
        "DELETE" => Method::DELETE,
        "PATCH" => Method::PATCH,
        "OPTIONS" => Method::OPTIONS,
        _ => return Head::Odd,
    };
    let path = path_of(target);
    if !is_target(target, path) {
        return Head::Odd;
    }
    let Some((keeps, body)) = usual(parsed.headers) else { return Head::Odd };
    let Some(head) = bytes.get(..length) else { return Head::Odd };
    let lines = lines(head, parsed.headers);
    let target = target.to_owned();
    let version = Version::HTTP_11;
    Head::Whole(Inbound { method, version, target, path, lines, length, body, keeps })
}

/// A request of HTTP/2 without a body, if it is plain and no call; `None`: not for here. It is written as HTTP/1.1
/// has it, with one host and one line of cookies (RFC 9113 §8.2.3, §8.3.1), and read as any, so that what
/// is odd there is odd here.
pub(super) fn of_stream(header: &RequestHeader) -> Option<Inbound> {
    if grpc::is_call(header) {
        return None;
    }
    let host = header.uri.authority()?.as_str();
    let target = header.uri.path_and_query()?.as_str();
    let mut text = Vec::with_capacity(STREAM);
    for part in [header.method.as_str(), " ", target, " HTTP/1.1\r\nHost: ", host, "\r\n"] {
        text.extend_from_slice(part.as_bytes());
    }
    for (name, value) in header.headers.iter().filter(|(name, _)| !is_told_once(name)) {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            text.extend_from_slice(part);
        }
    }
    let mut before: &[u8] = b"cookie: ";
    for value in header.headers.get_all(COOKIE) {
        text.extend_from_slice(before);
        text.extend_from_slice(value.as_bytes());
        before = b"; ";
    }
    if before.len() == 2 {
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    match self::request(&text) {
        Head::Whole(request) if request.keeps && request.body == 0 => {
            Some(Inbound { version: Version::HTTP_2, ..request })
        }
        Head::Whole(_) | Head::Partial | Head::Odd => None,
    }
}

fn is_told_once(name: &HeaderName) -> bool {
    *name == HOST || *name == COOKIE
}

/// Whether every byte of a path of that length and the query behind it is one that needs no second look (RFC
/// 3986, and what browsers send besides).
fn is_target(target: &str, path: usize) -> bool {
    let usual = |byte: u8| matches!(byte, b'!' | b'$'..=b';' | b'=' | b'?'..=b'[' | b']' | b'_' | b'a'..=b'z' | b'|' | b'~');
    let in_query = |byte: u8| usual(byte) || matches!(byte, b'\\' | b'^' | b'`' | b'{' | b'}');
    let (path, query) = target.as_bytes().split_at(path);
    path.first() == Some(&b'/')
        && path.iter().copied().all(usual)
        && query.iter().copied().all(in_query)
}

/// How long its path is.
fn path_of(target: &str) -> usize {
    memchr::memchr(b'?', target.as_bytes()).unwrap_or(target.len())
}

/// Where `part` is in `whole`.
fn place(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    start..start.wrapping_add(part.len())
}

fn lines(head: &[u8], fields: &[Header<'_>]) -> Lines {
    let mut lines = Lines::of(head);
    for Header { name, value } in fields {
        lines.find(place(head, name.as_bytes()), place(head, value));
    }
    lines
}

/// Whether the connection is to go on, and the bytes of the body; `None` where any field asks for more
/// than the usual.
fn usual(fields: &[Header<'_>]) -> Option<(bool, u64)> {
    let (mut keeps, mut body) = (true, 0);
    let (mut hosts, mut connections, mut bodies) = (0, 0, 0);
    for Header { name, value } in fields {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        // most fields are told apart by their length
        let odd = match name.len() {
            2 => is("te"),
            4 => {
                hosts += usize::from(is("host"));
                false
            }
            6 => is("expect"),
            7 => is("upgrade") || is("trailer"),
            10 if is("connection") => {
                connections += 1;
                let closes = value.eq_ignore_ascii_case(b"close");
                keeps &= !closes;
                !closes && !value.eq_ignore_ascii_case(b"keep-alive")
            }
            10 => is("keep-alive"),
            14 if is("content-length") => {
                bodies += 1;
                body = length(value)?;
                false
            }
            14 => is("http2-settings"),
            16 => is("proxy-connection"),
            17 => is("transfer-encoding"),
            18 => is("proxy-authenticate"),
            19 => is("proxy-authorization"),
            _ => false,
        };
        if odd {
            return None;
        }
    }
    (hosts == 1 && connections < 2 && bodies < 2).then_some((keeps, body))
}

/// A number of bytes, if it is written as one.
fn length(value: &[u8]) -> Option<u64> {
    let digits = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

impl Fields for Inbound {
    fn all<'f>(&'f self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'f [u8]> {
        self.lines.all(name)
    }

    fn each(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.each()
    }
}

impl Message for Inbound {
    fn remove(&mut self, name: &HeaderName) {
        self.lines.remove(name);
    }

    fn set(&mut self, name: &HeaderName, value: &[u8]) -> Result<()> {
        self.lines.set(name, value);
        Ok(())
    }

    fn add(&mut self, name: &HeaderName, value: &[u8]) -> Result<()> {
        self.lines.add(name, value);
        Ok(())
    }
}

impl Request for Inbound {
    fn method(&self) -> &Method {
        &self.method
    }

    fn version(&self) -> Version {
        self.version
    }

    fn raw_target(&self) -> &[u8] {
        self.target.as_bytes()
    }

    fn authority(&self) -> Option<&str> {
        None
    }

    fn target(&self) -> &str {
        &self.target
    }

    fn set_target(&mut self, target: &str) -> Result<()> {
        let path = path_of(target);
        if !is_target(target, path) {
            return Error::e_explain(ErrorType::InvalidHTTPHeader, "no path and query");
        }
        target.clone_into(&mut self.target);
        self.path = path;
        Ok(())
    }

    fn path(&self) -> &str {
        self.target.get(..self.path).unwrap_or_default()
    }

    fn query(&self) -> Option<&str> {
        self.target.get(self.path + 1..)
    }
}

impl Fields for Outbound {
    fn all<'f>(&'f self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'f [u8]> {
        self.lines.all(name)
    }

    fn each(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.each()
    }
}

impl Message for Outbound {
    fn remove(&mut self, name: &HeaderName) {
        self.lines.remove(name);
    }

    fn set(&mut self, name: &HeaderName, value: &[u8]) -> Result<()> {
        self.lines.set(name, value);
        Ok(())
    }

    fn add(&mut self, name: &HeaderName, value: &[u8]) -> Result<()> {
        self.lines.add(name, value);
        Ok(())
    }
}

impl Response for Outbound {
    fn status(&self) -> StatusCode {
        self.status
    }
}

/// Reads the header of a response; `Ok(None)` when it is not whole yet.
pub(super) fn response(bytes: &[u8]) -> std::result::Result<Option<Outbound>, httparse::Error> {
    let mut fields = [const { MaybeUninit::uninit() }; BACKEND_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let mut config = ParserConfig::default();
    // as Pingora reads them
    config.allow_spaces_after_header_name_in_responses(true);
    config.allow_obsolete_multiline_headers_in_responses(true);
    let read = config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields)?;
    let Status::Complete(length) = read else { return Ok(None) };
    let whole = || {
        let version = if parsed.version? == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
        let status = StatusCode::from_u16(parsed.code?).ok()?;
        let head = bytes.get(..length)?;
        let mut lines = lines(head, parsed.headers);
        for Header { value, .. } in parsed.headers.iter() {
            // a value that goes on in the next line (RFC 9112 §5.2)
            if memchr::memchr3(b'\r', b'\n', b'\0', value).is_some() {
                for byte in lines.part_mut(place(head, value)) {
                    if matches!(*byte, b'\r' | b'\n' | b'\0') {
                        *byte = b' ';
                    }
                }
            }
        }
        let reason = parsed.reason.map_or(0..0, |reason| place(head, reason.as_bytes()));
        Some(Outbound { version, status, reason, lines, length })
    };
    whole().map(Some).ok_or(httparse::Error::Status)
}

/// Writes a request as it goes to a backend.
pub(super) fn write_request(request: &Inbound, out: &mut Vec<u8>) {
    request.lines.reserve_in(out);
    out.extend_from_slice(request.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(request.raw_target());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    request.lines.write(out);
    out.extend_from_slice(b"\r\n");
}

/// Writes a response as it goes to a client: in our own version (RFC 9110 §6.2).
pub(super) fn write_response(response: &Outbound, out: &mut Vec<u8>) {
    response.lines.reserve_in(out);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(response.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(response.lines.part(response.reason.clone()));
    out.extend_from_slice(b"\r\n");
    response.lines.write(out);
    out.extend_from_slice(b"\r\n");
}

/// A response as it goes to a client of HTTP/2.
pub(super) fn to_stream(response: &Outbound) -> Result<ResponseHeader> {
    let fields = response.lines.each();
    let mut header = ResponseHeader::build_no_case(response.status, Some(fields.size_hint().0))?;
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name).map_err(|why| {
            Error::because(ErrorType::InvalidHTTPHeader, "no name of a field", why).into_up()
        })?;
        let value = HeaderValue::from_bytes(value).map_err(|why| {
            Error::because(ErrorType::InvalidHTTPHeader, "no value of a field", why).into_up()
        })?;
        header.append_header(name, value)?;
    }
    Ok(header)
}

/// Writes an answer of our own.
pub(super) fn write_answer(header: &ResponseHeader, out: &mut Vec<u8>) {
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(header.status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(header.get_reason_phrase().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
    header.header_to_h1_wire(out);
    out.put_slice(b"\r\n");
}
