//! TLS of one listener: what its files make, and the handshake with a client.

use super::challenges::Challenges;
use super::files::{self, Identity, Warnings};
use super::io::TlsIo;
use super::names::Names;
use super::provider;
use super::subject::subject;
use super::tickets::Tickets;
use super::watched::{Refreshed, Seen, Watched};
use crate::config::{
    Acme, At, CertificateFiles, ClientCertificates, Fault, ListenerTls, TlsVersion,
};
use crate::model::UnixTime;
use pingora_core::protocols::Stream;
use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{Acceptor, NoServerSessionStorage, WebPkiClientVerifier};
use sha2::{Digest, Sha256};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, LazyConfigAcceptor, TlsAcceptor};

/// Which protocols a listener offers in ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    /// `http/1.1`
    Http1,
    /// `h2`, then `http/1.1`
    Http2,
}

impl Protocols {
    fn alpn(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::Http1 => &[b"http/1.1"],
            Self::Http2 => &[b"h2", b"http/1.1"],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }
}

/// Why a client was not let in.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It took too long.
    #[error("the handshake took too long")]
    TooSlow,
    /// It broke off, or the two found nothing in common.
    #[error("{0}")]
    Failed(#[from] io::Error),
    /// It was an authority that has come for its challenge, which it got. Nothing else is said.
    #[error("an authority has come for its challenge")]
    Challenge,
}

/// What was made of the files.
#[derive(Debug)]
struct InForce {
    config: Arc<ServerConfig>,
    /// Each certificate's first name, and when it ends.
    ends: Vec<(String, i64)>,
}

/// What a look at the files has led to.
struct Built {
    in_force: InForce,
    warnings: Warnings,
    /// What is wrong with a file of our own, which is no fault of the operator's.
    damaged: Option<Fault>,
}

/// TLS of one listener.
#[derive(Debug)]
pub struct Inbound {
    written: ListenerTls,
    /// Whose ticket keys these are.
    listener: Box<str>,
    protocols: Protocols,
    current: Watched<InForce>,
}

impl Inbound {
    /// Reads the files. `listener` names it; its session tickets are kept under that name.
    ///
    /// # Errors
    /// The first fault of each file.
    pub fn load(
        written: &ListenerTls,
        listener: &str,
        protocols: Protocols,
        tickets: &Tickets,
        now: UnixTime,
    ) -> Result<(Self, Warnings), Vec<Fault>> {
        let files = paths(written);
        let seen = Seen::now(&files);
        let Built { in_force, mut warnings, damaged } =
            build(written, listener, protocols, tickets, now)?;
        warnings.extend(damaged);
        let current = Watched::new(in_force, files, seen);
        let written = written.clone();
        Ok((Self { written, listener: listener.into(), protocols, current }, warnings))
    }

    /// Reads the files again if they have changed. New connections get what they hold; faults
    /// change nothing.
    pub fn refresh(&self, tickets: &Tickets, now: UnixTime) -> Refreshed<Vec<Fault>> {
        self.current.refresh(|| {
            let built = build(&self.written, &self.listener, self.protocols, tickets, now)?;
            // what is in force is better than nothing
            built.damaged.map_or(Ok(built.in_force), |fault| Err(vec![fault]))
        })
    }

    /// The certificate that the gateway is to get for this listener, if any.
    pub fn acme(&self) -> Option<&Acme> {
        self.written.acme.as_ref()
    }

    /// The first name of each certificate in force, and when it ends, in seconds since 1970.
    pub fn ends(&self) -> Vec<(String, i64)> {
        self.current.load().ends.clone()
    }

    /// The header that tells backends a client's subject, in lower case.
    pub fn subject_header(&self) -> Option<&str> {
        let header = &self.written.clients.as_ref()?.header;
        (!header.is_empty()).then_some(header)
    }

    /// Shakes hands with a client, or shows an authority one of `challenges`. Runs in the task of its
    /// connection, so nobody else waits.
    ///
    /// # Errors
    /// Whatever ends it. The client has been told, where TLS has a word for it.
    pub async fn accept(
        &self,
        stream: Stream,
        limit: Duration,
        challenges: &Challenges,
    ) -> Result<TlsIo, HandshakeError> {
        let config = Arc::clone(&self.current.load().config);
        let handshake = async {
            if !challenges.any_by_tls() {
                return finish(TlsAcceptor::from(config).accept(stream)).await;
            }
            let started = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
            let Some(proof) = challenges.by_tls(&started.client_hello()) else {
                return finish(started.into_stream(config)).await;
            };
            let mut stream = finish(started.into_stream(proof)).await?;
            let _ = stream.shutdown().await;
            Err(HandshakeError::Challenge)
        };
        let shaken = tokio::time::timeout(limit, handshake).await;
        let stream = shaken.map_err(|_| HandshakeError::TooSlow)??;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let subject = shown.and_then(|certificate| subject(certificate));
        let header = self.subject_header().map(str::to_owned);
        Ok(TlsIo::new(stream.into(), subject.zip(header)))
    }
}

/// Waits for the end of a handshake.
async fn finish(accept: Accept<Stream>) -> Result<TlsStream<Stream>, HandshakeError> {
    let (why, mut stream) = match accept.into_fallible().await {
        Ok(stream) => return Ok(stream),
        Err(failed) => failed,
    };
    // the alert is still in the buffer of the connection
    if stream.flush().await.is_ok() {
        let _ = stream.shutdown().await;
    }
    Err(HandshakeError::Failed(why))
}

fn paths(written: &ListenerTls) -> Vec<PathBuf> {
    let pairs = written.certificates.iter();
    let pairs = pairs.flat_map(|pair| [pair.cert.value.clone(), pair.key.value.clone()]);
    let clients = written.clients.iter().map(|clients| clients.ca.value.clone());
    pairs.chain(clients).chain(written.acme.iter().map(Acme::file)).collect()
}

fn build(
    written: &ListenerTls,
    listener: &str,
    protocols: Protocols,
    tickets: &Tickets,
    now: UnixTime,
) -> Result<Built, Vec<Fault>> {
    let (mut identities, mut warnings, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for pair in &written.certificates {
        match Identity::read(pair, now, &mut warnings) {
            Ok(identity) => identities.push(identity),
            Err(fault) => faults.push(fault),
        }
    }
    let mut damaged = None;
    if let Some(acme) = &written.acme {
        if let Some(Err(fault)) = acme.ca.as_ref().map(files::vouching) {
            faults.push(fault);
        }
        let own = acme.file();
        // absent: it is still to come
        if own.try_exists().unwrap_or(false) {
            let own = At { value: own, at: acme.at.at.clone() };
            let own = CertificateFiles { cert: own.clone(), key: own };
            match Identity::read(&own, now, &mut warnings) {
                Ok(identity) => identities.push(identity),
                Err(fault) => damaged = Some(fault),
            }
        }
    }
    let clients = written.clients.as_ref().map(verifier).transpose();
    let (clients, who) = match clients {
        Ok(clients) => clients.unzip(),
        Err(fault) => {
            faults.push(fault);
            (None, None)
        }
    };
    if !faults.is_empty() {
        return Err(faults);
    }
    let config = configure(written, Names::new(&identities), clients).map(|mut config| {
        config.alpn_protocols = protocols.alpn();
        config.ticketer = tickets.of(listener, who.unwrap_or_default());
        // tickets do, and need no memory
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config
    });
    let at = written.certificates.first().map(|pair| &pair.cert.at);
    let at = at.or_else(|| written.acme.as_ref().map(|acme| &acme.at.at));
    let ends =
        |identity: &Identity| (identity.names.first().cloned().unwrap_or_default(), identity.until);
    let ends = identities.iter().map(ends).collect();
    match (config, at) {
        (Ok(config), _) => {
            let in_force = InForce { config: Arc::new(config), ends };
            Ok(Built { in_force, warnings, damaged })
        }
        (Err(why), Some(at)) => Err(vec![at.fault(format!("TLS cannot be set up: {why}"), "")]),
        (Err(_), None) => Err(Vec::new()),
    }
}

fn configure(
    written: &ListenerTls,
    names: Names,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, rustls::Error> {
    let both = [&rustls::version::TLS13, &rustls::version::TLS12];
    let versions = match written.min_version {
        TlsVersion::Tls12 => &both[..],
        TlsVersion::Tls13 => both.get(..1).unwrap_or_default(),
    };
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(versions)?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    };
    Ok(builder.with_cert_resolver(Arc::new(names)))
}

/// What verifies clients, and a digest of whom it lets in.
fn verifier(
    clients: &ClientCertificates,
) -> Result<(Arc<dyn ClientCertVerifier>, [u8; 32]), Fault> {
    let certificates = files::certificates(&clients.ca)?;
    let mut who = Sha256::new_with_prefix([u8::from(clients.required)]);
    for certificate in &certificates {
        who.update((certificate.len() as u64).to_be_bytes());
        who.update(certificate);
    }
    let roots = Arc::new(files::roots(&clients.ca, &certificates)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    let built = builder
        .build()
        .map_err(|why| clients.ca.at.fault(format!("cannot vouch for clients: {why}"), ""))?;
    Ok((built, who.finalize().into()))
}
