//! The answer as a value: what `--json` prints, and what `text` lays out for a terminal. No secret
//! and no key is in it.

use crate::model::UnixTime;
use serde::Serialize;
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

/// What cannot be known from files.
const NOTE: &str = "health checks have not run; backends are taken as healthy";

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) request: Asked,
    /// `None`: no rule takes the request.
    pub(super) rule: Option<Matched>,
    /// Every source of a key, in the order in which they are tried.
    pub(super) sources: Vec<Source>,
    pub(super) outcome: Outcome,
    pub(super) backends: Vec<Row>,
    /// Where a client goes that is not bound.
    pub(super) placing: Option<String>,
    /// What would happen if the bound backend were in another state.
    pub(super) what_if: Vec<WhatIf>,
    pub(super) notes: Vec<&'static str>,
}

/// The request in normal form.
#[derive(Debug, Serialize)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) client: IpAddr,
}

/// The rule that wins.
#[derive(Debug, Serialize)]
pub(super) struct Matched {
    pub(super) rule: String,
    pub(super) service: String,
    pub(super) policy: &'static str,
    pub(super) sticky: bool,
}

/// One place where a key may ride.
#[derive(Debug, Serialize)]
pub(super) struct Source {
    pub(super) place: String,
    #[serde(flatten)]
    pub(super) yielded: Yield,
    /// Whether it is the one that counts.
    pub(super) decides: bool,
}

/// What a source yields.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "yields", content = "detail")]
pub(super) enum Yield {
    /// Nothing is there.
    Nothing,
    /// An earlier source has decided.
    NotAsked,
    /// A sealed key.
    Key(Box<Opened>),
    /// An unsealed key of this backend.
    Backend(String),
    /// An unsealed key of nobody.
    Nobody,
    /// A key that says itself that it has expired.
    Expired,
    /// The client's own name for its session.
    ClientName,
    /// Something else.
    Unreadable(String),
    /// A key that only the gateway that generated its secret can read.
    NotHere,
}

/// What a sealed key says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Opened {
    pub(super) backend: String,
    pub(super) issued: Moment,
    pub(super) last_seen: Moment,
    pub(super) key_id: u8,
    pub(super) incarnation: String,
    pub(super) version: String,
    pub(super) home: String,
}

/// A time, and how long ago it was.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Moment {
    pub(super) at: String,
    pub(super) age_seconds: u32,
}

impl Moment {
    pub(super) fn new(at: UnixTime, now: UnixTime) -> Self {
        let time = UNIX_EPOCH + Duration::from_secs(at.0.into());
        Self {
            at: humantime::format_rfc3339_seconds(time).to_string(),
            age_seconds: now.seconds_since(at),
        }
    }
}

/// What becomes of the request.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcome {
    /// Why the client is placed anew, as in the metrics.
    pub(super) cause: Option<&'static str>,
    /// What its key means.
    pub(super) meaning: String,
    /// What is done about it.
    pub(super) course: String,
    /// What the response writes.
    pub(super) stamp: Option<String>,
}

/// One backend and its row of the state matrix.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) address: String,
    pub(super) weight: u32,
    pub(super) duty: &'static str,
    /// Whom it serves.
    pub(super) serves: &'static str,
    /// Whether new clients may go there.
    pub(super) candidate: bool,
    /// Whether the key of the request holds for it.
    pub(super) bound: bool,
}

/// What would happen.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WhatIf {
    /// The bound backend is like that.
    pub(super) state: &'static str,
    pub(super) course: String,
}

impl Report {
    /// A report for a request that no rule takes.
    pub(super) fn new(request: Asked) -> Self {
        Self {
            request,
            rule: None,
            sources: Vec::new(),
            outcome: Outcome {
                meaning: "no rule takes the request".into(),
                course: "is answered with 404 (no-route)".into(),
                ..Outcome::default()
            },
            backends: Vec::new(),
            placing: None,
            what_if: Vec::new(),
            notes: vec![NOTE],
        }
    }
}
