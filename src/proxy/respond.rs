//! `response_filter`: writes the binding onto the first final response of the backend that answered.

use super::answer::is_interim;
use super::ctx::Ctx;
use super::decide;
use super::front::{self, ClientIo};
use super::message::Response;
use super::private::private;
use super::refusal::REASON_NAME;
use super::{links, sessions};
use crate::affinity::Stamp;
use crate::model::fields::named;
use crate::model::{Did, clock};
use crate::routing::subset::Named;
use crate::snapshot::{Live, Place, Rule, Text};
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, HeaderName, SET_COOKIE, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, StatusCode, Version};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora_proxy::Session;
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::Duration;

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// An upgraded connection may be silent for this long, as in HAProxy's usual `timeout tunnel`.
pub(super) const TUNNEL_TIMEOUT: Duration = Duration::from_hours(1);

/// Makes a response ready for the client of `session`.
pub(super) fn to_session(
    session: &mut Session,
    response: &mut ResponseHeader,
    ctx: &mut Ctx,
    live: &Live,
) -> Result<()> {
    if session.is_upgrade_req() && !is_interim(response) {
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            session.set_read_timeout(Some(TUNNEL_TIMEOUT));
        }
        if let Some(io) = ClientIo::of(session) {
            io.upgrade_is_answered();
        }
    }
    if !is_interim(response) {
        front::heed_closing(session);
    }
    if response.version == Version::HTTP_10 {
        // whoever sends a response on says it in its own version (RFC 9110 §6.2), and chunks are of HTTP/1.1
        response.set_version(Version::HTTP_11);
    }
    let snapshot = Arc::clone(&ctx.snapshot);
    let rule = ctx.rule.and_then(|at| snapshot.rule(at));
    respond(&session.req_header().method, response, rule, ctx, live)?;
    if session.req_header().version == Version::HTTP_10
        && !is_interim(response)
        && response.headers.contains_key(TRANSFER_ENCODING)
    {
        // such a client knows no chunks: the end of the connection is that of the body
        response.remove_header(&TRANSFER_ENCODING);
        session.set_keepalive(None);
    }
    Ok(())
}

/// Makes a response ready for the client that has asked with `method`, as `rule` says.
pub(super) fn respond(
    method: &Method,
    response: &mut impl Response,
    rule: Option<&Rule>,
    ctx: &mut Ctx,
    live: &Live,
) -> Result<()> {
    // it says that the gateway itself has answered
    response.remove(&REASON_NAME);
    let upgrades = [StatusCode::SWITCHING_PROTOCOLS, StatusCode::UPGRADE_REQUIRED];
    if !upgrades.contains(&response.status()) {
        leave_connection(response);
    }
    say_length_once(response)?;
    if is_interim(response) {
        return Ok(());
    }
    let Some(rule) = rule else { return Ok(()) };
    expose(rule, response, ctx)?;
    if write(method, response, rule, ctx, live)?
        && let Some(value) = private(method, response)
    {
        response.set(&CACHE_CONTROL, value.as_bytes())?;
    }
    Ok(())
}

/// Says how long the response is as we understood it: clients may differ over a length that is said
/// twice (the drivers refuse two different ones), and over a body that is announced where there is
/// none (RFC 9110 §8.6).
fn say_length_once(response: &mut impl Response) -> Result<()> {
    let status = response.status();
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        response.remove(&CONTENT_LENGTH);
        response.remove(&TRANSFER_ENCODING);
        return Ok(());
    }
    let mut lengths = response.all(&CONTENT_LENGTH);
    let Some(length) = lengths.next() else { return Ok(()) };
    let mut values = length.split(|byte| *byte == b',');
    let value = values.next().unwrap_or_default();
    if lengths.next().is_none() && values.next().is_none() {
        return Ok(());
    }
    let once = value.trim_ascii().to_vec();
    drop(lengths);
    response.set(&CONTENT_LENGTH, &once)
}

/// Takes out what is of the backend's connection alone (RFC 9110 §7.6.1); `Connection` itself is said
/// anew.
fn leave_connection(response: &mut impl Response) {
    let options = response.all(&CONNECTION).flat_map(|line| line.split(|byte| *byte == b','));
    let usual = |option: &&[u8]| {
        option.eq_ignore_ascii_case(b"keep-alive") || option.eq_ignore_ascii_case(b"close")
    };
    let options = options.map(<[u8]>::trim_ascii).filter(|option| !usual(option));
    let options: SmallVec<[HeaderName; 2]> = options.filter_map(named).collect();
    // these are no options, whatever a backend says
    let frames = |name: &&HeaderName| [CONTENT_LENGTH, TRANSFER_ENCODING].contains(name);
    for name in options.iter().filter(|name| !frames(name)) {
        response.remove(name);
    }
    for name in [&UPGRADE, &KEEP_ALIVE, &PROXY_CONNECTION] {
        response.remove(name);
    }
}

/// Writes what concerns this client alone; tells whether there is anything.
fn write(
    method: &Method,
    response: &mut impl Response,
    rule: &Rule,
    ctx: &mut Ctx,
    live: &Live,
) -> Result<bool> {
    let Some(stickiness) = &rule.stickiness else { return Ok(false) };
    let Some(answered) = &ctx.backend else { return Ok(false) };
    let now = clock::unix_now();
    let stamp = decide::stamped(ctx.bond.as_ref(), answered, stickiness.terms, now);
    let has_sessions = !stickiness.sessions.is_empty();
    let in_url = stickiness.in_url().filter(|_| rule.rewrites_urls);
    if stamp == Stamp::Nothing && !has_sessions && in_url.is_none() {
        return Ok(false);
    }
    let answered = Arc::clone(answered);
    let tag = ctx.tag.unwrap_or_else(rand::random);
    let written = decide::written(&stamp, ctx.bond.as_ref(), &answered, tag, now);
    let key = |text| written.key(stickiness, &rule.service, text, rand::random());
    let mut wrote = false;
    if stamp != Stamp::Nothing
        && ctx.stamps
        && let Some((at, carrier)) = stickiness.stamped()
        && let Some(key) = key(Text::Carrier(at))
    {
        match &carrier.place {
            Place::Cookie => {
                let cookie = stickiness.set_cookie(&key, ctx.https, now);
                response.add(&SET_COOKIE, cookie.as_bytes())?;
            }
            Place::Header(name) => response.set(name, key.as_bytes())?,
            Place::Url(_) => {}
        }
        wrote = true;
    }
    if has_sessions {
        let word = sessions::Word {
            rule,
            stickiness,
            answered: &answered,
            stamp: &stamp,
            written: &written,
            tag,
            now,
        };
        wrote |= sessions::respond(&word, response, ctx, live)?;
    }
    let mut private = wrote;
    if let Some((at, _, place)) = in_url
        && let Some(text) = url_key(ctx, &stamp, || key(Text::Carrier(at)))
    {
        let any = links::rewrite(rule, place, &text, method, response, ctx)?;
        wrote |= any && stamp != Stamp::Nothing;
        private |= any;
    }
    if wrote {
        // a session that was minted for a bound client changes nothing about its binding
        ctx.did = if stamp == Stamp::Nothing { Did::Nothing } else { stamp.did() };
    }
    Ok(private)
}

/// The key for links: a new one with a new binding, else the one that the client's own URL had.
fn url_key(ctx: &Ctx, stamp: &Stamp, key: impl FnOnce() -> Option<String>) -> Option<String> {
    match (stamp, &ctx.url_key) {
        (Stamp::Nothing, own) => own.clone(),
        // a client whose cookie holds needs no other
        (Stamp::Refresh(_), None) => None,
        (Stamp::Bind(_) | Stamp::Refresh(_), _) => key().filter(|_| ctx.stamps),
    }
}

/// Tells who answered, where the operator wants that told.
fn expose(rule: &Rule, response: &mut impl Response, ctx: &Ctx) -> Result<()> {
    let Some(member) = &ctx.backend else { return Ok(()) };
    let (service, backend) = (&rule.service.pool.service, &member.backend);
    let version = Some(&*backend.version).filter(|version| !version.is_empty());
    if let Some(header) = ctx.snapshot.service_header.as_ref().filter(|header| header.responds) {
        let value = ctx.snapshot.name_of(Named { service: service.as_str(), version });
        response.set(&header.name, value.as_bytes())?;
    }
    let header = rule.stickiness.as_ref().and_then(|stickiness| stickiness.expose_backend.as_ref());
    if let Some(header) = header {
        let version = version.map(|version| format!("; version={version}")).unwrap_or_default();
        let value = format!("service={service}{version}; backend={}", backend.id);
        response.set(header, value.as_bytes())?;
    }
    Ok(())
}
