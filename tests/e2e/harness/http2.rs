//! A connection of a client that speaks HTTP/2, by prior knowledge or over TLS.

use super::message::Answer;
use super::tls::TlsClient;
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request};
use rustls::pki_types::ServerName;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, timeout};

/// What takes longer is a failure of the test.
const SILENCE: Duration = Duration::from_secs(30);

/// A connection.
pub(crate) struct Http2 {
    runtime: Runtime,
    send: SendRequest<Bytes>,
    connection: Option<JoinHandle<Result<(), h2::Error>>>,
    /// Scheme and authority.
    origin: String,
}

/// A request that is under way: what is not read of its answer stays where it is.
pub(crate) struct Unread {
    _answer: Option<RecvStream>,
    body: SendStream<Bytes>,
}

impl Http2 {
    /// Connects and says the preface.
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let runtime = runtime();
        let begun = runtime.block_on(async { begin(reach(to).await).await });
        Self::with(runtime, begun, format!("http://{to}"))
    }

    /// Connects with windows as wide as those of browsers, and reads so many bytes with each `pause`.
    pub(crate) fn connect_slow(to: SocketAddr, bytes: usize, pause: Duration) -> Self {
        let runtime = runtime();
        let begun = runtime.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(1 << 16).unwrap();
            let stream = socket.connect(to).await.expect("the listener accepts");
            let mut pace = tokio::time::interval(pause);
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            begin_with(Some(1 << 23), Slow { stream, bytes, pace }).await
        });
        Self::with(runtime, begun, format!("http://{to}"))
    }

    /// Connects by TLS with what `client` has, and offers HTTP/2 alone.
    pub(crate) fn connect_tls(client: &TlsClient) -> Self {
        let client = client.clone().offers(&["h2"]);
        let runtime = runtime();
        let begun = runtime.block_on(async {
            let stream = reach(client.address()).await;
            let name = ServerName::try_from(client.name().to_owned()).unwrap();
            let connector = tokio_rustls::TlsConnector::from(client.config());
            let stream = connector.connect(name, stream).await.expect("a handshake of TLS");
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            begin(stream).await
        });
        Self::with(runtime, begun, format!("https://{}", client.name()))
    }

    fn with(runtime: Runtime, (send, connection): Begun, origin: String) -> Self {
        Self { runtime, send, connection: Some(connection), origin }
    }

    /// A request in the making.
    pub(crate) fn request(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> Request<()> {
        let uri = format!("{}{path}", self.origin);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    /// Sends a GET and fails the test unless a response comes.
    pub(crate) fn get(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send("GET", path, fields, b"")
    }

    /// Sends a request and fails the test unless a response comes.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.try_send(method, path, fields, body)
            .unwrap_or_else(|e| panic!("no answer to {path}: {e}"))
    }

    /// Sends a request.
    pub(crate) fn try_send(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, h2::Error> {
        let request = self.request(method, path, fields);
        let body = Bytes::copy_from_slice(body);
        let send = self.send.clone();
        self.runtime.block_on(async {
            let mut send = send.ready().await?;
            let (response, mut stream) = send.send_request(request, body.is_empty())?;
            if !body.is_empty() {
                // a refusal may come first
                let _ = stream.send_data(body, true);
            }
            read(response).await
        })
    }

    /// Sends a request with a body and trailers.
    pub(crate) fn send_with_trailer(
        &mut self,
        path: &str,
        body: &[u8],
        (name, value): (&'static str, &'static str),
    ) -> Answer {
        let request = self.request("POST", path, &[]);
        let body = Bytes::copy_from_slice(body);
        let send = self.send.clone();
        self.runtime
            .block_on(async {
                let (response, mut stream) = send.ready().await?.send_request(request, false)?;
                stream.send_data(body, false)?;
                stream.send_trailers(HeaderMap::from_iter([(
                    name.parse().unwrap(),
                    HeaderValue::from_static(value),
                )]))?;
                read(response).await
            })
            .expect("an answer")
    }

    /// Sends the header of a request and as much of `body` as is taken, and reads nothing. A body is
    /// left open.
    pub(crate) fn send_unread(&mut self, path: &str, body: &[u8]) -> Unread {
        self.send_unread_with(path, &[], body)
    }

    /// The same with these fields.
    pub(crate) fn send_unread_with(
        &mut self,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Unread {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let request = self.request(method, path, fields);
        let body = Bytes::copy_from_slice(body);
        let send = self.send.clone();
        self.runtime.block_on(async {
            let mut send = send.ready().await.unwrap();
            let (response, mut stream) = send.send_request(request, body.is_empty()).unwrap();
            if !body.is_empty() {
                stream.send_data(body, false).unwrap();
                return Unread { _answer: None, body: stream };
            }
            let response = timeout(SILENCE, response).await.expect("in time").unwrap();
            Unread { _answer: Some(response.into_body()), body: stream }
        })
    }

    /// Waits until the gateway has taken a request back; why it did.
    pub(crate) fn wait_for_reset(&self, unread: &mut Unread) -> h2::Reason {
        self.runtime.block_on(async {
            let reset = std::future::poll_fn(|cx| unread.body.poll_reset(cx));
            timeout(SILENCE, reset).await.expect("in time").expect("a reset")
        })
    }

    /// Sends a body a byte at a time.
    pub(crate) fn drip(&mut self, path: &str, bytes: usize, pause: Duration) -> Answer {
        let request = self.request("POST", path, &[]);
        let send = self.send.clone();
        let dripped = self.runtime.block_on(async {
            let (response, mut stream) = send.ready().await?.send_request(request, false)?;
            for _ in 0..bytes {
                tokio::time::sleep(pause).await;
                stream.send_data(Bytes::from_static(b"x"), false)?;
            }
            stream.send_data(Bytes::new(), true)?;
            read(response).await
        });
        dripped.expect("an answer")
    }

    /// Sends a request, and reads of its answer no more than the header until `meanwhile` is through.
    pub(crate) fn read_late(
        &mut self,
        path: &str,
        body: &[u8],
        meanwhile: impl FnOnce(),
    ) -> Result<Answer, h2::Error> {
        let request = self.request("POST", path, &[]);
        let body = Bytes::copy_from_slice(body);
        let send = self.send.clone();
        let response = self.runtime.block_on(async {
            let (response, mut stream) = send.ready().await?.send_request(request, false)?;
            stream.send_data(body, true)?;
            Ok::<_, h2::Error>(response)
        })?;
        meanwhile();
        self.runtime.block_on(read(response))
    }

    /// Sends so many requests at once. Those that the connection does not take fail.
    pub(crate) fn send_many(
        &mut self,
        count: usize,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Vec<Result<Answer, h2::Error>> {
        let requests: Vec<_> = (0..count).map(|_| self.request("GET", path, fields)).collect();
        let send = self.send.clone();
        self.runtime.block_on(async {
            let mut answers = Vec::new();
            for request in requests {
                let send = send.clone();
                answers.push(tokio::spawn(async move {
                    let (response, _) = send.ready().await?.send_request(request, true)?;
                    read(response).await
                }));
            }
            let mut all = Vec::new();
            for answer in answers {
                all.push(answer.await.unwrap());
            }
            all
        })
    }

    /// Sends a request whose answer is asked for later.
    pub(crate) fn start(&mut self, path: &str) -> JoinHandle<Result<Answer, h2::Error>> {
        let request = self.request("GET", path, &[]);
        let send = self.send.clone();
        let mut send = self.runtime.block_on(send.ready()).unwrap();
        let (response, _) = send.send_request(request, true).unwrap();
        self.runtime.spawn(read(response))
    }

    /// Sends a request and takes it back when `after` has passed.
    pub(crate) fn take_back(&mut self, path: &str, after: Duration) -> Result<(), h2::Error> {
        let request = self.request("GET", path, &[]);
        let send = self.send.clone();
        self.runtime.block_on(async {
            let mut send = send.ready().await?;
            let (_response, mut stream) = send.send_request(request, true)?;
            tokio::time::sleep(after).await;
            stream.send_reset(h2::Reason::CANCEL);
            Ok(())
        })
    }

    /// The answer that was asked for with [`Self::start`].
    pub(crate) fn finish(&self, started: JoinHandle<Result<Answer, h2::Error>>) -> Answer {
        self.runtime.block_on(started).unwrap().expect("an answer")
    }

    /// How many requests the gateway takes at once.
    pub(crate) fn most_streams(&mut self) -> usize {
        self.get("/", &[]);
        self.send.current_max_send_streams()
    }

    /// Waits until the gateway has ended the connection; how it did.
    pub(crate) fn wait_for_end(&mut self) -> Result<(), h2::Error> {
        let connection = self.connection.take().expect("ends once");
        let ended = self.runtime.block_on(async { timeout(SILENCE, connection).await });
        ended.expect("it ends").unwrap()
    }

    /// The same, where nothing is wrong. Our own last word may come when nobody is there any more.
    pub(crate) fn wait_for_farewell(&mut self) {
        match self.wait_for_end() {
            Ok(()) => {}
            Err(why) if why.get_io().is_some_and(|io| io.kind() == ErrorKind::BrokenPipe) => {}
            Err(why) => panic!("the farewell: {why}"),
        }
    }
}

type Begun = (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>);

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

async fn reach(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).await.expect("the listener accepts");
    stream.set_nodelay(true).unwrap();
    stream
}

/// A connection that is read slowly.
struct Slow {
    stream: TcpStream,
    /// So many of them at each tick.
    bytes: usize,
    pace: Interval,
}

impl AsyncRead for Slow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.pace.poll_tick(cx));
        let mut part = vec![0; this.bytes.min(buffer.remaining())];
        let mut part = ReadBuf::new(&mut part);
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
        buffer.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Slow {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn begin(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Begun {
    begin_with(None, stream).await
}

async fn begin_with(
    window: Option<u32>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Begun {
    // as browsers do: a stream that is not read leaves room for the others
    let mut builder = h2::client::Builder::new();
    builder.initial_connection_window_size(1 << 24);
    if let Some(window) = window {
        builder.initial_window_size(window);
    }
    let (send, connection) = builder.handshake(stream).await.expect("a handshake");
    (send, tokio::spawn(connection))
}

async fn read(response: ResponseFuture) -> Result<Answer, h2::Error> {
    let response = timeout(SILENCE, response).await.expect("in time")?;
    let status = response.status().as_u16();
    let mut fields = listed(response.headers());
    let mut stream = response.into_body();
    let mut body = Vec::new();
    while let Some(part) = timeout(SILENCE, stream.data()).await.expect("in time") {
        let part = part?;
        let _ = stream.flow_control().release_capacity(part.len());
        body.extend_from_slice(&part);
    }
    if let Some(trailers) = stream.trailers().await? {
        fields.extend(listed(&trailers));
    }
    Ok(Answer { status, fields, body, whole: true })
}

fn listed(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}
