//! HTTP/1.1 messages, read byte by byte: the client and the toy backend must see what a library
//! would smooth over, such as a body that ends too early.

use serde_json::Value;
use std::io::{self, BufRead, Read};

/// Start line and header fields. Bytes are kept as the characters of the same number, so that
/// nothing is lost.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// Without the line end.
    pub(crate) start: String,
    /// In the order of arrival, names as written.
    pub(crate) fields: Vec<(String, String)>,
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    Empty,
    /// `Content-Length`
    Length(usize),
    /// `Transfer-Encoding: chunked`
    Chunked,
    /// The connection closes.
    Close,
}

/// A response as the client saw it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// Header fields in the order of arrival.
    pub(crate) fields: Vec<(String, String)>,
    /// As much of the body as came.
    pub(crate) body: Vec<u8>,
    /// Whether the body ended as its framing says.
    pub(crate) whole: bool,
}

/// Bytes as characters of the same number.
pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The way back from [`text`].
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c).expect("one byte a character")).collect()
}

impl Head {
    /// Reads up to and including the empty line. `None`: the peer closed before the first byte.
    pub(crate) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(start) = line(from)? else { return Ok(None) };
        let mut fields = Vec::new();
        loop {
            let field = line(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if field.is_empty() {
                return Ok(Some(Self { start, fields }));
            }
            let (name, value) = field.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
    }

    /// The first field of that name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.fields, name)
    }

    /// The framing that the fields name, if they name one.
    pub(crate) fn framing(&self) -> Option<Framing> {
        let chunked = self.field("transfer-encoding").is_some_and(|v| v.contains("chunked"));
        if chunked {
            return Some(Framing::Chunked);
        }
        self.field("content-length").map(|v| Framing::Length(v.parse().expect("a number")))
    }
}

impl Framing {
    /// The body, and whether it is whole.
    pub(crate) fn read(self, from: &mut impl BufRead) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        let whole = match self {
            Self::Empty => true,
            Self::Length(length) => {
                let read = from.take(length as u64).read_to_end(&mut body);
                read.is_ok() && body.len() == length
            }
            Self::Chunked => chunks(from, &mut body).is_ok(),
            Self::Close => from.read_to_end(&mut body).is_ok(),
        };
        (body, whole)
    }
}

impl Answer {
    /// Reads one final response, past interim ones. `None`: the peer closed before its first byte.
    pub(crate) fn read(from: &mut impl BufRead, bodiless: bool) -> io::Result<Option<Self>> {
        let (head, status) = loop {
            let Some(head) = Head::read(from)? else { return Ok(None) };
            let status = head.start.split(' ').nth(1).and_then(|code| code.parse().ok());
            let status: u16 = status.ok_or(io::ErrorKind::InvalidData)?;
            if status == 101 || status >= 200 {
                break (head, status);
            }
        };
        let framing = match status {
            101 | 204 | 304 => Framing::Empty,
            _ if bodiless => Framing::Empty,
            _ => head.framing().unwrap_or(Framing::Close),
        };
        let (body, whole) = framing.read(from);
        Ok(Some(Self { status, fields: head.fields, body, whole }))
    }

    /// The first header field of that name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.fields, name)
    }

    /// Every `Set-Cookie`.
    pub(crate) fn cookies(&self) -> Vec<&str> {
        let named = self.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The machine word of an answer that the gateway made itself.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.field("x-stickfast-reason")
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        text(&self.body)
    }

    /// What the toy backend says that it saw.
    pub(crate) fn seen(&self) -> Value {
        assert_eq!(self.status, 200, "not from a backend: {:?} {}", self.fields, self.text());
        assert!(self.whole, "the body ended early: {}", self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// Which backend answered.
    pub(crate) fn backend(&self) -> String {
        self.seen()["id"].as_str().expect("an id").to_owned()
    }

    /// The path that the backend saw.
    pub(crate) fn seen_path(&self) -> String {
        self.seen()["path"].as_str().expect("a path").to_owned()
    }

    /// The values of a header field as the backend saw them.
    pub(crate) fn seen_fields(&self, name: &str) -> Vec<String> {
        let seen = self.seen();
        let fields = seen["headers"].as_array().expect("a list").iter();
        fields
            .filter(|pair| pair[0].as_str().is_some_and(|n| n.eq_ignore_ascii_case(name)))
            .map(|pair| pair[1].as_str().expect("a value").to_owned())
            .collect()
    }

    /// Whether the connection can take no further request.
    pub(crate) fn closes(&self) -> bool {
        let asked = self.field("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
        asked || !self.whole || self.status == 101
    }
}

fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

/// One line without its end. `None`: nothing came before the end of the stream.
fn line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(text(&line)))
}

fn chunks(from: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let size = line(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut chunk = vec![0; size];
        from.read_exact(&mut chunk)?;
        body.extend_from_slice(&chunk);
        line(from)?.filter(String::is_empty).ok_or(io::ErrorKind::InvalidData)?;
        if size == 0 {
            return Ok(());
        }
    }
}
