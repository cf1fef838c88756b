//! What can only be said of a configuration as a whole, or by asking the network: faults that reading
//! alone does not find. Looked for before anything is compiled, and also in what could be read of a
//! file with other faults, so that the operator sees all of them at once.

use super::reach::ways;
use super::{clash, doors};
use crate::balance::POINTS_PER_WEIGHT;
use crate::config::{Backend, Config, Encoding, Fault, KeyOver, Policy, Service};
use crate::model::{Address, UnixTime};
use crate::tls::Tickets;
use ahash::AHashMap;
use std::io;
use std::net::SocketAddr;

/// Points of one ring; beyond that a ring would take more than 100 MB.
const MAX_POINTS: u64 = 6_000_000;

/// Looks up a host name.
pub type Lookup<'a> = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + 'a;

/// The address of each backend, by the text that was written.
pub(super) type Addresses = AHashMap<String, Address>;

/// Looks every backend up; all faults if there is any.
pub(super) fn survey(config: &Config, lookup: &Lookup<'_>) -> Result<Addresses, Vec<Fault>> {
    let mut faults = clash::faults(config);
    let mut addresses = Addresses::new();
    let mut replicas: AHashMap<&str, u32> = AHashMap::new();
    for way in ways(config) {
        if let Some(algorithm) = &way.affinity.algorithm {
            let most = replicas.entry(way.service).or_default();
            *most = algorithm.replicas.max(*most);
        }
    }
    for service in &config.services {
        let hashes = service.policy == Policy::ConsistentHash;
        let own = hashes.then_some(POINTS_PER_WEIGHT);
        let most = replicas.get(service.id.value.as_str()).copied().max(own);
        faults.extend(most.and_then(|replicas| too_large(service, replicas)));
        for backend in &service.backends {
            match address(backend, lookup) {
                Ok(address) => {
                    addresses.insert(backend.address.value.clone(), address);
                }
                Err(why) => faults.push(backend.address.at.fault(
                    format!("{} cannot be looked up: {why}", backend.address.value),
                    "expected an address such as 10.0.0.1:8080 or a host name that resolves",
                )),
            }
        }
    }
    faults.extend(indistinct(config, &addresses));
    if faults.is_empty() { Ok(addresses) } else { Err(faults) }
}

/// Backends that an unsealed key cannot tell apart: their clients would land on the first of them.
fn indistinct(config: &Config, addresses: &Addresses) -> Vec<Fault> {
    let mut faults = Vec::new();
    for way in ways(config) {
        let affinity = way.affinity;
        let by_address = match (affinity.encoding, affinity.key_over) {
            (Encoding::Secure | Encoding::Hash, _) => continue,
            (Encoding::Plain, _) | (_, KeyOver::Address) => true,
            (Encoding::HashCookie | Encoding::ArrCookie, KeyOver::Id) => false,
        };
        let service = config.services.iter().find(|s| s.id.value == way.service);
        let mut seen = AHashMap::new();
        for backend in service.iter().flat_map(|service| &service.backends) {
            let name = if by_address {
                let Some(address) = addresses.get(&backend.address.value) else { continue };
                if let Address::Unix(_) = address {
                    faults.push(affinity.at.fault(
                        format!(
                            "{way} writes addresses into keys, and backend {} has none",
                            backend.id.value
                        ),
                        "use `encoding: secure`, or reach the backend by an address",
                    ));
                }
                address.to_string()
            } else {
                backend.id.value.to_lowercase()
            };
            if let Some(first) = seen.insert(name, &backend.id.value) {
                faults.push(affinity.at.fault(
                    format!(
                        "{way} writes keys that cannot tell backend {} from {first}",
                        backend.id.value
                    ),
                    "use `encoding: secure`, or give the backends ids (or addresses) that differ",
                ));
            }
        }
    }
    faults
}

/// Those faults alone.
pub fn faults(config: &Config, lookup: &Lookup<'_>) -> Vec<Fault> {
    let mut faults = survey(config, lookup).err().unwrap_or_default();
    faults
        .extend(doors::read(config, &Tickets::default(), UnixTime(0)).err().into_iter().flatten());
    faults
}

fn address(backend: &Backend, lookup: &Lookup<'_>) -> io::Result<Address> {
    if let Ok(address) = backend.address.value.parse() {
        return Ok(address);
    }
    let first = lookup(&backend.address.value)?.into_iter().next();
    let first = first.ok_or_else(|| io::Error::other("the name has no address"))?;
    Ok(first.into())
}

fn too_large(service: &Service, replicas: u32) -> Option<Fault> {
    let weight: u64 = service.backends.iter().map(|b| u64::from(b.weight)).sum();
    let points = weight * u64::from(replicas);
    (points > MAX_POINTS).then(|| {
        service.id.at.fault(
            format!("the weights add up to {weight}, which makes a ring of {points} points"),
            format!("expected at most {MAX_POINTS} points; divide all weights by the same number"),
        )
    })
}
