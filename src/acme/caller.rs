//! HTTPS to the authority, for `instant-acme`. Its own client takes the trust and the cryptography of
//! the process as they come, and reads answers of any length; this one does neither. A connection
//! for each request: there are a dozen in an order.

use crate::config::Acme;
use crate::tls::{CallerError, caller};
use bytes::Bytes;
use http::header::HOST;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::pki_types::ServerName;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// From the look-up of the host to the last byte.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of an answer: a certificate with its chain has a few thousand.
const MOST_BYTES: usize = 256 << 10;

type Failure = Box<dyn std::error::Error + Send + Sync>;

pub(super) struct Caller {
    tls: TlsConnector,
}

impl Caller {
    /// For the directory of `acme`.
    pub(super) fn new(acme: &Acme) -> Result<Self, CallerError> {
        Ok(Self { tls: caller(acme.ca.as_ref())? })
    }
}

impl HttpClient for Caller {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let tls = self.tls.clone();
        Box::pin(async move {
            let answered = tokio::time::timeout(PATIENCE, exchange(tls, request)).await;
            let late = |_| Error::Other("the authority did not answer in time".into());
            let (parts, body) = answered.map_err(late)?.map_err(Error::Other)?.into_parts();
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}

async fn exchange(
    tls: TlsConnector,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Bytes>, Failure> {
    let uri = std::mem::take(request.uri_mut());
    if uri.scheme() != Some(&Scheme::HTTPS) {
        return Err(format!("{uri} is no https URL").into());
    }
    let authority = uri.authority().ok_or("a URL names no host")?;
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let port = authority.port_u16().unwrap_or(443);
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    *request.uri_mut() = path.parse::<Uri>()?;
    request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);

    let tcp = TcpStream::connect((host.as_str(), port)).await?;
    let stream = tls.connect(ServerName::try_from(host)?, tcp).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // ends with this function
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, MOST_BYTES).collect().await?.to_bytes();
    Ok(Response::from_parts(parts, body))
}
