//! `stickfast ctl`: one call of a running instance's API for each verb, and its answer in words.

mod text;

use super::explain::Asked;
use crate::explain::Question;
use clap::{Args, Subcommand};
use serde_json::Value;
use std::io;
use std::process::ExitCode;
use std::time::Duration;
use ureq::Agent;
use ureq::http::Response;

/// The instance refuses, or could not do it.
const REFUSED: u8 = 1;
/// Nobody answers.
const UNREACHABLE: u8 = 3;

/// Longer than a successor may take to start, as configured by anyone.
const PATIENCE: Duration = Duration::from_hours(1);

#[derive(Args, Debug)]
pub(super) struct Ctl {
    /// The admin listener [default: $`STICKFAST_ADMIN`, else <http://127.0.0.1:9901>].
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// Its token [default: $`STICKFAST_ADMIN_TOKEN`].
    #[arg(long)]
    token: Option<String>,
    /// The answer as it came, in JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
enum Verb {
    /// What the instance is doing.
    Status,
    /// Read the files again: says what changed, or what is wrong with them.
    Reload,
    /// Hand over to a new process of the binary on disk, and wait until it serves.
    Upgrade,
    /// The configuration in force, secrets masked.
    Config,
    /// Every backend and its state.
    Backends,
    /// Say what would happen to a request now, and why. Nothing of it is sent to a backend.
    Explain(Asked),
}

impl Verb {
    fn path(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Reload => "reload",
            Self::Upgrade => "upgrade",
            Self::Config => "config",
            Self::Backends => "backends",
            Self::Explain(_) => "explain",
        }
    }

    /// What is posted; `None`: nothing, the API is only asked.
    fn body(&self) -> Option<String> {
        match self {
            Self::Reload | Self::Upgrade => Some(String::new()),
            Self::Explain(asked) => serde_json::to_string(&Question::from(asked.clone())).ok(),
            Self::Status | Self::Config | Self::Backends => None,
        }
    }
}

/// Asks, and prints the answer. The exit code: 0 done, 1 refused, 3 nobody answers.
pub(super) fn run(ctl: Ctl, environment: impl Fn(&str) -> Option<String>) -> ExitCode {
    let Ctl { admin, token, json, verb } = ctl;
    let base = admin.or_else(|| environment("STICKFAST_ADMIN"));
    let base = base.unwrap_or_else(|| "http://127.0.0.1:9901".to_owned());
    let base = if base.contains("://") { base } else { format!("http://{base}") };
    let token = token.or_else(|| environment("STICKFAST_ADMIN_TOKEN")).unwrap_or_default();
    let url = format!("{}/api/v1/{}", base.trim_end_matches('/'), verb.path());
    let accept = match verb {
        // words are the gateway's own
        Verb::Explain(_) if !json => "text/plain",
        Verb::Status
        | Verb::Reload
        | Verb::Upgrade
        | Verb::Config
        | Verb::Backends
        | Verb::Explain(_) => "application/json",
    };
    match ask(&url, &token, accept, verb.body()) {
        Ok((status, answer)) => {
            let refused = status >= 400;
            let words = match (json, serde_json::from_str::<Value>(&answer)) {
                (true, _) | (_, Err(_)) => answer.trim_end().to_owned(),
                (false, Ok(problem)) if refused => text::problem(&problem),
                (false, Ok(answer)) => match verb {
                    Verb::Status => text::status(&answer),
                    Verb::Reload => text::reload(&answer),
                    Verb::Upgrade => text::upgrade(&answer),
                    Verb::Config => text::config(&answer),
                    Verb::Backends => text::backends(&answer),
                    Verb::Explain(_) => answer.to_string(),
                },
            };
            if refused && !json {
                eprintln!("{words}");
            } else {
                println!("{words}");
            }
            if refused { REFUSED.into() } else { ExitCode::SUCCESS }
        }
        Err(why) => {
            eprintln!("{url}: {}", reason(&why));
            UNREACHABLE.into()
        }
    }
}

fn ask(
    url: &str,
    token: &str,
    accept: &str,
    body: Option<String>,
) -> Result<(u16, String), ureq::Error> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(5)))
        .timeout_global(Some(PATIENCE))
        // the operator's own machine: never by way of a proxy
        .proxy(None)
        .build();
    let agent = Agent::new_with_config(config);
    let bearer = format!("Bearer {token}");
    let answer = |mut response: Response<ureq::Body>| {
        Ok((response.status().as_u16(), response.body_mut().read_to_string()?))
    };
    if let Some(body) = body {
        let request = agent.post(url).header("Accept", accept);
        let mut request = request.header("X-Stickfast", "ctl");
        if !token.is_empty() {
            request = request.header("Authorization", &bearer);
        }
        let sent = if body.is_empty() {
            request.send_empty()
        } else {
            request.content_type("application/json").send(body)
        };
        answer(sent?)
    } else {
        let mut request = agent.get(url).header("Accept", accept);
        if !token.is_empty() {
            request = request.header("Authorization", &bearer);
        }
        answer(request.call()?)
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the list of errors is open")]
fn reason(why: &ureq::Error) -> String {
    match why {
        ureq::Error::Io(why) if why.kind() == io::ErrorKind::ConnectionRefused => {
            "nobody listens there; is stickfast running, and is this its `admin.address`?"
                .to_owned()
        }
        other => other.to_string(),
    }
}
