//! A request to ask about, and how one is put in JSON.

use http::{HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// The request, as a client would send it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Question {
    /// Its path; a query may follow.
    pub path: String,
    /// Its host; a `Host` among the headers comes first.
    pub host: String,
    /// Its method.
    pub method: Method,
    /// Its header fields.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Where the connection comes from.
    pub ip: IpAddr,
}

/// In JSON: all but the path may be left out.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    path: String,
    #[serde(default = "host")]
    host: String,
    #[serde(default = "method")]
    method: String,
    /// Each as `Name: value`.
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default = "ip")]
    ip: IpAddr,
}

fn host() -> String {
    "localhost".to_owned()
}

fn method() -> String {
    Method::GET.to_string()
}

fn ip() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

impl Question {
    /// A header field that is written as `Name: value`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
        let (name, value) = text.split_once(':').ok_or("expected 'Name: value'")?;
        let name = name.trim().parse().map_err(|_| "not a name for a header field")?;
        let value = value.trim().parse().map_err(|_| "not a value of a header field")?;
        Ok((name, value))
    }
}

impl TryFrom<Written> for Question {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { path, host, method, headers, ip } = written;
        let method = method.parse().map_err(|_| format!("method {method}: no method of HTTP"))?;
        // the value may be a key: it is not repeated
        let field = |(nth, text): (usize, &String)| {
            Self::field(text).map_err(|why| format!("headers[{nth}]: {why}"))
        };
        let headers = headers.iter().enumerate().map(field).collect::<Result<_, _>>()?;
        Ok(Self { path, host, method, headers, ip })
    }
}

impl From<Question> for Written {
    fn from(question: Question) -> Self {
        let Question { path, host, method, headers, ip } = question;
        let field = |(name, value): &(HeaderName, HeaderValue)| {
            format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))
        };
        let headers = headers.iter().map(field).collect();
        Self { path, host, method: method.to_string(), headers, ip }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_in_json_needs_a_path_alone_and_comes_back_as_it_was() {
        let least: Question = serde_json::from_str(r#"{ "path": "/cart/1" }"#).unwrap();
        assert_eq!((&*least.host, &least.method, least.ip), ("localhost", &Method::GET, ip()));
        let text =
            r#"{"path":"/x","host":"a","method":"POST","headers":["cookie: a=b"],"ip":"::1"}"#;
        let whole: Question = serde_json::from_str(text).unwrap();
        assert_eq!(whole.headers[0].1, "a=b");
        assert_eq!(serde_json::to_string(&whole).unwrap(), text);
    }

    #[test]
    fn what_no_client_could_send_is_told_without_its_value() {
        let why = |text: &str| serde_json::from_str::<Question>(text).unwrap_err().to_string();
        assert!(why("{}").contains("path"));
        assert!(why(r#"{ "path": "/", "pat": 1 }"#).contains("pat"));
        assert!(why(r#"{ "path": "/", "method": "G T" }"#).contains("no method"));
        let told = why(r#"{ "path": "/", "headers": ["a: b", "secret"] }"#);
        assert!(told.contains("headers[1]") && !told.contains("secret"), "{told}");
    }
}
