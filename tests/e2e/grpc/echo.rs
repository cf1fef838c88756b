//! The server that the tests of gRPC call: says who it is and repeats what it is told, or does as
//! told.

use bytes::{Buf, BufMut};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{BoxFuture, Service, StdError};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::server::{
    ClientStreamingService, Grpc as Server, NamedService, ServerStreamingService, StreamingService,
    UnaryService,
};
use tonic::{Code, Request, Response, Status, Streaming};

/// Messages are text as it is: what they are encoded with is none of the gateway's business.
#[derive(Clone, Copy)]
pub(super) struct Text;

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

/// A server.
#[derive(Clone)]
pub(super) struct Echo {
    id: &'static str,
    waiting: Arc<AtomicUsize>,
}

impl Echo {
    pub(super) fn new(id: &'static str) -> Self {
        Self { id, waiting: Arc::default() }
    }

    /// How many calls wait, whenever it is asked.
    pub(super) fn waiting(&self) -> impl Fn() -> usize + use<> {
        let waiting = Arc::clone(&self.waiting);
        move || waiting.load(Ordering::SeqCst)
    }
}

/// A call that waits; one that is given up is dropped.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn new(all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(all))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

type Texts = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;
type Later<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

impl UnaryService<String> for Echo {
    type Response = String;
    type Future = Later<String>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let (id, all) = (self.id, Arc::clone(&self.waiting));
        Box::pin(async move {
            let deadline = request.metadata().get("grpc-timeout").cloned();
            match request.into_inner().as_str() {
                "fail" => Err(Status::failed_precondition("as told")),
                "wait" => {
                    let _waiting = Waiting::new(&all);
                    tokio::time::sleep(Duration::from_mins(1)).await;
                    Err(Status::internal("nobody is that patient"))
                }
                "deadline?" => {
                    let deadline = deadline.ok_or_else(|| Status::not_found("none"))?;
                    Ok(Response::new(format!("{id} {}", deadline.to_str().unwrap())))
                }
                said => Ok(Response::new(format!("{id} {said}"))),
            }
        })
    }
}

impl ServerStreamingService<String> for Echo {
    type Response = String;
    type ResponseStream = Texts;
    type Future = Ready<Result<Response<Texts>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let (id, said) = (self.id, request.into_inner());
        let texts = (0..3).map(|nth| match (said.as_str(), nth) {
            ("break", 1) => Err(broken()),
            _ => Ok(format!("{id} {said} {nth}")),
        });
        ready(Ok(Response::new(Box::pin(tokio_stream::iter(texts.collect::<Vec<_>>())))))
    }
}

/// A status with all that it can have.
fn broken() -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("x-why", MetadataValue::from_static("as told"));
    metadata.insert_bin("x-why-bin", MetadataValue::from_bytes(b"\x00\xff"));
    Status::with_metadata(Code::Aborted, "half \u{fc}ber", metadata)
}

impl ClientStreamingService<String> for Echo {
    type Response = String;
    type Future = Later<String>;

    fn call(&mut self, request: Request<Streaming<String>>) -> Self::Future {
        let id = self.id;
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
        let id = self.id;
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
        let (echo, mut server) = (self.clone(), Server::new(Text));
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
