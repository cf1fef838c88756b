//! The keys that are not sealed: the plain and hashed ones that a policy of ours writes, and those
//! of the load balancer that was replaced, which are only read, so that a migration logs nobody
//! out. Apart from [`super::sealed`], since these say nothing but which backend it was: whoever
//! knows the formula can make most of them (all but [`Format::Hash`] and [`Format::Caddy`]), so they
//! only ever choose among the backends of the service that the request was routed to.
//!
//! A [`Format`] is what the operator names; a [`Table`] is that format worked out for the backends
//! of one service, so that reading is one look-up that allocates nothing.
//!
//! | Format | Value | Checked against |
//! | --- | --- | --- |
//! | [`Format::Hash`] | 32 hex digits of HMAC-SHA-256(secret, service ‖ 0 ‖ id) | ours |
//! | [`Format::Plain`], [`Format::Envoy`] | base64 of `ip:port`, or of a protobuf message in quotes | Envoy 1.40 |
//! | [`Format::HashCookie`] | 16 hex digits of XXH64 over the upper-cased name | YARP, `VKProxy` |
//! | [`Format::ArrCookie`] | 64 hex digits of SHA-256 over the lower-cased name | YARP |
//! | [`Format::HaProxy`] | `<value>`, `<value>\|<last>\|<first>` or `<value>~<the application's>` | HAProxy 2.6 |
//! | [`Format::Nginx`] | hex MD5 of `ip:port`, or the server's `route` | nginx 1.31 |
//! | [`Format::Traefik`] | 16 hex digits of SHA-256 of the URL | Traefik 3.7 |
//! | [`Format::Caddy`] | hex HMAC-SHA-256(secret, `ip:port`) | Caddy 2.11 |
//! | [`Format::Sozu`] | the operator's `sticky_id` | sozu |
//! | [`Format::Servlet`] | `<session>.<route>` | Tomcat, Apache |

mod digest;
mod envoy;
mod haproxy;
mod table;

pub use table::{Clash, Table};

use crate::model::{Secret, ServiceId, UnixTime};
use std::borrow::Cow;
use std::net::SocketAddr;

/// Longest key that is decoded or looked up, in bytes. What the application keeps in the same
/// cookie does not count.
pub const MAX_KEY: usize = 512;

/// A backend as formats see it.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its name here.
    pub id: &'a str,
    /// Where it listens.
    pub address: SocketAddr,
    /// What the other system calls it: the `cookie` of an HAProxy server, the `route` of one of
    /// nginx, the `sticky_id` of sozu, the `jvmRoute` of a servlet container. Its id where that is the same.
    pub route: Option<&'a str>,
    /// Its URL as the other system writes it; `http://ip:port` where nothing else is known.
    pub url: Option<&'a str>,
}

impl<'a> Target<'a> {
    fn route(&self) -> &'a str {
        self.route.unwrap_or(self.id)
    }

    fn url(&self) -> Cow<'a, str> {
        self.url.map_or_else(|| format!("http://{}", self.address).into(), Cow::Borrowed)
    }

    fn hashed(&self, over: Over) -> Cow<'a, str> {
        match over {
            Over::Id => Cow::Borrowed(self.id),
            Over::Address => self.url(),
        }
    }
}

/// What of a backend is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Its id, as YARP does.
    Id,
    /// Its URL, as `VKProxy` does.
    Address,
}

/// What the key travels in, where its form depends on that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A cookie.
    Cookie,
    /// A header.
    Header,
}

/// One way to name a backend in a key. The first four are written too, the others only read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// `encoding: hash`.
    Hash {
        /// The first one writes, all are read.
        secrets: Vec<Secret>,
        /// A key of one service names nothing in another.
        service: ServiceId,
    },
    /// `encoding: plain`: Envoy's forms without an end. Every one of them is read; a cookie is
    /// written in the current form, a header as bare base64 of `ip:port`.
    Plain(Carrier),
    /// Spec 5, `HashCookie`.
    HashCookie(Over),
    /// Spec 5, `ArrCookie`.
    ArrCookie(Over),
    /// Envoy's `stateful_session`, the old form and the current one.
    Envoy,
    /// HAProxy's `cookie`.
    HaProxy {
        /// Whether the value stands before the application's own (`prefix`), not alone.
        prefix: bool,
        /// The `dynamic-cookie-key`, for servers that have no route of their own.
        dynamic: Option<Secret>,
    },
    /// nginx's `sticky cookie`, for servers with a `route` of their own and without.
    Nginx,
    /// Traefik's sticky cookie.
    Traefik,
    /// Caddy's `lb_policy cookie`.
    Caddy {
        /// As in the Caddyfile; may be empty there.
        secret: Secret,
    },
    /// sozu's `SOZUBALANCEID`.
    Sozu,
    /// The session id of a servlet container or of Apache, with the route behind its last dot.
    Servlet,
}

/// What a value says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading<'k> {
    /// It names this backend.
    Backend {
        /// Its place among the targets of the table.
        at: usize,
        /// As [`Table::application`].
        application: Option<&'k [u8]>,
        /// When it was written; the caller knows how long that holds.
        dates: Dates,
    },
    /// The cookie is the application's and has no key in it.
    NoKey,
    /// It says itself that it no longer holds.
    Expired,
    /// Well-formed, but names no backend of this service.
    Unknown,
    /// Not of this format.
    Malformed,
}

/// The dates in a key of HAProxy with `maxidle` (the last) and `maxlife` (the first as well), up to
/// three seconds late. No other format has any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dates {
    /// When the client was last seen.
    pub last: Option<UnixTime>,
    /// When it was bound.
    pub first: Option<UnixTime>,
}

#[cfg(test)]
mod tests;
