//! How a key travels and what it looks like: methods, encodings, the policy names of spec 5, and the
//! keys of other load balancers that are honoured. Apart from [`super::affinity`], which says how
//! long a binding holds and what happens when it cannot be kept.

use super::scalar::{Parsed, Scalar};
use super::section::Section;
use super::syntax::is_token;
use super::written::{
    Adopt, AdoptFormat, Algorithm, AlgorithmKind, Encoding, KeyOver, Method, SourceIp,
};
use crate::model::Secret;

/// Method, encoding and what goes with them.
pub(super) struct Travel {
    pub(super) methods: Vec<Method>,
    pub(super) encoding: Encoding,
    pub(super) header_name: String,
    pub(super) query_name: String,
    pub(super) path_name: String,
    pub(super) key_over: KeyOver,
    pub(super) source_ip: SourceIp,
    pub(super) adopt: Vec<Adopt>,
    /// Whether a policy name of spec 5 was used, whose defaults are spec 5's.
    pub(super) by_policy: bool,
}

/// `has_sessions`: sessions of the application carry the binding, so that no other way of a key is
/// taken for granted.
pub(super) fn read(section: &mut Section, has_sessions: bool) -> Travel {
    let policies = [
        ("Cookie", (Method::Cookie, Encoding::Secure)),
        ("CustomHeader", (Method::Header, Encoding::Secure)),
        ("HashCookie", (Method::Cookie, Encoding::HashCookie)),
        ("ArrCookie", (Method::Cookie, Encoding::ArrCookie)),
    ];
    let policy = section.value("policy", |s| s.choice(&policies, &[]));
    let methods = methods(section);
    let encodings =
        [("secure", Encoding::Secure), ("hash", Encoding::Hash), ("plain", Encoding::Plain)];
    let encoding = section.value("encoding", |s| s.choice(&encodings, &[]));
    if let Some((method, implied)) = policy {
        let writable = |m: &&Method| **m != Method::SourceIp;
        let first = |methods: &Vec<Method>| methods.iter().find(writable).copied();
        if methods.as_ref().is_some_and(|methods| first(methods) != Some(method)) {
            let at = section.blame(&["policy"]);
            section.reader.report(&at, "contradicts the method", "keep one of them");
        }
        if encoding.is_some_and(|encoding| encoding != implied) {
            let at = section.blame(&["policy"]);
            section.reader.report(&at, "contradicts the encoding", "keep one of them");
        }
    }
    let header_name = section.value("headerName", |s| {
        s.checked("the name of a header that is not spoken for by HTTP or the gateway", |name| {
            name.len() <= 64 && is_token(name) && !is_spoken_for(&name.to_ascii_lowercase())
        })
    });
    let query_name =
        section.value("queryName", |s| s.checked("the name of a parameter", is_parameter));
    let path_name =
        section.value("pathName", |s| s.checked("the name of a parameter", is_parameter));
    let over = [("id", KeyOver::Id), ("address", KeyOver::Address)];
    let mut source = section.section("sourceIP");
    let bits = |number: Option<i64>, default| {
        number.and_then(|number| u8::try_from(number).ok()).unwrap_or(default)
    };
    let source_ip = SourceIp {
        ipv4_prefix: bits(source.value("ipv4Prefix", |s| s.number(1..=32)), 32),
        ipv6_prefix: bits(source.value("ipv6Prefix", |s| s.number(1..=128)), 64),
    };
    drop(source);
    Travel {
        methods: methods.unwrap_or_else(|| match policy {
            Some((method, _)) => vec![method],
            None if has_sessions => vec![],
            None => vec![Method::Cookie],
        }),
        encoding: encoding.or(policy.map(|(_, encoding)| encoding)).unwrap_or(Encoding::Secure),
        header_name: header_name
            .unwrap_or_else(|| "x-sessionaffinity".to_owned())
            .to_ascii_lowercase(),
        query_name: query_name.unwrap_or_else(|| "sessionId".to_owned()),
        path_name: path_name.unwrap_or_else(|| "jsessionid".to_owned()),
        key_over: section.value("keyOver", |s| s.choice(&over, &[])).unwrap_or(KeyOver::Id),
        source_ip,
        adopt: section.sections("adopt").into_iter().filter_map(adopt).collect(),
        by_policy: policy.is_some(),
    }
}

/// Headers that frame a message, belong to one connection, route, or are written by the gateway: a
/// key in one of them would break HTTP.
pub(super) fn is_spoken_for(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "date",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "location",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "retry-after",
        "server",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-request-id",
        "x-stickfast-reason",
    ];
    NAMES.contains(&name) || name.starts_with("x-forwarded-") || name.starts_with("x-affinity-")
}

/// `algorithm`. Option blocks of types that are not chosen are checked all the same.
pub(super) fn algorithm(section: &mut Section) -> Option<Algorithm> {
    let mut algorithm = section.optional("algorithm")?;
    let kinds = [
        ("round-robin", AlgorithmKind::RoundRobin),
        ("consistent-hash", AlgorithmKind::ConsistentHash),
        ("ip-hash", AlgorithmKind::IpHash),
        ("header-hash", AlgorithmKind::HeaderHash),
        ("maglev", AlgorithmKind::Maglev),
    ];
    let later = ["random", "least-connections", "power-of-two"];
    let kind = algorithm.value("type", |s| s.choice(&kinds, &later));
    let mut ring = algorithm.section("consistentHash");
    let replicas = ring.value("replicas", |s| s.number(1..=10_000));
    let load_factor = ring.value("loadFactor", |s| s.decimal(1.0..=100.0));
    drop(ring);
    let forwarded = algorithm.section("ipHash").value("useXForwardedFor", Scalar::flag);
    let header = algorithm.section("headerHash").value("header", |s| {
        s.checked("the name of a header", |name| name.len() <= 64 && is_token(name))
    });
    if kind == Some(AlgorithmKind::HeaderHash) && header.is_none() {
        let at = algorithm.blame(&["type"]);
        let cure = "add `headerHash: { header: NAME }`";
        algorithm.reader.report(&at, "`header-hash` needs to know which header", cure);
    }
    Some(Algorithm {
        kind: kind.unwrap_or(AlgorithmKind::ConsistentHash),
        replicas: replicas.and_then(|number| u32::try_from(number).ok()).unwrap_or(150),
        load_factor,
        use_x_forwarded_for: forwarded.unwrap_or(true),
        header: header.map(|name| name.to_ascii_lowercase()),
    })
}

/// What needs no escape in a URL, in a query nor behind a `;`.
fn is_parameter(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

fn methods(section: &mut Section) -> Option<Vec<Method>> {
    let one = section.value("method", method);
    let several = section.values("methods", method);
    if section.says("method") && section.says("methods") {
        let at = section.blame(&["method", "methods"]);
        section.reader.report(&at, "stands beside `methods`", "keep one of them");
    }
    section.reject_empty("methods", "write [cookie], or `enabled: false` to turn affinity off");
    let mut seen = Vec::new();
    for method in &several {
        if seen.contains(method) {
            let at = section.blame(&["methods"]);
            section.reader.report(&at, "names a method twice", "name each once");
        }
        seen.push(*method);
    }
    match one {
        Some(one) => Some(vec![one]),
        None => Some(several).filter(|several| !several.is_empty()),
    }
}

fn method(scalar: &Scalar) -> Parsed<Method> {
    let methods = [
        ("cookie", Method::Cookie),
        ("header", Method::Header),
        ("query", Method::Query),
        ("path", Method::Path),
        ("sourceIP", Method::SourceIp),
    ];
    scalar.choice(&methods, &[])
}

fn adopt(mut adopt: Section) -> Option<Adopt> {
    adopt.require("format", "add the load balancer that wrote the cookie, such as haproxy");
    adopt.require("cookie", "add the name of its cookie");
    let formats = [
        ("envoy", AdoptFormat::Envoy),
        ("haproxy", AdoptFormat::HaProxy),
        ("haproxy-prefix", AdoptFormat::HaProxyPrefix),
        ("nginx", AdoptFormat::Nginx),
        ("traefik", AdoptFormat::Traefik),
        ("caddy", AdoptFormat::Caddy),
        ("yarp-hash", AdoptFormat::YarpHash),
        ("yarp-arr", AdoptFormat::YarpArr),
        ("vkproxy-hash", AdoptFormat::VkProxyHash),
        ("sozu", AdoptFormat::Sozu),
        ("servlet", AdoptFormat::Servlet),
    ];
    let format = adopt.value("format", |s| s.choice(&formats, &[]));
    let cookie = adopt.value("cookie", |s| {
        s.checked("the name of a cookie", |name| name.len() <= 64 && is_token(name))
    });
    let secret = adopt.value("secret", Scalar::secret);
    let takes_secret = matches!(
        format,
        None | Some(AdoptFormat::HaProxy | AdoptFormat::HaProxyPrefix | AdoptFormat::Caddy)
    );
    if secret.is_some() && !takes_secret {
        let at = adopt.blame(&["secret"]);
        adopt.reader.report(&at, "this format has no secret", "remove it");
    }
    Some(Adopt {
        format: format?,
        cookie: cookie?,
        secret: secret.unwrap_or_else(|| Secret::new(String::new())),
    })
}
