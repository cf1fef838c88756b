//! `acme` of a listener's `tls`.

use super::At;
use super::fault::Refused;
use super::scalar::{Parsed, Scalar};
use super::section::{Reader, Section};
use super::syntax::is_host_name;
use super::tls::file;
use super::written::{Acme, ChallengeKind};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// What authorities take in one certificate.
const MOST_DOMAINS: usize = 100;

pub(super) fn read(mut acme: Section) -> Acme {
    let at = At { value: (), at: acme.at.clone() };
    acme.require("domains", "list the names that the certificate is for");
    acme.reject_empty("domains", "list the names that the certificate is for");
    let domains = acme.values_at("domains", domain);
    acme.reader.report_repeats(domains.iter());
    if let Some(over) = domains.get(MOST_DOMAINS) {
        let cure = format!("at most {MOST_DOMAINS} names go into one certificate");
        acme.reader.report(&over.at, "is one too many", cure);
    }
    let agreed = acme.value_at("termsOfServiceAgreed", Scalar::flag);
    let cure = "read the authority's terms, then write `termsOfServiceAgreed: true`";
    acme.require("termsOfServiceAgreed", cure);
    if let Some(agreed) = agreed.filter(|agreed| !agreed.value) {
        acme.reader.report(&agreed.at, "the authority issues nothing without consent", cure);
    }
    let kinds = [("tls-alpn-01", ChallengeKind::TlsAlpn01), ("http-01", ChallengeKind::Http01)];
    Acme {
        at,
        domains,
        directory: acme.value("directory", directory).unwrap_or_else(|| LETS_ENCRYPT.to_owned()),
        contact: acme.values("contact", |s| {
            s.checked("an address such as mailto:ops@example.com", |text| {
                text.strip_prefix("mailto:").is_some_and(is_address)
            })
        }),
        challenge: acme
            .value("challenge", |s| s.choice(&kinds, &["dns-01"]))
            .unwrap_or(ChallengeKind::TlsAlpn01),
        ca: acme.value_at("caFile", file),
        renew_before: acme.value("renewBefore", |s| s.duration(Duration::from_secs(1))),
        folder: PathBuf::new(),
    }
}

/// Says where each section keeps its files. Those that name one domain at one authority share the
/// certificate, so they must be alike.
pub(super) fn settle<'s>(
    reader: &Reader,
    state_dir: &Path,
    sections: impl Iterator<Item = &'s mut Acme>,
) {
    let mut taken: BTreeMap<(String, String), &Acme> = BTreeMap::new();
    for acme in sections {
        acme.folder = Acme::folder_of(state_dir, &acme.directory);
        let acme = &*acme;
        for domain in &acme.domains {
            let key = (acme.directory.clone(), domain.value.clone());
            let other = *taken.entry(key).or_insert(acme);
            if !std::ptr::eq(other, acme) && !alike(other, acme) {
                let problem = format!(
                    "{} is already ordered at {}, with other settings",
                    domain.value,
                    other.at.at.path()
                );
                reader.report(&domain.at, problem, "write the same section there, or other names");
            }
        }
    }
}

fn alike(one: &Acme, other: &Acme) -> bool {
    let settings = |acme: &Acme| {
        let ca = acme.ca.as_ref().map(|ca| ca.value.clone());
        (acme.contact.clone(), acme.challenge, ca, acme.renew_before)
    };
    one.name() == other.name() && one.names() == other.names() && settings(one) == settings(other)
}

fn domain(scalar: &Scalar) -> Parsed<String> {
    scalar.text("a host name such as www.example.com", |text| {
        let text = text.to_ascii_lowercase();
        if text.starts_with("*.") {
            return Some(Err(Refused::new(
                "a wildcard can be proven neither by http-01 nor by tls-alpn-01",
                "name each host, or get the certificate elsewhere and list its files",
            )));
        }
        let numeric = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
        let top = text.rsplit('.').next().unwrap_or_default();
        (is_host_name(&text) && !numeric(top)).then_some(Ok(text))
    })?
}

fn directory(scalar: &Scalar) -> Parsed<String> {
    scalar.checked("a URL such as https://acme.example.com/directory", |text| {
        let url = url::Url::parse(text).ok().filter(|url| url.scheme() == "https");
        url.is_some_and(|url| url.host_str().is_some() && url.username().is_empty())
    })
}

fn is_address(text: &str) -> bool {
    let printable = text.bytes().all(|b| b.is_ascii_graphic() && b != b',');
    let halves = text.split_once('@').is_some_and(|(who, at)| !who.is_empty() && !at.is_empty());
    printable && halves && text.len() <= 254
}
