//! gRPC through the gateway, with a client and a server of tonic's: streams in all directions,
//! statuses, deadlines, and affinity.

mod echo;

use crate::harness::{Authority, Files, Gateway, Setup, until, within};
use echo::{Echo, Text};
use http::uri::PathAndQuery;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::client::Grpc;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Response, Status};

/// Servers and clients live here; dropping it ends the servers.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn serve(on: &Runtime, id: &'static str) -> SocketAddr {
    serve_as(on, Echo::new(id))
}

fn serve_as(on: &Runtime, echo: Echo) -> SocketAddr {
    let _inside = on.enter();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
    let server = tonic::transport::Server::builder().add_service(echo);
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
const DOWN: PathAndQuery = PathAndQuery::from_static("/test.Echo/Down");
const UP: PathAndQuery = PathAndQuery::from_static("/test.Echo/Up");
const BOTH: PathAndQuery = PathAndQuery::from_static("/test.Echo/Both");

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
        let answer =
            grpc.server_streaming(Request::new("hi".to_owned()), DOWN, Text).await.unwrap();
        let texts: Vec<String> = answer.into_inner().collect::<Result<_, _>>().await.unwrap();
        assert_eq!(texts, ["s hi 0", "s hi 1", "s hi 2"]);

        grpc.ready().await.unwrap();
        let texts = tokio_stream::iter(["a", "b", "c"].map(str::to_owned));
        let answer = grpc.client_streaming(Request::new(texts), UP, Text).await.unwrap();
        assert_eq!(answer.into_inner(), "s a,b,c");

        grpc.ready().await.unwrap();
        let (say, said) = tokio::sync::mpsc::unbounded_channel();
        let texts = futures_of(said);
        let answer = grpc.streaming(Request::new(texts), BOTH, Text).await.unwrap();
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

/// What the three kinds of streams say.
async fn streamed(grpc: &mut Grpc<Channel>, with: &MetadataMap) -> Vec<String> {
    fn with_key<T>(message: T, with: &MetadataMap) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = with.clone();
        request
    }
    let mut said = Vec::new();
    let texts = || tokio_stream::iter(["a", "b"].map(str::to_owned));
    grpc.ready().await.unwrap();
    let request = with_key("hi".to_owned(), with);
    let down = grpc.server_streaming(request, DOWN, Text).await.unwrap();
    said.extend(down.into_inner().collect::<Result<Vec<_>, _>>().await.unwrap());
    grpc.ready().await.unwrap();
    let up = grpc.client_streaming(with_key(texts(), with), UP, Text).await.unwrap();
    said.push(up.into_inner());
    grpc.ready().await.unwrap();
    let both = grpc.streaming(with_key(texts(), with), BOTH, Text).await.unwrap();
    said.extend(both.into_inner().collect::<Result<Vec<_>, _>>().await.unwrap());
    assert_eq!(said.len(), 3 + 1 + 2);
    said
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
        let id = id.trim().to_owned();
        let other = one(&mut grpc, "", &MetadataMap::new()).await.unwrap().into_inner();
        assert_ne!(other.trim(), id);
        let mut with = MetadataMap::new();
        with.insert(name, value.parse().unwrap());
        for _ in 0..6 {
            assert_eq!(one(&mut grpc, "", &with).await.unwrap().into_inner().trim(), id);
            for who in streamed(&mut grpc, &with).await {
                assert!(who.starts_with(&id), "{who} of {id}");
            }
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
        let answer = grpc.streaming(Request::new(futures_of(said)), BOTH, Text).await.unwrap();
        let mut heard = answer.into_inner();
        // longer than `read`
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

#[test]
fn a_status_after_messages_and_its_metadata_come_through() {
    let runtime = runtime();
    let gateway = Gateway::start(&setup(&[("s", serve(&runtime, "s"))]));
    runtime.block_on(async {
        let mut grpc = connect(&gateway).await;
        let request = Request::new("break".to_owned());
        let mut heard = grpc.server_streaming(request, DOWN, Text).await.unwrap().into_inner();
        assert_eq!(heard.next().await.unwrap().unwrap(), "s break 0");
        let status: Status = heard.next().await.unwrap().unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Aborted, "half \u{fc}ber"));
        assert_eq!(status.metadata().get("x-why").unwrap(), "as told");
        let binary = status.metadata().get_bin("x-why-bin").unwrap();
        assert_eq!(binary.to_bytes().unwrap(), &b"\x00\xff"[..]);
    });
}

#[test]
fn a_deadline_reaches_the_server_and_a_call_that_is_given_up_ends_there() {
    let runtime = runtime();
    let echo = Echo::new("s");
    let waiting = echo.waiting();
    let gateway = Gateway::start(&setup(&[("s", serve_as(&runtime, echo))]));
    runtime.block_on(async {
        let mut grpc = connect(&gateway).await;
        let mut with = MetadataMap::new();
        with.insert("grpc-timeout", MetadataValue::from_static("30S"));
        let told = one(&mut grpc, "deadline?", &with).await.unwrap().into_inner();
        assert_eq!(told, "s 30S");

        // the server knows it too, so either may be the first
        with.insert("grpc-timeout", MetadataValue::from_static("300m"));
        let status = one(&mut grpc, "wait", &with).await.unwrap_err();
        assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");

        // one that only the client knows
        let none = MetadataMap::new();
        let call = one(&mut grpc, "wait", &none);
        let given_up = tokio::time::timeout(Duration::from_millis(500), call).await;
        assert!(given_up.is_err());
    });
    until("the server has stopped to work for nobody", || (waiting() == 0).then_some(()));
    gateway.wait_for_metric("stickfast_active_requests", &[], 0.0);
}

#[test]
fn a_server_that_vanishes_in_the_middle_is_an_error_and_the_next_call_goes_elsewhere() {
    let (going, staying) = (runtime(), runtime());
    let servers = [("s1", serve(&going, "s1")), ("s2", serve(&staying, "s2"))];
    let gateway = Gateway::start(&setup(&servers));
    staying.block_on(async {
        let mut grpc = connect(&gateway).await;
        let (mut says, mut calls) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let (say, said) = tokio::sync::mpsc::unbounded_channel();
            grpc.ready().await.unwrap();
            let answer = grpc.streaming(Request::new(futures_of(said)), BOTH, Text).await.unwrap();
            let mut heard = answer.into_inner();
            say.send("hi".to_owned()).unwrap();
            let id = heard.next().await.unwrap().unwrap();
            says.push(say);
            calls.push((id, heard));
        }
        calls.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!((calls[0].0.as_str(), calls[1].0.as_str()), ("s1 hi", "s2 hi"));
        going.shutdown_background();
        let next = tokio::time::timeout(Duration::from_secs(10), calls[0].1.next());
        let status: Status = next.await.expect("in time").unwrap().unwrap_err();
        assert_ne!(status.code(), Code::Ok, "{status:?}");
        for say in &says {
            let _ = say.send("still".to_owned());
        }
        assert_eq!(calls[1].1.next().await.unwrap().unwrap(), "s2 still");
        for _ in 0..4 {
            let answer = one(&mut grpc, "hi", &MetadataMap::new()).await.unwrap();
            assert_eq!(answer.into_inner(), "s2 hi");
        }
    });
}

#[test]
fn calls_come_over_tls_too() {
    let runtime = runtime();
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let pair = files.pair("app", &authority.issue(&["app.test"]));
    let setup = setup(&[("s", serve(&runtime, "s"))])
        .encrypted(&format!("certificates: [{{ {pair} }}]"))
        .listener("http2: true");
    let gateway = Gateway::start(&setup);
    runtime.block_on(async {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(authority.pem()))
            .domain_name("app.test");
        let endpoint = Endpoint::from_shared(format!("https://{}", gateway.address())).unwrap();
        let mut grpc = Grpc::new(endpoint.tls_config(tls).unwrap().connect().await.unwrap());
        let said = streamed(&mut grpc, &MetadataMap::new()).await;
        assert_eq!(said[3..], ["s a,b", "s a", "s b"]);
    });
}

#[test]
fn a_drain_finishes_the_calls_that_are_open() {
    let runtime = runtime();
    let mut gateway = Gateway::start(&setup(&[("s", serve(&runtime, "s"))]));
    runtime.block_on(async {
        let mut grpc = connect(&gateway).await;
        let (say, said) = tokio::sync::mpsc::unbounded_channel();
        let answer = grpc.streaming(Request::new(futures_of(said)), BOTH, Text).await.unwrap();
        let mut heard = answer.into_inner();
        let address = gateway.address();
        gateway.signal("TERM");
        until("it takes in nobody", || std::net::TcpStream::connect(address).err());
        for nth in 0..5 {
            say.send(format!("{nth}")).unwrap();
            assert_eq!(heard.next().await.unwrap().unwrap(), format!("s {nth}"));
        }
        drop(say);
        assert!(heard.next().await.is_none());
        assert!(heard.trailers().await.unwrap().is_some(), "with its status");
    });
    assert!(gateway.wait_for_exit(Duration::from_secs(10)).expect("it ends").success());
}
