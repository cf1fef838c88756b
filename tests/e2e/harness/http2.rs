//! A connection of a client that speaks HTTP/2 by prior knowledge.

use super::message::Answer;
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What takes longer is a failure of the test.
const SILENCE: Duration = Duration::from_secs(30);

/// A connection.
pub(crate) struct Http2 {
    runtime: Runtime,
    send: SendRequest<Bytes>,
    connection: Option<JoinHandle<Result<(), h2::Error>>>,
    authority: String,
}

impl Http2 {
    /// Connects and says the preface.
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (send, connection) = runtime.block_on(async {
            let stream = TcpStream::connect(to).await.expect("the listener accepts");
            stream.set_nodelay(true).unwrap();
            let (send, connection) = h2::client::handshake(stream).await.expect("a handshake");
            (send, tokio::spawn(connection))
        });
        Self { runtime, send, connection: Some(connection), authority: to.to_string() }
    }

    /// A request in the making.
    pub(crate) fn request(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> Request<()> {
        let uri = format!("http://{}{path}", self.authority);
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
