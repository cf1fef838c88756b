//! One line for each request, text or JSON, written by a thread of its own behind a bounded queue:
//! an output that blocks costs lines (which are counted), never requests.

use crate::model::Verdict;
use prometheus::IntCounter;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

/// Lines that may wait for the output.
const QUEUE: usize = 16_384;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people: fixed columns, then `name=value`.
    Text,
    /// For programs: one object a line.
    Json,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Appended to a file, which is opened again on request.
    File(PathBuf),
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
        let mut line = match format {
            Format::Text => {
                let mut line = format!(
                    "{time} {} {} {}{} {} {} {duration_ms}ms rule={} service={} backend={} affinity={affinity} retries={} id={}",
                    self.client,
                    Word(self.method),
                    Word(self.host),
                    Word(self.path),
                    self.status,
                    self.bytes,
                    Word(self.rule),
                    Word(self.service),
                    Word(self.backend),
                    self.retries,
                    Word(self.request_id),
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
                method: self.method,
                host: self.host,
                path: self.path,
                status: self.status,
                bytes: self.bytes,
                duration_ms,
                rule: self.rule,
                service: self.service,
                backend: self.backend,
                version: self.version,
                affinity,
                retries: self.retries,
                request_id: self.request_id,
                reason: self.reason,
            })
            .unwrap_or_default(),
        };
        line.push('\n');
        line
    }
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

enum Message {
    Line(String),
    Reopen,
    Flush(SyncSender<()>),
}

/// The queue to the output.
#[derive(Debug)]
pub struct AccessLog {
    queue: Option<SyncSender<Message>>,
    format: Format,
    dropped: IntCounter,
}

impl AccessLog {
    /// A log that writes nothing.
    pub fn off(dropped: IntCounter) -> Self {
        Self { queue: None, format: Format::Text, dropped }
    }

    /// Opens `output` and starts the thread that writes there. Lines that find no room are counted
    /// in `dropped`.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread not be started.
    pub fn start(output: &Output, format: Format, dropped: IntCounter) -> io::Result<Self> {
        let writer = Writer::open(output)?;
        let (queue, lines) = sync_channel(QUEUE);
        std::thread::Builder::new().name("access-log".into()).spawn(move || writer.run(&lines))?;
        Ok(Self { queue: Some(queue), format, dropped })
    }

    /// Whether lines are wanted at all.
    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Queues a line.
    pub fn write(&self, line: &AccessLine<'_>) {
        if let Some(queue) = &self.queue
            && queue.try_send(Message::Line(line.render(self.format))).is_err()
        {
            self.dropped.inc();
        }
    }

    /// Opens the file anew, after it was moved away.
    pub fn reopen(&self) {
        if let Some(queue) = &self.queue {
            let _ = queue.try_send(Message::Reopen);
        }
    }

    /// Waits until all that was queued is written, at most `limit`.
    pub fn flush(&self, limit: Duration) {
        if let Some(queue) = &self.queue {
            let (done, wait) = sync_channel(1);
            if queue.try_send(Message::Flush(done)).is_ok() {
                let _ = wait.recv_timeout(limit);
            }
        }
    }
}

/// The end of the queue.
struct Writer {
    path: Option<PathBuf>,
    out: BufWriter<Box<dyn Write + Send>>,
}

impl Writer {
    fn open(output: &Output) -> io::Result<Self> {
        let (path, out): (_, Box<dyn Write + Send>) = match output {
            Output::Stdout => (None, Box::new(io::stdout())),
            Output::Stderr => (None, Box::new(io::stderr())),
            Output::File(path) => (Some(path.clone()), Box::new(append_to(path)?)),
        };
        Ok(Self { path, out: BufWriter::new(out) })
    }

    fn run(mut self, lines: &Receiver<Message>) {
        loop {
            let message = match lines.try_recv() {
                Ok(message) => message,
                Err(TryRecvError::Empty) => {
                    // a reader that went away must not end the process
                    let _ = self.out.flush();
                    match lines.recv() {
                        Ok(message) => message,
                        Err(_) => return,
                    }
                }
                Err(TryRecvError::Disconnected) => {
                    let _ = self.out.flush();
                    return;
                }
            };
            match message {
                Message::Line(line) => {
                    let _ = self.out.write_all(line.as_bytes());
                }
                Message::Reopen => self.reopen(),
                Message::Flush(done) => {
                    let _ = self.out.flush();
                    let _ = done.send(());
                }
            }
        }
    }

    fn reopen(&mut self) {
        let _ = self.out.flush();
        let Some(path) = &self.path else { return };
        match append_to(path) {
            Ok(file) => self.out = BufWriter::new(Box::new(file)),
            Err(why) => tracing::error!(path = %path.display(), %why, "cannot reopen the log"),
        }
    }
}

fn append_to(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests;
