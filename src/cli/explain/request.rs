//! The request that is asked about, in normal form, and where it goes: as `proxy::receive` does it,
//! which works on Pingora's types.

use super::Question;
use crate::affinity::learned;
use crate::identity::client_address;
use crate::model::UnixTime;
use crate::proxy::decide::Asked;
use crate::routing::{host, path};
use crate::snapshot::{Caller, Rule, Snapshot, Unknown};
use anyhow::{Context, anyhow};
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Uri};
use std::sync::Arc;

/// A request in normal form.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) host: String,
    pub(super) path: String,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
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
    pub(super) fn of(question: &Question, snapshot: &Snapshot) -> anyhow::Result<Self> {
        let uri: Uri = question.path.parse().with_context(|| format!("path {}", question.path))?;
        if !question.path.starts_with('/') {
            return Err(anyhow!("path {}: expected a path such as /cart/1", question.path));
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
            headers.insert(HOST, question.host.parse().with_context(|| "host")?);
        }
        let host = headers.get(HOST).map(HeaderValue::to_str).transpose()?.unwrap_or_default();
        let host = host::normalise(host).into_owned();
        let client = client_address(question.ip, &headers, &snapshot.trusted);
        let caller = Caller { client, peer: question.ip };
        Ok(Self { method: question.method.clone(), host, path, target, headers, caller })
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
        let rule = snapshot.rule(target.rule).ok_or(Nowhere::NoRule)?;
        Ok(Found { taken, rule, subset: target.subset })
    }

    /// It as it is decided on; nothing is remembered of sessions that were learnt.
    pub(super) fn asked<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        found: &'a Found<'a>,
        now: UnixTime,
    ) -> Asked<'a> {
        Asked {
            snapshot,
            rule: found.rule,
            subset: found.subset.as_deref(),
            headers: &self.headers,
            target: &self.target,
            caller: self.caller,
            recall: &|_, _| learned::Found::Nothing,
            now,
        }
    }
}
