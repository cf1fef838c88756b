//! The configuration after it was read, merged and checked: every default is filled in, every
//! value is in range, every name is known. Only `snapshot` turns these types into runtime ones.

use super::place::{At, Origin};
use crate::model::Secret;
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
}

/// The process and its listeners.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where clients connect; at least one.
    pub listeners: Vec<At<SocketAddr>>,
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
    /// Where generated keys are kept.
    pub state_dir: PathBuf,
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
    /// How long to wait for a backend.
    pub timeouts: Timeouts,
}

/// One entry of `backends`.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Given, or the address as written.
    pub id: At<String>,
    /// `ip:port` or `host:port`, as written. Host names are resolved when the snapshot is made.
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
    /// `None`: off. Otherwise the rule's own section laid over `router.sessionAffinity`.
    pub affinity: Option<Affinity>,
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

/// `sessionAffinity`, in force for one rule.
#[derive(Clone, Debug)]
pub struct Affinity {
    /// Where the section stands, for faults that show only later.
    pub at: Origin,
    /// The cookie that carries the key.
    pub cookie: Cookie,
    /// In the order in which they are tried; at least one.
    pub methods: Vec<Method>,
    /// What the key looks like.
    pub encoding: Encoding,
    /// The header of [`Method::Header`], in lower case.
    pub header_name: String,
    /// What the hashed encodings hash.
    pub key_over: KeyOver,
    /// How much of an address counts.
    pub source_ip: SourceIp,
    /// Cookies of other load balancers that are honoured.
    pub adopt: Vec<Adopt>,
    /// `None`: the service's policy places new clients.
    pub algorithm: Option<Algorithm>,
    /// The response header that names service, version and backend, in lower case; empty for none.
    pub expose_backend: String,
    /// `consent.cookie`: before a client has it, a cookie that is not essential is not set.
    pub consent: Option<String>,
    /// First seals, all open. Empty: the generated key.
    pub keys: Vec<Key>,
    /// `None`: one key for good.
    pub key_rotation: Option<Duration>,
    /// Longest silence of a client.
    pub idle_timeout: Duration,
    /// Longest life of a binding.
    pub absolute_timeout: Duration,
    /// `onMissing`
    pub on_missing: OnMissing,
    /// `onUnhealthy`
    pub on_unhealthy: OnUnhealthy,
    /// `onDraining`
    pub on_draining: OnDraining,
    /// `failback`
    pub failback: Failback,
    /// The status of a refusal by policy, 400 to 599.
    pub reject_status: u16,
}

/// `onMissing`: the bound backend is gone
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMissing {
    /// `redistribute`
    Redistribute,
    /// `reject`
    Reject,
}

/// `onUnhealthy`: the bound backend cannot serve
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnhealthy {
    /// `redistribute`
    Redistribute,
    /// `serve-once`: elsewhere, and the binding stays
    ServeOnce,
    /// `reject`
    Reject,
}

/// `onDraining`: the bound backend takes no new clients
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDraining {
    /// `keep`
    Keep,
    /// `redistribute-when-idle`
    RedistributeWhenIdle,
    /// `redistribute`
    Redistribute,
}

/// `failback`: the backend that was left serves again
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failback {
    /// `never`
    Never,
    /// `immediate`
    Immediate,
}

/// One of `methods`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `cookie`
    Cookie,
    /// `header`
    Header,
    /// `sourceIP`: carries no key, only places a client
    SourceIp,
}

/// `encoding`, or what a `policy` stands for
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `secure`
    Secure,
    /// `hash`
    Hash,
    /// `plain`
    Plain,
    /// `policy: HashCookie`
    HashCookie,
    /// `policy: ArrCookie`
    ArrCookie,
}

/// `keyOver`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOver {
    /// `id`
    Id,
    /// `address`
    Address,
}

/// `sourceIP`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceIp {
    /// Leading bits of an IPv4 address that count.
    pub ipv4_prefix: u8,
    /// Leading bits of an IPv6 address that count.
    pub ipv6_prefix: u8,
}

/// `algorithm`: how the rule places new clients
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Algorithm {
    /// `type`
    pub kind: AlgorithmKind,
    /// `consistentHash.replicas`: points for each unit of weight.
    pub replicas: u32,
    /// `ipHash.useXForwardedFor`: the client behind trusted proxies, not the proxy.
    pub use_x_forwarded_for: bool,
    /// `headerHash.header`, in lower case; only `header-hash` needs it.
    pub header: Option<String>,
}

/// `algorithm.type`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlgorithmKind {
    /// `round-robin`
    RoundRobin,
    /// `consistent-hash` of the address
    ConsistentHash,
    /// `ip-hash`
    IpHash,
    /// `header-hash`
    HeaderHash,
    /// `maglev` of the address
    Maglev,
}

/// One entry of `adopt`
#[derive(Clone, Debug)]
pub struct Adopt {
    /// Who wrote the cookie.
    pub format: AdoptFormat,
    /// Its name.
    pub cookie: String,
    /// Caddy's secret or HAProxy's `dynamic-cookie-key`; may be empty.
    pub secret: Secret,
}

/// `adopt[].format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdoptFormat {
    /// `envoy`
    Envoy,
    /// `haproxy`
    HaProxy,
    /// `haproxy-prefix`: the key stands before the application's own value
    HaProxyPrefix,
    /// `nginx`
    Nginx,
    /// `traefik`
    Traefik,
    /// `caddy`
    Caddy,
    /// `yarp-hash`
    YarpHash,
    /// `yarp-arr`
    YarpArr,
    /// `vkproxy-hash`
    VkProxyHash,
    /// `sozu`
    Sozu,
    /// `servlet`: the route behind the last dot of a session id
    Servlet,
}

/// `sessionAffinity.keys[]`
#[derive(Clone, Debug)]
pub struct Key {
    /// 0 to 15.
    pub id: u8,
    /// At least 16 bytes.
    pub secret: Secret,
}

/// `sessionAffinity.cookie`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// An RFC 6265 token.
    pub name: String,
    /// Starts with `/`.
    pub path: String,
    /// Empty: the host that was asked.
    pub domain: String,
    /// Seconds; `None`: until the browser ends.
    pub max_age: Option<u64>,
    /// Hidden from scripts.
    pub http_only: bool,
    /// Sent over https only.
    pub secure: Secure,
    /// Sent from other sites or not.
    pub same_site: SameSite,
    /// Whether it is set without consent.
    pub is_essential: bool,
    /// How long after a response the browser is told to forget it.
    pub expires: Option<Duration>,
    /// Further attributes, as they are written.
    pub extensions: Vec<String>,
}

/// `cookie.prefix`: a promise that browsers hold a cookie to
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// `none`
    None,
    /// `host`: `__Host-`
    Host,
    /// `secure`: `__Secure-`
    Secure,
}

impl Prefix {
    /// What stands before the name.
    pub fn text(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Host => "__Host-",
            Self::Secure => "__Secure-",
        }
    }
}

/// `cookie.secure`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secure {
    /// When the client came by https.
    Auto,
    /// `true`
    Always,
    /// `false`
    Never,
}

/// `cookie.sameSite`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// `lax`
    Lax,
    /// `strict`
    Strict,
    /// `none`; needs Secure
    None,
    /// `unspecified`: the browser's default
    Unspecified,
}
