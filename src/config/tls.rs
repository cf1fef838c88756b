//! `tls`, of listeners and of services.

use super::At;
use super::acme;
use super::scalar::{Parsed, Scalar};
use super::section::Section;
use super::syntax::is_token;
use super::written::{BackendTls, CertificateFiles, ClientCertificates, ListenerTls, TlsVersion};
use std::path::PathBuf;

/// `tls` of a listener.
pub(super) fn of_listener(mut tls: Section) -> ListenerTls {
    let example = "add `{ cert: server.pem, key: server.key }`";
    if !tls.says("acme") {
        tls.require("certificates", example);
    }
    tls.reject_empty("certificates", example);
    let certificates = tls.sections("certificates").into_iter();
    let certificates = certificates.filter_map(|mut one| {
        one.require("cert", "add the file of the certificate");
        one.require("key", "add the file of its key");
        files(&mut one, "cert", "key")
    });
    let versions = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
    ListenerTls {
        certificates: certificates.collect(),
        acme: tls.optional("acme").map(acme::read),
        clients: clients(&mut tls),
        min_version: tls
            .value("minVersion", |s| version(s, &versions))
            .unwrap_or(TlsVersion::Tls12),
    }
}

/// A number in YAML unless it is quoted; both are taken.
fn version(scalar: &Scalar, versions: &[(&str, TlsVersion)]) -> Parsed<TlsVersion> {
    let number = scalar.decimal(1.2..=1.3).ok().map(|number| number.to_string());
    let known = |text: &str| versions.iter().find(|(name, _)| *name == text).map(|(_, v)| *v);
    match number.as_deref().and_then(known) {
        Some(version) => Ok(version),
        None => scalar.text("\"1.2\" or \"1.3\"", known),
    }
}

fn clients(tls: &mut Section) -> Option<ClientCertificates> {
    let lone = tls.blame(&["clientAuth", "clientCertHeader"]);
    let alone = tls.says("clientAuth") || tls.says("clientCertHeader");
    let ca = tls.value_at("clientCa", file);
    let kinds = [("required", true), ("optional", false)];
    let required = tls.value("clientAuth", |s| s.choice(&kinds, &[])).unwrap_or(true);
    let header = tls.value("clientCertHeader", |s| {
        s.checked("the name of a header that HTTP does not use itself", |name| {
            is_token(name) && !RESERVED.contains(&name.to_ascii_lowercase().as_str())
        })
    });
    if alone && !tls.says("clientCa") {
        let problem = "asks for nothing without `clientCa`";
        tls.reader.report_absence(&lone, problem, "add `clientCa`, or remove it");
    }
    let header = header.unwrap_or_default().to_ascii_lowercase();
    Some(ClientCertificates { ca: ca?, required, header })
}

/// Headers that a request cannot do without, or that mean something to proxies.
const RESERVED: [&str; 10] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "te",
    "trailer",
    "keep-alive",
    "cookie",
    "x-forwarded-for",
];

/// `tls` of a service.
pub(super) fn of_service(mut tls: Section) -> BackendTls {
    let at = At { value: (), at: tls.at.clone() };
    let sni = tls.value("sni", |s| s.checked("a host name or an IP address", is_host));
    let ca = tls.value_at("ca", file);
    let verify = tls.value_at("verify", Scalar::flag);
    if let Some(verify) = &verify
        && !verify.value
        && tls.says("ca")
    {
        let problem = "nobody is verified, so `ca` means nothing";
        tls.reader.report(&verify.at, problem, "remove one of the two");
    }
    for (one, other) in [("clientCert", "clientKey"), ("clientKey", "clientCert")] {
        if tls.says(one) {
            tls.require(other, &format!("`{one}` needs it"));
        }
    }
    let client = files(&mut tls, "clientCert", "clientKey");
    BackendTls { sni, ca, at, verify: verify.is_none_or(|verify| verify.value), client }
}

fn is_host(text: &str) -> bool {
    let name = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
    (1..=253).contains(&text.len()) && text.bytes().all(name)
}

fn files(section: &mut Section, cert: &'static str, key: &'static str) -> Option<CertificateFiles> {
    let (cert, key) = (section.value_at(cert, file), section.value_at(key, file));
    Some(CertificateFiles { cert: cert?, key: key? })
}

pub(super) fn file(scalar: &Scalar) -> Parsed<PathBuf> {
    let path = scalar.checked("the path of a file", |path| !path.is_empty());
    path.map(PathBuf::from)
}
