//! The `Set-Cookie` value: all that does not change is laid out once, when the snapshot is made.

/// The attributes of the cookie of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetCookie {
    /// `name=`
    start: Box<str>,
    /// Attributes for a client that came by http.
    plain: Box<str>,
    /// Attributes for a client that came by https.
    secure: Box<str>,
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
    /// `SameSite`
    pub same_site: cookie::SameSite,
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
            let written = cookie.to_string();
            written.strip_prefix("k=").unwrap_or_default().into()
        };
        Self {
            start: format!("{name}=").into(),
            plain: lay_out(attributes.secure_on_http),
            secure: lay_out(attributes.secure_on_https),
        }
    }

    /// The whole value for `key`.
    pub fn value(&self, key: &str, https: bool) -> String {
        let attributes = if https { &self.secure } else { &self.plain };
        [&self.start, key, attributes].concat()
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
                same_site: cookie::SameSite::Lax,
            },
        );
        assert_eq!(
            set.value("KEY", false),
            "gateway-backend=KEY; HttpOnly; SameSite=Lax; Path=/shop; Domain=example.com; Max-Age=3600"
        );
        assert!(set.value("KEY", true).contains("; Secure"));
    }
}
