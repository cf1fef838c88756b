//! `server`: the process and its listeners.

use super::At;
use super::acme;
use super::fault::Refused;
use super::scalar::{Parsed, Scalar};
use super::section::{Reader, Section};
use super::tls;
use super::written::{
    Limits, Listener, Log, LogFormat, LogLevel, LogOutput, Server, Threads, Upgrade,
};
use crate::model::Address;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub(super) fn read(mut server: Section) -> Server {
    let mut upgrade = server.section("upgrade");
    let state_dir = server
        .value("stateDir", |s| s.checked("a directory", |text| !text.is_empty()))
        .map_or_else(|| PathBuf::from("/var/lib/stickfast"), PathBuf::from);
    let mut listeners = listeners(&mut server);
    let tls = listeners.iter_mut().filter_map(|listener| listener.tls.as_mut());
    acme::settle(server.reader, &state_dir, tls.filter_map(|tls| tls.acme.as_mut()));
    Server {
        listeners,
        threads: server.value("threads", threads).unwrap_or(Threads::Auto),
        trusted_proxies: server.values("trustedProxies", network),
        limits: limits(server.section("limits")),
        log: log(server.section("log")),
        drain_timeout: upgrade
            .value("drainTimeout", |s| s.duration(Duration::ZERO))
            .unwrap_or(Duration::from_mins(5)),
        upgrade: Upgrade {
            socket: path(&mut upgrade, "socket"),
            pid_file: path(&mut upgrade, "pidFile"),
            start_timeout: upgrade
                .value("startTimeout", |s| s.duration(Duration::from_secs(1)))
                .unwrap_or(Duration::from_mins(1)),
        },
        watch: server.value("watch", Scalar::flag).unwrap_or(false),
        hot_path: server
            .value("hotPath", |s| s.choice(&[("on", true), ("off", false)], &[]))
            .unwrap_or(true),
        state_dir,
    }
}

fn path(section: &mut Section, key: &'static str) -> Option<PathBuf> {
    section.value(key, |s| s.checked("a path", |text| !text.is_empty())).map(PathBuf::from)
}

/// Who may connect to a unix socket: its owner and its group.
const MODE: u32 = 0o660;

fn listeners(server: &mut Section) -> Vec<Listener> {
    server.reject_empty("listeners", "add one, or leave the key out");
    let sections = server.sections("listeners");
    if !server.says("listeners") {
        let value = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)).into();
        let address = At { value, at: server.at.clone() };
        let listener =
            Listener { address, tls: None, http2: false, proxy_protocol: false, mode: MODE };
        return vec![listener];
    }
    let listeners: Vec<_> = sections.into_iter().filter_map(listener).collect();
    report_overlaps(server.reader, &listeners);
    listeners
}

fn listener(mut listener: Section) -> Option<Listener> {
    listener.require("address", "add an address such as 127.0.0.1:8080");
    let tls = listener.optional("tls").map(tls::of_listener);
    let http2 = listener.value("http2", Scalar::flag).unwrap_or(false);
    let proxy_protocol = listener.value("proxyProtocol", Scalar::flag).unwrap_or(false);
    let mode = listener.value_at("mode", mode);
    let address = listener.value_at("address", |s| {
        s.text("an address such as 127.0.0.1:8080 or [::]:8080", |text| {
            Some(match text.parse() {
                Ok(address) => Ok(address),
                Err(_) if text.starts_with("unix:") => Err(Refused::new(
                    "not the path of a socket",
                    "write unix: and an absolute path of at most 107 plain characters",
                )),
                Err(_) => return None,
            })
        })?
    })?;
    if let (Some(mode), Address::Inet(_)) = (&mode, &address.value) {
        let problem = "only a unix socket has a mode";
        listener.reader.report(&mode.at, problem, "remove it");
    }
    let mode = mode.map_or(MODE, |mode| mode.value);
    Some(Listener { address, tls, http2, proxy_protocol, mode })
}

fn mode(scalar: &Scalar) -> Parsed<u32> {
    scalar.text("permissions in quotes, such as \"0660\"", |text| {
        let octal = text.len() <= 4 && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o777)
    })
}

fn report_overlaps(reader: &Reader, listeners: &[Listener]) {
    let is_fixed =
        |listener: &&Listener| listener.address.value.inet().is_none_or(|a| a.port() != 0);
    let names: Vec<_> = listeners
        .iter()
        .filter(is_fixed)
        .map(|l| At { value: l.address.value.to_string(), at: l.address.at.clone() })
        .collect();
    reader.report_repeats(names.iter());
    let all: Vec<_> =
        listeners.iter().filter_map(|l| Some((l.address.value.inet()?, &l.address.at))).collect();
    for (nth, (address, at)) in all.iter().enumerate() {
        let mut earlier = all.iter().take(nth).map(|(address, _)| *address);
        if let Some(other) = earlier.find(|o| o != address && overlap(*o, *address)) {
            let problem = format!("{address} is already used by {other}");
            reader.report(at, problem, "give each its own port");
        }
    }
}

/// Whether two listeners would get each other's clients. `0.0.0.0` is every IPv4 address, `[::]`
/// every address; port 0 asks for any free port, so it may come twice.
pub(super) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |all: SocketAddr, one: SocketAddr| {
        all.ip().is_unspecified() && (all.is_ipv6() || one.is_ipv4())
    };
    let same_port = one.port() == other.port() && one.port() != 0;
    same_port && (one.ip() == other.ip() || covers(one, other) || covers(other, one))
}

fn threads(scalar: &Scalar) -> Parsed<Threads> {
    if let Ok(auto) = scalar.choice(&[("auto", Threads::Auto)], &[]) {
        return Ok(auto);
    }
    let number = scalar.number(1..=1024).map_err(|refused| Refused {
        cure: "expected auto or a whole number from 1 to 1024".to_owned(),
        ..refused
    })?;
    Ok(usize::try_from(number).map_or(Threads::Auto, Threads::Exactly))
}

fn network(scalar: &Scalar) -> Parsed<IpNet> {
    scalar.text("a network such as 10.0.0.0/8, or an IP address", |text| {
        let single = || text.parse::<IpAddr>().ok().map(IpNet::from);
        text.parse().ok().or_else(single)
    })
}

fn limits(mut limits: Section) -> Limits {
    let mut timeout = |key, default| {
        limits
            .value(key, |s| s.duration(Duration::from_millis(1)))
            .unwrap_or(Duration::from_secs(default))
    };
    let header_timeout = timeout("headerTimeout", 10);
    let body_timeout = timeout("bodyTimeout", 60);
    let idle_timeout = timeout("idleTimeout", 75);
    let mut most = |key| {
        let most = limits.value(key, |s| s.number(0..=100_000_000)).filter(|most| *most > 0);
        most.and_then(|most| u32::try_from(most).ok())
    };
    Limits {
        header_timeout,
        body_timeout,
        idle_timeout,
        max_connections: most("maxConnections"),
        max_connections_per_address: most("maxConnectionsPerAddress"),
        max_requests: most("maxRequestsPerConnection"),
        max_streams: limits
            .value("maxStreamsPerConnection", |s| s.number(1..=10_000))
            .and_then(|most| u32::try_from(most).ok())
            .unwrap_or(100),
        min_body_rate: limits
            .value("minBodyRate", |s| s.size(0..=1_000_000_000))
            .and_then(|rate| u32::try_from(rate).ok())
            .filter(|rate| *rate > 0),
        max_header_bytes: limits
            .value("maxHeaderBytes", |s| s.size(1_000..=1_000_000))
            .unwrap_or(64_000),
        max_body_bytes: limits
            .value("maxBodyBytes", |s| s.size(0..=u64::MAX))
            .filter(|bytes| *bytes != 0),
        max_learned: limits
            .value("maxLearned", |s| s.number(1..=1_000_000_000))
            .and_then(|most| usize::try_from(most).ok())
            .unwrap_or(1_000_000),
    }
}

fn log(mut log: Section) -> Log {
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    Log {
        format: log.value("format", |s| s.choice(&formats, &[])).unwrap_or(LogFormat::Text),
        output: log.value("output", output).unwrap_or(LogOutput::Stdout),
        level: log.value("level", |s| s.choice(&levels, &[])).unwrap_or(LogLevel::Info),
        access: log.value("access", Scalar::flag).unwrap_or(true),
    }
}

fn output(scalar: &Scalar) -> Parsed<LogOutput> {
    scalar.text("stdout, stderr or the path of a file", |text| match text {
        "" => None,
        "stdout" => Some(LogOutput::Stdout),
        "stderr" => Some(LogOutput::Stderr),
        path => Some(LogOutput::File(PathBuf::from(path))),
    })
}
