//! A toy backend in this process: answers with its id and with what it saw, or misbehaves as told.
//!
//! The port is its own for as long as the value lives, also while it is stopped: a second socket
//! stays bound to it and does not listen, so that connections are refused and no other test can
//! be given the port.

use super::message::{Framing, Head};
use serde_json::json;
use socket2::{Domain, Socket, Type};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What a backend does with a request. Health checks (`/healthz`) are answered all the same, but
/// for [`Behaviour::Mute`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Answers with 200 and what it saw, or as the path says: `/sleep/<ms>`, `/status/<code>`,
    /// `/upgrade` (where that is asked for). `X-Toy-Field: <name>: <value>` in the request becomes a field of the response.
    Serve,
    /// Reads the request and closes.
    HangUp,
    /// Reads the request, sends `103 Early Hints` and closes.
    Hint,
    /// Announces 1000 bytes, sends a few and closes.
    BreakOff,
    /// Reads the request and stays silent; also with health checks.
    Mute,
}

/// What is answered with 200 at one path. `X-Toy-Id` and `X-Toy-Path` say who answered to what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    /// Header fields, each as one line.
    pub(crate) fields: Vec<String>,
    /// The body.
    pub(crate) body: Vec<u8>,
    /// Sends the body in chunks of that size, its length untold.
    pub(crate) chunks: Option<usize>,
}

impl Page {
    /// An HTML page whose length is told.
    pub(crate) fn html(body: &str) -> Self {
        let fields = vec!["Content-Type: text/html; charset=utf-8".to_owned()];
        Self { fields, body: body.as_bytes().to_vec(), chunks: None }
    }

    /// With another header field.
    pub(crate) fn with(mut self, field: &str) -> Self {
        self.fields.push(field.to_owned());
        self
    }

    fn bytes(&self, id: &str, seen: &str, has_body: bool) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 200 Toy\r\nX-Toy-Id: {id}\r\nX-Toy-Path: {seen}\r\n");
        for field in &self.fields {
            let _ = write!(head, "{field}\r\n");
        }
        let framing = match self.chunks {
            Some(_) => "Transfer-Encoding: chunked".to_owned(),
            None => format!("Content-Length: {}", self.body.len()),
        };
        let mut message = format!("{head}{framing}\r\n\r\n").into_bytes();
        match self.chunks {
            _ if !has_body => {}
            None => message.extend_from_slice(&self.body),
            Some(size) => {
                for chunk in self.body.chunks(size) {
                    message.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    message.extend_from_slice(chunk);
                    message.extend_from_slice(b"\r\n");
                }
                message.extend_from_slice(b"0\r\n\r\n");
            }
        }
        message
    }
}

/// A toy backend.
pub(crate) struct Backend {
    id: String,
    address: SocketAddr,
    /// Bound, never listening: holds the port.
    _claim: Socket,
    state: Arc<State>,
    accepting: Mutex<Option<Accepting>>,
}

struct State {
    id: String,
    behaviour: Mutex<Behaviour>,
    healthy: AtomicBool,
    /// Which start of it this is, as health checks are told; empty for not at all.
    incarnation: Mutex<String>,
    requests: AtomicUsize,
    checks: AtomicUsize,
    pages: Mutex<HashMap<String, Page>>,
    open: Mutex<Vec<TcpStream>>,
}

struct Accepting {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Backend {
    /// Listens on a port that the system chooses.
    pub(crate) fn start(id: &str) -> Self {
        let backend = Self::stopped(id);
        backend.restart();
        backend
    }

    /// Has a port that refuses connections.
    pub(crate) fn stopped(id: &str) -> Self {
        let claim = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a port");
        let address = claim.local_addr().unwrap().as_socket().unwrap();
        let state = Arc::new(State {
            id: id.to_owned(),
            behaviour: Mutex::new(Behaviour::Serve),
            healthy: AtomicBool::new(true),
            incarnation: Mutex::default(),
            requests: AtomicUsize::new(0),
            checks: AtomicUsize::new(0),
            pages: Mutex::default(),
            open: Mutex::default(),
        });
        Self { id: id.to_owned(), address, _claim: claim, state, accepting: Mutex::new(None) }
    }

    /// The id that every answer carries.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener and every connection; further ones are refused.
    pub(crate) fn stop(&self) {
        let Some(accepting) = self.accepting.lock().unwrap().take() else { return };
        accepting.ends.store(true, Ordering::SeqCst);
        // Wakes the accept; an error means that it is awake already.
        let _ = TcpStream::connect(self.address);
        accepting.thread.join().unwrap();
        for stream in self.state.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Listens again on the same port.
    pub(crate) fn restart(&self) {
        let mut accepting = self.accepting.lock().unwrap();
        assert!(accepting.is_none(), "{} listens already", self.id);
        let socket = bound(self.address).expect("the port is ours");
        socket.listen(1024).expect("the port is ours");
        let ends = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (ends, state) = (Arc::clone(&ends), Arc::clone(&self.state));
            move || accept(&socket.into(), &ends, &state)
        });
        *accepting = Some(Accepting { ends, thread });
    }

    /// From now on behaves like this.
    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.state.behaviour.lock().unwrap() = behaviour;
    }

    /// From now on answers health checks with 200 or with 500.
    pub(crate) fn healthy(&self, healthy: bool) {
        self.state.healthy.store(healthy, Ordering::SeqCst);
    }

    /// From now on answers with `page` at `path`, whatever the query and parameters say.
    pub(crate) fn shows(&self, path: &str, page: Page) {
        self.state.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    /// From now on tells health checks that this is another start of it.
    pub(crate) fn is_start(&self, incarnation: &str) {
        incarnation.clone_into(&mut self.state.incarnation.lock().unwrap());
    }

    /// How many requests came so far, health checks apart.
    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// How many health checks came so far.
    pub(crate) fn checks(&self) -> usize {
        self.state.checks.load(Ordering::SeqCst)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop();
    }
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn accept(listener: &TcpListener, ends: &AtomicBool, state: &Arc<State>) {
    for stream in listener.incoming() {
        if ends.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let Ok(copy) = stream.try_clone() else { continue };
        state.open.lock().unwrap().push(copy);
        let state = Arc::clone(state);
        // An error is the peer's: it went away.
        thread::spawn(move || serve(&stream, &state).or_else(|_| stream.shutdown(Shutdown::Both)));
    }
}

/// Answers one request after the other until the peer or the behaviour ends it.
fn serve(stream: &TcpStream, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    while let Some(head) = Head::read(&mut reader)? {
        let path = head.start.split(' ').nth(1).unwrap_or_default().to_owned();
        let behaviour = *state.behaviour.lock().unwrap();
        if path == "/healthz" {
            state.checks.fetch_add(1, Ordering::SeqCst);
            if behaviour == Behaviour::Mute {
                return wait_for_end(reader);
            }
            let ok = state.healthy.load(Ordering::SeqCst);
            let status = if ok { "200 OK" } else { "500 Unwell" };
            let incarnation = state.incarnation.lock().unwrap().clone();
            let field = match incarnation.as_str() {
                "" => String::new(),
                told => format!("X-Backend-Incarnation: {told}\r\n"),
            };
            write!(writer, "HTTP/1.1 {status}\r\n{field}Content-Length: 0\r\n\r\n")?;
            continue;
        }
        state.requests.fetch_add(1, Ordering::SeqCst);
        let (body, whole) = head.framing().unwrap_or(Framing::Empty).read(&mut reader);
        if !whole {
            return stream.shutdown(Shutdown::Both);
        }
        match behaviour {
            Behaviour::Mute => return wait_for_end(reader),
            Behaviour::HangUp => return stream.shutdown(Shutdown::Both),
            Behaviour::Hint => {
                writer.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")?;
                return stream.shutdown(Shutdown::Both);
            }
            Behaviour::BreakOff => {
                write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nfrom ")?;
                write!(writer, "{}", state.id)?;
                return stream.shutdown(Shutdown::Both);
            }
            Behaviour::Serve if path == "/upgrade" && head.field("upgrade").is_some() => {
                return echo(reader);
            }
            Behaviour::Serve => writer.write_all(&answer(state, &head, &path, body.len()))?,
        }
    }
    stream.shutdown(Shutdown::Both)
}

fn answer(state: &State, head: &Head, path: &str, length: usize) -> Vec<u8> {
    let mut status = "200";
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["", "sleep", ms] => thread::sleep(Duration::from_millis(ms.parse().expect("a number"))),
        ["", "status", code] => status = code,
        _ => {}
    }
    let method = head.start.split(' ').next().unwrap_or_default();
    let bare = path.split(['?', ';']).next().unwrap_or_default();
    if let Some(page) = state.pages.lock().unwrap().get(bare) {
        return page.bytes(&state.id, path, method != "HEAD");
    }
    let seen = json!({
        "id": state.id,
        "method": method,
        "path": path,
        "headers": head.fields,
        "body_length": length,
    });
    let body = seen.to_string();
    let mut response = format!("HTTP/1.1 {status} Toy\r\nContent-Type: application/json\r\n");
    for (_, field) in head.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case("x-toy-field")) {
        let _ = write!(response, "{field}\r\n");
    }
    if ["204", "304"].contains(&status) {
        response.push_str("\r\n");
        return response.into_bytes();
    }
    let _ = write!(response, "Content-Length: {}\r\n\r\n", body.len());
    if method != "HEAD" {
        response.push_str(&body);
    }
    response.into_bytes()
}

/// Switches protocols and sends back whatever comes.
fn echo(mut reader: BufReader<&TcpStream>) -> io::Result<()> {
    let mut writer = *reader.get_ref();
    writer.write_all(b"HTTP/1.1 101 Toy\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")?;
    io::copy(&mut reader, &mut writer)?;
    writer.shutdown(Shutdown::Both)
}

fn wait_for_end(mut reader: BufReader<&TcpStream>) -> io::Result<()> {
    reader.read_to_end(&mut Vec::new())?;
    reader.get_ref().shutdown(Shutdown::Both)
}
