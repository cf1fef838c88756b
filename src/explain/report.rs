//! The answer as a value: what `--json` prints, and what `text` lays out for a terminal. No secret
//! and no key is in it.

use crate::affinity::stamp::Home;
use crate::model::UnixTime;
use serde::Serialize;
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

/// What cannot be known from files.
const NOTE: &str = "health checks have not run; backends are taken as healthy and idle";

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub(super) request: Asked,
    /// `None`: no rule takes the request.
    pub(super) rule: Option<Matched>,
    /// Every source of a key, in the order in which they are tried.
    pub(super) sources: Vec<Source>,
    pub(super) outcome: Outcome,
    /// Which versions may serve the request; `None` where versions do not matter.
    pub(super) versions: Option<Versions>,
    pub(super) backends: Vec<Row>,
    /// What a backend may have to do at once; `None`: any.
    pub(super) limits: Option<Limits>,
    /// Where a client goes that is not bound, in words.
    pub(super) placing: Option<String>,
    /// The same, where the files tell which backend it is.
    pub(super) pick: Option<String>,
    /// What would happen if the bound backend were in another state.
    pub(super) what_if: Vec<WhatIf>,
    pub(super) notes: Vec<String>,
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
#[serde(rename_all = "camelCase")]
pub(super) struct Matched {
    pub(super) rule: String,
    pub(super) service: String,
    /// Whether the request names the service itself, so that its own affinity counts.
    pub(super) by_name: bool,
    pub(super) policy: &'static str,
    pub(super) sticky: bool,
    /// Whether it is a WebSocket handshake, with the affinity of those.
    pub(super) websocket: bool,
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
    /// A value of the application's without a key.
    NoKey,
    /// A session that a running gateway may have learnt.
    OnlyRunning,
    /// A session that the running gateway has not learnt.
    NotLearnt,
    /// Something else.
    Unreadable(String),
    /// A key that only the gateway that generated its secret can read.
    NotHere,
}

impl Yield {
    /// When the key was written, where it says so.
    pub(super) fn last_seen(&self) -> Option<UnixTime> {
        if let Self::Key(opened) = self { Some(opened.last_seen.time) } else { None }
    }
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
    /// Where the client belongs, if it had to leave there.
    pub(super) home: Option<HomeTold>,
}

/// The backend that a client had to leave.
#[derive(Debug, Serialize)]
pub(super) struct HomeTold {
    pub(super) backend: String,
    /// Its start that holds the client's state; empty where it was not known.
    pub(super) incarnation: String,
}

impl HomeTold {
    pub(super) fn read(text: &str) -> Option<Self> {
        let home = Home::read(text)?;
        let (backend, incarnation) = (home.id.to_string(), home.incarnation.to_string());
        Some(Self { backend, incarnation })
    }
}

/// A time, and how long ago it was.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Moment {
    pub(super) at: String,
    pub(super) age_seconds: u32,
    #[serde(skip)]
    pub(super) time: UnixTime,
}

impl Moment {
    pub(super) fn new(at: UnixTime, now: UnixTime) -> Self {
        let time = UNIX_EPOCH + Duration::from_secs(at.0.into());
        Self {
            at: humantime::format_rfc3339_seconds(time).to_string(),
            age_seconds: now.seconds_since(at),
            time: at,
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

/// The versions that a request may go to.
#[derive(Debug, Serialize)]
pub(super) struct Versions {
    /// Each that may serve it, and how often it does; of 1.
    pub(super) allowed: Vec<Version>,
    /// What decides.
    pub(super) by: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Version {
    pub(super) version: String,
    pub(super) chance: f64,
}

/// What a backend may have to do at once.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Limits {
    pub(super) requests_per_backend: Option<u32>,
    /// Requests that wait, at most; `None`: any.
    pub(super) waiting: Option<u32>,
    /// How long they wait.
    pub(super) queue_timeout_ms: u64,
    /// How many times its share of the requests a backend may carry.
    pub(super) load_factor: Option<f64>,
}

/// One backend and its row of the state matrix.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) address: String,
    pub(super) weight: u32,
    pub(super) version: String,
    pub(super) state: &'static str,
    /// Whether this client may go there if it is not bound.
    pub(super) candidate: bool,
    /// How often it does, of 1, where backends take turns.
    pub(super) chance: Option<f64>,
    /// Whether the hash of the client decides instead.
    pub(super) by_hash: bool,
    /// Whether it serves its bound clients, or the policy that says so.
    pub(super) bound_clients: &'static str,
    /// Whether the key of the request holds for it.
    pub(super) bound: bool,
}

/// What would happen.
#[derive(Debug, Serialize)]
pub(super) struct WhatIf {
    /// The bound backend is like that.
    pub(super) state: &'static str,
    /// The policies for that.
    pub(super) policies: Vec<&'static str>,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

impl Report {
    /// A report for a request that no rule takes, where it is a process that was asked or files.
    pub(super) fn new(request: Asked, of_process: bool) -> Self {
        Self {
            request,
            rule: None,
            sources: Vec::new(),
            outcome: Outcome {
                meaning: "no rule takes the request".into(),
                course: "is answered with 404 (no-route)".into(),
                ..Outcome::default()
            },
            versions: None,
            backends: Vec::new(),
            limits: None,
            placing: None,
            pick: None,
            what_if: Vec::new(),
            notes: if of_process { Vec::new() } else { vec![NOTE.into()] },
        }
    }

    /// Whether a source yields what `is` says.
    pub(super) fn yields(&self, is: impl Fn(&Yield) -> bool) -> bool {
        self.sources.iter().any(|source| is(&source.yielded))
    }
}
