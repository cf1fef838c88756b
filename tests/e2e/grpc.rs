//! gRPC through the gateway, with a client and a server of tonic's: streams in all directions,
//! statuses, and affinity.

use crate::harness::{Gateway, Setup, within};
use bytes::{Buf, BufMut};
use http::uri::PathAndQuery;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{BoxFuture, Service, StdError};
use tonic::metadata::MetadataMap;
use tonic::server::{
    ClientStreamingService, Grpc as Server, NamedService, ServerStreamingService, StreamingService,
    UnaryService,
};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};

/// Messages are text as it is: what they are encoded with is none of the gateway's business.
#[derive(Clone, Copy)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, item: String, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        String::from_utf8(bytes.into()).map(Some).map_err(|_| Status::internal("no text"))
    }
}

/// A server that says who it is and repeats what it is told.
#[derive(Clone, Copy)]
struct Echo(&'static str);

type Texts = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;
type Later<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

impl UnaryService<String> for Echo {
    type Response = String;
    type Future = Ready<Result<Response<String>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        ready(match request.into_inner().as_str() {
            "fail" => Err(Status::failed_precondition("as told")),
            said => Ok(Response::new(format!("{} {said}", self.0))),
        })
    }
}

impl ServerStreamingService<String> for Echo {
    type Response = String;
    type ResponseStream = Texts;
    type Future = Ready<Result<Response<Texts>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let (id, said) = (self.0, request.into_inner());
        let texts = (0..3).map(move |nth| Ok(format!("{id} {said} {nth}")));
        ready(Ok(Response::new(Box::pin(tokio_stream::iter(texts.collect::<Vec<_>>())))))
    }
}

impl ClientStreamingService<String> for Echo {
    type Response = String;
    type Future = Later<String>;

    fn call(&mut self, request: Request<Streaming<String>>) -> Self::Future {
        let id = self.0;
        Box::pin(async move {
            let said: Vec<String> = request.into_inner().collect::<Result<_, _>>().await?;
            Ok(Response::new(format!("{id} {}", said.join(","))))
        })
    }
}

impl StreamingService<String> for Echo {
    type Response = String;
    type ResponseStream = Texts;
    type Future = Ready<Result<Response<Texts>, Status>>;

    fn call(&mut self, request: Request<Streaming<String>>) -> Self::Future {
        let id = self.0;
        let texts = request.into_inner().map(move |said| said.map(|said| format!("{id} {said}")));
        ready(Ok(Response::new(Box::pin(texts))))
    }
}

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl<B> Service<http::Request<B>> for Echo
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let (echo, mut server) = (*self, Server::new(Text));
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/test.Echo/One" => server.unary(echo, request).await,
                "/test.Echo/Down" => server.server_streaming(echo, request).await,
                "/test.Echo/Up" => server.client_streaming(echo, request).await,
                _ => server.streaming(echo, request).await,
            })
        })
    }
}

/// Servers and clients live here; dropping it ends the servers.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn serve(on: &Runtime, id: &'static str) -> SocketAddr {
    let _inside = on.enter();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
    let server = tonic::transport::Server::builder().add_service(Echo(id));
    on.spawn(server.serve_with_incoming(incoming));
    address
}

async fn connect(gateway: &Gateway) -> Grpc<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", gateway.address())).unwrap();
    let mut grpc = Grpc::new(endpoint.connect().await.unwrap());
    grpc.ready().await.unwrap();
    grpc
}

fn setup(servers: &[(&str, SocketAddr)]) -> Setup {
    let start = Setup::of(&[]).listener("http2: true").option("http2: true");
    servers.iter().fold(start, |setup, (id, at)| setup.backend(id, &at.to_string()))
}

const ONE: PathAndQuery = PathAndQuery::from_static("/test.Echo/One");

async fn one(
    grpc: &mut Grpc<Channel>,
    said: &str,
    with: &MetadataMap,
) -> Result<Response<String>, Status> {
    grpc.ready().await.unwrap();
    let mut request = Request::new(said.to_owned());
    *request.metadata_mut() = with.clone();
    let answer = grpc.unary(request, ONE, Text);
    tokio::time::timeout(Duration::from_secs(10), answer).await.expect("an answer in time")
}

#[test]
fn messages_stream_in_all_directions() {
    let runtime = runtime();
    let gateway = Gateway::start(&setup(&[("s", serve(&runtime, "s"))]));
    runtime.block_on(async {
        let mut grpc = connect(&gateway).await;
        let answer = one(&mut grpc, "hi", &MetadataMap::new()).await.unwrap();
        assert_eq!(answer.into_inner(), "s hi");

        grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static("/test.Echo/Down");
        let answer =
            grpc.server_streaming(Request::new("hi".to_owned()), path, Text).await.unwrap();
        let texts: Vec<String> = answer.into_inner().collect::<Result<_, _>>().await.unwrap();
        assert_eq!(texts, ["s hi 0", "s hi 1", "s hi 2"]);

        grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static("/test.Echo/Up");
        let texts = tokio_stream::iter(["a", "b", "c"].map(str::to_owned));
        let answer = grpc.client_streaming(Request::new(texts), path, Text).await.unwrap();
        assert_eq!(answer.into_inner(), "s a,b,c");

        grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static("/test.Echo/Both");
        let (say, said) = tokio::sync::mpsc::unbounded_channel();
        let texts = futures_of(said);
        let answer = grpc.streaming(Request::new(texts), path, Text).await.unwrap();
        let mut heard = answer.into_inner();
        for nth in 0..10 {
            // each is answered before the next is said: nothing is held back
            say.send(format!("{nth}")).unwrap();
            let next = tokio::time::timeout(Duration::from_secs(10), heard.next());
            assert_eq!(next.await.unwrap().unwrap().unwrap(), format!("s {nth}"));
        }
        drop(say);
        assert!(heard.next().await.is_none());
        // the status came in trailers, else the end would have been an error
        assert!(heard.trailers().await.unwrap().is_some());
    });
}

fn futures_of(
    mut said: tokio::sync::mpsc::UnboundedReceiver<String>,
) -> impl Stream<Item = String> {
    let (to, from) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(text) = said.recv().await {
            let _ = to.send(text).await;
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(from)
}

#[test]
fn a_status_of_the_server_comes_through_and_ours_are_of_grpc_too() {
    let runtime = runtime();
    let server = serve(&runtime, "s");
    let setup = setup(&[("s", server)])
        .rules(&["id: r, path: /test.Echo/*, serviceName: app"])
        .server("limits: { maxBodyBytes: 1000 }");
    let gateway = Gateway::start(&setup);
    runtime.block_on(async {
        let mut grpc = connect(&gateway).await;
        let none = MetadataMap::new();
        let status = one(&mut grpc, "fail", &none).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "as told"));

        grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static("/other.Service/One");
        let answer = grpc.unary(Request::new(String::new()), path, Text).await;
        let status = answer.map(|answer: Response<String>| answer).unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
        assert!(status.message().starts_with("no-route: "), "{status:?}");

        let status = one(&mut grpc, &"x".repeat(5000), &none).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    });
    drop(runtime);
    let runtime = self::runtime();
    runtime.block_on(async {
        let mut grpc = connect(&gateway).await;
        let status = one(&mut grpc, "hi", &MetadataMap::new()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert_eq!(status.metadata().get("x-stickfast-reason").unwrap(), "connect-failed");
    });
}

/// Calls without a key reach several servers; all with the key that one answer brought, the same.
fn stays(setup: &Setup, key: impl Fn(&MetadataMap) -> (&'static str, String)) {
    let runtime = runtime();
    let servers = ["s1", "s2", "s3"].map(|id| (id, serve(&runtime, id)));
    let setup = servers.iter().fold(setup.clone(), |s, (id, at)| s.backend(id, &at.to_string()));
    let gateway = Gateway::start(&setup);
    runtime.block_on(async {
        let mut grpc = connect(&gateway).await;
        let first = one(&mut grpc, "", &MetadataMap::new()).await.unwrap();
        let (name, value) = key(first.metadata());
        let id = first.into_inner();
        let other = one(&mut grpc, "", &MetadataMap::new()).await.unwrap().into_inner();
        assert_ne!(other, id);
        let mut with = MetadataMap::new();
        with.insert(name, value.parse().unwrap());
        for _ in 0..6 {
            assert_eq!(one(&mut grpc, "", &with).await.unwrap().into_inner(), id);
        }
    });
}

#[test]
fn metadata_keep_a_client_with_its_server() {
    let start = Setup::of(&[]).listener("http2: true").option("http2: true");
    stays(&start.clone().sticky(), |metadata| {
        let line = metadata.get("set-cookie").unwrap().to_str().unwrap();
        ("cookie", line.split(';').next().unwrap().to_owned())
    });
    stays(&start.sticky_with("methods: [header]"), |metadata| {
        let key = metadata.get("x-sessionaffinity").unwrap().to_str().unwrap();
        ("x-sessionaffinity", key.to_owned())
    });
}

#[test]
fn a_call_may_be_silent_for_longer_than_an_answer_may_take() {
    let runtime = runtime();
    let setup = setup(&[("s", serve(&runtime, "s"))]).option("timeouts: { read: 200ms }");
    let gateway = Gateway::start(&setup);
    runtime.block_on(async {
        let mut grpc = connect(&gateway).await;
        let (say, said) = tokio::sync::mpsc::unbounded_channel();
        let path = PathAndQuery::from_static("/test.Echo/Both");
        let answer = grpc.streaming(Request::new(futures_of(said)), path, Text).await.unwrap();
        let mut heard = answer.into_inner();
        tokio::time::sleep(Duration::from_millis(700)).await;
        say.send("still here".to_owned()).unwrap();
        assert_eq!(heard.next().await.unwrap().unwrap(), "s still here");
    });
}

#[test]
fn a_backend_of_http_2_is_checked_in_http_2() {
    let runtime = runtime();
    // tonic answers any other path with 200 and a status of its own
    let gateway = Gateway::start(&setup(&[("s", serve(&runtime, "s"))]).checked());
    gateway.wait_for_health("s", true);
    drop(runtime);
    let down = within(Duration::from_secs(10), || {
        let labels = [("service", "app"), ("backend", "s")];
        (gateway.metric("stickfast_backend_up", &labels) < 0.5).then_some(())
    });
    assert!(down.is_some());
}
