//! The request that is asked about, in normal form, and where it goes: as `proxy::receive` does it,
//! which works on Pingora's types.

use super::{ExplainError, Question};
use crate::identity::client_address;
use crate::model::{Cause, UnixTime};
use crate::proxy::decide::{self, Asked, Identified, Recall};
use crate::routing::{host, path};
use crate::snapshot::{Caller, Reconnect, Rule, Snapshot, Unknown};
use crate::websocket::{self, Asks};
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use std::fmt::Display;
use std::sync::Arc;

/// A request in normal form.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) host: String,
    pub(super) path: String,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    /// Whether it asks for a WebSocket.
    pub(super) handshake: bool,
    pub(super) caller: Caller,
}

/// The rule for a request.
pub(super) struct Found<'a> {
    /// The rule that takes it.
    pub(super) taken: &'a Rule,
    /// The rule whose service and affinity count; another one where the request names its service.
    pub(super) rule: &'a Rule,
    /// The only version that may serve it.
    pub(super) subset: Option<Arc<str>>,
}

/// Whom a request comes from.
pub(super) struct Client {
    pub(super) identified: Identified,
    /// Whether it has a key, which does not count for a handshake.
    pub(super) anew: bool,
}

/// Nobody serves the request.
#[derive(Clone, Copy)]
pub(super) enum Nowhere {
    /// No rule takes it.
    NoRule,
    /// It names what is not there.
    Unknown,
}

impl Request {
    /// What `question` asks about.
    ///
    /// # Errors
    /// A question that no client could ask.
    pub(super) fn of(question: &Question, snapshot: &Snapshot) -> Result<Self, ExplainError> {
        let refused = |what: &str, text: &str, why: &dyn Display| {
            ExplainError::Question(format!("{what} {text}: {why}"))
        };
        let written = &question.path;
        let uri: Uri = written.parse().map_err(|why| refused("path", written, &why))?;
        if !written.starts_with('/') {
            return Err(refused("path", written, &"expected a path such as /cart/1"));
        }
        let path = path::normalise(uri.path()).into_owned();
        let target = match uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.clone(),
        };
        let mut headers: HeaderMap = HeaderMap::new();
        for (name, value) in &question.headers {
            headers.append(name, value.clone());
        }
        if !headers.contains_key(HOST) {
            let host = question.host.parse();
            headers.insert(HOST, host.map_err(|why| refused("host", &question.host, &why))?);
        }
        let host = headers.get(HOST).map(HeaderValue::to_str).transpose();
        let host = host.map_err(|why| refused("host", "in the headers", &why))?.unwrap_or_default();
        let host = host::normalise(host).into_owned();
        let client = client_address(question.ip, &headers, &snapshot.trusted);
        let caller = Caller { client, peer: question.ip };
        let method = question.method.clone();
        let handshake = is_handshake(&method, &headers);
        Ok(Self { method, host, path, target, headers, handshake, caller })
    }

    /// Where it goes.
    ///
    /// # Errors
    /// Nobody serves it.
    pub(super) fn find<'a>(&self, snapshot: &'a Snapshot) -> Result<Found<'a>, Nowhere> {
        let bare = snapshot.bare_path(&self.path);
        let at = snapshot.route(&self.host, &bare, &self.method, &self.headers);
        let at = at.ok_or(Nowhere::NoRule)?;
        let target = snapshot.target(at, &self.headers).map_err(|Unknown| Nowhere::Unknown)?;
        let taken = snapshot.rule(at).ok_or(Nowhere::NoRule)?;
        let at = if self.handshake { snapshot.for_handshake(target.rule) } else { target.rule };
        let rule = snapshot.rule(at).ok_or(Nowhere::NoRule)?;
        Ok(Found { taken, rule, subset: target.subset })
    }

    /// It as it is decided on.
    pub(super) fn asked<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        found: &'a Found<'a>,
        recall: Recall<'a>,
        now: UnixTime,
    ) -> Asked<'a, HeaderMap> {
        Asked {
            snapshot,
            rule: found.rule,
            subset: found.subset.as_deref(),
            headers: &self.headers,
            target: &self.target,
            caller: self.caller,
            recall,
            now,
        }
    }
    /// Who its client is.
    pub(super) fn identify(&self, asked: &Asked<'_, HeaderMap>) -> Client {
        let identified = decide::identify(asked, None);
        let keyed = identified.bond.is_some()
            || identified.cause.is_some_and(|cause| cause != Cause::NoKey);
        match asked.snapshot.websocket.reconnect {
            Reconnect::Anew if self.handshake => {
                Client { identified: identified.placed_anew(), anew: keyed }
            }
            Reconnect::Anew | Reconnect::Sticky => Client { identified, anew: false },
        }
    }
}

fn is_handshake(method: &Method, headers: &HeaderMap) -> bool {
    websocket::asks(method, Version::HTTP_11, headers) == Asks::WebSocket
}
