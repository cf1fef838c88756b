//! One health check of one backend, held to a time limit for the whole of it (so that a streaming
//! answer ends), with the result noted in the backend's [`super::Cell`].

use super::cell::Health;
use super::member::Member;
use super::probe;
use super::tongue::Tongue;
use async_trait::async_trait;
use pingora::http::ResponseHeader;
use pingora_core::{Error, ErrorType, Result};
use pingora_load_balancing::Backend as PingoraBackend;
use pingora_load_balancing::health_check::HealthCheck;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::time::Duration;

/// How the backends of a service are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is asked.
    pub probe: Probe,
    /// From one round to the next, before jitter.
    pub interval: Duration,
    /// For the whole of one check.
    pub timeout: Duration,
    /// Successes in a row that make an unhealthy backend healthy.
    pub healthy_threshold: u32,
    /// Failures in a row that make a healthy backend unhealthy.
    pub unhealthy_threshold: u32,
    /// The response header that tells which start of the backend answers; in lower case.
    pub incarnation_header: String,
    /// How the backends are spoken to.
    pub tongue: Tongue,
}

/// What a check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A GET of this path must be answered with 200 to 399.
    Http {
        /// The path, with a leading slash.
        path: String,
    },
    /// A connection must be accepted.
    Tcp,
}

impl Check {
    /// The checks of `members`, by themselves: Pingora says when, [`probe`] does it.
    pub(super) fn probe(&self) -> Box<dyn HealthCheck + Send + Sync> {
        Box::new(Recorder { check: self.clone() })
    }

    async fn ask(&self, member: &Member) -> Result<()> {
        let stream = probe::connect(member, self.tongue).await?;
        match &self.probe {
            Probe::Http { path } => {
                let validate = |answer: &ResponseHeader| self.judge(member, answer);
                if self.tongue.http2 {
                    probe::get_by_http2(stream, path, validate).await
                } else {
                    probe::get(stream, path, validate).await
                }
            }
            Probe::Tcp => Ok(()),
        }
    }

    fn judge(&self, member: &Member, answer: &ResponseHeader) -> Result<()> {
        let told = answer.headers.get(&self.incarnation_header);
        if let Some(incarnation) = told.and_then(|value| value.to_str().ok()) {
            member.note_incarnation(&shortened(incarnation));
        }
        match answer.status.as_u16() {
            200..=399 => Ok(()),
            code => Error::e_explain(ErrorType::HTTPStatus(code), "health check"),
        }
    }
}

/// Longest incarnation that fits into a key with everything else.
const LONGEST: usize = 32;

/// A longer one (a UUID has 36 characters) is told by its hash.
fn shortened(incarnation: &str) -> Cow<'_, str> {
    if incarnation.len() <= LONGEST {
        return Cow::Borrowed(incarnation);
    }
    let digest: [u8; 32] = Sha256::digest(incarnation.as_bytes()).into();
    let start = digest.first_chunk().copied().unwrap_or_default();
    Cow::Owned(format!("{:032x}", u128::from_be_bytes(start)))
}

struct Recorder {
    check: Check,
}

#[async_trait]
impl HealthCheck for Recorder {
    async fn check(&self, target: &PingoraBackend) -> Result<()> {
        let Some(member) = Member::of(target) else { return Ok(()) };
        let result = match tokio::time::timeout(self.check.timeout, self.check.ask(member)).await {
            Ok(result) => result,
            Err(_) => Error::e_explain(ErrorType::ReadTimedout, "health check took too long"),
        };
        let passed = result.is_ok();
        let threshold =
            if passed { self.check.healthy_threshold } else { self.check.unhealthy_threshold };
        let changed = member.note_check(passed, threshold);
        match (changed, &result) {
            (Some(Health::Healthy), _) => {
                tracing::info!(backend = %member.backend.id, "backend is healthy");
            }
            (Some(Health::Unhealthy), Err(why)) => tracing::warn!(
                backend = %member.backend.id, %why, "backend is unhealthy"
            ),
            (Some(Health::Unhealthy | Health::Unchecked) | None, _) => {}
        }
        result
    }

    /// Only for Pingora's own count, which nobody reads.
    fn health_threshold(&self, _success: bool) -> usize {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_incarnation_is_told_by_its_hash_and_a_short_one_as_it_is() {
        assert_eq!(shortened("start-7"), "start-7");
        let [one, other] =
            ["0", "1"].map(|end| format!("3f2504e0-4f89-41d3-9a0c-0305e82c330{end}"));
        assert_eq!(shortened(&one).len(), LONGEST);
        assert_ne!(shortened(&one), shortened(&other));
    }
}
