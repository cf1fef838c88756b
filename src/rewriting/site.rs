//! Whose a URL is. A key must never reach another site, so this says "ours" only where every
//! browser would agree, and leaves the rest alone.

use url::Url;

/// The URL of the request that is answered, as the client sees it: before a TLS terminator or a
/// path rewrite in between changed it.
#[derive(Clone, Debug)]
pub struct Site {
    url: Url,
    /// `scheme://authority` as most pages write it.
    origin: Box<str>,
}

/// How a URL reference begins.
enum Shape<'r> {
    /// Without scheme and authority: it goes where the base is.
    Relative,
    /// With this authority, after our own scheme or none.
    Authority { authority: &'r str, scheme: bool },
    /// With another scheme, or in a way that browsers and servers may read differently.
    Other,
}

impl Site {
    /// The site of a request to `scheme://authority/path`. `None` unless that is a plain http or
    /// https URL.
    pub fn new(scheme: &str, authority: &str, path: &str) -> Option<Self> {
        let scheme = scheme.to_ascii_lowercase();
        let plain = |b: u8| b.is_ascii_graphic() && !b"/\\?#@".contains(&b);
        let fits = matches!(scheme.as_str(), "http" | "https")
            && !authority.is_empty()
            && authority.bytes().all(plain);
        if !fits || !path.starts_with('/') {
            return None;
        }
        let origin = format!("{scheme}://{authority}");
        let url = Url::parse(&[&origin, path].concat()).ok()?;
        Some(Self { url, origin: origin.into() })
    }

    /// The URL of the page.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Whether a URL reference in this page leads to this site: same scheme, host and port. So
    /// `http` and `https` of one host are two sites: a key never goes over to a plain connection.
    /// An empty reference and a fragment stay in the page, and are no links.
    pub fn is_same_site(&self, reference: &str) -> bool {
        self.owns(reference, true)
    }

    /// The same in a page whose base URL may be another site's.
    pub(super) fn owns(&self, reference: &str, own_base: bool) -> bool {
        let reference = trimmed(reference);
        if reference.is_empty() || reference.starts_with('#') {
            return false;
        }
        match self.shape(reference) {
            Shape::Other => false,
            Shape::Relative => own_base,
            Shape::Authority { scheme: false, .. } if !own_base => false,
            Shape::Authority { authority, scheme } => {
                let written = self.origin.as_bytes();
                if written.get(self.url.scheme().len() + 3..) == Some(authority.as_bytes()) {
                    return true;
                }
                // most other sites are plainly others: that spares the parser
                let normal = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
                let plainly = self.url.host_str() != Some(authority);
                !(plainly && authority.bytes().all(normal))
                    && self.parses_to_this(reference, scheme)
            }
        }
    }

    fn shape<'r>(&self, reference: &'r str) -> Shape<'r> {
        // browsers drop tabs and line ends wherever they stand
        if reference.bytes().any(|b| b.is_ascii_control()) {
            return Shape::Other;
        }
        let end = reference.bytes().position(|b| matches!(b, b'?' | b'#'));
        let head = reference.get(..end.unwrap_or(reference.len())).unwrap_or_default();
        // to browsers a backslash is a slash
        if memchr::memchr(b'\\', head.as_bytes()).is_some() {
            return Shape::Other;
        }
        let (tail, scheme) = match memchr::memchr2(b':', b'/', head.as_bytes()) {
            Some(at) if head.as_bytes().get(at) == Some(&b':') => {
                let (name, tail) = head.split_at(at);
                if !name.eq_ignore_ascii_case(self.url.scheme()) {
                    return Shape::Other;
                }
                (tail.get(1..).unwrap_or_default(), true)
            }
            Some(_) | None => (head, false),
        };
        let Some(tail) = tail.strip_prefix("//") else {
            return if scheme { Shape::Other } else { Shape::Relative };
        };
        let authority = tail.split('/').next().unwrap_or_default();
        let plain = |b: u8| b.is_ascii_graphic() && b != b'@';
        if authority.is_empty() || !authority.bytes().all(plain) {
            return Shape::Other;
        }
        Shape::Authority { authority, scheme }
    }

    /// Asks the WHATWG parser, for another spelling of the same origin.
    fn parses_to_this(&self, reference: &str, scheme: bool) -> bool {
        let url = if scheme { Url::parse(reference) } else { self.url.join(reference) };
        url.is_ok_and(|url| self.is_origin_of(&url))
    }

    /// Whether a parsed URL is of this origin.
    pub(super) fn is_origin_of(&self, url: &Url) -> bool {
        url.scheme() == self.url.scheme()
            && url.host_str() == self.url.host_str()
            && url.port_or_known_default() == self.url.port_or_known_default()
            && url.username().is_empty()
            && url.password().is_none()
    }
}

/// Without what browsers strip at both ends: spaces and control characters.
pub(super) fn trimmed(reference: &str) -> &str {
    reference.trim_matches(|c| c <= ' ')
}

#[cfg(test)]
mod tests;
