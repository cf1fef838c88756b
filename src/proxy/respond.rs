//! `response_filter`: writes the binding onto the first final response of the backend that answered.

use super::answer::is_interim;
use super::ctx::Ctx;
use super::decide::{self, Dice};
use super::front::ClientIo;
use super::private::private;
use super::refusal::REASON_HEADER;
use crate::model::clock;
use crate::snapshot::Rule;
use http::StatusCode;
use http::header::{CACHE_CONTROL, SET_COOKIE};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;
use std::sync::Arc;
use std::time::Duration;

/// An upgraded connection may be silent for this long, as in HAProxy's usual `timeout tunnel`.
pub(super) const TUNNEL_TIMEOUT: Duration = Duration::from_hours(1);

pub(super) fn respond(
    session: &mut Session,
    response: &mut ResponseHeader,
    ctx: &mut Ctx,
) -> Result<()> {
    if response.headers.contains_key(REASON_HEADER) {
        // it says that the gateway itself has answered
        response.remove_header(REASON_HEADER);
    }
    if is_interim(response) {
        return Ok(());
    }
    if session.is_upgrade_req() {
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            session.set_read_timeout(Some(TUNNEL_TIMEOUT));
        }
        if let Some(io) = ClientIo::of(session) {
            io.upgrade_is_answered();
        }
    }
    let snapshot = Arc::clone(&ctx.snapshot);
    let rule = ctx.rule.and_then(|at| snapshot.rule(at));
    if let Some(rule) = rule {
        expose(rule, response, ctx)?;
    }
    let rule = rule.filter(|_| ctx.stamps);
    let sticky = rule.and_then(|rule| Some((rule.stickiness.as_ref()?, &*rule.service)));
    let (Some(sticky), Some(answered)) = (sticky, &ctx.backend) else {
        return Ok(());
    };
    let now = clock::unix_now();
    let stamp = decide::stamped(ctx.bond.as_ref(), answered, sticky.0.terms, now);
    let did = stamp.did();
    let dice = Dice { nonce: rand::random(), tag: rand::random() };
    let written = decide::written(sticky, stamp, answered, now, dice, ctx.https);
    let Some((name, value)) = written else { return Ok(()) };
    if name == SET_COOKIE {
        response.append_header(name, value)?;
    } else {
        response.insert_header(name, value)?;
    }
    ctx.did = did;
    if let Some(value) = private(&session.req_header().method, response) {
        response.insert_header(CACHE_CONTROL, value)?;
    }
    Ok(())
}

/// Tells who answered, where the operator wants that told.
fn expose(rule: &Rule, response: &mut ResponseHeader, ctx: &Ctx) -> Result<()> {
    let header = rule.stickiness.as_ref().and_then(|stickiness| stickiness.expose_backend.as_ref());
    let (Some(header), Some(member)) = (header, &ctx.backend) else { return Ok(()) };
    let (service, backend) = (&rule.service.pool.service, &member.backend);
    let version = match &*backend.version {
        "" => String::new(),
        version => format!("; version={version}"),
    };
    response.insert_header(
        header.clone(),
        format!("service={service}{version}; backend={}", backend.id),
    )
}
