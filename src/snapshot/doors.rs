//! Where traffic is encrypted: the listeners, each by a key that a reload does not change, and the
//! services whose backends speak TLS. Read before anything else is compiled, since files fail.

use crate::config::{self, ChallengeKind, Config, Fault};
use crate::model::{Address, UnixTime};
use crate::tls::{Inbound, Outbound, Protocols, Tickets, Trust, Warnings};
use ahash::AHashMap;
use http::HeaderName;
use std::sync::Arc;

/// A listener.
#[derive(Clone, Debug, Default)]
pub struct Door {
    /// `None`: plain HTTP.
    pub tls: Option<Arc<Inbound>>,
    /// Whether clients may speak HTTP/2.
    pub http2: bool,
    /// Whether each connection begins with a PROXY header.
    pub proxy_protocol: bool,
}

/// All listeners.
#[derive(Debug, Default)]
pub struct Doors {
    by_key: AHashMap<Arc<str>, Door>,
    /// Headers that tell backends who a client is. No client may write one, whatever listener it
    /// comes by.
    pub told: Box<[HeaderName]>,
}

/// What was made of the files.
#[derive(Debug, Default)]
pub(super) struct Encrypted {
    pub(super) doors: Doors,
    /// By the name of the service.
    pub(super) outbound: AHashMap<String, Arc<Outbound>>,
    pub(super) warnings: Warnings,
}

impl Doors {
    /// The door of this key, of which [`Self::keys`] speaks.
    pub fn get(&self, key: &str) -> Option<&Door> {
        self.by_key.get(key)
    }

    /// All of them, with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Door)> {
        self.by_key.iter().map(|(key, door)| (&**key, door))
    }

    /// The keys of listeners, in their order: the address as written, with a number where several
    /// ask for any free port of one address.
    pub fn keys(listeners: &[config::Listener]) -> Vec<Arc<str>> {
        let mut seen: AHashMap<&Address, u32> = AHashMap::new();
        let mut keys = Vec::with_capacity(listeners.len());
        for listener in listeners {
            let address = &listener.address.value;
            let nth = seen.entry(address).and_modify(|nth| *nth += 1).or_insert(1);
            let first = *nth == 1;
            keys.push(if first { address.to_string() } else { format!("{address} {nth}") }.into());
        }
        keys
    }
}

/// Reads the files of all listeners and services; all faults if there is any.
pub(super) fn read(
    config: &Config,
    tickets: &Tickets,
    now: UnixTime,
) -> Result<Encrypted, Vec<Fault>> {
    let (mut encrypted, mut faults) = (Encrypted::default(), Vec::new());
    let listeners = &config.server.listeners;
    for (key, listener) in Doors::keys(listeners).into_iter().zip(listeners) {
        let loaded = listener.tls.as_ref();
        let protocols = if listener.http2 { Protocols::Http2 } else { Protocols::Http1 };
        let loaded = loaded.map(|tls| Inbound::load(tls, &key, protocols, tickets, now));
        let tls = match loaded.transpose() {
            Ok(loaded) => loaded.map(|(tls, warnings)| {
                encrypted.warnings.extend(warnings);
                Arc::new(tls)
            }),
            Err(found) => {
                faults.extend(found);
                None
            }
        };
        encrypted.doors.by_key.insert(
            key,
            Door { tls, http2: listener.http2, proxy_protocol: listener.proxy_protocol },
        );
    }
    encrypted.warnings.extend(out_of_sight(listeners));
    let doors = encrypted.doors.by_key.values();
    let told = doors.filter_map(|door| door.tls.as_ref()?.subject_header()?.parse().ok());
    encrypted.doors.told = told.collect();
    let trust = Trust::default();
    for service in &config.services {
        let Some(written) = &service.tls else { continue };
        match Outbound::load(written, &trust, now) {
            Ok(tls) => {
                faults.extend(service.backends.iter().filter_map(|backend| {
                    let name = tls.name_of(&backend.address.value);
                    let cure = "write a host name that it can prove as `tls.sni`";
                    (!Outbound::can_prove(&name))
                        .then(|| backend.address.at.fault("names no host for TLS", cure))
                }));
                encrypted.outbound.insert(service.id.value.clone(), Arc::new(tls));
            }
            Err(found) => faults.extend(found),
        }
    }
    if faults.is_empty() { Ok(encrypted) } else { Err(faults) }
}

/// Challenges that authorities look for where no listener is; it may be that somebody leads them on.
fn out_of_sight(listeners: &[config::Listener]) -> Vec<Fault> {
    let at_80 = |one: &config::Listener| {
        one.tls.is_none() && one.address.value.inet().is_some_and(|address| address.port() == 80)
    };
    if listeners.iter().any(at_80) {
        return Vec::new();
    }
    let all = listeners.iter().filter_map(|listener| listener.tls.as_ref()?.acme.as_ref());
    let by_http = all.filter(|acme| acme.challenge == ChallengeKind::Http01);
    let problem = "authorities look for http-01 at port 80, which no plain listener has";
    let cure = "add one, or see to it that port 80 of these names leads to a plain listener";
    by_http.map(|acme| acme.at.at.fault(problem, cure)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    #[test]
    fn listeners_that_ask_for_any_port_keep_apart() {
        let yaml = "gateway: {server: {listeners: [{address: '127.0.0.1:0'}, {address: '[::1]:80'}, \
                    {address: '127.0.0.1:0'}]}, services: {a: {backends: [{address: 'h:1'}]}}}";
        let source = Source { name: "a.yaml".into(), text: yaml.into() };
        let config = config::load(vec![source], &|_| None).unwrap();
        let keys = Doors::keys(&config.server.listeners);
        assert_eq!(
            keys.iter().map(|key| &**key).collect::<Vec<_>>(),
            ["127.0.0.1:0", "[::1]:80", "127.0.0.1:0 2"]
        );
    }
}
