//! `server`: the process and its listeners.

use super::At;
use super::fault::Refused;
use super::scalar::{Parsed, Scalar};
use super::section::{Reader, Section};
use super::tls;
use super::written::{
    Limits, Listener, Log, LogFormat, LogLevel, LogOutput, Server, Threads, Upgrade,
};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub(super) fn read(mut server: Section) -> Server {
    let mut upgrade = server.section("upgrade");
    Server {
        listeners: listeners(&mut server),
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
        state_dir: server
            .value("stateDir", |s| s.checked("a directory", |text| !text.is_empty()))
            .map_or_else(|| PathBuf::from("/var/lib/stickfast"), PathBuf::from),
    }
}

fn path(section: &mut Section, key: &'static str) -> Option<PathBuf> {
    section.value(key, |s| s.checked("a path", |text| !text.is_empty())).map(PathBuf::from)
}

fn listeners(server: &mut Section) -> Vec<Listener> {
    server.reject_empty("listeners", "add one, or leave the key out");
    let sections = server.sections("listeners");
    if !server.says("listeners") {
        let value = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        let address = At { value, at: server.at.clone() };
        return vec![Listener { address, tls: None }];
    }
    let listeners: Vec<_> = sections.into_iter().filter_map(listener).collect();
    let addresses: Vec<_> = listeners.iter().map(|listener| listener.address.clone()).collect();
    report_overlaps(server.reader, &addresses);
    listeners
}

fn listener(mut listener: Section) -> Option<Listener> {
    listener.later(&["http2", "proxyProtocol"]);
    listener.require("address", "add an address such as 127.0.0.1:8080");
    let tls = listener.optional("tls").map(tls::of_listener);
    let address = listener.value_at("address", |s| {
        s.text("an address such as 127.0.0.1:8080 or [::]:8080", |text| {
            Some(match text.strip_prefix("unix:") {
                Some(_) => Err(Refused::new(
                    "unix sockets are not supported yet",
                    "write an address such as 127.0.0.1:8080",
                )),
                None => Ok(text.parse().ok()?),
            })
        })?
    });
    Some(Listener { address: address?, tls })
}

fn report_overlaps(reader: &Reader, listeners: &[At<SocketAddr>]) {
    let fixed = listeners.iter().filter(|listener| listener.value.port() != 0);
    let names: Vec<_> =
        fixed.map(|l| At { value: l.value.to_string(), at: l.at.clone() }).collect();
    reader.report_repeats(names.iter());
    for (nth, listener) in listeners.iter().enumerate() {
        let mut earlier = listeners.iter().take(nth);
        let theirs = |other: &&At<SocketAddr>| {
            other.value != listener.value && overlap(other.value, listener.value)
        };
        if let Some(other) = earlier.find(theirs) {
            let problem = format!("{} is already used by {}", listener.value, other.value);
            reader.report(&listener.at, problem, "give each its own port");
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
    limits.later(&["maxConnections", "minBodyRate"]);
    let mut timeout = |key, default| {
        limits
            .value(key, |s| s.duration(Duration::from_millis(1)))
            .unwrap_or(Duration::from_secs(default))
    };
    Limits {
        header_timeout: timeout("headerTimeout", 10),
        body_timeout: timeout("bodyTimeout", 60),
        idle_timeout: timeout("idleTimeout", 75),
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
