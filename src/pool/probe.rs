//! What one health check does on the wire. On a connection of its own, never a kept one, which
//! would hide that nobody can connect. Pingora's own checks are not used: each of them builds a
//! connector that reads all authorities of the machine.

use super::member::Member;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::protocols::{Stream, l4};
use pingora_core::{Error, ErrorType, OrErr, Result};
use tokio::net::TcpStream;

/// Connects to a backend, by TLS where its service does.
pub(super) async fn connect(member: &Member) -> Result<Stream> {
    let connected = TcpStream::connect(member.backend.address).await;
    let stream = connected.or_err(ErrorType::ConnectError, "health check")?;
    stream.set_nodelay(true).or_err(ErrorType::ConnectError, "health check")?;
    let stream: Stream = Box::new(l4::stream::Stream::from(stream));
    let Some(encryption) = member.encryption() else { return Ok(stream) };
    let shaken = encryption.tls.connect(stream, &encryption.name).await;
    Ok(Box::new(shaken.or_err(ErrorType::TLSHandshakeFailure, "health check")?))
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
