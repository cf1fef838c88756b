//! `stickfast explain`: [`crate::explain`] asked from a command line, about files.

use crate::explain::{self, Question, World};
use crate::model::{UnixTime, clock};
use crate::server::{Files, kept_key};
use clap::Args;
use http::{HeaderName, HeaderValue, Method};
use std::net::IpAddr;

/// A request to ask about.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
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
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = Question::field)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Where the connection comes from.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    ip: IpAddr,
}

impl From<Asked> for Question {
    fn from(asked: Asked) -> Self {
        let Asked { path, host, method, headers, ip } = asked;
        Self { path, host, method, headers, ip }
    }
}

/// Answers on standard output.
///
/// # Errors
/// Faults in the files, or a question that no client could ask.
pub(super) fn run(files: &Files, asked: Asked, json: bool) -> anyhow::Result<()> {
    let now = clock::unix_now();
    let config = files.read()?;
    // what a gateway on this machine has generated, if this user may read it
    let generated = kept_key(&config.server.state_dir);
    let world = World::of_files(config, generated, now)?;
    let report = explain::explain(&world, &asked.into(), now)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}

/// Reads and compiles `files`; what a gateway generates is not known.
///
/// # Errors
/// All faults.
pub(super) fn load(files: &Files, now: UnixTime) -> anyhow::Result<World> {
    Ok(World::of_files(files.read()?, None, now)?)
}
