//! A running `stickfast`, killed when the value is dropped.

use super::client::{Client, Request};
use super::message::Answer;
use super::program::{Output, command, command_of, stickfast};
use super::scrape::Scrape;
use super::wire::Wire;
use super::{until, within};
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::mem;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// A process of ours and what it has written.
pub(crate) struct Gateway {
    dir: TempDir,
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

#[derive(Clone, Default)]
struct Lines {
    read: Arc<Mutex<Vec<String>>>,
    deaf: Arc<AtomicBool>,
}

impl Gateway {
    /// Starts with one configuration file and waits until it serves.
    pub(crate) fn start(yaml: &impl ToString) -> Self {
        let mut gateway = Self::spawn(&[("stickfast.yaml", &yaml.to_string())]);
        gateway.wait_until_ready();
        gateway
    }

    /// Starts by way of a link in its directory, as `./stickfast`, so that a test can put another
    /// program in its place; with these variables of the environment. Its configuration must name
    /// `pid` in its directory as the pid file.
    pub(crate) fn start_replaceable(yaml: &impl ToString, environment: &[(&str, &str)]) -> Self {
        Self::start_by_shell(yaml, environment, Stdio::null())
    }

    /// The same with a listening socket as its descriptor 3, as systemd passes it.
    pub(crate) fn start_activated(
        yaml: &impl ToString,
        environment: &[(&str, &str)],
        socket: TcpListener,
    ) -> Self {
        Self::start_by_shell(yaml, environment, OwnedFd::from(socket).into())
    }

    /// A shell, since only it can name the process that it becomes: the variable that
    /// `STICKFAST_TEST_OWN` names gets its id.
    fn start_by_shell(yaml: &impl ToString, environment: &[(&str, &str)], stdin: Stdio) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("stickfast.yaml"), yaml.to_string()).unwrap();
        let program = dir.path().join("stickfast");
        symlink(env!("CARGO_BIN_EXE_stickfast"), &program).unwrap();
        let mut command = command_of(Path::new("/bin/sh"), dir.path());
        command.stdin(stdin).envs(environment.iter().copied()).arg("-c").arg(
            "[ -z \"$STICKFAST_TEST_OWN\" ] || export \"$STICKFAST_TEST_OWN=$$\"
             unset STICKFAST_TEST_OWN; exec 3<&0 </dev/null; exec \"$0\" \"$@\"",
        );
        command.arg(program);
        let mut gateway = Self::launch_as(command, dir, ["stickfast.yaml"]);
        gateway.wait_until_ready();
        gateway
    }

    /// Starts with several files, merged in this order, and does not wait.
    pub(crate) fn spawn(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Self::launch(dir, files.iter().map(|(name, _)| *name))
    }

    /// Starts with one configuration file, which it gets when `meanwhile` is through, and does not
    /// wait until it serves.
    pub(crate) fn spawn_and(yaml: &impl ToString, meanwhile: impl FnOnce(&mut Self)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("stickfast.yaml");
        let made = Command::new("mkfifo").arg(&file).status();
        assert!(made.expect("mkfifo is at hand").success(), "{}", file.display());
        let mut gateway = Self::launch(dir, ["stickfast.yaml"]);
        let mut pipe = until("it opens its configuration", || {
            // Fails for as long as nobody reads.
            OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&file).ok()
        });
        meanwhile(&mut gateway);
        // Whoever reads it again finds a usual file.
        fs::write(file.with_extension("next"), yaml.to_string()).unwrap();
        fs::rename(file.with_extension("next"), &file).unwrap();
        // An error means that it has ended, which the test will see.
        let _ = pipe.write_all(yaml.to_string().as_bytes());
        gateway
    }

    fn launch<'a>(dir: TempDir, names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::launch_as(command(dir.path()), dir, names)
    }

    fn launch_as<'a>(
        mut command: Command,
        dir: TempDir,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        command.arg("run");
        for name in names {
            command.arg("-c").arg(dir.path().join(name));
        }
        let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.expect("the binary starts");
        let stdout = Lines::of(child.stdout.take().expect("a pipe"));
        let stderr = Lines::of(child.stderr.take().expect("a pipe"));
        Self { dir, child, stdout, stderr }
    }

    /// Waits until both listeners are announced and `/readyz` says 200.
    pub(crate) fn wait_until_ready(&mut self) {
        until("the gateway is ready", || self.is_ready().then_some(()));
    }

    /// Whether both listeners are announced and `/readyz` says 200. Fails when it has ended.
    pub(crate) fn is_ready(&mut self) -> bool {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("ended with {status}");
        }
        let announced = self.find("listening").is_some() && self.find("admin").is_some();
        announced && self.admin("/readyz").is_ok_and(|a| a.status == 200)
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.find("listening").expect("a listener was announced")
    }

    /// Where the probes are.
    pub(crate) fn admin_address(&self) -> Option<SocketAddr> {
        self.find("admin")
    }

    /// Where every listener for clients was announced, in this order.
    pub(crate) fn announced(&self) -> Vec<SocketAddr> {
        let lines = self.stderr_lines();
        lines.iter().filter(|l| word(l) == Some("listening")).filter_map(|l| address(l)).collect()
    }

    /// A user agent without cookies.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address())
    }

    /// A connection with nothing sent yet.
    pub(crate) fn connect(&self) -> Wire {
        Wire::connect(self.address(), None).expect("the listener accepts")
    }

    /// A GET to the admin listener.
    pub(crate) fn admin(&self, path: &str) -> io::Result<Answer> {
        self.admin_with(&Request::get(path))
    }

    /// Any request to the admin listener.
    pub(crate) fn admin_with(&self, request: &Request) -> io::Result<Answer> {
        let address = self.admin_address().ok_or(io::ErrorKind::NotConnected)?;
        Client::new(address).try_send(request)
    }

    /// All metrics now.
    pub(crate) fn scrape(&self) -> Scrape {
        let answer = self.admin("/metrics").expect("the admin listener answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
        Scrape::read(&answer.text())
    }

    /// One metric now; 0 when it has no such sample yet.
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.scrape().get(name, labels).unwrap_or(0.0)
    }

    /// Waits until a metric has a value.
    pub(crate) fn wait_for_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let equal = |now: f64| (now - value).abs() < f64::EPSILON;
        until(&format!("{name}{labels:?} is {value}"), || {
            self.scrape().get(name, labels).filter(|now| equal(*now))
        });
    }

    /// Waits until the health of a backend of `app` is known to be this.
    pub(crate) fn wait_for_health(&self, backend: &str, up: bool) {
        let labels = [("service", "app"), ("backend", backend)];
        self.wait_for_metric("stickfast_backend_up", &labels, f64::from(u8::from(up)));
    }

    /// Rewrites the file, sends SIGHUP and waits until the new configuration is in force.
    pub(crate) fn reload(&self, yaml: &impl ToString) {
        self.reload_with_result(&yaml.to_string(), "ok");
    }

    /// Rewrites the file, sends SIGHUP and waits until it was refused.
    pub(crate) fn reload_refused(&self, yaml: &impl ToString) {
        self.reload_with_result(&yaml.to_string(), "refused");
    }

    fn reload_with_result(&self, yaml: &str, result: &str) {
        let counter = ("stickfast_config_reloads_total", [("result", result)]);
        let before = self.metric(counter.0, &counter.1);
        fs::write(self.dir().join("stickfast.yaml"), yaml).unwrap();
        self.signal("HUP");
        self.wait_for_metric(counter.0, &counter.1, before + 1.0);
    }

    /// Sends a signal by its name, as in `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        // The child is not reaped before the value is dropped, so the id is still its own.
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).stderr(Stdio::null()).status();
        assert!(sent.expect("kill is at hand").success(), "SIG{name} to {id}");
    }

    /// The process that serves, as its pid file says.
    pub(crate) fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.dir().join("pid")).ok()?.trim().parse().ok()
    }

    /// `stickfast ctl` with this gateway's admin listener.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Output {
        let admin = format!("http://{}", self.admin_address().expect("an admin listener"));
        let dir = tempfile::tempdir().unwrap();
        stickfast(dir.path(), &[&["ctl", "--admin", &admin], arguments].concat())
    }

    /// How it ended, if it did so in time.
    pub(crate) fn wait_for_exit(&mut self, time: Duration) -> Option<ExitStatus> {
        within(time, || self.child.try_wait().unwrap())
    }

    /// The directory with its files.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// From now on it may have so many files open.
    pub(crate) fn limit_files(&self, most: usize) {
        let (limit, id) = (format!("--nofile={most}"), self.child.id().to_string());
        let limited = Command::new("prlimit").args([&limit, "--pid", &id]).status();
        assert!(limited.expect("prlimit is at hand").success(), "{limit}");
    }

    /// How many files it has open.
    pub(crate) fn files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// How long it has worked so far.
    pub(crate) fn worked(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let behind_name = stat.rsplit(')').next().unwrap();
        let ticks = behind_name.split_whitespace().skip(11).take(2);
        // a tick is 10 ms on every Linux
        Duration::from_millis(ticks.map(|t| t.parse::<u64>().unwrap()).sum::<u64>() * 10)
    }

    /// Kilobytes of memory that it holds now.
    pub(crate) fn memory_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// From the next line on nobody reads its standard output, which fills up and blocks.
    pub(crate) fn block_stdout(&self) {
        self.stdout.deaf.store(true, Ordering::SeqCst);
    }

    /// From the next line on nobody reads its standard error, which fills up and blocks.
    pub(crate) fn block_stderr(&self) {
        self.stderr.deaf.store(true, Ordering::SeqCst);
    }

    /// What standard output holds so far.
    pub(crate) fn stdout_lines(&self) -> Vec<String> {
        self.stdout.read.lock().unwrap().clone()
    }

    /// What standard error holds so far.
    pub(crate) fn stderr_lines(&self) -> Vec<String> {
        self.stderr.read.lock().unwrap().clone()
    }

    /// Waits for a line on standard error that has all these words.
    pub(crate) fn wait_for_diagnostic(&self, words: &[&str]) -> String {
        until(&format!("a diagnostic with {words:?}"), || {
            let lines = self.stderr_lines();
            lines.into_iter().find(|line| words.iter().all(|word| line.contains(word)))
        })
    }

    /// The access lines so far, for a gateway that writes JSON.
    pub(crate) fn access_lines(&self) -> Vec<Value> {
        let lines = self.stdout_lines();
        lines
            .iter()
            .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}")))
            .collect()
    }

    /// Waits for the last access line of a path.
    pub(crate) fn access_of(&self, path: &str) -> Value {
        until(&format!("an access line of {path}"), || {
            self.access_lines().into_iter().rfind(|line| line["path"] == path)
        })
    }

    /// Waits for the verdict letters of the last request for a path.
    pub(crate) fn verdict_of(&self, path: &str) -> String {
        self.access_of(path)["affinity"].as_str().expect("letters").to_owned()
    }

    fn find(&self, what: &str) -> Option<SocketAddr> {
        self.stderr_lines().iter().filter(|l| word(l) == Some(what)).find_map(|l| address(l))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Errors mean that it ended already.
        if let Some(successor) = self.pid().filter(|pid| *pid != self.child.id()) {
            let kill = ["-s", "KILL", &successor.to_string()];
            let _ = Command::new("kill").args(kill).stderr(Stdio::null()).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- stderr of the gateway\n{}", self.stderr_lines().join("\n"));
            let lines = self.stdout_lines();
            let last = lines.len().saturating_sub(20);
            eprintln!("--- end of its stdout\n{}", lines[last..].join("\n"));
        }
    }
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let copy = lines.clone();
        thread::spawn(move || {
            let mut from = BufReader::new(stream).lines();
            while let Some(Ok(line)) = from.next() {
                if copy.deaf.load(Ordering::SeqCst) {
                    // Stays open, unread: whoever writes is blocked, not told that we left.
                    mem::forget(from);
                    return;
                }
                copy.read.lock().unwrap().push(line);
            }
        });
        lines
    }
}

/// Whether a diagnostic announces a listener, and which. Diagnostics are text or JSON.
fn word(line: &str) -> Option<&'static str> {
    let has = |word: &str| line.contains(word) && line.contains("address");
    ["admin", "listening"].into_iter().find(|word| has(word))
}

fn address(line: &str) -> Option<SocketAddr> {
    let from = line.rfind("address")? + "address".len();
    let rest = line[from..].trim_start_matches(['=', '"', ':', ' ']);
    let end = rest.find(['"', ' ', ',', '}']).unwrap_or(rest.len());
    let address: SocketAddr = rest[..end].parse().ok()?;
    // What listens everywhere is asked by the loopback address.
    Some(SocketAddr::new([127, 0, 0, 1].into(), address.port())).filter(|a| a.port() != 0)
}
