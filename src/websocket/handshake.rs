//! What a request asks for, and the request as the backend gets it. Pingora does the same for its
//! own tunnel, out of reach.

use crate::model::Fields;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Version};
use pingora::http::RequestHeader;
use smallvec::SmallVec;

/// Fields of one connection that `Connection` need not name.
const OF_THE_CONNECTION: [HeaderName; 9] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    CONNECTION,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];
/// Names in `Connection`, at most.
const MAX_NOMINATED: usize = 32;
/// Fields that a client must not take away by naming them in `Connection`.
const KEPT: [&str; 4] = ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// No WebSocket.
    Nothing,
    /// A WebSocket.
    WebSocket,
    /// It names one, but not as a handshake does (RFC 6455 §4.1), so it is a usual request.
    Malformed,
}

/// Tells what a request asks for.
pub fn asks(method: &Method, version: Version, headers: &impl Fields) -> Asks {
    if !has_token(headers, &UPGRADE, b"websocket") {
        return Asks::Nothing;
    }
    let empty = !headers.has(&TRANSFER_ENCODING)
        && headers.all(&CONTENT_LENGTH).all(|length| length == b"0");
    let whole = version == Version::HTTP_11
        && method == Method::GET
        && has_token(headers, &CONNECTION, b"upgrade")
        && empty;
    if whole { Asks::WebSocket } else { Asks::Malformed }
}

/// The elements of a list that may be spread over several lines.
fn tokens<'h>(headers: &'h impl Fields, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    let tokens = headers.all(name).flat_map(|line| line.split(|byte| *byte == b','));
    tokens.map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

fn has_token(headers: &impl Fields, name: &HeaderName, wanted: &[u8]) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

/// `Connection` names what it must not, or no fields at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Connection header names what it must not")]
pub struct Nominated;

/// The handshake for the backend: without what concerns the client's connection alone.
///
/// # Errors
/// [`Nominated`]: the request is malformed.
pub fn for_backend(request: &RequestHeader) -> Result<RequestHeader, Nominated> {
    let mut nominated: SmallVec<[HeaderName; 4]> = SmallVec::new();
    for token in tokens(&request.headers, &CONNECTION) {
        let name = HeaderName::from_bytes(token).map_err(|_| Nominated)?;
        if nominated.len() == MAX_NOMINATED || KEPT.contains(&name.as_str()) {
            return Err(Nominated);
        }
        nominated.push(name);
    }
    let mut request = request.clone();
    for name in nominated.iter().chain(&OF_THE_CONNECTION) {
        request.remove_header(name);
    }
    request.insert_header(CONNECTION, "Upgrade").map_err(|_| Nominated)?;
    request.insert_header(UPGRADE, "websocket").map_err(|_| Nominated)?;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(request: &RequestHeader) -> Asks {
        asks(&request.method, request.version, &request.headers)
    }

    fn request(method: &str, fields: &[(&'static str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build(method, b"/chat", None).unwrap();
        for (name, value) in fields {
            request.append_header(*name, *value).unwrap();
        }
        request
    }

    const BOTH: [(&str, &str); 2] =
        [("Connection", "keep-alive, Upgrade"), ("Upgrade", "WebSocket")];

    #[test]
    fn a_handshake_is_a_get_without_a_body_that_names_the_protocol_and_the_connection() {
        assert_eq!(asked(&request("GET", &BOTH)), Asks::WebSocket);
        assert_eq!(
            asked(&request("GET", &[BOTH[0], ("Upgrade", "h2c, websocket")])),
            Asks::WebSocket
        );
        assert_eq!(asked(&request("GET", &[BOTH[0], ("Upgrade", "h2c")])), Asks::Nothing);
        assert_eq!(asked(&request("GET", &[])), Asks::Nothing);
        assert_eq!(asked(&request("GET", &BOTH[1..])), Asks::Malformed);
        assert_eq!(asked(&request("POST", &BOTH)), Asks::Malformed);
        for body in [("Content-Length", "1"), ("Transfer-Encoding", "chunked")] {
            assert_eq!(asked(&request("GET", &[BOTH[0], BOTH[1], body])), Asks::Malformed);
        }
        let mut old = request("GET", &BOTH);
        old.set_version(Version::HTTP_10);
        assert_eq!(asked(&old), Asks::Malformed);
    }

    #[test]
    fn the_backend_gets_no_field_of_the_clients_connection() {
        let of_client = [
            ("Connection", "Upgrade, X-Mine"),
            ("Upgrade", "websocket"),
            ("X-Mine", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Sec-WebSocket-Key", "k"),
        ];
        let request = for_backend(&request("GET", &of_client)).unwrap();
        let names: Vec<_> = request.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["sec-websocket-key", "connection", "upgrade"]);
        assert_eq!(request.headers["connection"], "Upgrade");
    }

    #[test]
    fn a_client_takes_no_field_away_that_tells_of_it() {
        for nominated in ["upgrade, X-Forwarded-For", "upgrade, Host", "upgrade, \"x\""] {
            let fields = [("Connection", nominated), ("Upgrade", "websocket")];
            assert!(for_backend(&request("GET", &fields)).is_err(), "{nominated}");
        }
    }
}
