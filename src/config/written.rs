//! The configuration after it was read, merged and checked: every default is filled in, every
//! value is in range, every name is known. Only `snapshot` turns these types into runtime ones.

mod acme;
mod affinity;
mod tls;

pub use acme::*;
pub use affinity::*;
pub use tls::*;

use super::merged::Merged;
use super::place::At;
use crate::model::{Address, ProxyProtocol, Secret};
use ipnet::IpNet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything under `gateway:`.
#[derive(Clone, Debug)]
pub struct Config {
    /// `server`
    pub server: Server,
    /// `admin`
    pub admin: Admin,
    /// `services`, in the order written
    pub services: Vec<Service>,
    /// `router.rules`, in the order written. Where a file has one service and no rules, this is
    /// the one rule that serves everything.
    pub rules: Vec<Rule>,
    /// `router.serviceHeader`; `None`: rules alone choose the service.
    pub service_header: Option<ServiceHeader>,
    /// `router.hashKey`: what the places of clients are hashed with. Empty: the generated key.
    pub hash_key: Secret,
    /// `websocket`
    pub websocket: WebSocket,
    /// All of it as written, the files laid on each other.
    pub merged: Merged,
}

/// `websocket`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebSocket {
    /// Longest silence in both directions.
    pub idle_timeout: Duration,
    /// `sessionAffinity.enabled`
    pub affinity: HandshakeAffinity,
    /// Whether the key that comes with a handshake is honoured.
    pub sticky_reconnect: bool,
}

/// `websocket.sessionAffinity`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeAffinity {
    /// Absent: handshakes are bound as the requests of their rule are.
    AsRequests,
    /// They are bound also where no section speaks of affinity.
    On,
    /// They are not bound.
    Off,
}

/// The affinity of the handshakes of one rule.
#[derive(Clone, Debug)]
pub enum Handshakes {
    /// That of its requests.
    AsRequests,
    /// This one.
    Bound(Box<Affinity>),
    /// None.
    Unbound,
}

/// `router.serviceHeader`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceHeader {
    /// The request header that names a service or a subset, in lower case.
    pub name: String,
    /// Whether the response carries the value that reaches the same subset again.
    pub respond: bool,
}

/// The process and its listeners.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where clients connect; at least one.
    pub listeners: Vec<Listener>,
    /// Threads of the data plane.
    pub threads: Threads,
    /// Whose `X-Forwarded-*` headers count.
    pub trusted_proxies: Vec<IpNet>,
    /// What a client may take.
    pub limits: Limits,
    /// What is written where.
    pub log: Log,
    /// How long a stopping process waits for open requests (`upgrade.drainTimeout`).
    pub drain_timeout: Duration,
    /// How a new process takes over.
    pub upgrade: Upgrade,
    /// Whether the files are read again when they change.
    pub watch: bool,
    /// Whether plain requests go the short way.
    pub hot_path: bool,
    /// Where generated keys are kept.
    pub state_dir: PathBuf,
}

/// One entry of `listeners`.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Where it listens; port 0 takes a free one.
    pub address: At<Address>,
    /// `None`: plain HTTP.
    pub tls: Option<ListenerTls>,
    /// Whether HTTP/2 is spoken too: where a client begins with it, or asks for it by ALPN.
    pub http2: bool,
    /// Whether each connection begins with a PROXY header.
    pub proxy_protocol: bool,
    /// Who may connect to a unix socket.
    pub mode: u32,
}

/// `server.upgrade`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// Where the two processes meet; its directory is private. `None`: in a directory made for it.
    pub socket: Option<PathBuf>,
    /// Holds the id of the process that serves. `None`: nothing is written.
    pub pid_file: Option<PathBuf>,
    /// How long a successor may take until it serves.
    pub start_timeout: Duration,
}

/// `server.threads`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// One for each core.
    Auto,
    /// As many as written, 1 to 1024.
    Exactly(usize),
}

/// `server.limits`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first byte of a request (or the accept) to the end of its header.
    pub header_timeout: Duration,
    /// Longest silence inside a request body.
    pub body_timeout: Duration,
    /// Longest pause between two requests of a connection.
    pub idle_timeout: Duration,
    /// Bytes of request line and header fields.
    pub max_header_bytes: u64,
    /// Bytes of a request body; `None` means no limit.
    pub max_body_bytes: Option<u64>,
    /// Sessions of applications that are remembered (`learn`).
    pub max_learned: usize,
    /// Connections of clients at once; `None`: no limit.
    pub max_connections: Option<u32>,
    /// Connections of one address at once; `None`: no limit.
    pub max_connections_per_address: Option<u32>,
    /// Requests of one connection; `None`: no limit.
    pub max_requests: Option<u32>,
    /// Requests of one HTTP/2 connection at once.
    pub max_streams: u32,
    /// Bytes of a body in a second, both ways; `None`: silence alone counts.
    pub min_body_rate: Option<u32>,
}

/// `server.log`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Of access lines and diagnostics alike.
    pub format: LogFormat,
    /// Where access lines go. Diagnostics go to standard error.
    pub output: LogOutput,
    /// Diagnostics below this are left out.
    pub level: LogLevel,
    /// Whether a line is written for each request.
    pub access: bool,
}

/// `server.log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `text`
    Text,
    /// `json`
    Json,
}

/// `server.log.output`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOutput {
    /// `stdout`
    Stdout,
    /// `stderr`
    Stderr,
    /// Any other value: a file that is appended to.
    File(PathBuf),
}

/// `server.log.level`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// `error`
    Error,
    /// `warn`
    Warn,
    /// `info`
    Info,
    /// `debug`
    Debug,
    /// `trace`
    Trace,
}

/// `admin`
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where metrics and probes are served.
    pub address: At<SocketAddr>,
    /// Bearer token; empty is allowed on loopback only.
    pub token: Secret,
    /// Whether `/metrics` needs no token off loopback.
    pub public_metrics: bool,
}

/// One entry of `services`.
#[derive(Clone, Debug)]
pub struct Service {
    /// The key in the map.
    pub id: At<String>,
    /// At least one, each with an id of its own.
    pub backends: Vec<Backend>,
    /// How new clients are placed.
    pub policy: Policy,
    /// `None`: backends count as healthy.
    pub health_check: Option<HealthCheck>,
    /// `None`: plain HTTP.
    pub tls: Option<BackendTls>,
    /// How long to wait for a backend.
    pub timeouts: Timeouts,
    /// What a backend may have to do at once.
    pub limits: ServiceLimits,
    /// How new clients are split over versions; empty: they are not.
    pub versions: Vec<(String, u32)>,
    /// Whether backends are spoken to in HTTP/2.
    pub http2: bool,
    /// The PROXY header that backends are sent.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// For requests that name the service themselves, and for rules without a section of their own:
    /// the service's own section laid over `router.sessionAffinity`. `None`: off.
    pub affinity: Option<Affinity>,
    /// Of WebSocket handshakes.
    pub handshakes: Handshakes,
}

/// `limits` of a service
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceLimits {
    /// `maxConnectionsPerBackend`: requests that a backend has at once; `None`: no limit.
    pub max_connections: Option<u32>,
    /// `maxPending`: requests that wait for a backend; `None`: no limit.
    pub max_pending: Option<u32>,
    /// Longest wait.
    pub queue_timeout: Duration,
}

/// One entry of `backends`.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Given, or the address as written.
    pub id: At<String>,
    /// `ip:port`, `host:port` or `unix:/path`, as written. Host names are resolved when the snapshot is made.
    pub address: At<String>,
    /// 0 to 256, 1 where absent.
    pub weight: u32,
    /// Empty where absent.
    pub version: String,
    /// `active` where absent.
    pub state: BackendState,
    /// Empty where absent: learnt from health checks.
    pub incarnation: String,
}

/// `state` of a backend
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendState {
    /// `active`
    Active,
    /// `draining`: bound clients stay, new ones go elsewhere
    Draining,
    /// `maintenance`: nobody is served
    Maintenance,
}

/// `loadBalancing.policy`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// `round-robin`, smooth over the weights
    RoundRobin,
    /// `consistent-hash`, 150 points for each unit of weight
    ConsistentHash,
    /// `maglev`, a look-up table
    Maglev,
}

/// `healthCheck`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// From one round to the next.
    pub interval: Duration,
    /// For the whole of one check.
    pub timeout: Duration,
    /// Successes in a row until a backend counts as healthy.
    pub healthy_threshold: u32,
    /// Failures in a row until a backend counts as unhealthy.
    pub unhealthy_threshold: u32,
    /// The response header of an HTTP check that tells which start of the backend answers.
    pub incarnation_header: String,
}

/// `healthCheck.type`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `http`: a GET of this path must answer 200 to 399.
    Http {
        /// `path`
        path: String,
    },
    /// `tcp`: a connection must be accepted.
    Tcp,
}

/// `timeouts` of a service
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To be connected.
    pub connect: Duration,
    /// Longest silence while reading.
    pub read: Duration,
    /// Longest stall while writing.
    pub write: Duration,
}

/// One entry of `router.rules`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// `id`
    pub id: At<String>,
    /// Lower wins.
    pub order: i64,
    /// Empty: any host.
    pub hosts: Vec<HostPattern>,
    /// Absent: any path.
    pub path: PathPattern,
    /// Header fields that must have exactly this value; names in lower case.
    pub headers: Vec<(String, String)>,
    /// Upper case. Empty: any method.
    pub methods: Vec<String>,
    /// One of `services`.
    pub service: At<String>,
    /// The version whose backends serve; empty: all do.
    pub subset: String,
    /// The request header that names a version, in lower case; empty for none.
    pub version_header: String,
    /// Whether links in responses get the key.
    pub url_rewriting: bool,
    /// `None`: off. Otherwise the rule's own section laid over `router.sessionAffinity`.
    pub affinity: Option<Affinity>,
    /// Of WebSocket handshakes.
    pub handshakes: Handshakes,
}

impl Rule {
    /// All that its keys may be.
    pub fn affinities(&self) -> impl Iterator<Item = &Affinity> {
        let handshakes = match &self.handshakes {
            Handshakes::Bound(affinity) => Some(&**affinity),
            Handshakes::AsRequests | Handshakes::Unbound => None,
        };
        self.affinity.iter().chain(handshakes)
    }
}

/// One of `hosts`, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostPattern {
    /// `www.example.com`
    Exact(String),
    /// `*.example.com`, kept as `example.com`: any depth below it
    Below(String),
}

/// `path`, normalised.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathPattern {
    /// `/cart`
    Exact(String),
    /// `/cart/*`, kept as `/cart`: that path and everything below it. `/*` is kept as the empty
    /// text.
    Below(String),
}
