//! `sessionAffinity` as it is in force for one rule. A file of its own, since it is the largest part
//! of the language.

use crate::config::place::Origin;
use crate::model::Secret;
use std::time::Duration;

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
    /// The parameter of [`Method::Query`].
    pub query_name: String,
    /// The parameter of [`Method::Path`].
    pub path_name: String,
    /// The application's own sessions that are bound to whoever minted them.
    pub learn: Vec<SessionSource>,
    /// The application's own session that carries the key.
    pub envelope: Option<SessionSource>,
    /// First requests that are placed alike.
    pub burst: Burst,
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
    /// `onFull`
    pub on_full: OnFull,
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

/// `onFull`: the bound backend has all the requests that it may have
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// `wait` for `queueTimeout`, then redistribute
    Wait,
    /// `serve-once`: elsewhere, and the binding stays
    ServeOnce,
    /// `redistribute`
    Redistribute,
    /// `reject`
    Reject,
}

/// Where an application keeps the name of its own session: an entry of `learn`, or `envelope`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionSource {
    /// `header`, in lower case
    Header(String),
    /// `cookie`
    Cookie(String),
}

/// `burst`: which first requests count as those of one client
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Burst {
    /// Those of one connection.
    pub same_connection: bool,
    /// Those of one address and `User-Agent` within this time; zero for none.
    pub window: Duration,
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
    /// `query`: a parameter behind the `?`
    Query,
    /// `path`: a parameter of a path segment, behind a `;`
    Path,
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
#[derive(Clone, Debug, PartialEq)]
pub struct Algorithm {
    /// `type`
    pub kind: AlgorithmKind,
    /// `consistentHash.replicas`: points for each unit of weight.
    pub replicas: u32,
    /// `consistentHash.loadFactor`, at least 1: how many times its fair share a backend may carry.
    pub load_factor: Option<f64>,
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
