//! The service and the version that a request names itself (spec 1): as `cart`, as `v2--cart`, or as
//! Istio names clusters, `outbound|8080|v2|cart.shop.svc.cluster.local` and
//! `outbound|8080||v2--cart.shop.svc.cluster.local`. The port is not looked at: where a service
//! listens is up to its backends.

/// What a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'v> {
    /// The service.
    pub service: &'v str,
    /// The version; `None`: any.
    pub version: Option<&'v str>,
}

/// Longest value that is looked at, and how often one is taken apart: what a client sends must not
/// cost more than a few look-ups.
const MAX_VALUE: usize = 512;
const MAX_LABELS: usize = 10;
const MAX_SPLITS: usize = 4;

/// What `value` names of what is there: `knows` tells whether a service has a version (or, without
/// one, whether there is such a service). `None`: nothing.
pub fn named<'v>(value: &'v str, knows: impl Fn(Named<'v>) -> bool) -> Option<Named<'v>> {
    let value = value.trim_ascii();
    if value.len() > MAX_VALUE {
        return None;
    }
    match istio(value) {
        None if value.contains('|') => None,
        None => plain(value, &knows),
        Some((version, host)) => names_of(host).find_map(|name| match version {
            "" => plain(name, &knows),
            version => Some(Named { service: name, version: Some(version) }).filter(|n| knows(*n)),
        }),
    }
}

/// `SERVICE`, or `VERSION--SERVICE`; either may have two dashes in itself.
fn plain<'v>(value: &'v str, knows: &impl Fn(Named<'v>) -> bool) -> Option<Named<'v>> {
    let whole = Named { service: value, version: None };
    let split = |(at, _): (usize, &str)| {
        let (version, service) = (value.get(..at)?, value.get(at + 2..)?);
        Some(Named { service, version: Some(version) })
    };
    let mut all =
        std::iter::once(whole).chain(value.match_indices("--").take(MAX_SPLITS).filter_map(split));
    all.find(|named| knows(*named))
}

/// Version and host of `outbound|PORT|VERSION|HOST`.
fn istio(value: &str) -> Option<(&str, &str)> {
    let mut parts = value.split('|');
    let (Some("outbound"), Some(port), Some(version), Some(host), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    port.bytes().all(|b| b.is_ascii_digit()).then_some((version, host))
}

/// `name.ns.svc.cluster.local`, and the same without its last labels, one after the other.
fn names_of(host: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(host), |name| name.rsplit_once('.').map(|(shorter, _)| shorter))
        .take(MAX_LABELS)
}

/// The value by which [`named`] finds the same again, with the same `knows`: the short one, or
/// Istio's where the short one means something else (`a--b--c`).
pub fn value(wanted: Named<'_>, knows: impl Fn(Named<'_>) -> bool) -> String {
    let Some(version) = wanted.version else { return wanted.service.to_owned() };
    let short = format!("{version}--{}", wanted.service);
    let found = named(&short, knows);
    if found == Some(wanted) {
        return short;
    }
    // any port will do
    format!("outbound|80|{version}|{}", wanted.service)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Services with their versions.
    const KNOWN: [(&str, &[&str]); 5] = [
        ("c", &["a--b"]),
        ("cart", &["v1", "v2"]),
        ("fortio.session", &["v2"]),
        ("b--c", &["a"]),
        ("v9--old", &["v1"]),
    ];

    fn knows(named: Named<'_>) -> bool {
        KNOWN.iter().any(|(service, versions)| {
            *service == named.service
                && named.version.is_none_or(|version| versions.contains(&version))
        })
    }

    fn found(value: &str) -> String {
        named(value, knows).map_or("nothing".into(), |named| {
            format!("{} of {}", named.version.unwrap_or("any"), named.service)
        })
    }

    #[test]
    fn every_form_is_understood() {
        for (value, expected) in [
            ("cart", "any of cart"),
            (" v2--cart ", "v2 of cart"),
            ("outbound|8080|v2|cart", "v2 of cart"),
            ("outbound|8080||cart.shop.svc.cluster.local", "any of cart"),
            ("outbound|8080|v2|cart.shop.svc.cluster.local", "v2 of cart"),
            ("outbound|8080||v2--fortio.session.svc.cluster.local", "v2 of fortio.session"),
            // dashes in names
            ("a--b--c", "a of b--c"),
            ("v9--old", "any of v9--old"),
            ("v1--v9--old", "v1 of v9--old"),
        ] {
            assert_eq!(found(value), expected, "{value}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let long = "x".repeat(513);
        for value in [
            "",
            "nobody",
            "v3--cart",
            "--cart",
            "outbound|8080|v3|cart",
            "outbound|http|v2|cart",
            "inbound|8080|v2|cart",
            "outbound|8080|v2|cart|x",
            "v2|cart",
            &long,
        ] {
            assert_eq!(found(value), "nothing", "{value}");
        }
    }

    #[test]
    fn a_value_finds_what_it_was_made_of() {
        for (service, versions) in KNOWN {
            for version in versions.iter().copied().map(Some).chain([None]) {
                let named = Named { service, version };
                let told = value(named, knows);
                let expected = format!("{} of {service}", version.unwrap_or("any"));
                assert_eq!(found(&told), expected);
            }
        }
    }
}
