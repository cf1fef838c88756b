//! From bytes to headers, and which requests need nothing special. What looks odd in any way is left
//! to Pingora before a byte of it is used up.

use bytes::{BufMut, Bytes};
use http::{HeaderValue, Method, Version};
use httparse::{Header, ParserConfig, Status};
use pingora::http::{RequestHeader, ResponseHeader};

/// More fields than that are odd.
const FIELDS: usize = 64;
/// Fields that a backend may send, as in Pingora.
const BACKEND_FIELDS: usize = 256;

/// What was read so far.
#[allow(clippy::large_enum_variant, reason = "it is taken apart at once")]
pub(super) enum Head {
    /// Part of a header.
    Partial,
    /// Not for here.
    Odd,
    /// A plain request without a body.
    Whole(Request),
}

/// A plain request.
pub(super) struct Request {
    pub(super) header: RequestHeader,
    /// Bytes of its header.
    pub(super) length: usize,
    /// Whether the client wants to go on with the connection.
    pub(super) keeps: bool,
}

/// Reads the header of a request.
pub(super) fn request(bytes: &[u8]) -> Head {
    if !bytes.first().is_none_or(u8::is_ascii_uppercase) {
        return Head::Odd;
    }
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    let length = match parsed.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Head::Partial,
        Err(_) => return Head::Odd,
    };
    let (Some(method), Some(path), Some(1)) = (parsed.method, parsed.path, parsed.version) else {
        return Head::Odd;
    };
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"].contains(&method);
    if !known || !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Head::Odd;
    }
    let Some(keeps) = keeps(parsed.headers) else { return Head::Odd };
    let Some(head) = bytes.get(..length) else { return Head::Odd };
    match build(method, path, parsed.headers, head) {
        Some(header) => Head::Whole(Request { header, length, keeps }),
        None => Head::Odd,
    }
}

/// Whether the connection is to go on; `None` where any field asks for more than the usual.
fn keeps(fields: &[Header<'_>]) -> Option<bool> {
    let mut keeps = true;
    let (mut hosts, mut connections) = (0, 0);
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
            14 => (is("content-length") && *value != b"0") || is("http2-settings"),
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
    (hosts == 1 && connections < 2).then_some(keeps)
}

fn build(method: &str, path: &str, fields: &[Header<'_>], head: &[u8]) -> Option<RequestHeader> {
    let method = Method::from_bytes(method.as_bytes()).ok()?;
    let mut header = RequestHeader::build(method, path.as_bytes(), Some(fields.len() + 6)).ok()?;
    header.set_version(Version::HTTP_11);
    let shared = Shared::new(head);
    for Header { name, value } in fields {
        let value = HeaderValue::from_maybe_shared(shared.part(value)).ok()?;
        header.append_header(shared.part(name.as_bytes()), value).ok()?;
    }
    Some(header)
}

/// A copy of a header, of which names and values are parts.
struct Shared<'b> {
    original: &'b [u8],
    copy: Bytes,
}

impl<'b> Shared<'b> {
    fn new(original: &'b [u8]) -> Self {
        Self { original, copy: Bytes::copy_from_slice(original) }
    }

    fn part(&self, part: &[u8]) -> Bytes {
        let start = (part.as_ptr() as usize).wrapping_sub(self.original.as_ptr() as usize);
        match start.checked_add(part.len()) {
            Some(end) if end <= self.copy.len() => self.copy.slice(start..end),
            _ => Bytes::copy_from_slice(part),
        }
    }
}

/// Reads the header of a response; `Ok(None)` when it is not whole yet.
pub(super) fn response(bytes: &[u8]) -> Result<Option<(ResponseHeader, usize)>, httparse::Error> {
    let mut fields = [const { std::mem::MaybeUninit::uninit() }; BACKEND_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let mut config = ParserConfig::default();
    // as Pingora reads them
    config.allow_spaces_after_header_name_in_responses(true);
    config.allow_obsolete_multiline_headers_in_responses(true);
    let read = config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields)?;
    let Status::Complete(length) = read else { return Ok(None) };
    let build = || {
        let mut header =
            ResponseHeader::build(parsed.code?, Some(parsed.headers.len() + 4)).ok()?;
        header.set_version(match parsed.version? {
            0 => Version::HTTP_10,
            _ => Version::HTTP_11,
        });
        header.set_reason_phrase(parsed.reason).ok()?;
        let shared = Shared::new(bytes.get(..length)?);
        for Header { name, value } in parsed.headers.iter() {
            let value = pingora::http::header_value_from_raw(shared.part(value));
            header.append_header(shared.part(name.as_bytes()), value).ok()?;
        }
        Some(header)
    };
    build().map(|header| Some((header, length))).ok_or(httparse::Error::HeaderName)
}

/// Writes a request as it goes to a backend.
pub(super) fn write_request(header: &RequestHeader, out: &mut Vec<u8>) {
    out.put_slice(header.method.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(header.raw_path());
    out.put_slice(b" HTTP/1.1\r\n");
    header.header_to_h1_wire(out);
    out.put_slice(b"\r\n");
}

/// Writes a response as it goes to a client.
pub(super) fn write_response(header: &ResponseHeader, out: &mut Vec<u8>) {
    out.put_slice(if header.version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.put_slice(header.status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(header.get_reason_phrase().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
    header.header_to_h1_wire(out);
    out.put_slice(b"\r\n");
}
