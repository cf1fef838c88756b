//! `upstream_peer`: carries out the choice of a backend.

use super::ctx::Ctx;
use super::decide::{self, Choice};
use super::front::ClientIo;
use super::refusal::Refusal;
use super::respond::TUNNEL_TIMEOUT;
use crate::pool::Member;
use crate::snapshot::Timeouts;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a connection to a backend is kept when nobody uses it.
const POOLED: Duration = Duration::from_mins(1);

pub(super) fn choose(session: &Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
    let snapshot = Arc::clone(&ctx.snapshot);
    let Some(rule) = ctx.rule.and_then(|at| snapshot.rule(at)) else {
        return refuse(ctx, Refusal::NoRoute);
    };
    let mut buffer = [0; 16];
    let by_service = key(ctx.client, &mut buffer);
    let own = rule.stickiness.as_ref().and_then(|stickiness| stickiness.placement.as_ref());
    let (selection, key) = match (own, &ctx.place) {
        (Some(placement), Some(place)) => (&placement.selection, place.as_slice()),
        _ => (&rule.service.selection, by_service),
    };
    let choice = match ctx.once_more.take() {
        Some(same) => Choice::Bound(same),
        None => decide::choose(&rule.service, selection, ctx.bond.as_ref(), &ctx.tried, key),
    };
    let member = match choice {
        Choice::Bound(member) | Choice::Placed(member) => member,
        Choice::Panic(member) => {
            rule.service.metrics.panic_picks.inc();
            ctx.panicked = true;
            member
        }
        Choice::Nobody => {
            let why = ctx.last_failure.unwrap_or(Refusal::NoBackend);
            return refuse(ctx, why);
        }
    };
    ctx.attempts += 1;
    ctx.body_bytes = 0;
    member.metrics.requests.inc();
    let upgrade = session.is_upgrade_req();
    if upgrade && let Some(io) = ClientIo::of(session) {
        io.await_upgrade(rule.service.timeouts.read);
    }
    let peer = peer(&member, rule.service.timeouts, upgrade);
    ctx.backend = Some(member);
    Ok(peer)
}

/// Hashing services place a client by its address.
fn key(client: IpAddr, buffer: &mut [u8; 16]) -> &[u8] {
    match client {
        IpAddr::V4(address) => {
            let (start, _) = buffer.split_at_mut(4);
            start.copy_from_slice(&address.octets());
            start
        }
        IpAddr::V6(address) => {
            *buffer = address.octets();
            buffer
        }
    }
}

fn peer(member: &Member, timeouts: Timeouts, upgrade: bool) -> Box<HttpPeer> {
    let mut peer = Box::new(HttpPeer::new(member.backend.address, false, String::new()));
    peer.options.connection_timeout = Some(timeouts.connect);
    // this timeout cannot be changed after the 101; until then `ClientIo` holds the shorter one
    peer.options.read_timeout = Some(if upgrade { TUNNEL_TIMEOUT } else { timeouts.read });
    peer.options.write_timeout = Some(timeouts.write);
    peer.options.idle_timeout = Some(POOLED);
    peer
}

fn refuse<T>(ctx: &mut Ctx, refusal: Refusal) -> Result<T> {
    ctx.refusal = Some(refusal);
    Error::e_explain(ErrorType::HTTPStatus(refusal.answer().status), refusal.answer().reason)
}
