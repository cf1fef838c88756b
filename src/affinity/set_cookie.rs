//! The `Set-Cookie` value: all that does not change is laid out once, when the snapshot is made.

use crate::model::UnixTime;
use std::time::{Duration, UNIX_EPOCH};

/// The attributes of the cookie of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetCookie {
    /// `name=`
    start: Box<str>,
    /// Attributes for a client that came by http.
    plain: Box<str>,
    /// Attributes for a client that came by https.
    secure: Box<str>,
    /// `Expires`, in seconds after the response.
    expires: Option<u32>,
}

/// What the operator says of the cookie.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    /// `Path`
    pub path: &'a str,
    /// `Domain`; empty for none.
    pub domain: &'a str,
    /// `Max-Age` in seconds.
    pub max_age: Option<u64>,
    /// `HttpOnly`
    pub http_only: bool,
    /// `Secure` for a client that came by http.
    pub secure_on_http: bool,
    /// `Secure` for a client that came by https.
    pub secure_on_https: bool,
    /// `SameSite`; `None` for the browser's default.
    pub same_site: Option<cookie::SameSite>,
    /// `Expires`, in seconds after the response.
    pub expires: Option<u32>,
    /// Further attributes, as they are written.
    pub extensions: &'a [String],
}

impl SetCookie {
    /// Lays out the value for a cookie called `name`.
    pub fn new(name: &str, attributes: &Attributes<'_>) -> Self {
        let lay_out = |secure: bool| {
            let mut cookie = cookie::Cookie::new("k", "");
            cookie.set_path(attributes.path);
            if !attributes.domain.is_empty() {
                cookie.set_domain(attributes.domain);
            }
            let max_age = attributes.max_age.and_then(|seconds| i64::try_from(seconds).ok());
            cookie.set_max_age(max_age.map(cookie::time::Duration::seconds));
            cookie.set_http_only(attributes.http_only);
            cookie.set_same_site(attributes.same_site);
            cookie.set_secure(secure);
            let mut written = cookie.to_string();
            for extension in attributes.extensions {
                written.extend(["; ", extension]);
            }
            written.strip_prefix("k=").unwrap_or_default().into()
        };
        Self {
            start: format!("{name}=").into(),
            plain: lay_out(attributes.secure_on_http),
            secure: lay_out(attributes.secure_on_https),
            expires: attributes.expires,
        }
    }

    /// The whole value for `key`, on a response of `now`.
    pub fn value(&self, key: &str, https: bool, now: UnixTime) -> String {
        let (attributes, expires) = self.attributes(https, now);
        [&self.start, key, attributes, &expires].concat()
    }

    /// The same attributes for another cookie.
    pub fn named(&self, name: &[u8], value: &[u8], https: bool, now: UnixTime) -> Vec<u8> {
        let (attributes, expires) = self.attributes(https, now);
        [name, b"=", value, attributes.as_bytes(), expires.as_bytes()].concat()
    }

    /// The value that takes the cookie back.
    pub fn clearing(&self, https: bool) -> String {
        self.clear(&self.start, https)
    }

    /// The value that takes a cookie back that had the same attributes under another name.
    pub fn clearing_as(&self, name: &str, https: bool) -> String {
        self.clear(&format!("{name}="), https)
    }

    fn clear(&self, start: &str, https: bool) -> String {
        let attributes = if https { &self.secure } else { &self.plain };
        let kept = attributes.split("; ").filter(|text| !text.starts_with("Max-Age="));
        let kept: Vec<&str> = kept.collect();
        [start, &*kept.join("; "), "; Max-Age=0"].concat()
    }

    fn attributes(&self, https: bool, now: UnixTime) -> (&str, String) {
        let expires = self.expires.map(|after| {
            let end = Duration::from_secs(u64::from(now.0) + u64::from(after));
            format!("; Expires={}", httpdate::fmt_http_date(UNIX_EPOCH + end))
        });
        (if https { &self.secure } else { &self.plain }, expires.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_laid_out_and_secure_follows_the_scheme() {
        let set = SetCookie::new(
            "gateway-backend",
            &Attributes {
                path: "/shop",
                domain: "example.com",
                max_age: Some(3600),
                http_only: true,
                secure_on_http: false,
                secure_on_https: true,
                same_site: Some(cookie::SameSite::Lax),
                expires: None,
                extensions: &[],
            },
        );
        assert_eq!(
            set.value("KEY", false, UnixTime(0)),
            "gateway-backend=KEY; HttpOnly; SameSite=Lax; Path=/shop; Domain=example.com; Max-Age=3600"
        );
        assert!(set.value("KEY", true, UnixTime(0)).contains("; Secure"));
    }

    #[test]
    fn expiry_is_computed_for_each_response_and_extensions_come_as_written() {
        let extensions = ["Partitioned".to_owned(), "Priority=High".to_owned()];
        let set = SetCookie::new(
            "n",
            &Attributes {
                path: "/",
                domain: "",
                max_age: None,
                http_only: true,
                secure_on_http: true,
                secure_on_https: true,
                same_site: None,
                expires: Some(13),
                extensions: &extensions,
            },
        );
        assert_eq!(
            set.value("K", false, UnixTime(784_111_764)),
            "n=K; HttpOnly; Secure; Path=/; Partitioned; Priority=High; Expires=Sun, 06 Nov 1994 08:49:37 GMT"
        );
    }
}
