//! Wiring: from files to a process that serves, and its life until it ends.
//!
//! ```text
//!  load ─► bind ─► Pingora's server:  gate (listeners)   waits for the first health round
//!                                     health             checks, for the snapshot in force
//!                                     admin              metrics and probes
//!                                     sweep              forgets silent sessions of applications
//!                                     certificates       taken up when their files change
//!                                     control            SIGHUP, SIGUSR1
//!                                     stop               SIGTERM, SIGINT
//! ```

mod bind;
mod certificates;
mod control;
mod gate;
mod generated_key;
mod health;
mod load;
mod stop;
mod sweep;

pub(crate) use generated_key::kept_key;
pub use load::{Environment, Files, LoadError, check};

use crate::admin::{Admin, Guard};
use crate::config::{self, Config, LogFormat, LogLevel, LogOutput, Threads};
use crate::observe::{AccessLog, Format, Level, Metrics, Output, start_diagnostics};
use crate::pool::Cells;
use crate::proxy::Gateway;
use crate::snapshot::Live;
use crate::tls::Tickets;
use certificates::CertificateFiles;
use control::Control;
use gate::Gate;
use generated_key::GeneratedKey;
use health::HealthService;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::services::background::background_service;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use stop::Stop;
use sweep::Sweep;
use tokio::sync::watch;

/// Connections to backends that are kept when nobody uses them, for each thread.
const POOL: usize = 512;

/// Called once with the addresses of the open listeners.
pub type OnOpen = Box<dyn FnOnce(&[SocketAddr]) + Send + Sync>;

/// Why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration does not load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A listener cannot be bound.
    #[error(transparent)]
    Bind(#[from] bind::BindError),
    /// The access log cannot be opened.
    #[error("cannot open the access log: {0}")]
    AccessLog(std::io::Error),
    /// Two metrics have one name.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

/// Serves `files` until a signal ends the process.
///
/// # Errors
/// Whatever keeps it from starting. Once it serves, it ends well.
pub fn run(files: Files, on_open: OnOpen) -> Result<(), StartError> {
    control::take_signals();
    let config = files.read()?;
    let server = &config.server;
    let diagnostics = start_diagnostics(level(server.log.level), format(server.log.format));

    let metrics = Metrics::new()?;
    let cells = Cells::default();
    let key = GeneratedKey::new(server.state_dir.clone());
    let tickets = Tickets::default();
    let first = load::snapshot(&config, &cells, &tickets, &metrics, &|| key.get())?;
    load::warn(&first);
    let access_log = access_log(&server.log, &metrics).map_err(StartError::AccessLog)?;
    let sockets = bind::listeners(&server.listeners)?;
    let admin = bind::admin(&config.admin.address)?;
    let live = Arc::new(Live::new(first, cells, tickets, metrics, access_log));
    let (closing, closed) = watch::channel(false);
    let (settled, first_round) = watch::channel(false);
    let (attentive, listening_to_signals) = watch::channel(false);

    let mut pingora = Server::new_with_opt_and_conf(None, pingora_conf(server));
    pingora.bootstrap();
    let gateway = Gateway::new(Arc::clone(&live));
    let proxy = Arc::new(pingora_proxy::http_proxy(&pingora.configuration, gateway));
    pingora.add_service(Gate::new(
        proxy,
        sockets,
        Arc::clone(&live),
        vec![first_round, listening_to_signals],
        closed,
        on_open,
    ));
    let loopback = config.admin.address.value.ip().to_canonical().is_loopback();
    let guard = Guard {
        token: config.admin.token.clone(),
        public_metrics: config.admin.public_metrics || loopback,
    };
    pingora
        .add_service(background_service("health", HealthService::new(Arc::clone(&live), settled)));
    let certificates = CertificateFiles::new(Arc::clone(&live));
    pingora.add_service(background_service("certificates", certificates));
    pingora.add_service(background_service("admin", Admin::new(Arc::clone(&live), guard, admin)));
    pingora.add_service(background_service("sweep", Sweep::new(Arc::clone(&live))));
    let drain_timeout = server.drain_timeout;
    let control = Control::new(files, config, key, Arc::clone(&live), attentive);
    pingora.add_service(background_service("control", control));
    let stop = Stop::new(Arc::clone(&live), closing, drain_timeout);
    pingora.run(RunArgs { shutdown_signal: Box::new(stop) });
    live.access_log.flush(Duration::from_secs(1));
    if diagnostics.dropped() > 0 {
        tracing::warn!(lines = diagnostics.dropped(), "standard error was blocked: lines are lost");
    }
    Ok(())
}

/// A fresh secret for the configuration.
pub fn keygen() -> String {
    String::from_utf8_lossy(generated_key::fresh().expose()).into_owned()
}

fn pingora_conf(server: &config::Server) -> ServerConf {
    let threads = match server.threads {
        Threads::Auto => std::thread::available_parallelism().map_or(1, usize::from),
        Threads::Exactly(threads) => threads,
    };
    ServerConf {
        threads,
        upstream_keepalive_pool_size: POOL,
        // services bring their own authorities; reading the machine's would panic on a bad one
        ca_file: Some("/dev/null".to_owned()),
        // tries end when nobody is left to try, or time is up
        max_retries: usize::MAX,
        // `stop` has waited for open requests before Pingora hears of the signal
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    }
}

fn access_log(log: &config::Log, metrics: &Metrics) -> std::io::Result<AccessLog> {
    let dropped = metrics.dropped_lines.clone();
    if !log.access {
        return Ok(AccessLog::off(dropped));
    }
    let output = match &log.output {
        LogOutput::Stdout => Output::Stdout,
        LogOutput::Stderr => Output::Stderr,
        LogOutput::File(path) => Output::File(path.clone()),
    };
    AccessLog::start(&output, format(log.format), dropped)
}

fn format(format: LogFormat) -> Format {
    match format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    }
}

fn level(level: LogLevel) -> Level {
    match level {
        LogLevel::Error => Level::Error,
        LogLevel::Warn => Level::Warn,
        LogLevel::Info => Level::Info,
        LogLevel::Debug => Level::Debug,
        LogLevel::Trace => Level::Trace,
    }
}

/// What of a changed configuration takes effect only at the next start.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let addresses = |config: &Config| {
        config.server.listeners.iter().map(|listener| listener.address.value).collect::<Vec<_>>()
    };
    let admin = |config: &Config| {
        let admin = &config.admin;
        (admin.address.value, admin.token.clone(), admin.public_metrics)
    };
    let (was, is) = (&old.server, &new.server);
    [
        ("server.listeners", addresses(old) != addresses(new)),
        ("server.threads", was.threads != is.threads),
        ("server.log", was.log != is.log),
        ("server.stateDir", was.state_dir != is.state_dir),
        ("server.upgrade.drainTimeout", was.drain_timeout != is.drain_timeout),
        ("admin", admin(old) != admin(new)),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}
