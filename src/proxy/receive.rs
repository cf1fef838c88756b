//! From the request as it came to the request as the backend gets it: limits, host and path in
//! normal form, the rule, the client's binding, and the headers that a proxy adds.

use super::choose;
use super::ctx::{Asked as Page, Ctx};
use super::decide::{self, Asked, Changes};
use super::finish::Unfinished;
use super::front::{ClientIo, Streams};
use super::grpc;
use super::refusal::Refusal;
use crate::affinity::AppSession;
use crate::affinity::stamp::Elsewhere;
use crate::identity::forwarded::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use crate::identity::{Forwarded, Scheme, came_by_https, client_address};
use crate::model::Cause;
use crate::routing::{host, path};
use crate::snapshot::{Caller, Limits, Live, Reconnect, Unknown};
use crate::tls::Secured;
use crate::websocket::{self, Asks};
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, COOKIE, HOST, HeaderName, HeaderValue, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE, REFERER, UPGRADE, VIA,
};
use http::uri::PathAndQuery;
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType, Result};
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::tls::SslDigest;
use pingora_proxy::Session;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FAILOVER: &str = "X-Affinity-Failover";
const VIA_HTTP_1_0: HeaderValue = HeaderValue::from_static("1.0 stickfast");
const VIA_HTTP_1_1: HeaderValue = HeaderValue::from_static("1.1 stickfast");
const VIA_HTTP_2: HeaderValue = HeaderValue::from_static("2 stickfast");

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
pub(super) struct Origin {
    /// The other end.
    pub(super) peer: IpAddr,
    /// What the handshake has told; `None` where nothing is encrypted.
    pub(super) tls: Option<Arc<SslDigest>>,
    /// Whether a body is still to come.
    pub(super) has_body: bool,
}

impl Origin {
    /// Of a session's.
    pub(super) fn of(session: &mut Session) -> Self {
        let has_body = !session.as_downstream_mut().is_body_done();
        Self { peer: peer(session), tls: tls(session), has_body }
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
    header: &mut RequestHeader,
    origin: Origin,
    ctx: &mut Ctx,
    live: &Live,
) -> std::result::Result<(), Refusal> {
    let Origin { peer, tls, has_body } = origin;
    // before anything looks at headers
    tell_subject(header, &ctx.snapshot.doors.told, tls.as_deref())?;
    fields_of_http2(header)?;
    ctx.streams = grpc::is_call(header) || has_body;
    let trusted = ctx.snapshot.trusted.contains(peer);
    ctx.client = client_address(peer, &header.headers, &ctx.snapshot.trusted);
    ctx.https = came_by_https(trusted, &header.headers, tls.is_some());
    ctx.request_id = request_id(header, trusted);
    check_size(header, ctx)?;

    let host_as_sent = host_as_sent(header)?;
    let host_text = host_as_sent.to_str().map_err(|_| Refusal::BadRequest)?;
    if !host_is_sane(host_text) {
        return Err(Refusal::BadRequest);
    }
    let target = target(header)?;
    let path = path::normalise(header.uri.path());
    let bare = ctx.snapshot.bare_path(&path);
    let rule =
        ctx.snapshot.route(&host::normalise(host_text), &bare, &header.method, &header.headers);
    ctx.rule = rule;
    drop(bare);
    let path = (path != header.uri.path() || target == Target::Absolute).then(|| {
        match header.uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.into_owned(),
        }
    });
    let scheme = if tls.is_some() { Scheme::Https } else { Scheme::Http };
    let forwarded =
        Forwarded::plan(peer, trusted, &header.headers, scheme, Some(host_as_sent.clone()));

    if let Some(path) = path {
        header.set_uri(path.parse().map_err(|_| Refusal::BadRequest)?);
    }
    let snapshot = Arc::clone(&ctx.snapshot);
    let target = snapshot.target(ctx.rule.ok_or(Refusal::NoRoute)?, &header.headers);
    let target = target.map_err(|Unknown| Refusal::NoSubset)?;
    let asks = websocket::asks(header);
    let handshakes = asks == Asks::WebSocket;
    let at = if handshakes { snapshot.for_handshake(target.rule) } else { target.rule };
    ctx.rule = Some(at);
    let rule = snapshot.rule(at).ok_or(Refusal::NoRoute)?;
    let service = rule.service.pool.service.as_str();
    let recall = |session: &AppSession, value: &[u8]| {
        let idle = rule.stickiness.as_ref().map_or(0, |stickiness| stickiness.terms.idle);
        live.learned.find(live.learned.key(service, &session.label, value), idle, ctx.now)
    };
    let identified = decide::identify(Asked {
        snapshot: &snapshot,
        rule,
        subset: target.subset.as_deref(),
        headers: &header.headers,
        target: header.uri.path_and_query().map_or("", PathAndQuery::as_str),
        caller: Caller { client: ctx.client, peer },
        recall: &recall,
        now: ctx.now,
    });
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
    speak_for_client(header, forwarded)?;
    if rule.rewrites_urls {
        ask_for_plain_text(header)?;
        let target = header.uri.path_and_query().map_or("/", PathAndQuery::as_str).to_owned();
        // links are those of the site as the client calls it, which a proxy may have renamed
        let host = header.headers.get(&X_FORWARDED_HOST).unwrap_or(&host_as_sent);
        ctx.page = Some(Page { host: host.to_str().unwrap_or_default().into(), target });
    }
    if asks == Asks::Malformed {
        // it would be Pingora's tunnel that takes it
        header.remove_header(&UPGRADE);
    }
    ctx.handshakes = handshakes;
    Ok(())
}

/// Has a request of HTTP/2 look like one of HTTP/1.1, for all that follows: one host, in `Host`, and
/// one line of cookies (RFC 9113 §8.2.3).
fn fields_of_http2(header: &mut RequestHeader) -> std::result::Result<(), Refusal> {
    if header.version != http::Version::HTTP_2 {
        return Ok(());
    }
    if let Some(authority) = header.uri.authority() {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Refusal::BadRequest)?;
        let target = header.uri.path_and_query().map_or("/", PathAndQuery::as_str).to_owned();
        put(header.insert_header(HOST, host))?;
        header.set_uri(target.parse().map_err(|_| Refusal::BadRequest)?);
    }
    let lines: Vec<&[u8]> =
        header.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1 {
        let joined = HeaderValue::from_bytes(&lines.join(&b"; "[..]));
        put(header.insert_header(COOKIE, joined.map_err(|_| Refusal::BadRequest)?))?;
    }
    Ok(())
}

/// Takes everything of ours out of a request.
fn carry_out(header: &mut RequestHeader, changes: Changes) -> std::result::Result<(), Refusal> {
    for name in changes.dropped {
        header.remove_header(&name);
    }
    for (name, lines) in changes.unwrapped {
        header.remove_header(&name);
        for line in lines {
            put(header.append_header(name.clone(), line))?;
        }
    }
    if let Some(lines) = changes.cookies {
        header.remove_header(&COOKIE);
        for line in lines {
            put(header.append_header(COOKIE, line))?;
        }
    }
    if let Some(target) = changes.target {
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        // what is left of a segment without its key may be a dot
        let target = [&path::normalise(path), query].concat();
        header.set_uri(target.parse().map_err(|_| Refusal::BadRequest)?);
    }
    if let Some(referer) = changes.referer {
        put(header.insert_header(REFERER, referer))?;
    }
    Ok(())
}

/// A page whose links get the key must come whole and uncompressed, and not out of the client's
/// cache, where it has another key. The conditions of a request that changes something stay.
fn ask_for_plain_text(header: &mut RequestHeader) -> std::result::Result<(), Refusal> {
    if matches!(header.method, http::Method::GET | http::Method::HEAD) {
        for name in [RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE] {
            header.remove_header(&name);
        }
    }
    put(header.insert_header(ACCEPT_ENCODING, HeaderValue::from_static("identity")))
}

/// The headers that a client could take away again by naming them in `Connection`; put in when
/// Pingora has carried that out.
pub(super) fn sign(
    request: &mut RequestHeader,
    version: http::Version,
    tls: Option<&SslDigest>,
    ctx: &Ctx,
) -> Result<()> {
    request.insert_header(X_REQUEST_ID.clone(), ctx.request_id.as_str())?;
    let via = match version {
        http::Version::HTTP_10 => VIA_HTTP_1_0,
        http::Version::HTTP_2 => VIA_HTTP_2,
        _ => VIA_HTTP_1_1,
    };
    request.append_header(VIA, via)?;
    if let Some(tls) = tls
        && let Some((subject, name)) = Secured::of(tls).subject
    {
        request.insert_header(name.to_owned(), subject)?;
    }
    tell_failover(request, ctx)
}

/// The same for another try.
pub(super) fn sign_again(request: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
    request.remove_header(FAILOVER);
    tell_failover(request, ctx)
}

fn tell_failover(request: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
    if let Some(told) = failover(ctx) {
        request.insert_header(FAILOVER, told)?;
    }
    Ok(())
}

/// What the new backend of a client is told, once: where the client comes from, and why.
fn failover(ctx: &Ctx) -> Option<String> {
    let (from, backend) = (ctx.from.as_ref()?, ctx.backend.as_ref()?);
    let Some(cause) = ctx.cause else {
        // called home, and it has not refused
        let returns = ctx.bond.as_ref().is_some_and(|bond| bond.until_then.is_some());
        return returns.then(|| format!("from={from}; reason=failback"));
    };
    let moves = ctx.bond.as_ref().is_none_or(|bond| bond.elsewhere != Elsewhere::Visits);
    let elsewhere = backend.backend.id != *from || cause == Cause::WrongIncarnation;
    (moves && elsewhere).then(|| format!("from={from}; reason={}", cause.label()))
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

fn check_size(header: &RequestHeader, ctx: &Ctx) -> std::result::Result<(), Refusal> {
    let limits = &ctx.snapshot.limits;
    let fields = header.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let line = header.raw_path().len() + header.method.as_str().len() + 12;
    if fields.sum::<usize>() + line > limits.max_header_bytes {
        return Err(Refusal::HeaderTooLarge);
    }
    let mut lengths = header.headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(()) };
    let announced = length.to_str().ok().and_then(|text| text.parse::<u64>().ok());
    match announced {
        // said twice, or in a list: nobody says that without an ulterior motive
        None => Err(Refusal::BadRequest),
        Some(_) if lengths.next().is_some() => Err(Refusal::BadRequest),
        Some(length) if length > limits.max_body_bytes => Err(Refusal::BodyTooLarge),
        Some(_) => Ok(()),
    }
}

fn host_as_sent(header: &RequestHeader) -> std::result::Result<HeaderValue, Refusal> {
    let host = header.headers.get(HOST).filter(|host| !host.is_empty());
    host.cloned().ok_or(Refusal::NoHost)
}

fn host_is_sane(host: &str) -> bool {
    host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+,;=".contains(&b))
}

/// What a request asks for (RFC 9112 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// `/path`, or `*` of an `OPTIONS *`
    Origin,
    /// `http://host/path`, which the backend gets as a path
    Absolute,
}

fn target(header: &RequestHeader) -> std::result::Result<Target, Refusal> {
    let raw = header.raw_path();
    let scheme = |name: &[u8]| raw.get(..name.len()).is_some_and(|s| s.eq_ignore_ascii_case(name));
    match raw {
        _ if !header.raw_path_is_utf8() => Err(Refusal::BadRequest),
        [b'/', ..] => Ok(Target::Origin),
        b"*" if header.method == http::Method::OPTIONS => Ok(Target::Origin),
        _ if scheme(b"http://") || scheme(b"https://") => Ok(Target::Absolute),
        _ => Err(Refusal::BadRequest),
    }
}

/// A trusted proxy's id is kept, so that one request has one id all the way.
fn request_id(header: &RequestHeader, trusted: bool) -> String {
    let given = header.headers.get(&X_REQUEST_ID).filter(|_| trusted);
    let given = given.and_then(|id| id.to_str().ok());
    match given {
        Some(id) if !id.is_empty() && id.len() <= 128 => id.to_owned(),
        _ => format!("{:032x}", rand::random::<u128>()),
    }
}

fn speak_for_client(
    header: &mut RequestHeader,
    forwarded: Forwarded,
) -> std::result::Result<(), Refusal> {
    let pretended: smallvec::SmallVec<[HeaderName; 2]> = header
        .headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-affinity-"))
        .cloned()
        .collect();
    for name in forwarded.dropped.iter().chain(&pretended) {
        header.remove_header(name);
    }
    put(header.insert_header(X_FORWARDED_FOR.clone(), forwarded.for_))?;
    if let Some(proto) = forwarded.proto {
        put(header.insert_header(X_FORWARDED_PROTO.clone(), proto))?;
    }
    if let Some(host) = forwarded.host {
        put(header.insert_header(X_FORWARDED_HOST.clone(), host))?;
    }
    Ok(())
}

/// Tells who the client's certificate is for. No client says so itself, whatever listener it came
/// by; `_` is read as `-`, as servers of the CGI kind do.
fn tell_subject(
    header: &mut RequestHeader,
    told: &[HeaderName],
    tls: Option<&SslDigest>,
) -> std::result::Result<(), Refusal> {
    if told.is_empty() {
        return Ok(());
    }
    let same = |one: &HeaderName, other: &HeaderName| {
        let (one, other) = (one.as_str().bytes(), other.as_str().bytes());
        let read = |byte| if byte == b'_' { b'-' } else { byte };
        one.map(read).eq(other.map(read))
    };
    let names = header.headers.keys();
    let pretended: smallvec::SmallVec<[HeaderName; 2]> =
        names.filter(|name| told.iter().any(|told| same(name, told))).cloned().collect();
    for name in pretended {
        header.remove_header(&name);
    }
    match tls.and_then(|tls| Secured::of(tls).subject) {
        Some((subject, name)) => put(header.insert_header(name.to_owned(), subject)),
        None => Ok(()),
    }
}

/// A header map has room for 32,768 fields, far more than a request may have.
fn put<T>(result: Result<T>) -> std::result::Result<(), Refusal> {
    result.map(|_| ()).map_err(|_| Refusal::HeaderTooLarge)
}
