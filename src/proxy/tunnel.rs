//! WebSockets, taken over in `request_filter`: the same stages as for any request, with a connection
//! to the backend that is ours, so that the tunnel is as well ([`crate::websocket`] says why).

use super::answer::is_interim;
use super::ctx::Ctx;
use super::front::ClientIo;
use super::{choose, fail, links, receive, respond, sign};
use crate::model::clock;
use crate::snapshot::Live;
use crate::websocket::{self, Carried, Side, Terms, relay};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::{StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};
use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::v1::client::HttpSession as BackendSession;
use pingora_proxy::Session;
use tokio::time::timeout;

/// The header of an answer, at most.
const MAX_HEAD: usize = 64 * 1024;

/// Serves a handshake, and the WebSocket that it leads to.
///
/// # Errors
/// When the last try has failed.
pub(super) async fn take_over(
    session: &mut Session,
    ctx: &mut Ctx,
    live: &Live,
    connector: &TransportConnector,
) -> Result<()> {
    loop {
        match attempt(session, ctx, live, connector).await {
            Err(error) if error.retry() => {}
            last => return last,
        }
    }
}

/// Asks one backend.
async fn attempt(
    session: &mut Session,
    ctx: &mut Ctx,
    live: &Live,
    connector: &TransportConnector,
) -> Result<()> {
    let peer = choose::choose(session, ctx, live).await?;
    let stream = match connector.new_stream(&*peer).await {
        Ok(stream) => stream,
        Err(mut error) => {
            error.as_up();
            return Err(fail::to_connect(ctx, error));
        }
    };
    let backend = BackendSession::new_with_options(stream, &*peer);
    let served = serve(session, ctx, live, backend).await;
    served.map_err(|error| fail::while_proxying(session, ctx, error, false))
}

/// Hands the handshake on, and what comes back.
async fn serve(
    session: &mut Session,
    ctx: &mut Ctx,
    live: &Live,
    mut backend: BackendSession,
) -> Result<()> {
    let Some(timeouts) = ctx.rule().map(|rule| rule.service.timeouts) else {
        return Error::e_explain(ErrorType::InternalError, "without a rule");
    };
    let malformed = || Error::explain(ErrorType::InvalidHTTPHeader, "nominated").into_down();
    let mut request = websocket::for_backend(session.req_header()).map_err(|_| malformed())?;
    let tls = receive::tls(session);
    sign::sign(&mut request, session.req_header().version, tls.as_deref(), ctx)?;
    backend.write_timeout = Some(timeouts.write);
    backend.read_timeout = Some(timeouts.read);
    backend.write_request_header(Box::new(request)).await.map_err(Error::into_up)?;
    let answered = timeout(timeouts.read, answer(session, ctx, live, &mut backend)).await;
    let late = || Error::explain(ErrorType::ReadTimedout, "no answer to the handshake").into_up();
    let (mut head, ends) = answered.map_err(|_| late())??;
    if backend.was_upgraded() {
        return tunnel(session, ctx, live, backend, head).await;
    }
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let why = "101 of another version of HTTP";
        return Err(Error::explain(ErrorType::InvalidHTTPHeader, why).into_up());
    }
    if !ends
        && !head.headers.contains_key(TRANSFER_ENCODING)
        && !head.headers.contains_key(CONTENT_LENGTH)
    {
        // its end is the end of the connection, which is not that of the client's
        head.set_version(Version::HTTP_11);
        head.insert_header(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
    }
    respond::to_session(session, &mut head, ctx, live)?;
    session.write_response_header(head, ends).await.map_err(Error::into_down)?;
    body(session, ctx, &mut backend, ends).await
}

/// The header of the final response; interim ones are passed on.
async fn answer(
    session: &mut Session,
    ctx: &mut Ctx,
    live: &Live,
    backend: &mut BackendSession,
) -> Result<(Box<ResponseHeader>, bool)> {
    loop {
        // what the client sends meanwhile stays for later, but it may leave
        let task = tokio::select! {
            task = backend.read_response_task() => task.map_err(Error::into_up)?,
            left = session.as_downstream_mut().read_body_or_idle(true) => {
                left.map_err(Error::into_down)?;
                continue;
            }
        };
        let HttpTask::Header(mut head, ends) = task else {
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, "no header").into_up());
        };
        if backend.get_headers_raw_bytes().len() > MAX_HEAD {
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, "too large").into_up());
        }
        if !is_interim(&*head) {
            return Ok((head, ends));
        }
        respond::to_session(session, &mut head, ctx, live)?;
        session.write_response_header(head, false).await.map_err(Error::into_down)?;
    }
}

/// The body of an answer that is no upgrade.
async fn body(
    session: &mut Session,
    ctx: &mut Ctx,
    backend: &mut BackendSession,
    mut ends: bool,
) -> Result<()> {
    while !ends {
        let mut part = match backend.read_response_task().await.map_err(Error::into_up)? {
            HttpTask::Body(part, last) => {
                ends = last;
                part
            }
            HttpTask::Done => {
                ends = true;
                None
            }
            HttpTask::Header(..)
            | HttpTask::UpgradedBody(..)
            | HttpTask::Trailer(_)
            | HttpTask::Failed(_) => continue,
        };
        links::pass(&mut part, ends, ctx);
        session.write_response_body(part, ends).await.map_err(Error::into_down)?;
    }
    Ok(())
}

/// The backend has agreed: so does the gateway, and relays.
async fn tunnel(
    session: &mut Session,
    ctx: &mut Ctx,
    live: &Live,
    mut backend: BackendSession,
    mut head: Box<ResponseHeader>,
) -> Result<()> {
    respond::to_session(session, &mut head, ctx, live)?;
    session.write_response_header(head, false).await.map_err(Error::into_down)?;
    let early_of_client = at_hand(session.as_downstream_mut().read_request_body()).await;
    let early_of_backend = at_hand(backend.read_body_bytes()).await;
    let Some((client, unread)) = ClientIo::of(session).map(ClientIo::detach) else {
        return Error::e_explain(ErrorType::InternalError, "not behind the front");
    };
    let early_of_client = [&*early_of_client, &*unread].concat().into();
    let client = Side { stream: client, early: early_of_client };
    let backend = Side { stream: backend.into_inner(), early: early_of_backend };
    let terms = Terms {
        idle: ctx.snapshot.websocket.idle,
        mask: rand::random(),
        now: clock::monotonic_now,
    };
    let Some(gauge) = ctx.rule().map(|rule| rule.service.metrics.websockets.clone()) else {
        return Error::e_explain(ErrorType::InternalError, "without a rule");
    };
    let tunnel = ctx.tunnel.insert(live.tunnels.enter(gauge));
    let stop = tunnel.stopped(rand::random());
    let Carried { to_client, to_backend, end } = relay(client, backend, terms, stop).await;
    ctx.tunnelled = to_client;
    tracing::debug!(to_client, to_backend, ?end, "a WebSocket has ended");
    Ok(())
}

/// What was read already, without waiting for more.
async fn at_hand(read: impl Future<Output = Result<Option<Bytes>>>) -> Bytes {
    tokio::select! {
        biased;
        read = read => read.ok().flatten().unwrap_or_default(),
        () = std::future::ready(()) => Bytes::new(),
    }
}
