//! A user agent that speaks TLS.

use super::{Authority, Pair, provider};
use crate::harness::client::Request;
use crate::harness::message::Answer;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, StreamOwned};
use rustls::{SupportedProtocolVersion, version};
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// A client; its connections share their tickets.
#[derive(Clone)]
pub(crate) struct TlsClient {
    to: SocketAddr,
    name: String,
    config: Arc<ClientConfig>,
}

/// One connection.
pub(crate) struct TlsWire {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl TlsClient {
    /// Speaks both versions, asks for `app.test`, trusts this authority.
    pub(crate) fn new(to: SocketAddr, authority: &Authority) -> Self {
        Self::with(to, authority, &[&version::TLS12, &version::TLS13], None)
    }

    /// Speaks only some versions, and may show a certificate.
    pub(crate) fn with(
        to: SocketAddr,
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
        shows: Option<&Pair>,
    ) -> Self {
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(authority.roots());
        let config = match shows.map(Pair::der) {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        Self { to, name: "app.test".to_owned(), config: Arc::new(config) }
    }

    /// Asks for another name.
    pub(crate) fn asks_for(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Offers these protocols.
    pub(crate) fn offers(mut self, protocols: &[&str]) -> Self {
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::make_mut(&mut self.config).alpn_protocols = protocols;
        self
    }

    /// Names no host.
    pub(crate) fn without_name(mut self) -> Self {
        Arc::make_mut(&mut self.config).enable_sni = false;
        self
    }

    /// Where it connects.
    pub(crate) fn address(&self) -> SocketAddr {
        self.to
    }

    /// What it asks for.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// As rustls takes it.
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// Connects and shakes hands.
    pub(crate) fn connect(&self) -> io::Result<TlsWire> {
        let tcp = TcpStream::connect(self.to)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(Duration::from_secs(30)))?;
        let name = ServerName::try_from(self.name.clone()).unwrap();
        let session = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        let mut stream = StreamOwned::new(session, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(TlsWire { stream: BufReader::new(stream) })
    }

    /// One request on a connection of its own. A client without a certificate hears of it only now,
    /// in TLS 1.3.
    pub(crate) fn try_get(&self, target: &str) -> io::Result<Answer> {
        self.connect()?.send(&Request::get(target))
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.try_get(target).expect("an answer")
    }
}

impl TlsWire {
    pub(crate) fn send(&mut self, request: &Request) -> io::Result<Answer> {
        self.stream.get_mut().write_all(&request.bytes(&[]))?;
        Answer::read(&mut self.stream, false)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Sends bytes as they are.
    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads as many bytes as there is room for.
    pub(crate) fn read_exact(&mut self, into: &mut [u8]) -> io::Result<()> {
        self.stream.read_exact(into)
    }

    fn session(&self) -> &ClientConnection {
        &self.stream.get_ref().conn
    }

    pub(crate) fn version(&self) -> ProtocolVersion {
        self.session().protocol_version().unwrap()
    }

    pub(crate) fn was_resumed(&self) -> bool {
        self.session().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub(crate) fn protocol(&self) -> Option<&str> {
        self.session().alpn_protocol().map(|name| std::str::from_utf8(name).unwrap())
    }

    /// What the listener has shown.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.session().peer_certificates().unwrap()[0].clone()
    }
}
