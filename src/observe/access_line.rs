//! One line of the access log: what is said of a request, as text or as JSON.

use crate::model::Verdict;
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people: fixed columns, then `name=value`.
    Text,
    /// For programs: one object a line.
    Json,
}

/// What is written of a request. Neither query nor cookies, which may hold secrets.
#[derive(Clone, Debug)]
pub struct AccessLine<'a> {
    /// When it came, since 1970.
    pub time: Duration,
    /// Who sent it, behind trusted proxies.
    pub client: IpAddr,
    /// As sent.
    pub method: &'a str,
    /// As sent, without port; empty when none was.
    pub host: &'a str,
    /// Normalised.
    pub path: &'a str,
    /// What was answered; 0 when the client left before.
    pub status: u16,
    /// Body bytes sent to the client.
    pub bytes: u64,
    /// From the header to the last byte.
    pub duration: Duration,
    /// Empty when no rule matched.
    pub rule: &'a str,
    /// Empty when no rule matched.
    pub service: &'a str,
    /// Who answered, or was asked last; empty when nobody was.
    pub backend: &'a str,
    /// The release that runs there; empty where none is configured.
    pub version: &'a str,
    /// What became of the affinity key.
    pub verdict: Verdict,
    /// Tries after the first.
    pub retries: u32,
    /// As sent to the backend.
    pub request_id: &'a str,
    /// Why the gateway itself answered, or how the exchange broke; empty when all was well.
    pub reason: &'a str,
}

/// The names in JSON.
#[derive(Serialize)]
struct JsonLine<'a> {
    time: String,
    client: IpAddr,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    status: u16,
    bytes: u64,
    duration_ms: f64,
    rule: &'a str,
    service: &'a str,
    backend: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    affinity: String,
    retries: u32,
    request_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
}

impl AccessLine<'_> {
    /// The line with its end.
    pub fn render(&self, format: Format) -> String {
        let affinity: String = self.verdict.letters().iter().collect();
        let time = humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + self.time).to_string();
        let duration_ms = (self.duration.as_secs_f64() * 1e6).round() / 1e3;
        let (host, path) = (clip(self.host), clip(self.path));
        let (method, request_id) = (clip(self.method), clip(self.request_id));
        let mut line = match format {
            Format::Text => {
                let mut line = format!(
                    "{time} {} {} {} {} {} {duration_ms}ms rule={} service={} backend={} affinity={affinity} retries={} id={}",
                    self.client,
                    Word(method),
                    Word(&[host, path].concat()),
                    self.status,
                    self.bytes,
                    Word(self.rule),
                    Word(self.service),
                    Word(self.backend),
                    self.retries,
                    Word(request_id),
                );
                for (name, value) in [("version", self.version), ("reason", self.reason)] {
                    if !value.is_empty() {
                        line.extend([" ", name, "=", &Word(value).to_string()]);
                    }
                }
                line
            }
            Format::Json => serde_json::to_string(&JsonLine {
                time,
                client: self.client,
                method,
                host,
                path,
                status: self.status,
                bytes: self.bytes,
                duration_ms,
                rule: self.rule,
                service: self.service,
                backend: self.backend,
                version: self.version,
                affinity,
                retries: self.retries,
                request_id,
                reason: self.reason,
            })
            .unwrap_or_default(),
        };
        line.push('\n');
        line
    }
}

/// A client may send 64 KB of path; the log keeps the start of it.
const LONGEST: usize = 1024;

fn clip(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LONGEST)).unwrap_or(text)
}

/// Text that a client chose, kept from breaking the line apart: `-` when empty, and everything but
/// visible ASCII as `\xNN`.
struct Word<'a>(&'a str);

impl std::fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("-");
        }
        for byte in self.0.bytes() {
            match byte {
                b'!'..=b'~' if byte != b'\\' => std::fmt::Write::write_char(f, char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}
