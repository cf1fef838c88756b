//! A user agent: keeps its connection and its cookies.

use super::message::{Answer, bytes};
use super::wire::Wire;
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// What is asked when the test does not say.
const HOST: &str = "app.test";

/// A request to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    chunked: bool,
}

/// A user agent with a cookie jar of its own.
#[derive(Clone)]
pub(crate) struct Client {
    to: SocketAddr,
    from: Option<IpAddr>,
    connection: Connection,
    /// Name and value of every cookie that was set.
    pub(crate) jar: Vec<(String, String)>,
}

/// A copy of a client has the same cookies and a connection of its own.
#[derive(Default)]
struct Connection(Option<Wire>);

impl Clone for Connection {
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl Request {
    /// With any method.
    pub(crate) fn new(method: &str, target: &str) -> Self {
        let (method, target) = (method.to_owned(), target.to_owned());
        Self { method, target, fields: Vec::new(), body: None, chunked: false }
    }

    /// A GET.
    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A POST with a body of that many bytes.
    pub(crate) fn post(target: &str, length: usize) -> Self {
        Self::new("POST", target).body(length)
    }

    /// With a body of that many bytes.
    pub(crate) fn body(mut self, length: usize) -> Self {
        self.body = Some(vec![b'x'; length]);
        self
    }

    /// With this body.
    pub(crate) fn saying(mut self, text: &str) -> Self {
        self.body = Some(text.as_bytes().to_vec());
        self
    }

    /// Adds a header field. `Host` replaces the usual one.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Bytes of the body.
    pub(crate) fn length(&self) -> usize {
        self.body.as_ref().map_or(0, Vec::len)
    }

    /// Sends the body in chunks, its length untold.
    pub(crate) fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// The bytes on the wire, with the cookies of a jar.
    pub(crate) fn bytes(&self, jar: &[(String, String)]) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            let _ = write!(head, "Host: {HOST}\r\n");
        }
        for (name, value) in &self.fields {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if !jar.is_empty() {
            let pairs: Vec<_> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let _ = write!(head, "Cookie: {}\r\n", pairs.join("; "));
        }
        match &self.body {
            Some(_) if self.chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
            Some(body) => {
                let _ = write!(head, "Content-Length: {}\r\n", body.len());
            }
            None => {}
        }
        head.push_str("\r\n");
        let mut message = bytes(&head);
        match &self.body {
            Some(body) if self.chunked => {
                for chunk in body.chunks(1000) {
                    message.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    message.extend_from_slice(chunk);
                    message.extend_from_slice(b"\r\n");
                }
                message.extend_from_slice(b"0\r\n\r\n");
            }
            Some(body) => message.extend_from_slice(body),
            None => {}
        }
        message
    }
}

impl Client {
    /// With an empty jar and not yet connected.
    pub(crate) fn new(to: SocketAddr) -> Self {
        Self { to, from: None, connection: Connection(None), jar: Vec::new() }
    }

    /// The same client at another loopback address.
    pub(crate) fn at(mut self, from: IpAddr) -> Self {
        self.from = Some(from);
        self
    }

    /// The same client, cookies and all, at another instance.
    pub(crate) fn goes_to(&mut self, to: SocketAddr) {
        self.to = to;
        self.connection = Connection(None);
    }

    /// Sends a GET and fails the test unless a response comes.
    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.send(&Request::get(target))
    }

    /// Sends a request and fails the test unless a response comes.
    pub(crate) fn send(&mut self, request: &Request) -> Answer {
        self.try_send(request)
            .unwrap_or_else(|e| panic!("no answer to {} {}: {e}", request.method, request.target))
    }

    /// Sends a request once, over the kept connection if there is one, and keeps the cookies of
    /// the response.
    pub(crate) fn try_send(&mut self, request: &Request) -> io::Result<Answer> {
        let mut wire = match self.connection.0.take() {
            Some(wire) => wire,
            None => Wire::connect(self.to, self.from)?,
        };
        // A refusal may come before the body is through; then it is the answer that counts.
        let sent = wire.write(&request.bytes(&self.jar));
        let answer =
            if request.method == "HEAD" { wire.answer_without_body() } else { wire.answer() };
        let answer = match (answer, sent) {
            (Ok(Some(answer)), _) => answer,
            (Ok(None), _) => return Err(io::ErrorKind::UnexpectedEof.into()),
            (Err(_), Err(e)) | (Err(e), Ok(())) => return Err(e),
        };
        if !answer.closes() {
            self.connection = Connection(Some(wire));
        }
        for cookie in answer.cookies() {
            let pair = cookie.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').expect("a cookie is a pair");
            if cookie.contains("Max-Age=0") {
                self.remove(name);
            } else {
                self.put(name, value);
            }
        }
        Ok(answer)
    }

    /// Closes the connection; the jar stays.
    pub(crate) fn hang_up(&mut self) {
        self.connection = Connection(None);
    }

    /// The value of a cookie in the jar.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        self.jar.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone())
    }

    /// Takes a cookie out of the jar.
    pub(crate) fn remove(&mut self, name: &str) {
        self.jar.retain(|(n, _)| n != name);
    }

    /// Puts a cookie into the jar, in the place of one of the same name.
    pub(crate) fn put(&mut self, name: &str, value: &str) {
        match self.jar.iter_mut().find(|(n, _)| n == name) {
            Some(pair) => value.clone_into(&mut pair.1),
            None => self.jar.push((name.to_owned(), value.to_owned())),
        }
    }
}
