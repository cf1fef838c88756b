//! One line for each request, text or JSON, written by a thread of its own behind a bounded queue:
//! an output that blocks costs lines (which are counted), never requests.

use super::access_line::{AccessLine, Format};
use prometheus::IntCounter;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

/// Lines that may wait for the output. A line has at most about 5 KB, so this bounds memory.
const QUEUE: usize = 8192;

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
