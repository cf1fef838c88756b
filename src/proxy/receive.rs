//! From the request as it came to the request as the backend gets it: limits, host and path in
//! normal form, the rule, and the client's binding. What a proxy says of itself is in [`super::sign`].

use super::choose;
use super::ctx::{Asked as Page, Ctx};
use super::decide::{self, Asked, Changes, Familiar};
use super::finish::Unfinished;
use super::front::{ClientIo, Streams};
use super::message::Request;
use super::refusal::Refusal;
use super::{grpc, sign};
use crate::affinity::AppSession;
use crate::identity::forwarded::X_FORWARDED_HOST;
use crate::identity::{Forwarded, Scheme, came_by_https, client_address};
use crate::model::fields::text;
use crate::routing::{host, path};
use crate::snapshot::{Caller, Limits, Live, Reconnect, Unknown};
use crate::websocket::{self, Asks};
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, COOKIE, HOST, HeaderName, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, RANGE, REFERER, UPGRADE,
};
use pingora::{Error, ErrorType, Result};
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::tls::SslDigest;
use pingora_proxy::Session;
use smallvec::SmallVec;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Sets how long this connection may take for what.
pub(super) fn set_limits(session: &mut Session, ctx: &Ctx) {
    if let Some(io) = ClientIo::of(session) {
        io.header_is_complete();
    }
    let limits = &ctx.snapshot.limits;
    let served = ClientIo::of(session).map_or(0, ClientIo::served);
    let downstream = session.as_downstream_mut();
    if downstream.get_keepalive().is_some() {
        downstream.set_keepalive(Some(limits.idle_seconds));
    }
    downstream.set_pipelining_enabled(true);
    downstream.set_read_timeout(Some(limits.body_timeout));
    downstream.set_write_timeout(Some(patience_with_readers(limits)));
    downstream.set_total_drain_timeout(Some(limits.body_timeout));
    if downstream.get_keepalive_reuses_remaining().is_none() {
        // this one is not counted
        let more = limits.max_requests.map(|most| most.saturating_sub(1).saturating_sub(served));
        downstream.set_keepalive_reuses_remaining(more);
    }
    let rate = limits.min_body_rate.filter(|_| !downstream.is_body_done());
    if let Some((rate, io)) = rate.zip(ClientIo::of(session)) {
        io.await_body(rate);
    }
}

/// What the connection of a request tells of it.
pub(super) struct Origin<'c> {
    /// The other end.
    pub(super) peer: IpAddr,
    /// What the handshake has told; `None` where nothing is encrypted.
    pub(super) tls: Option<Arc<SslDigest>>,
    /// Whether a body is still to come.
    pub(super) has_body: bool,
    /// What is known of its cookies, where that is kept.
    pub(super) familiar: Option<&'c mut Familiar>,
}

impl Origin<'_> {
    /// Of a session's.
    pub(super) fn of(session: &mut Session) -> Self {
        let has_body = !session.as_downstream_mut().is_body_done();
        Self { peer: peer(session), tls: tls(session), has_body, familiar: None }
    }
}

/// The most that is written of an answer at once, as Pingora reads it from backends.
const PIECE: u64 = 64 * 1024;

/// Nobody is slow before that, as with bodies of requests.
const GRACE: Duration = Duration::from_secs(5);

/// How long a client may take for a piece of an answer. Instead of Pingora's `min_send_rate`, which
/// knows HTTP/1.1 only, and by which a low rate would allow for more silence than `bodyTimeout`.
fn patience_with_readers(limits: &Limits) -> Duration {
    limits.min_body_rate.map_or(limits.body_timeout, |rate| {
        let piece = Duration::from_secs(PIECE / u64::from(rate).max(1));
        piece.max(GRACE).min(limits.body_timeout)
    })
}

/// Makes a request ready for its backend.
pub(super) fn receive(
    header: &mut impl Request,
    origin: Origin<'_>,
    ctx: &mut Ctx,
    live: &Live,
) -> std::result::Result<(), Refusal> {
    let Origin { peer, tls, has_body, familiar } = origin;
    // before anything looks at headers
    sign::tell_subject(header, &ctx.snapshot.doors.told, tls.as_deref())?;
    fields_of_http2(header)?;
    ctx.streams = grpc::is_call(header) || has_body;
    let trusted = ctx.snapshot.trusted.contains(peer);
    ctx.client = client_address(peer, header, &ctx.snapshot.trusted);
    ctx.https = came_by_https(trusted, header, tls.is_some());
    ctx.request_id = sign::request_id(header, trusted);
    check_size(header, ctx)?;

    let host_as_sent = header.first(&HOST).filter(|host| !host.is_empty());
    let host_as_sent = host_as_sent.ok_or(Refusal::NoHost)?;
    let host_text = sane_host(host_as_sent).ok_or(Refusal::BadRequest)?;
    let target = target(header)?;
    let path = path::normalise(header.path());
    let bare = ctx.snapshot.bare_path(&path);
    let rule = ctx.snapshot.route(&host::normalise(host_text), &bare, header.method(), header);
    ctx.rule = rule;
    drop(bare);
    let path =
        (path != header.path() || target == Target::Absolute).then(|| match header.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.into_owned(),
        });
    let scheme = if tls.is_some() { Scheme::Https } else { Scheme::Http };
    let forwarded = Forwarded::plan(peer, trusted, header, scheme);
    let host_as_sent: SmallVec<[u8; 64]> = SmallVec::from_slice(host_as_sent);

    if let Some(path) = path {
        header.set_target(&path).map_err(|_| Refusal::BadRequest)?;
    }
    let snapshot = Arc::clone(&ctx.snapshot);
    let target = snapshot.target(ctx.rule.ok_or(Refusal::NoRoute)?, header);
    let target = target.map_err(|Unknown| Refusal::NoSubset)?;
    let asks = websocket::asks(header.method(), header.version(), header);
    let handshakes = asks == Asks::WebSocket;
    let at = if handshakes { snapshot.for_handshake(target.rule) } else { target.rule };
    ctx.rule = Some(at);
    let rule = snapshot.rule(at).ok_or(Refusal::NoRoute)?;
    let service = rule.service.pool.service.as_str();
    let recall = |session: &AppSession, value: &[u8]| {
        let idle = rule.stickiness.as_ref().map_or(0, |stickiness| stickiness.terms.idle);
        live.learned.find(live.learned.key(service, &session.label, value), idle, ctx.now)
    };
    let asked = Asked {
        snapshot: &snapshot,
        rule,
        subset: target.subset.as_deref(),
        headers: &*header,
        target: header.target(),
        caller: Caller { client: ctx.client, peer },
        recall: &recall,
        now: ctx.now,
    };
    let identified = decide::identify(&asked, familiar);
    let identified = match snapshot.websocket.reconnect {
        Reconnect::Anew if handshakes => identified.placed_anew(),
        Reconnect::Anew | Reconnect::Sticky => identified,
    };
    let place = identified.place.as_ref();
    let dice = || {
        let mut buffer = [0; 16];
        let (choices, key) = choose::placing(rule, place, ctx.client, &mut buffer);
        choices.spread(key).unwrap_or_else(rand::random)
    };
    let bound = identified.version.as_ref();
    ctx.within = decide::within(target.subset.as_ref(), bound, &rule.service.split, dice);
    ctx.sessions = identified.sessions;
    ctx.url_key = identified.url_key;
    ctx.brought = identified.brought;
    ctx.cause = identified.cause;
    ctx.from = identified.from;
    ctx.bond = identified.bond;
    ctx.place = identified.place;
    ctx.stamps = identified.stamps;
    if identified.rejected {
        return Err(Refusal::NotBound);
    }
    carry_out(header, identified.changes)?;
    sign::speak_for_client(header, &forwarded, &host_as_sent)?;
    if rule.rewrites_urls {
        ask_for_plain_text(header)?;
        // links are those of the site as the client calls it, which a proxy may have renamed
        let host = header.first(&X_FORWARDED_HOST).unwrap_or(&host_as_sent);
        let host = text(host).unwrap_or_default().into();
        ctx.page = Some(Page { host, target: header.target().to_owned() });
    }
    if asks == Asks::Malformed {
        // it would be Pingora's tunnel that takes it
        header.remove(&UPGRADE);
    }
    ctx.handshakes = handshakes;
    Ok(())
}

/// Has a request of HTTP/2 look like one of HTTP/1.1, for all that follows: one host, in `Host`, and
/// one line of cookies (RFC 9113 §8.2.3).
fn fields_of_http2(header: &mut impl Request) -> std::result::Result<(), Refusal> {
    if header.version() != http::Version::HTTP_2 {
        return Ok(());
    }
    if let Some(host) = header.authority().map(ToOwned::to_owned) {
        let target = if header.target().is_empty() { "/" } else { header.target() }.to_owned();
        header.set(&HOST, host.as_bytes()).map_err(|_| Refusal::BadRequest)?;
        header.set_target(&target).map_err(|_| Refusal::BadRequest)?;
    }
    if header.all(&COOKIE).nth(1).is_some() {
        let lines: Vec<&[u8]> = header.all(&COOKIE).collect();
        let joined = lines.join(&b"; "[..]);
        header.set(&COOKIE, &joined).map_err(|_| Refusal::BadRequest)?;
    }
    Ok(())
}

/// Takes everything of ours out of a request.
fn carry_out(header: &mut impl Request, changes: Changes) -> std::result::Result<(), Refusal> {
    for name in changes.dropped {
        header.remove(&name);
    }
    for (name, lines) in changes.unwrapped {
        replace(header, &name, &lines)?;
    }
    if let Some(lines) = changes.cookies {
        replace(header, &COOKIE, &lines)?;
    }
    if let Some(target) = changes.target {
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        // what is left of a segment without its key may be a dot
        let target = [&path::normalise(path), query].concat();
        header.set_target(&target).map_err(|_| Refusal::BadRequest)?;
    }
    if let Some(referer) = changes.referer {
        put(header.set(&REFERER, referer.as_bytes()))?;
    }
    Ok(())
}

fn replace(
    header: &mut impl Request,
    name: &HeaderName,
    lines: &[Arc<[u8]>],
) -> std::result::Result<(), Refusal> {
    if let [line] = lines {
        return put(header.set(name, line));
    }
    header.remove(name);
    lines.iter().try_for_each(|line| put(header.add(name, line)))
}

/// A page whose links get the key must come whole and uncompressed, and not out of the client's
/// cache, where it has another key. The conditions of a request that changes something stay.
fn ask_for_plain_text(header: &mut impl Request) -> std::result::Result<(), Refusal> {
    if matches!(*header.method(), http::Method::GET | http::Method::HEAD) {
        for name in [RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE] {
            header.remove(&name);
        }
    }
    put(header.set(&ACCEPT_ENCODING, b"identity"))
}

/// Has the body of a stream come along. Over HTTP/1.1 Pingora knows its limit, here it is ours; what the
/// backend may take for a part comes on top, since nobody tells when it has taken it. A call of gRPC's
/// may be silent for as long as it likes.
pub(super) fn ask_for_body(session: &mut Session, ctx: &Ctx) {
    if session.as_downstream_mut().is_body_done() || grpc::is_call(session.req_header()) {
        return;
    }
    if let Some((streams, rule)) = Streams::of(session).zip(ctx.rule()) {
        let limit = ctx.snapshot.limits.body_timeout + rule.service.timeouts.write;
        streams.ask_for_body(limit, || Unfinished::of(session.req_header(), ctx));
    }
}

/// Counts the request body against its limit. Runs again for each try, with the same bytes.
pub(super) fn count_body(
    session: &Session,
    body: Option<&Bytes>,
    end: bool,
    ctx: &mut Ctx,
) -> Result<()> {
    if end && let Some(io) = ClientIo::of(session) {
        io.body_is_over();
    }
    if let Some(streams) = Streams::of(session) {
        if end {
            streams.rest();
        } else {
            streams.note_part();
        }
    }
    ctx.body_bytes += body.map_or(0, |part| part.len() as u64);
    if ctx.body_bytes > ctx.snapshot.limits.max_body_bytes && !session.was_upgraded() {
        ctx.refusal = Some(Refusal::BodyTooLarge);
        // the client's fault by name: with any other Pingora would wait for a backend of HTTP/2, which
        // waits for the rest of the body
        let why = Error::explain(ErrorType::HTTPStatus(413), "request body over the limit");
        return Err(why.into_down());
    }
    Ok(())
}

/// What the handshake has told; `None` on a connection that is not encrypted.
pub(super) fn tls(session: &Session) -> Option<Arc<SslDigest>> {
    session.digest().and_then(|digest| digest.ssl_digest.clone())
}

pub(super) fn peer(session: &Session) -> IpAddr {
    match session.client_addr() {
        Some(SocketAddr::Inet(address)) => address.ip().to_canonical(),
        Some(SocketAddr::Unix(_)) | None => IpAddr::from([127, 0, 0, 1]),
    }
}

fn check_size(header: &impl Request, ctx: &Ctx) -> std::result::Result<(), Refusal> {
    let limits = &ctx.snapshot.limits;
    let fields = header.each().map(|(name, value)| name.len() + value.len() + 4);
    let line = header.raw_target().len() + header.method().as_str().len() + 12;
    if fields.sum::<usize>() + line > limits.max_header_bytes {
        return Err(Refusal::HeaderTooLarge);
    }
    let mut lengths = header.all(&CONTENT_LENGTH);
    let Some(length) = lengths.next() else { return Ok(()) };
    let announced = text(length).and_then(|length| length.parse::<u64>().ok());
    match announced {
        // said twice, or in a list: nobody says that without an ulterior motive
        None => Err(Refusal::BadRequest),
        Some(_) if lengths.next().is_some() => Err(Refusal::BadRequest),
        Some(length) if length > limits.max_body_bytes => Err(Refusal::BodyTooLarge),
        Some(_) => Ok(()),
    }
}

/// A host and port in the letters that they may have (RFC 3986 §3.2.2).
fn sane_host(host: &[u8]) -> Option<&str> {
    let is_sane = |b: &u8| {
        b.is_ascii_alphanumeric()
            || matches!(b, b'-' | b'.' | b'_' | b'~' | b':' | b'[' | b']' | b'%' | b'=')
            || matches!(b, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';')
    };
    host.iter().all(is_sane).then(|| std::str::from_utf8(host).ok()).flatten()
}

/// What a request asks for (RFC 9112 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// `/path`, or `*` of an `OPTIONS *`
    Origin,
    /// `http://host/path`, which the backend gets as a path
    Absolute,
}

fn target(header: &impl Request) -> std::result::Result<Target, Refusal> {
    let raw = header.raw_target();
    let scheme = |name: &[u8]| raw.get(..name.len()).is_some_and(|s| s.eq_ignore_ascii_case(name));
    match raw {
        _ if std::str::from_utf8(raw).is_err() => Err(Refusal::BadRequest),
        [b'/', ..] => Ok(Target::Origin),
        b"*" if *header.method() == http::Method::OPTIONS => Ok(Target::Origin),
        _ if scheme(b"http://") || scheme(b"https://") => Ok(Target::Absolute),
        _ => Err(Refusal::BadRequest),
    }
}

/// A header map has room for 32,768 fields, far more than a request may have.
pub(super) fn put(result: Result<()>) -> std::result::Result<(), Refusal> {
    result.map_err(|_| Refusal::HeaderTooLarge)
}
