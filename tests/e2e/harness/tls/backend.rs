//! A toy backend that speaks TLS, at the port that a stopped toy backend holds.

use super::{Authority, Pair, provider};
use crate::harness::backend::Backend;
use crate::harness::message::{Framing, Head};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;
use socket2::{Domain, Socket, Type};
use std::io::{self, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Serves until the process ends; its answers name the host that was asked for.
pub(crate) struct TlsBackend {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    id: String,
    full: AtomicUsize,
    resumed: AtomicUsize,
    requests: AtomicUsize,
}

impl TlsBackend {
    /// Shows `pair`; asks for a certificate of `clients` where that is given.
    pub(crate) fn start(at: &Backend, pair: &Pair, clients: Option<&Authority>) -> Self {
        let builder = ServerConfig::builder_with_provider(provider());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            Some(authority) => {
                let roots = Arc::new(authority.roots());
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
            None => builder.with_no_client_auth(),
        };
        let (chain, key) = pair.der();
        let config = Arc::new(builder.with_single_cert(chain, key).unwrap());
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&at.address().into()).unwrap();
        socket.listen(1024).unwrap();
        let state = Arc::new(State { id: at.id().to_owned(), ..State::default() });
        let listener: TcpListener = socket.into();
        thread::spawn({
            let state = Arc::clone(&state);
            move || {
                for tcp in listener.incoming().flatten() {
                    let (config, state) = (Arc::clone(&config), Arc::clone(&state));
                    // an error is the peer's
                    thread::spawn(move || serve(tcp, config, &state));
                }
            }
        });
        Self { state }
    }

    /// Handshakes so far, of requests and health checks: full ones, resumed ones.
    pub(crate) fn handshakes(&self) -> (usize, usize) {
        (self.state.full.load(Ordering::SeqCst), self.state.resumed.load(Ordering::SeqCst))
    }

    /// Requests so far, health checks apart.
    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }
}

fn serve(tcp: TcpStream, config: Arc<ServerConfig>, state: &State) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let session = ServerConnection::new(config).expect("a session");
    let mut stream = StreamOwned::new(session, tcp);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    let resumed = stream.conn.handshake_kind() == Some(HandshakeKind::Resumed);
    let counter = if resumed { &state.resumed } else { &state.full };
    counter.fetch_add(1, Ordering::SeqCst);
    let asked = stream.conn.server_name().map(str::to_owned);
    let shown = stream.conn.peer_certificates().is_some();
    let mut reader = BufReader::new(stream);
    while let Some(head) = Head::read(&mut reader)? {
        let path = head.start.split(' ').nth(1).unwrap_or_default().to_owned();
        let (body, _) = head.framing().unwrap_or(Framing::Empty).read(&mut reader);
        if path != "/healthz" {
            state.requests.fetch_add(1, Ordering::SeqCst);
        }
        let seen = json!({
            "id": state.id, "sni": asked, "client": shown, "path": path,
            "headers": head.fields, "body_length": body.len(),
        });
        let body = seen.to_string();
        let stream = reader.get_mut();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        stream.flush()?;
    }
    Ok(())
}
