//! An encrypted connection as Pingora sees one.

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use rustls::{CommonState, HandshakeKind};
use std::io::{ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsStream;

/// An encrypted connection, of either side.
#[derive(Debug)]
pub struct TlsIo {
    stream: TlsStream<Stream>,
    digest: Arc<SslDigest>,
}

/// What a handshake with a client has told. Travels in Pingora's digest, which reaches the hooks of
/// HTTP/1.1 and HTTP/2 alike; it has no field of ours, so two of its own are given a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secured<'a> {
    /// The subject of the client's certificate, and the header that tells it to the backend.
    pub subject: Option<(&'a str, &'a str)>,
}

impl<'a> Secured<'a> {
    /// Out of the digest of a connection of ours.
    pub fn of(digest: &'a SslDigest) -> Self {
        let subject = digest.organization.as_deref().zip(digest.serial_number.as_deref());
        Self { subject }
    }
}

impl TlsIo {
    /// `subject`: of the client's certificate, with the header that tells it to the backend.
    pub(super) fn new(stream: TlsStream<Stream>, subject: Option<(String, String)>) -> Self {
        let (subject, header) = subject.unzip();
        let state = state(&stream);
        let cipher = state.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        let version = state.protocol_version().and_then(|version| version.as_str());
        let digest = SslDigest::new(
            cipher.unwrap_or_default(),
            version.unwrap_or_default(),
            subject,
            header,
            Vec::new(),
        );
        Self { stream, digest: Arc::new(digest) }
    }

    /// Whether the client has come back with a ticket.
    pub fn was_resumed(&self) -> bool {
        state(&self.stream).handshake_kind() == Some(HandshakeKind::Resumed)
    }

    fn below(&self) -> &Stream {
        self.stream.get_ref().0
    }
}

fn state(stream: &TlsStream<Stream>) -> &CommonState {
    stream.get_ref().1
}

impl AsyncRead for TlsIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        read.map(|read| match read {
            // many clients just hang up; where a message ends, HTTP says itself
            Err(why) if why.kind() == ErrorKind::UnexpectedEof => Ok(()),
            other => other,
        })
    }
}

impl AsyncWrite for TlsIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for TlsIo {
    async fn shutdown(&mut self) {
        // the other side may be gone
        let _ = AsyncWriteExt::shutdown(&mut self.stream).await;
    }
}

impl UniqueID for TlsIo {
    fn id(&self) -> UniqueIDType {
        self.below().id()
    }
}

impl Ssl for TlsIo {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        Some(Arc::clone(&self.digest))
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match state(&self.stream).alpn_protocol()? {
            b"h2" => Some(ALPN::H2),
            _ => Some(ALPN::H1),
        }
    }
}

impl GetTimingDigest for TlsIo {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.below().get_timing_digest()
    }
}

impl GetProxyDigest for TlsIo {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.below().get_proxy_digest()
    }
}

impl GetSocketDigest for TlsIo {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.below().get_socket_digest()
    }
}

/// Nothing to look ahead for: HTTP/2 is agreed upon by ALPN.
impl Peek for TlsIo {}
