//! Wiring: from files to a process that serves, and its life until it ends.
//!
//! ```text
//!  signals ─► (inherit) ─► load ─► bind ─► Pingora's server:  gate (listeners)  waits for the first health round
//!                                                  health            checks, for the snapshot in force
//!                                                  admin             metrics, probes, the API
//!                                                  sweep             forgets silent sessions of applications
//!                                                  certificates      taken up when their files change
//!                                                  renewals          of those that the gateway gets itself
//!                                                  control           SIGHUP, SIGUSR1, SIGUSR2, orders
//!                                                  stop              SIGTERM, SIGINT, a successor
//! ```

mod accept;
mod bind;
mod certificates;
mod changes;
mod control;
mod descriptors;
mod doors;
mod gate;
mod generated_key;
mod handover;
mod health;
mod inherited;
mod load;
mod notify;
mod pid_file;
mod reload;
mod renewals;
mod signals;
mod stop;
mod sweep;
mod takeover;

pub(crate) use generated_key::kept_key;
pub use handover::Program;
pub use load::{Environment, Files, LoadError, check};
pub use signals::Signals;

use crate::admin::{Admin, Desk, Guard, Hours, Order};
use crate::affinity::Learned;
use crate::config::{self, Config, LogFormat, LogLevel, LogOutput, Threads};
use crate::model::Address;
use crate::observe::{AccessLog, Format, Level, Metrics, Output, start_diagnostics};
use crate::pool::Cells;
use crate::proxy::Gateway;
use crate::snapshot::Live;
use crate::tls::{TicketKeys, Tickets};
use accept::Leaving;
use ahash::AHashMap;
use arc_swap::ArcSwap;
use certificates::CertificateFiles;
use control::Control;
use doors::Doors;
use gate::Gate;
use generated_key::GeneratedKey;
use handover::{Inheritance, Lineage, LinkError, Predecessor};
use health::HealthService;
use inherited::Inherited;
use notify::Notify;
use parking_lot::Mutex;
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::services::background::background_service;
use reload::Reload;
use renewals::Renewals;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use stop::Stop;
use sweep::Sweep;
use takeover::{KeptPidFile, Takeover};
use tokio::sync::{mpsc, watch};

/// Connections to backends that are kept when nobody uses them, for each thread.
const POOL: usize = 512;

/// Called once with the addresses of the open listeners.
pub type OnOpen = Box<dyn FnOnce(&[Address]) + Send + Sync>;

/// What a process starts from.
pub struct Start {
    /// Taken over before anything else.
    pub signals: Signals,
    /// The configuration.
    pub files: Files,
    /// Is told when clients are let in.
    pub on_open: OnOpen,
    /// What a successor is started with; `None`: there can be none.
    pub program: Option<Program>,
    /// Where the process waits that this one takes over from.
    pub predecessor: Option<PathBuf>,
}

/// Why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration does not load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A listener cannot be bound.
    #[error(transparent)]
    Bind(#[from] bind::BindError),
    /// A listener cannot be copied.
    #[error("cannot copy a listening socket: {0}")]
    Copy(std::io::Error),
    /// The signals cannot be listened to.
    #[error("cannot take over signals: {0}")]
    Signals(std::io::Error),
    /// There can be no threads, or Pingora has failed.
    #[error("cannot serve: {0}")]
    Serve(std::io::Error),
    /// There can be no pipe.
    #[error("cannot make a pipe: {0}")]
    Lineage(std::io::Error),
    /// The access log cannot be opened.
    #[error("cannot open the access log: {0}")]
    AccessLog(std::io::Error),
    /// Two metrics have one name.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// The process before this one does not make way.
    #[error("cannot take over from the process at {path}: {why}")]
    Takeover {
        /// Where it should wait.
        path: PathBuf,
        /// What happened instead.
        why: String,
    },
}

/// Serves until a signal ends the process, or a successor has taken over.
///
/// # Errors
/// Whatever keeps it from starting. Once it serves, it ends well.
pub fn run(start: Start) -> Result<(), StartError> {
    let Start { signals, files, on_open, program, predecessor } = start;
    let Some(path) = predecessor else {
        let sockets = Inherited::from_systemd((files.environment)("LISTEN_FDNAMES").as_deref());
        let lineage = Lineage::new().map_err(StartError::Lineage)?;
        return serve(signals, files, on_open, program, sockets, Arc::new(lineage), None);
    };
    let met = Predecessor::meet(&path);
    let (predecessor, inheritance) =
        met.map_err(|why: LinkError| StartError::Takeover { path, why: why.to_string() })?;
    let predecessor = Arc::new(predecessor);
    let Inheritance { key, hash_key, marks, tickets, sockets, lineage } = inheritance;
    let from = From { predecessor: Arc::clone(&predecessor), key, hash_key, marks, tickets };
    let sockets = Inherited::handed_over(sockets);
    let served = serve(signals, files, on_open, program, sockets, Arc::new(lineage), Some(from));
    if let Err(why) = &served {
        predecessor.fail(why.to_string());
    }
    served
}

/// The process before this one, and what clients are bound by there.
struct From {
    predecessor: Arc<Predecessor>,
    key: Option<crate::model::Secret>,
    hash_key: [u8; 16],
    marks: Vec<crate::pool::Mark>,
    tickets: Option<TicketKeys>,
}

fn serve(
    signals: Signals,
    files: Files,
    on_open: OnOpen,
    program: Option<Program>,
    mut sockets: Inherited,
    lineage: Arc<Lineage>,
    from: Option<From>,
) -> Result<(), StartError> {
    let config = files.read()?;
    let server = &config.server;
    let diagnostics = start_diagnostics(level(server.log.level), format(server.log.format));

    descriptors::raise();
    let key = Arc::new(GeneratedKey::new(server.state_dir.clone()));
    let (live, predecessor) = live(&config, &key, from)?;
    // before there is anything that an end would have to remove
    let ending = signals.ending().map_err(StartError::Signals)?;
    let bound = bind::listeners(&server.listeners, &mut sockets)?;
    let admin = bind::admin(&config.admin.address, &mut sockets)?;
    sockets.close_the_rest();
    let copy = admin.try_clone().map_err(StartError::Copy)?;
    let doors = Arc::new(Doors::new(config.admin.address.value, copy));
    let in_force = Arc::new(ArcSwap::from_pointee(config.clone()));
    let notify = Arc::new(Notify::new(&files.environment));
    let pid_file: KeptPidFile = Arc::default();

    let (leave, leaving) = watch::channel(Leaving::Not);
    let (settled, first_round) = watch::channel(false);
    let (attentive, listening_to_signals) = watch::channel(false);
    let (open_admin, admin_open) = watch::channel(predecessor.is_none());
    let (closing_admin, admin_closing) = watch::channel(false);
    let (admin_has_closed, admin_closed) = watch::channel(false);
    let (order, orders) = mpsc::channel(16);
    let (mover, moves) = mpsc::channel(1);
    let (hand, heir) = mpsc::channel(1);
    let (starting, upgrading) = watch::channel(false);

    let mut pingora = Server::new_with_opt_and_conf(None, pingora_conf(server));
    pingora.bootstrap();
    let gateway = Gateway::new(Arc::clone(&live));
    let proxy = Arc::new(pingora_proxy::http_proxy(&pingora.configuration, gateway));
    let renewals = Renewals::new(Arc::clone(&live), Arc::clone(&doors), leaving.clone());
    pingora.add_service(background_service("renewals", renewals));
    pingora.add_service(Gate::new(gate::Parts {
        proxy,
        doors: Arc::clone(&doors),
        live: Arc::clone(&live),
        bound,
        awaited: vec![first_round, listening_to_signals],
        takeover: Takeover {
            predecessor,
            notify: Arc::clone(&notify),
            pid_path: server.upgrade.pid_file.clone(),
            pid_file: Arc::clone(&pid_file),
            open_admin,
        },
        moves,
        leaving,
        on_open,
    }));
    pingora
        .add_service(background_service("health", HealthService::new(Arc::clone(&live), settled)));
    let certificates = CertificateFiles::new(Arc::clone(&live));
    pingora.add_service(background_service("certificates", certificates));
    pingora.add_service(background_service("sweep", Sweep::new(Arc::clone(&live))));
    let desk = desk(&config.admin, &live, &in_force, &key, order);
    let hours = Hours { open: admin_open, closing: admin_closing, closed: admin_has_closed };
    pingora.add_service(background_service("admin", Admin::new(desk, hours, admin)));
    let stop = Stop::new(stop::Parts {
        live: Arc::clone(&live),
        notify: Arc::clone(&notify),
        leaving: leave,
        closing_admin,
        admin_closed,
        upgrading,
        heir,
        ending,
        lineage: Arc::clone(&lineage),
        drain_timeout: server.drain_timeout,
    });
    let control = Control {
        program: program.map(Arc::new),
        upgrade: server.upgrade.clone(),
        lineage,
        watch: server.watch,
        notify,
        orders: Mutex::new(Some(orders)),
        heir: hand,
        upgrading: starting,
        attentive,
        reload: Arc::new(Reload {
            files,
            started_with: config,
            in_force,
            key,
            live: Arc::clone(&live),
            doors,
            moves: mover,
        }),
    };
    pingora.add_service(background_service("control", control));
    let served = stop::serve(pingora, stop);
    drop(pid_file.lock().take());
    live.access_log.flush(Duration::from_secs(1));
    if diagnostics.dropped() > 0 {
        tracing::warn!(lines = diagnostics.dropped(), "standard error was blocked: lines are lost");
    }
    served.map_err(StartError::Serve)
}

/// Where operators come with their questions and orders.
fn desk(
    admin: &config::Admin,
    live: &Arc<Live>,
    in_force: &Arc<ArcSwap<Config>>,
    key: &Arc<GeneratedKey>,
    orders: mpsc::Sender<Order>,
) -> Desk {
    let key = Arc::clone(key);
    Desk {
        live: Arc::clone(live),
        guard: guard(admin),
        config: Arc::clone(in_force),
        generated_key: Box::new(move || key.in_use()),
        orders,
    }
}

/// What the process holds for as long as it lives, with what the one before it has left.
fn live(
    config: &Config,
    key: &GeneratedKey,
    from: Option<From>,
) -> Result<(Arc<Live>, Option<Arc<Predecessor>>), StartError> {
    let server = &config.server;
    let metrics = Metrics::new()?;
    let cells = Cells::default();
    let (mut learned, mut tickets) = (None, None);
    let predecessor = from.map(|from| {
        from.key.into_iter().for_each(|secret| key.inherit(secret));
        cells.import(from.marks);
        learned = Some(Learned::new(server.limits.max_learned, from.hash_key));
        tickets = from.tickets;
        from.predecessor
    });
    let tickets = tickets.map_or_else(Tickets::default, Tickets::inherited);
    let first = load::snapshot(config, &cells, &tickets, &metrics, &|| key.get())?;
    load::warn(&first);
    let access_log = access_log(&server.log, &metrics).map_err(StartError::AccessLog)?;
    let mut live = Live::new(first, cells, tickets, metrics, access_log);
    if let Some(learned) = learned {
        live.learned = learned;
    }
    Ok((Arc::new(live), predecessor))
}

fn guard(admin: &config::Admin) -> Guard {
    let loopback = admin.address.value.ip().to_canonical().is_loopback();
    Guard { token: admin.token.clone(), public_metrics: admin.public_metrics || loopback }
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
        // one has nobody to steal from, and does without what that takes
        work_stealing: threads > 1,
        upstream_keepalive_pool_size: descriptors::kept(POOL),
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

/// What of a changed configuration takes effect only in another process.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let modes = |config: &Config| -> AHashMap<Address, u32> {
        let listeners = config.server.listeners.iter();
        listeners.map(|listener| (listener.address.value.clone(), listener.mode)).collect()
    };
    let (had, has) = (modes(old), modes(new));
    let changed_mode =
        has.iter().any(|(address, mode)| had.get(address).is_some_and(|former| former != mode));
    let admin = |config: &Config| {
        let admin = &config.admin;
        (admin.address.value, admin.token.clone(), admin.public_metrics)
    };
    let (was, is) = (&old.server, &new.server);
    [
        ("server.listeners: mode", changed_mode),
        ("server.threads", was.threads != is.threads),
        ("server.log", was.log != is.log),
        ("server.stateDir", was.state_dir != is.state_dir),
        ("server.upgrade.drainTimeout", was.drain_timeout != is.drain_timeout),
        ("server.upgrade", was.upgrade != is.upgrade),
        ("admin", admin(old) != admin(new)),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}
