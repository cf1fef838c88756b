//! What one health check does on the wire. On a connection of its own, never a kept one, which
//! would hide that nobody can connect. Pingora's own checks are not used: each of them builds a
//! connector that reads all authorities of the machine.

use super::member::Member;
use super::tongue::Tongue;
use super::wire::connect_unix;
use crate::model::Address;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::protocols::{Stream, l4};
use pingora_core::{Error, ErrorType, OrErr, Result};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Connects to a backend, by TLS where its service does.
pub(super) async fn connect(member: &Member, tongue: Tongue) -> Result<Stream> {
    let mut stream =
        reach(&member.backend.address).await.or_err(ErrorType::ConnectError, "health check")?;
    if let Some(header) = tongue.own_header() {
        stream.write_all(&header).await.or_err(ErrorType::ConnectError, "health check")?;
        stream.flush().await.or_err(ErrorType::ConnectError, "health check")?;
    }
    let stream: Stream = Box::new(stream);
    let Some(encryption) = member.encryption() else { return Ok(stream) };
    let shaken = encryption.tls.connect(stream, &encryption.name, tongue.http2).await;
    Ok(Box::new(shaken.or_err(ErrorType::TLSHandshakeFailure, "health check")?))
}

async fn reach(address: &Address) -> std::io::Result<l4::stream::Stream> {
    match address {
        Address::Inet(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream.into())
        }
        Address::Unix(path) => Ok(connect_unix(&**path).await?.into()),
    }
}

/// Asks for `path` and reads the whole answer, whose header `validate` judges.
pub(super) async fn get(
    stream: Stream,
    path: &str,
    validate: impl FnOnce(&ResponseHeader) -> Result<()>,
) -> Result<()> {
    let mut session = HttpSession::new(stream);
    let mut request = RequestHeader::build("GET", path.as_bytes(), None)?;
    request.append_header("Host", "health-check")?;
    session.write_request_header(Box::new(request)).await?;
    session.read_response().await?;
    match session.resp_header() {
        Some(header) => validate(header)?,
        None => return Error::e_explain(ErrorType::InvalidHTTPHeader, "health check"),
    }
    while session.read_body_bytes().await?.is_some() {}
    Ok(())
}

/// The same by HTTP/2.
pub(super) async fn get_by_http2(
    stream: Stream,
    path: &str,
    validate: impl FnOnce(&ResponseHeader) -> Result<()>,
) -> Result<()> {
    let failed = || "health check";
    let uri = format!("http://health-check{path}");
    let request = http::Request::get(uri).body(());
    let request = request.or_err_with(ErrorType::InvalidHTTPHeader, failed)?;
    let shaken = h2::client::handshake(stream).await;
    let (sender, connection) = shaken.or_err_with(ErrorType::H2Error, failed)?;
    let exchange = async {
        let mut sender = sender.ready().await.or_err_with(ErrorType::H2Error, failed)?;
        let sent = sender.send_request(request, true);
        let (answer, _) = sent.or_err_with(ErrorType::H2Error, failed)?;
        let (header, mut body) = answer.await.or_err_with(ErrorType::H2Error, failed)?.into_parts();
        validate(&header.into())?;
        while let Some(part) = body.data().await {
            let part = part.or_err_with(ErrorType::H2Error, failed)?;
            let freed = body.flow_control().release_capacity(part.len());
            freed.or_err_with(ErrorType::H2Error, failed)?;
        }
        Ok(())
    };
    tokio::select! {
        biased;
        asked = exchange => asked,
        ended = connection => {
            ended.or_err_with(ErrorType::H2Error, failed)?;
            Error::e_explain(ErrorType::ConnectionClosed, "health check")
        }
    }
}
