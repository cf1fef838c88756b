//! A toy backend that speaks HTTP/2: tells what it saw, as the other one does, or does as the path
//! says.

use super::backend::Backend;
use super::speaking::speaking;
use super::tls::{Pair, provider};
use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use rustls::ServerConfig;
use serde_json::json;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

/// Serves until the process ends:
///
/// - `/echo` sends back what comes, as it comes;
/// - `/flood` never ends, `/large/<bytes>` does;
/// - `/deaf` reads nothing of the body and answers nothing;
/// - `/trailers` and `/hint` come with just that;
/// - `/goaway` is answered, and its connection takes no more requests;
/// - `/refuse` is not looked at three times of four;
/// - `/vanish` begins an answer and closes the connection, `/reset` takes the stream back instead.
pub(crate) struct Http2Backend {
    backend: Backend,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    id: String,
    connections: AtomicUsize,
    sent: AtomicUsize,
    resets: AtomicUsize,
    refused: AtomicUsize,
}

impl Http2Backend {
    /// By prior knowledge.
    pub(crate) fn start(id: &str) -> Self {
        Self::start_or(id, |_| ())
    }

    /// By prior knowledge; a connection that begins otherwise is left to `other`.
    pub(crate) fn start_or(id: &str, other: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::accepting(id, move |stream, state| {
            let mut start = [0; 3];
            if stream.peek(&mut start).is_ok() && &start == b"PRI" {
                in_tokio(stream, async |stream| serve(stream, state).await);
            } else {
                other(stream);
            }
        })
    }

    /// Over TLS, with these protocols.
    pub(crate) fn start_tls(id: &str, pair: &Pair, protocols: &[&str]) -> Self {
        let builder = ServerConfig::builder_with_provider(provider());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let (chain, key) = pair.der();
        let mut config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::accepting(id, move |stream, state| {
            in_tokio(stream, async |stream| {
                // an error is the peer's
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, state).await;
                }
            });
        })
    }

    fn accepting(id: &str, does: impl Fn(TcpStream, &Arc<State>) + Send + Sync + 'static) -> Self {
        let state = Arc::new(State { id: id.to_owned(), ..State::default() });
        let shared = Arc::clone(&state);
        Self { backend: speaking(id, move |stream| does(stream, &shared)), state }
    }

    /// The port and the id, for a setup.
    pub(crate) fn at(&self) -> &Backend {
        &self.backend
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.backend.address()
    }

    /// Connections that spoke HTTP/2 so far.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many bytes of floods and echoes it got rid of.
    pub(crate) fn flooded(&self) -> usize {
        self.state.sent.load(Ordering::SeqCst)
    }

    /// How many requests were taken back.
    pub(crate) fn resets(&self) -> usize {
        self.state.resets.load(Ordering::SeqCst)
    }
}

fn in_tokio<F>(stream: TcpStream, serve: F)
where
    F: AsyncFnOnce(tokio::net::TcpStream),
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    stream.set_nonblocking(true).unwrap();
    runtime.block_on(async {
        serve(tokio::net::TcpStream::from_std(stream).unwrap()).await;
    });
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, state: &Arc<State>) {
    let mut builder = Builder::new();
    // what it does not read of one is no burden to others
    builder.initial_connection_window_size(1 << 24);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    state.connections.fetch_add(1, Ordering::SeqCst);
    let wish = Arc::new(Wish::default());
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = wish.vanish.notified() => return,
            () = wish.leave.notified() => {
                connection.graceful_shutdown();
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else { return };
        let (state, wish) = (Arc::clone(state), Arc::clone(&wish));
        tokio::spawn(async move {
            // an error is the peer's
            let _ = answer(request, respond, &state, &wish).await;
        });
    }
}

/// What a request has the connection do.
#[derive(Default)]
struct Wish {
    vanish: Notify,
    leave: Notify,
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    state: &State,
    wish: &Wish,
) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let ok = || Response::builder().header("x-toy-id", &state.id).body(()).unwrap();
    match head.uri.path() {
        "/echo" => {
            let mut to = respond.send_response(ok(), false)?;
            while let Some(part) = next(&mut body).await? {
                let length = part.len();
                send(&mut to, part).await?;
                state.sent.fetch_add(length, Ordering::SeqCst);
            }
            to.send_data(Bytes::new(), true)
        }
        "/flood" => {
            let mut to = respond.send_response(ok(), false)?;
            let part = Bytes::from(vec![b'x'; 16 * 1024]);
            loop {
                send(&mut to, part.clone()).await?;
                state.sent.fetch_add(part.len(), Ordering::SeqCst);
            }
        }
        path if path.starts_with("/large/") => {
            let length = path["/large/".len()..].parse().expect("a number");
            let mut to = respond.send_response(ok(), false)?;
            send(&mut to, Bytes::from(vec![b'x'; length])).await?;
            to.send_data(Bytes::new(), true)
        }
        "/deaf" => {
            let ended = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            state.resets.fetch_add(1, Ordering::SeqCst);
            ended.map(drop)
        }
        "/refuse" if state.refused.fetch_add(1, Ordering::SeqCst) % 4 != 3 => {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            Ok(())
        }
        "/vanish" | "/reset" => {
            let mut to = respond.send_response(ok(), false)?;
            send(&mut to, Bytes::from_static(b"so far")).await?;
            // until it is out, which h2 tells nobody
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            if head.uri.path() == "/vanish" {
                wish.vanish.notify_one();
            } else {
                to.send_reset(h2::Reason::INTERNAL_ERROR);
            }
            Ok(())
        }
        _ => {
            let mut length = 0;
            while let Some(part) = next(&mut body).await? {
                length += part.len();
            }
            let trailers = body.trailers().await?.unwrap_or_default();
            let seen = json!({
                "id": state.id,
                "method": head.method.as_str(),
                "path": head.uri.path_and_query().map(ToString::to_string),
                "headers": listed(&head.headers),
                "trailers": listed(&trailers),
                "body_length": length,
            });
            if head.uri.path() == "/goaway" {
                wish.leave.notify_one();
            }
            if head.uri.path() == "/hint" {
                let hint = Response::builder().status(103).header("link", "</a.css>");
                respond.send_informational(hint.body(()).unwrap())?;
            }
            let mut to = respond.send_response(ok(), false)?;
            let trailing = head.uri.path() == "/trailers";
            to.send_data(Bytes::from(seen.to_string()), !trailing)?;
            if trailing {
                to.send_trailers(HeaderMap::from_iter([(
                    "x-toy-trailer".parse().unwrap(),
                    http::HeaderValue::from_static("last"),
                )]))?;
            }
            Ok(())
        }
    }
}

/// What came next, which makes room for more.
async fn next(body: &mut RecvStream) -> Result<Option<Bytes>, h2::Error> {
    let part = body.data().await.transpose()?;
    if let Some(part) = &part {
        body.flow_control().release_capacity(part.len())?;
    }
    Ok(part)
}

/// Sends when there is room.
async fn send(to: &mut SendStream<Bytes>, mut part: Bytes) -> Result<(), h2::Error> {
    while !part.is_empty() {
        to.reserve_capacity(part.len());
        let room = std::future::poll_fn(|cx| to.poll_capacity(cx)).await;
        let room = room.ok_or(h2::Reason::CANCEL)??;
        to.send_data(part.split_to(room.min(part.len())), false)?;
    }
    Ok(())
}

fn listed(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}
