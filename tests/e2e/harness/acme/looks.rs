//! How an authority looks whether a name is whose it is said to be: by HTTP (RFC 8555 §8.3), by TLS
//! (RFC 8737).

use crate::harness::client::{Client, Request};
use crate::harness::tls::provider;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature_with_raw_key;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

const ACME_IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";

pub(super) fn by_http(
    to: SocketAddr,
    domain: &str,
    token: &str,
    answer: &str,
) -> Result<(), String> {
    let path = format!("/.well-known/acme-challenge/{token}");
    let request = Request::get(&path).with("Host", domain);
    let found = Client::new(to).try_send(&request).map_err(|why| why.to_string())?;
    match (found.status, found.text().trim_end() == answer) {
        (200, true) => Ok(()),
        (status, _) => Err(format!("at {path} there is {status} {:?}", found.text())),
    }
}

pub(super) fn by_tls(to: SocketAddr, domain: &str, answer: &str) -> Result<(), String> {
    let shown = shown(to, domain).map_err(|why| why.to_string())?;
    let (_, certificate) = X509Certificate::from_der(&shown).map_err(|why| why.to_string())?;
    let names = certificate.subject_alternative_name().unwrap().ok_or("no names")?;
    let names = &names.value.general_names;
    if !matches!(&names[..], [GeneralName::DNSName(name)] if *name == domain) {
        return Err(format!("the certificate is for {names:?}"));
    }
    let mut extensions = certificate.extensions().iter();
    let digest = extensions.find(|one| one.oid.to_id_string() == ACME_IDENTIFIER);
    let digest = digest.filter(|one| one.critical).ok_or("no acmeIdentifier")?;
    let wanted = [&[4, 32][..], &Sha256::digest(answer)].concat();
    (digest.value == wanted).then_some(()).ok_or_else(|| "another digest".to_owned())
}

/// The certificate that is shown to who offers `acme-tls/1`; nothing else is said there.
fn shown(to: SocketAddr, domain: &str) -> std::io::Result<CertificateDer<'static>> {
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let tcp = TcpStream::connect(to)?;
    tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
    let name = ServerName::try_from(domain.to_owned()).unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(session, tcp);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest)?;
    assert!(rest.is_empty(), "nothing is said");
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"acme-tls/1"[..]));
    Ok(stream.conn.peer_certificates().unwrap()[0].clone())
}

/// Whom it signed is not asked; what it says is looked at.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("not spoken".to_owned()))
    }

    /// By the key alone: rustls takes no certificate with a critical extension that it does not know.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = provider().signature_verification_algorithms;
        let (_, certificate) = X509Certificate::from_der(certificate).unwrap();
        let key = SubjectPublicKeyInfoDer::from(certificate.public_key().raw);
        verify_tls13_signature_with_raw_key(message, &key, signed, &known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
