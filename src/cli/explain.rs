//! `stickfast explain`: what would happen to one request under these files, and why. It asks the
//! functions that serve requests, so that it cannot say other than what they would do.
//!
//! ```text
//! files ─► offline: snapshot ─┬─► sources: what each way of a key yields ─┐
//! question ─► request ────────┴─► outcome: meaning, course, what if ──────┴─► report ─► text, JSON
//! ```

pub(super) mod offline;
mod outcome;
mod placing;
mod report;
mod sources;
#[cfg(test)]
mod tests;
mod text;

use crate::identity::client_address;
use crate::model::{UnixTime, clock};
use crate::routing::{host, path};
use crate::server::Files;
use crate::snapshot::Caller;
use anyhow::{Context, anyhow};
use clap::Args;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use offline::Offline;
use report::{Asked, Matched, Report};
use std::net::IpAddr;

/// A request to ask about.
#[derive(Args, Debug)]
pub(super) struct Question {
    /// Its path; a query may follow.
    #[arg(long, value_name = "PATH")]
    path: String,
    /// Its host; a `Host` among the headers comes first.
    #[arg(long, default_value = "localhost")]
    host: String,
    /// Its method.
    #[arg(long, default_value = "GET")]
    method: Method,
    /// A header field, such as 'Cookie: a=b'; may be given several times.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = field)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Where the connection comes from.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    ip: IpAddr,
}

fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected 'Name: value'")?;
    let name = name.trim().parse().map_err(|_| "not a name for a header field")?;
    let value = value.trim().parse().map_err(|_| "not a value of a header field")?;
    Ok((name, value))
}

/// Answers `question` on standard output.
///
/// # Errors
/// Faults in the files, or a question that no client could ask.
pub(super) fn run(files: &Files, question: &Question, json: bool) -> anyhow::Result<()> {
    let now = clock::unix_now();
    let report = explain(&Offline::load(files, now)?, question, now)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}

fn explain(offline: &Offline, question: &Question, now: UnixTime) -> anyhow::Result<Report> {
    let uri: Uri = question.path.parse().with_context(|| format!("path {}", question.path))?;
    let path = path::normalise(uri.path());
    if !question.path.starts_with('/') {
        return Err(anyhow!("path {}: expected a path such as /cart/1", question.path));
    }
    let mut headers: HeaderMap = HeaderMap::new();
    for (name, value) in &question.headers {
        headers.append(name, value.clone());
    }
    if !headers.contains_key(HOST) {
        headers.insert(HOST, question.host.parse().with_context(|| "host")?);
    }
    let host = headers.get(HOST).map(HeaderValue::to_str).transpose()?.unwrap_or_default();
    let host = host::normalise(host).into_owned();
    let snapshot = &offline.snapshot;
    let client = client_address(question.ip, &headers, &snapshot.trusted);
    let found = snapshot.route(&host, &path, &question.method, &headers);
    let mut report = Report::new(Asked {
        method: question.method.to_string(),
        host,
        path: path.into_owned(),
        client,
    });
    let Some(rule) = found.and_then(|at| snapshot.rule(at)) else { return Ok(report) };
    report.rule = Some(Matched {
        rule: rule.id.to_string(),
        service: rule.service.pool.service.to_string(),
        policy: placing::name(&rule.service.selection),
        sticky: rule.stickiness.is_some(),
    });
    let blind = offline.affinity(&rule.id).and_then(sources::blind_for);
    if let Some(stickiness) = &rule.stickiness {
        report.sources =
            sources::sources(snapshot, stickiness, &rule.service, &headers, blind, now);
    }
    let caller = Caller { client, peer: question.ip };
    outcome::tell(&mut report, snapshot, rule, &headers, caller, now);
    Ok(report)
}
