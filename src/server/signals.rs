//! Signals from the first moment on. Separate from those who carry them out (`stop`, `control`): these
//! begin to listen when the process serves, and by default a signal before that would kill it.

use std::io;
use std::thread::{self, JoinHandle};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// All signals that mean something to a process that serves, taken over.
///
/// Until it serves, SIGTERM and SIGINT end the process at once, with the exit code of any other stop:
/// nothing is open yet, and it may be waiting for a slow name server. The others change nothing
/// then, as the files are about to be read anyway.
pub struct Signals {
    watching: JoinHandle<Ending>,
    /// Ends the watch.
    loaded: oneshot::Sender<()>,
}

/// What ends the process, with what has come of it so far.
pub(super) struct Ending {
    pub(super) terminate: Signal,
    pub(super) interrupt: Signal,
}

impl Signals {
    /// Takes them over.
    ///
    /// # Errors
    /// The system refuses.
    pub fn take() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let ending = {
            let _inside = runtime.enter();
            for kind in
                [SignalKind::hangup(), SignalKind::user_defined1(), SignalKind::user_defined2()]
            {
                // taken over for good, whoever listens
                let _ = signal(kind)?;
            }
            let terminate = signal(SignalKind::terminate())?;
            Ending { terminate, interrupt: signal(SignalKind::interrupt())? }
        };
        let (loaded, until) = oneshot::channel();
        let watch = move || watch(&runtime, ending, until);
        let watching = thread::Builder::new().name("signals".to_owned()).spawn(watch)?;
        Ok(Self { watching, loaded })
    }

    /// From now on a signal waits for whoever asks, also one that comes before that.
    pub(super) fn ending(self) -> io::Result<Ending> {
        // an error means that the process is ending
        let _ = self.loaded.send(());
        self.watching.join().map_err(|_| io::Error::other("the watch over signals has failed"))
    }
}

fn watch(runtime: &Runtime, mut ending: Ending, until: oneshot::Receiver<()>) -> Ending {
    runtime.block_on(async {
        tokio::select! {
            _ = until => {}
            _ = ending.terminate.recv() => end(),
            _ = ending.interrupt.recv() => end(),
        }
    });
    ending
}

fn end() {
    eprintln!("stopped before it served");
    std::process::exit(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Signal as Number, getpid, kill_process};
    use std::time::Duration;

    #[test]
    fn a_signal_that_nobody_listens_to_yet_is_kept() {
        let Ending { mut terminate, mut interrupt } = Signals::take().unwrap().ending().unwrap();
        for number in [Number::TERM, Number::INT] {
            kill_process(getpid(), number).unwrap();
        }
        let later = Builder::new_current_thread().enable_all().build().unwrap();
        later.block_on(async {
            for heard in [terminate.recv(), interrupt.recv()] {
                tokio::time::timeout(Duration::from_secs(10), heard).await.expect("kept").unwrap();
            }
        });
    }
}
