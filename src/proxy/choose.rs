//! `upstream_peer`: carries out the choice of a backend, and waits for one that is full.

use super::company::{self, Fresh};
use super::ctx::Ctx;
use super::decide::{Choice, Wish, Within};
use super::front::{ClientIo, Known};
use super::refusal::Refusal;
use super::respond::TUNNEL_TIMEOUT;
use crate::affinity::course::{OnUnhealthy, WhenFull, when_full};
use crate::model::{Cause, Fields, clock};
use crate::pool::{Ends, For, Member, Room, Seat, Waited, pingora_address, wait};
use crate::snapshot::{Choices, Live, PlaceKey, Rule, Snapshot, Timeouts};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a connection to a backend is kept when nobody uses it.
const POOLED: Duration = Duration::from_mins(1);

pub(super) async fn choose(
    session: &mut Session,
    ctx: &mut Ctx,
    live: &Live,
) -> Result<Box<HttpPeer>> {
    let snapshot = Arc::clone(&ctx.snapshot);
    let same = ctx.once_more.take().and_then(|_| ctx.seat.take());
    ctx.seat = None;
    let anew = same.is_some() && ctx.late_failures > 0;
    let found = match same {
        Some(same) => Ok(same),
        None => find_seat(session, ctx, &snapshot, live).await,
    };
    let seat = match found {
        Ok(seat) => seat,
        Err(refusal) => return refuse(ctx, refusal),
    };
    let Some(rule) = ctx.rule.and_then(|at| snapshot.rule(at)) else {
        return refuse(ctx, Refusal::NoRoute);
    };
    let member = Arc::clone(seat.member());
    ctx.seat = Some(seat);
    ctx.attempts += 1;
    ctx.body_bytes = 0;
    member.metrics.asked();
    let upgrade = session.is_upgrade_req();
    if upgrade && let Some(io) = ClientIo::of(session) {
        io.await_upgrade(rule.service.timeouts.read);
    }
    let Some(mut peer) = peer(&member, rule.service.timeouts) else {
        return refuse(ctx, Refusal::ConnectFailed);
    };
    let mut tongue = rule.service.tongue;
    // a WebSocket is asked for in HTTP/1.1
    tongue.http2 &= !ctx.handshakes;
    if anew && !tongue.http2 {
        // another that is kept may have ended too: none of them is in a group of its own
        peer.group_key = rand::random();
    }
    if upgrade || (tongue.http2 && ctx.streams) {
        // this timeout cannot be changed after the 101; until then `ClientIo` holds the shorter one.
        // And over HTTP/2 it runs while the client sends, however long that takes: there the
        // connection is asked for a sign of life.
        peer.options.read_timeout = Some(TUNNEL_TIMEOUT);
    }
    tongue.speak(&mut peer, ends(session));
    ctx.backend = Some(member);
    Ok(peer)
}

/// How far a request gets without a wait.
pub(super) enum Step {
    /// There is a backend that serves it.
    Seated(Seat),
    /// It is to wait for the backend that it is bound to.
    WaitFor(Arc<Member>),
    /// It is to wait for any.
    WaitForAny,
}

/// Takes a seat at the backend that is chosen, where there is one.
pub(super) fn at_once(
    header: &impl Fields,
    remembered: &mut Option<Fresh>,
    ctx: &mut Ctx,
    rule: &Rule,
    live: &Live,
) -> std::result::Result<Step, Refusal> {
    loop {
        let member = match company::choose(header, remembered, ctx, rule, live) {
            Choice::Bound(member) | Choice::Placed(member) => member,
            Choice::Panic(member) => {
                rule.service.metrics.panic_picked();
                ctx.panicked = true;
                member
            }
            Choice::Lost(member) => {
                lost(ctx, rule, &member)?;
                continue;
            }
            Choice::Full(member) => match full(ctx, rule, &member)? {
                Some(()) => return Ok(Step::WaitFor(member)),
                None => continue,
            },
            Choice::Crowded if ctx.waited_in_vain => return Err(Refusal::Full),
            Choice::Crowded => return Ok(Step::WaitForAny),
            Choice::Nobody => return Err(ctx.last_failure.unwrap_or(Refusal::NoBackend)),
        };
        // another request may have taken the last seat meanwhile
        if let Some(seat) = Seat::take(&member) {
            return Ok(Step::Seated(seat));
        }
    }
}

/// Takes a seat at the backend that is chosen, after a wait where that is the policy.
async fn find_seat(
    session: &mut Session,
    ctx: &mut Ctx,
    snapshot: &Snapshot,
    live: &Live,
) -> std::result::Result<Seat, Refusal> {
    let rule = ctx.rule.and_then(|at| snapshot.rule(at)).ok_or(Refusal::NoRoute)?;
    let mut known = Known::of(session);
    let found = loop {
        let header = session.req_header();
        let step = known.with(|fresh| at_once(header, fresh, ctx, rule, live));
        match step? {
            Step::Seated(seat) => break Ok(seat),
            Step::WaitFor(member) => {
                if let Some(seat) = wait_for(&member, ctx, rule, leaves(session)).await? {
                    break Ok(seat);
                }
            }
            Step::WaitForAny => {
                let header = header.clone();
                break queue(&header, &mut known, ctx, rule, live, leaves(session)).await;
            }
        }
    };
    known.keep(session);
    found
}

/// The bound backend serves no more since the key was read: the policy for that decides.
fn lost(ctx: &mut Ctx, rule: &Rule, member: &Arc<Member>) -> std::result::Result<(), Refusal> {
    let (Some(stickiness), Some(bond)) = (&rule.stickiness, &mut ctx.bond) else { return Ok(()) };
    if let Some(here) = bond.until_then.take() {
        *bond = *here;
        return Ok(());
    }
    ctx.brought = Cause::Unhealthy.brought();
    ctx.cause = Some(Cause::Unhealthy);
    ctx.from = Some(member.backend.id.clone());
    match stickiness.policies.on_unhealthy {
        OnUnhealthy::Redistribute => bond.moves_elsewhere(stickiness.policies),
        OnUnhealthy::ServeOnce => bond.visits_elsewhere(),
        OnUnhealthy::Reject => return Err(Refusal::NotBound),
    }
    Ok(())
}

/// The bound backend is full: the client waits there (`Some`), or may go elsewhere.
fn full(
    ctx: &mut Ctx,
    rule: &Rule,
    member: &Arc<Member>,
) -> std::result::Result<Option<()>, Refusal> {
    let Some(stickiness) = &rule.stickiness else { return Ok(None) };
    if let Some(bond) = &mut ctx.bond
        && let Some(here) = bond.until_then.take()
    {
        // its home has no room after all: the client stays where it is
        *bond = *here;
        return Ok(None);
    }
    let what = when_full(stickiness.policies.on_full, ctx.waited_in_vain);
    if what == WhenFull::Wait {
        return Ok(Some(()));
    }
    ctx.brought = Cause::Full.brought();
    ctx.cause = Some(Cause::Full);
    ctx.from = Some(member.backend.id.clone());
    let Some(bond) = &mut ctx.bond else { return Ok(None) };
    match what {
        WhenFull::Wait | WhenFull::Move => bond.moves_elsewhere(stickiness.policies),
        WhenFull::Visit => bond.visits_elsewhere(),
        WhenFull::Reject => return Err(Refusal::NotBound),
    }
    Ok(None)
}

/// Waits for the backend that the client is bound to, until it `leaves`; `None`: in vain, so that what is
/// to come instead is to be chosen.
pub(super) async fn wait_for(
    member: &Arc<Member>,
    ctx: &mut Ctx,
    rule: &Rule,
    leaves: impl Future<Output = ()>,
) -> std::result::Result<Option<Seat>, Refusal> {
    let (begun, seat) = (clock::monotonic_now(), || Seat::take(member));
    let wait = wait(For::Backend(member), room_left(ctx, rule), seat);
    let found = while_client_stays(leaves, wait).await;
    note_wait(ctx, begun, found)
}

/// Waits for any backend of the service, until the client `leaves`.
pub(super) async fn queue(
    header: &impl Fields,
    known: &mut Known,
    ctx: &mut Ctx,
    rule: &Rule,
    live: &Live,
    leaves: impl Future<Output = ()>,
) -> std::result::Result<Seat, Refusal> {
    let (crowd, room) = (&*rule.service.crowd, room_left(ctx, rule));
    // one that may not use every seat must not be woken in the place of one that may
    let may_use_any = match &ctx.within {
        Within::Any => true,
        Within::Rather(version) => rule.service.split.takes(version),
        Within::Only(_) => false,
    };
    let whom =
        if may_use_any && ctx.tried.is_empty() { For::Anyone(crowd) } else { For::Some(crowd) };
    let begun = clock::monotonic_now();
    let seat = || loop {
        match known.with(|fresh| company::choose(header, fresh, ctx, rule, live)) {
            Choice::Bound(member) | Choice::Placed(member) | Choice::Panic(member) => {
                // where another request has taken the last seat meanwhile, there may be one elsewhere
                if let seat @ Some(_) = Seat::take(&member) {
                    break seat;
                }
            }
            Choice::Lost(_) | Choice::Full(_) | Choice::Crowded | Choice::Nobody => break None,
        }
    };
    let found = while_client_stays(leaves, wait(whom, room, seat)).await;
    note_wait(ctx, begun, found)?.ok_or(Refusal::Full)
}

/// The room of a service for a request that may have waited before, and then met a backend that failed:
/// it goes on waiting, for what is left of the time.
fn room_left(ctx: &Ctx, rule: &Rule) -> Room {
    let room = rule.service.room;
    Room { patience: room.patience.saturating_sub(ctx.waited), ..room }
}

fn note_wait(
    ctx: &mut Ctx,
    begun: Instant,
    found: std::result::Result<Option<Seat>, Refusal>,
) -> std::result::Result<Option<Seat>, Refusal> {
    ctx.waited += clock::monotonic_now().saturating_duration_since(begun);
    ctx.waited_in_vain = matches!(found, Ok(None));
    found
}

/// Ready when the client of a session has gone away. One whose body has not come cannot be watched:
/// reading on would take the body.
async fn leaves(session: &mut Session) {
    let upgrade = session.is_upgrade_req();
    let client = session.as_downstream_mut();
    if upgrade || !client.is_body_done() {
        return std::future::pending().await;
    }
    while client.read_body_or_idle(true).await.is_ok() {}
}

/// The seat that was waited for; ends at once when the client `leaves`.
async fn while_client_stays(
    leaves: impl Future<Output = ()>,
    waiting: impl Future<Output = Waited>,
) -> std::result::Result<Option<Seat>, Refusal> {
    tokio::select! {
        biased;
        waited = waiting => Ok(match waited {
            Waited::Seated(seat) => Some(seat),
            Waited::InVain | Waited::TooMany => None,
        }),
        () = leaves => Err(Refusal::ClientGone),
    }
}

/// What is asked for; `buffer` holds the address where that is hashed.
pub(super) fn wish<'w>(ctx: &'w Ctx, rule: &'w Rule, buffer: &'w mut [u8; 16]) -> Wish<'w> {
    let (choices, key) = placing(rule, ctx.place.as_ref(), ctx.client, buffer);
    Wish {
        service: &rule.service,
        choices,
        key,
        within: &ctx.within,
        bond: ctx.bond.as_ref(),
        company: None,
        tried: &ctx.tried,
    }
}

/// What places a client, and what of it is hashed, where that hashes.
pub(super) fn placing<'w>(
    rule: &'w Rule,
    place: Option<&'w PlaceKey>,
    client: IpAddr,
    buffer: &'w mut [u8; 16],
) -> (&'w Choices, &'w [u8]) {
    let own = rule.stickiness.as_ref().and_then(|stickiness| stickiness.placement.as_ref());
    match (own, place) {
        (Some(placement), Some(place)) => (&placement.choices, place.as_slice()),
        _ => (&rule.service.choices, key(client, buffer)),
    }
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

fn peer(member: &Member, timeouts: Timeouts) -> Option<Box<HttpPeer>> {
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let mut peer = Box::new(HttpPeer::new(nowhere, false, String::new()));
    peer._address = pingora_address(&member.backend.address)?;
    peer.options.connection_timeout = Some(timeouts.connect);
    peer.options.read_timeout = Some(timeouts.read);
    peer.options.write_timeout = Some(timeouts.write);
    peer.options.idle_timeout = Some(POOLED);
    if let Some(encryption) = member.encryption() {
        encryption.tls.secure(&mut peer, &encryption.name);
    }
    Some(peer)
}

/// Both ends of the client's connection; `None` where it came by a unix socket.
fn ends(session: &Session) -> Option<Ends> {
    let client = *session.client_addr()?.as_inet()?;
    let server = *session.server_addr()?.as_inet()?;
    Some(Ends { client, server })
}

fn refuse<T>(ctx: &mut Ctx, refusal: Refusal) -> Result<T> {
    ctx.refusal = Some(refusal);
    Error::e_explain(ErrorType::HTTPStatus(refusal.answer().status), refusal.answer().reason)
}
