//! The request path: Pingora's `ProxyHttp` hooks, one file for each stage.
//!
//! ```text
//!  ClientIo (front)          deadline for the header, own answers to what Pingora cannot parse
//!    early_request_filter ─► receive: timeouts of this connection
//!    request_filter       ─► challenge: an authority's, while it is pending
//!                            receive: limits, host, path ─► route ─► decide: cut, open, resolve
//!                            a WebSocket goes on in `tunnel`, by the same stages, to `logging`
//!    upstream_peer        ─► choose: the bound backend, or the next candidate
//!      fail_to_connect    ─► fail: on to the next (nothing was sent)
//!    upstream_request_filter ─► sign: request id, Via, where a client comes from
//!      error_while_proxy  ─► fail: only where it is safe
//!    response_filter      ─► respond: stamp the backend that answered
//!      response_body_filter ► links: the key in the links of a page
//!    fail_to_proxy        ─► answer: by `refusal`, the one table from cause to HTTP answer
//!    logging              ─► finish: counters, access line
//! ```
//!
//! Decisions are in [`decide`], as functions of facts; the hooks only fetch facts and carry out.

mod answer;
mod challenge;
mod choose;
mod company;
mod ctx;
pub mod decide;
mod fail;
mod finish;
mod front;
mod grpc;
mod hot;
mod links;
mod message;
mod private;
mod receive;
mod refusal;
mod respond;
mod sessions;
mod sign;
mod tunnel;

pub use ctx::Ctx;
pub use front::{Census, Front, Open};
pub use refusal::{Answer, Refusal};

use crate::snapshot::Live;
use async_trait::async_trait;
use bytes::Bytes;
use front::Streams;
use http::Version;
use http::header::CONNECTION;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, Result};
use pingora_core::connectors::TransportConnector;
use pingora_proxy::{FailToProxy, ProxyHttp, Session};
use receive::Origin;
use std::sync::Arc;
use std::time::Duration;

/// The gateway as Pingora sees it.
pub struct Gateway {
    live: Arc<Live>,
    /// Connects to the backends of WebSockets.
    connector: TransportConnector,
}

impl Gateway {
    /// Serves what is in force in `live`.
    pub fn new(live: Arc<Live>) -> Self {
        Self { live, connector: TransportConnector::new(None) }
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::new(self.live.pin(), &self.live.metrics)
    }

    /// None: Pingora's default builds a compressor for each request, even when it is off.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        receive::set_limits(session, ctx);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        if challenge::answered(session, ctx, &self.live.challenges).await? {
            return Ok(true);
        }
        let origin = Origin::of(session);
        match receive::receive(session.req_header_mut(), origin, ctx, &self.live) {
            Ok(()) if ctx.handshakes => {
                tunnel::take_over(session, ctx, &self.live, &self.connector).await?;
                Ok(true)
            }
            Ok(()) => Ok(false),
            Err(refusal) => {
                sessions::forget_refused(refusal, ctx, &self.live);
                answer::write(session, ctx, refusal).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        if let Some(streams) = Streams::of(session) {
            streams.rest();
        }
        choose::choose(session, ctx, &self.live).await
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Ctx,
        error: Box<Error>,
    ) -> Box<Error> {
        fail::to_connect(ctx, error)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let tls = receive::tls(session);
        sign::sign(request, session.req_header().version, tls.as_deref(), ctx)?;
        let asks_once = sign::ends_connection(&request.method, ctx) && !ctx.handshakes;
        if asks_once && request.version != Version::HTTP_2 {
            request.insert_header(CONNECTION, "close")?;
        }
        receive::ask_for_body(session, ctx);
        Ok(())
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        receive::count_body(session, body.as_ref(), end, ctx)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        respond::to_session(session, response, ctx, &self.live)
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        if let Some(streams) = Streams::of(session) {
            streams.note_part();
        }
        if end {
            // the backend is through, even if the client is slow to take the rest
            ctx.free_seat();
        }
        links::pass(body, end, ctx);
        Ok(None)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Ctx,
        reused: bool,
    ) -> Box<Error> {
        fail::while_proxying(session, ctx, error, reused)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Ctx,
    ) -> FailToProxy {
        answer::after(session, ctx, error).await
    }

    async fn logging(&self, session: &mut Session, _error: Option<&Error>, ctx: &mut Ctx) {
        finish::finish(session, ctx, &self.live);
    }
}
