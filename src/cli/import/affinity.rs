//! Session affinity as either gateway writes it, and as our language does. Both have the same four
//! policies; they differ in where they are written and in what a hashed key is made of.

use super::page::{Page, list, scalar};
use super::section::Section;
use super::{Feature, Import, ImportError, time_span};
use std::time::Duration;

/// Browsers count in seconds.
const SECOND: Duration = Duration::from_secs(1);

/// What binds the clients of a cluster.
pub(super) struct Sticky {
    policy: Policy,
    /// Of the cookie or of the header.
    name: String,
    over: Over,
    rejects: bool,
    cookie: Cookie,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    HashCookie,
    ArrCookie,
    Cookie,
    CustomHeader,
}

/// What a hashed key is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Id,
    Address,
}

struct Cookie {
    domain: Option<String>,
    expires: Option<Duration>,
    extensions: Vec<String>,
    http_only: bool,
    is_essential: bool,
    max_age: Option<Duration>,
    path: String,
    same_site: SameSite,
    secure: Secure,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SameSite {
    Unspecified,
    None,
    Lax,
    Strict,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Secure {
    Never,
    Always,
    Auto,
}

/// The keys of the cookie's settings.
struct CookieKeys {
    domain: &'static str,
    expires: &'static str,
    extensions: &'static str,
    http_only: &'static str,
    is_essential: &'static str,
    max_age: &'static str,
    path: &'static str,
    same_site: &'static str,
    /// The second name is the longer of `VKProxy`.
    secure: [&'static str; 2],
}

const IN_YARP: CookieKeys = CookieKeys {
    domain: "Domain",
    expires: "Expiration",
    extensions: "Extensions",
    http_only: "HttpOnly",
    is_essential: "IsEssential",
    max_age: "MaxAge",
    path: "Path",
    same_site: "SameSite",
    secure: ["SecurePolicy", "Secure"],
};

const IN_VKPROXY: CookieKeys = CookieKeys {
    domain: "CookieDomain",
    expires: "CookieExpires",
    extensions: "CookieExtensions",
    http_only: "CookieHttpOnly",
    is_essential: "CookieIsEssential",
    max_age: "CookieMaxAge",
    path: "CookiePath",
    same_site: "CookieSameSite",
    secure: ["CookieSecure", "CookieSecurePolicy"],
};

/// `SessionAffinity` of a cluster.
pub(super) fn of_yarp(cluster: &mut Section) -> Result<Option<Sticky>, ImportError> {
    let Some(mut section) = cluster.optional("SessionAffinity")? else { return Ok(None) };
    if section.flag("Enabled")? != Some(true) {
        return Ok(None);
    }
    let policy = section.parsed("Policy", POLICIES, policy)?.unwrap_or(Policy::HashCookie);
    let name = section.text("AffinityKeyName")?;
    if name.is_none() {
        let stand_in = default_name(policy);
        let text = format!("`AffinityKeyName` is missing: `{stand_in}` stands in");
        section.import.warn(format!("{}: {text}", section.path));
    }
    let failure = "Redistribute or Return503Error";
    let rejects = section.parsed("FailurePolicy", failure, |text| {
        match text.to_ascii_lowercase().as_str() {
            "redistribute" => Some(false),
            "return503error" => Some(true),
            _ => None,
        }
    })?;
    Ok(Some(Sticky {
        policy,
        name: name.unwrap_or(default_name(policy)).to_owned(),
        over: Over::Id,
        rejects: rejects.unwrap_or(false),
        cookie: cookie(&mut section.section("Cookie")?, &IN_YARP)?,
    }))
}

/// The keys of spec 5 in the metadata of a cluster.
pub(super) fn of_vkproxy(metadata: &mut Section) -> Result<Option<Sticky>, ImportError> {
    let Some(policy) = metadata.parsed("SessionAffinity", POLICIES, policy)? else {
        return Ok(None);
    };
    let name = metadata.text("SessionAffinityKey")?.unwrap_or(default_name(policy)).to_owned();
    let cookie = cookie(metadata, &IN_VKPROXY)?;
    Ok(Some(Sticky { policy, name, over: Over::Address, rejects: false, cookie }))
}

const POLICIES: &str = "HashCookie, ArrCookie, Cookie or CustomHeader";

fn policy(text: &str) -> Option<Policy> {
    match text.to_ascii_lowercase().as_str() {
        "hashcookie" => Some(Policy::HashCookie),
        "arrcookie" => Some(Policy::ArrCookie),
        "cookie" => Some(Policy::Cookie),
        "customheader" => Some(Policy::CustomHeader),
        _ => None,
    }
}

/// Spec 5's.
fn default_name(policy: Policy) -> &'static str {
    match policy {
        Policy::CustomHeader => "x-sessionaffinity",
        Policy::HashCookie | Policy::ArrCookie | Policy::Cookie => "SessionAffinity",
    }
}

fn cookie(section: &mut Section, keys: &CookieKeys) -> Result<Cookie, ImportError> {
    let same_site = "Unspecified, None, Lax or Strict";
    let [secure, secure_policy] = keys.secure;
    let security = "true, false, Always, None or SameAsRequest";
    let secure = match section.parsed(secure, security, security_of)? {
        Some(secure) => Some(secure),
        None => section.parsed(secure_policy, security, security_of)?,
    };
    let extensions = section.texts(keys.extensions)?;
    let extensions = extensions.iter().flat_map(|text| text.split(';')).map(str::trim);
    let (spoken_for, extensions): (Vec<_>, Vec<_>) =
        extensions.filter(|e| !e.is_empty()).partition(|extension| has_a_key(extension));
    for extension in spoken_for {
        let path = &section.path;
        section.import.warn(format!("{path}: {extension} is left out: it has a key of its own"));
    }
    Ok(Cookie {
        domain: section.text(keys.domain)?.map(str::to_owned),
        expires: section.time(keys.expires, SECOND)?,
        extensions: extensions.into_iter().map(str::to_owned).collect(),
        http_only: section.flag(keys.http_only)?.unwrap_or(true),
        is_essential: section.flag(keys.is_essential)?.unwrap_or(false),
        max_age: section.time(keys.max_age, SECOND)?,
        path: section.text(keys.path)?.unwrap_or("/").to_owned(),
        same_site: section
            .parsed(keys.same_site, same_site, same_site_of)?
            .unwrap_or(SameSite::Unspecified),
        secure: secure.unwrap_or(Secure::Never),
    })
}

/// Whether an attribute is set by another key of the cookie.
fn has_a_key(extension: &str) -> bool {
    let keys = ["path", "domain", "max-age", "expires", "secure", "httponly", "samesite"];
    let name = extension.split('=').next().unwrap_or_default();
    keys.iter().any(|key| name.trim().eq_ignore_ascii_case(key))
}

impl Cookie {
    fn is_partitioned(&self) -> bool {
        self.extensions.iter().any(|extension| extension.eq_ignore_ascii_case("partitioned"))
    }
}

fn same_site_of(text: &str) -> Option<SameSite> {
    match text.to_ascii_lowercase().as_str() {
        "unspecified" | "-1" => Some(SameSite::Unspecified),
        "none" | "0" => Some(SameSite::None),
        "lax" | "1" => Some(SameSite::Lax),
        "strict" | "2" => Some(SameSite::Strict),
        _ => None,
    }
}

fn security_of(text: &str) -> Option<Secure> {
    match text.to_ascii_lowercase().as_str() {
        "sameasrequest" | "0" => Some(Secure::Auto),
        "always" | "true" | "1" => Some(Secure::Always),
        "none" | "false" | "2" => Some(Secure::Never),
        _ => None,
    }
}

impl Sticky {
    /// Whether the old gateway sealed its keys.
    pub(super) fn is_sealed(&self) -> bool {
        matches!(self.policy, Policy::Cookie | Policy::CustomHeader)
    }

    /// Whether its keys mean the same here.
    pub(super) fn is_read(&self, import: &Import) -> bool {
        let over = self.over == Over::Id || import.has(Feature::KeyOver);
        !self.is_sealed() && self.is_built(import) && over
    }

    pub(super) fn is_over_address(&self) -> bool {
        self.over == Over::Address
    }

    fn is_built(&self, import: &Import) -> bool {
        match self.policy {
            Policy::Cookie => true,
            Policy::HashCookie => import.has(Feature::HashCookie),
            Policy::ArrCookie => import.has(Feature::ArrCookie),
            Policy::CustomHeader => import.has(Feature::CustomHeader),
        }
    }

    fn policy_name(&self) -> &'static str {
        match self.policy {
            Policy::Cookie => "Cookie",
            Policy::HashCookie => "HashCookie",
            Policy::ArrCookie => "ArrCookie",
            Policy::CustomHeader => "CustomHeader",
        }
    }
}

/// `sessionAffinity:` and all below it; only comments where nothing of it is built.
pub(super) fn write(cluster: &Section, sticky: &Sticky) -> Page {
    let mut out = Out { page: Page::default(), cluster };
    let policy = sticky.policy_name();
    let name = scalar(&sticky.name);
    if sticky.policy == Policy::CustomHeader && !sticky.is_built(cluster.import) {
        let ours = format!("sessionAffinity: {{ policy: {policy}, headerName: {name} }}");
        out.not_yet(0, &ours, "; its clients are not bound");
        return out.page;
    }
    out.page.line(0, "sessionAffinity:");
    if sticky.is_built(cluster.import) {
        out.page.line(1, format!("policy: {policy}"));
    } else {
        out.not_yet(1, &format!("policy: {policy}"), "; a sealed cookie stands in");
    }
    if !sticky.is_sealed() {
        let over = if sticky.is_over_address() { "address" } else { "id" };
        out.key(1, Feature::KeyOver, &format!("keyOver: {over}"), "");
    }
    if sticky.rejects {
        let then = "; such clients are bound anew";
        out.key(1, Feature::Reject, "onMissing: reject", then);
        out.key(1, Feature::Reject, "onUnhealthy: reject", then);
    }
    if sticky.policy == Policy::CustomHeader {
        out.page.line(1, format!("headerName: {name}"));
    } else {
        out.page.line(1, "cookie:");
        out.page.line(2, format!("name: {name}"));
        out.cookie(&sticky.cookie);
    }
    if sticky.is_sealed() || !sticky.is_built(cluster.import) {
        cluster.import.warn(
            "keys that are sealed here end after 30m of silence and after 8h in all, those of the \
             old gateway never did: set `sessionAffinity.idleTimeout` and `absoluteTimeout` where \
             that is too short",
        );
    }
    out.page
}

struct Out<'a> {
    page: Page,
    cluster: &'a Section<'a>,
}

impl Out<'_> {
    fn not_yet(&mut self, depth: usize, ours: &str, then: &str) {
        let key = if self.cluster.says("SessionAffinity") { "SessionAffinity" } else { "Metadata" };
        self.cluster.not_yet(&mut self.page, depth, key, ours, then);
    }

    /// A key, or a comment while it is not built.
    fn key(&mut self, depth: usize, feature: Feature, ours: &str, then: &str) {
        if self.cluster.import.has(feature) {
            self.page.line(depth, ours);
        } else {
            self.not_yet(depth, ours, then);
        }
    }

    fn cookie(&mut self, cookie: &Cookie) {
        self.page.line(2, format!("path: {}", scalar(&cookie.path)));
        if let Some(domain) = &cookie.domain {
            self.page.line(2, format!("domain: {}", scalar(domain)));
        }
        if let Some(age) = cookie.max_age {
            self.page.line(2, format!("maxAge: {}", time_span::in_words(age)));
        }
        if let Some(life) = cookie.expires {
            let expires = format!("expires: {}", time_span::in_words(life));
            self.key(2, Feature::CookieExpires, &expires, "");
        }
        self.page.line(2, format!("httpOnly: {}", cookie.http_only));
        self.security(cookie);
        if cookie.is_essential {
            self.key(2, Feature::CookieIsEssential, "isEssential: true", "");
        }
        if !cookie.extensions.is_empty() {
            let extensions = list(cookie.extensions.iter().map(String::as_str));
            let extensions = format!("extensions: {extensions}");
            self.key(2, Feature::CookieExtensions, &extensions, "");
        }
    }

    fn security(&mut self, cookie: &Cookie) {
        let secure = match cookie.secure {
            Secure::Never if cookie.same_site == SameSite::None || cookie.is_partitioned() => {
                let path = &self.cluster.path;
                self.cluster.import.warn(format!(
                    "{path}: browsers drop a cookie with `SameSite=None` or `Partitioned` that is not \
                     Secure: `secure: auto` stands in"
                ));
                "auto"
            }
            Secure::Never => "false",
            Secure::Always => "true",
            Secure::Auto => "auto",
        };
        self.page.line(2, format!("secure: {secure}"));
        match cookie.same_site {
            SameSite::Unspecified => {
                let feature = Feature::SameSiteUnspecified;
                self.key(2, feature, "sameSite: unspecified", "; lax stands in");
            }
            SameSite::None => self.page.line(2, "sameSite: none"),
            SameSite::Lax => self.page.line(2, "sameSite: lax"),
            SameSite::Strict => self.page.line(2, "sameSite: strict"),
        }
    }
}
