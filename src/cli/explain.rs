//! `stickfast explain`: what would happen to one request under these files, and why. It asks the
//! functions that serve requests, so that it cannot say other than what they would do.
//!
//! ```text
//! files ─► offline: snapshot ─┬─► sources: what each way of a key yields ───────────┐
//! question ─► request ────────┴─► tell: outcome, placing, what_if ──► report ───────┴─► text, JSON
//! ```

pub(super) mod offline;
mod outcome;
mod placing;
mod report;
mod request;
mod sources;
mod tell;
#[cfg(test)]
mod tests;
mod text;
mod what_if;
mod words;

use crate::model::{UnixTime, clock};
use crate::server::Files;
use clap::Args;
use http::{HeaderName, HeaderValue, Method};
use offline::Offline;
use report::{Asked, Report};
use request::{Nowhere, Request};
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
    let report = explain(&Offline::load_here(files, now)?, question, now)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}

fn explain(offline: &Offline, question: &Question, now: UnixTime) -> anyhow::Result<Report> {
    let snapshot = &offline.snapshot;
    let request = Request::of(question, snapshot)?;
    let mut report = Report::new(Asked {
        method: request.method.to_string(),
        host: request.host.clone(),
        path: request.path.clone(),
        client: request.caller.client,
    });
    let found = match request.find(snapshot) {
        Ok(found) => found,
        Err(Nowhere::NoRule) => return Ok(report),
        Err(Nowhere::Unknown) => {
            report.outcome.meaning = "the request names no known service or version".into();
            report.outcome.course = "is answered with 404 (no-subset)".into();
            return Ok(report);
        }
    };
    tell::tell(&mut report, offline, &request, &found, now)?;
    Ok(report)
}
