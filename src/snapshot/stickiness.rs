//! The affinity of one rule, compiled: what is read, what is written, and under which keys.

use super::carrier::{Carrier, Codec, Place};
use super::placement::{By, Placement, Prefixes};
use super::selections::Selections;
use crate::affinity::cookies::carries;
use crate::affinity::course::{Failback, OnDraining, OnMissing, OnUnhealthy};
use crate::affinity::formats::{Carrier as Rides, Format, Over, Table, Target};
use crate::affinity::sealed::associated;
use crate::affinity::set_cookie::Attributes;
use crate::affinity::{Adopted, Binding, CookieNames, KeyRing, Policies, SetCookie, Terms, Wanted};
use crate::balance::POINTS_PER_WEIGHT;
use crate::config::{
    self, Adopt, AdoptFormat, Affinity, AlgorithmKind, Cookie, Encoding, KeyOver, Method, SameSite,
    Secure,
};
use crate::model::{Secret, UnixTime};
use crate::pool::{Member, Pool};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderName};
use std::sync::Arc;

/// How clients of one rule are kept with their backend.
pub struct Stickiness {
    /// What the cookie is called; `None` where no key rides in a cookie.
    pub names: Option<CookieNames>,
    /// The ways of a key, in the order in which they are tried; the first one is written.
    pub carriers: Box<[Carrier]>,
    /// Cookies of other load balancers that are honoured.
    pub adopted: Box<[Adopted]>,
    /// Where new clients are placed by themselves.
    pub placement: Option<Placement>,
    /// How long a key holds.
    pub terms: Terms,
    /// What is done when the bound backend cannot serve.
    pub policies: Policies,
    /// The status of a refusal by policy.
    pub reject_status: u16,
    /// The response header that names who answered.
    pub expose_backend: Option<HeaderName>,
    /// The cookie by which a client has consented to ours; `None` where none is needed.
    consent: Option<Box<[u8]>>,
    set_cookie: SetCookie,
}

impl Stickiness {
    /// Compiles `affinity` for the service that the rule leads to, whose backends are in `pool`.
    pub(super) fn new(
        affinity: &Affinity,
        pool: &Pool,
        shared_name: bool,
        keys: &Arc<KeyRing>,
        secrets: &[Secret],
        selections: &mut Selections,
    ) -> Self {
        let service = pool.service.as_str();
        let names = CookieNames::new(&affinity.cookie.name, service, shared_name);
        let targets: Vec<Target<'_>> = pool.members().iter().map(target).collect();
        let carriers = affinity.methods.iter().filter_map(|method| {
            let (place, rides, name) = match method {
                Method::Cookie => (Place::Cookie, Rides::Cookie, affinity.cookie.name.as_str()),
                Method::Header => {
                    let header = affinity.header_name.parse().ok()?;
                    (Place::Header(header), Rides::Header, affinity.header_name.as_str())
                }
                Method::SourceIp => return None,
            };
            let named = |format: &Format| Codec::Named(Table::new(format, &targets));
            let codec = match affinity.encoding {
                Encoding::Secure => {
                    Codec::Sealed { keys: Arc::clone(keys), associated: associated(service, name) }
                }
                Encoding::Hash => {
                    let (secrets, service) = (secrets.to_vec(), pool.service.clone());
                    named(&Format::Hash { secrets, service })
                }
                Encoding::Plain => named(&Format::Plain(rides)),
                Encoding::HashCookie => named(&Format::HashCookie(over(affinity.key_over))),
                Encoding::ArrCookie => named(&Format::ArrCookie(over(affinity.key_over))),
            };
            Some(Carrier { place, codec })
        });
        let carriers: Box<[Carrier]> = carriers.collect();
        let adopted = affinity.adopt.iter();
        Self {
            set_cookie: SetCookie::new(names.written(), &attributes(&affinity.cookie)),
            names: carriers.iter().any(|c| c.place == Place::Cookie).then_some(names),
            adopted: adopted.map(|a| Adopted::new(&a.cookie, &foreign(a), &targets)).collect(),
            placement: placement(affinity, &carriers, pool, selections),
            carriers,
            expose_backend: affinity.expose_backend.parse().ok(),
            consent: affinity
                .consent
                .as_ref()
                .filter(|_| !affinity.cookie.is_essential)
                .map(|name| name.as_bytes().into()),
            terms: terms(affinity),
            policies: policies(affinity),
            reject_status: affinity.reject_status,
        }
    }

    /// What a rule reads from the cookies of a request.
    pub fn wanted(&self) -> Wanted<'_> {
        Wanted { names: self.names.as_ref(), adopted: &self.adopted }
    }

    /// Whether a key may be written to this client: always in a header, in a cookie when it is
    /// essential or the client has consented to cookies.
    pub fn may_write(&self, headers: &HeaderMap) -> bool {
        let in_cookie = self.carriers.first().is_some_and(|c| c.place == Place::Cookie);
        self.consent.as_ref().filter(|_| in_cookie).is_none_or(|name| carries(headers, name))
    }

    /// The response header that carries `binding` to the backend at place `at` of the pool. `nonce`
    /// must be fresh random bytes.
    ///
    /// # Errors
    /// `None` where no key is written (the address alone decides), or when the names in the binding
    /// are too long, which configuration rules out.
    pub fn write(
        &self,
        binding: &Binding<'_>,
        at: usize,
        nonce: [u8; 12],
        now: UnixTime,
        https: bool,
    ) -> Option<(HeaderName, String)> {
        let carrier = self.carriers.first()?;
        let key = carrier.write(binding, at, nonce, now)?;
        Some(match &carrier.place {
            Place::Cookie => (SET_COOKIE, self.set_cookie.value(&key, https, now)),
            Place::Header(name) => (name.clone(), key),
        })
    }
}

fn target(member: &Arc<Member>) -> Target<'_> {
    let backend = &member.backend;
    Target { id: backend.id.as_str(), address: backend.address, route: None, url: None }
}

fn over(over: KeyOver) -> Over {
    match over {
        KeyOver::Id => Over::Id,
        KeyOver::Address => Over::Address,
    }
}

fn foreign(adopt: &Adopt) -> Format {
    match adopt.format {
        AdoptFormat::Envoy => Format::Envoy,
        AdoptFormat::HaProxy | AdoptFormat::HaProxyPrefix => Format::HaProxy {
            prefix: adopt.format == AdoptFormat::HaProxyPrefix,
            dynamic: Some(adopt.secret.clone()).filter(|secret| !secret.is_empty()),
        },
        AdoptFormat::Nginx => Format::Nginx,
        AdoptFormat::Traefik => Format::Traefik,
        AdoptFormat::Caddy => Format::Caddy { secret: adopt.secret.clone() },
        AdoptFormat::YarpHash => Format::HashCookie(Over::Id),
        AdoptFormat::YarpArr => Format::ArrCookie(Over::Id),
        AdoptFormat::VkProxyHash => Format::HashCookie(Over::Address),
        AdoptFormat::Sozu => Format::Sozu,
        AdoptFormat::Servlet => Format::Servlet,
    }
}

/// A rule needs a selection of its own where it has an algorithm, where addresses place clients, or
/// where clients name their sessions.
fn placement(
    affinity: &Affinity,
    carriers: &[Carrier],
    pool: &Pool,
    selections: &mut Selections,
) -> Option<Placement> {
    let prefixes =
        Prefixes { ipv4: affinity.source_ip.ipv4_prefix, ipv6: affinity.source_ip.ipv6_prefix };
    let (kind, replicas, by) = match &affinity.algorithm {
        Some(algorithm) => {
            let by = match algorithm.kind {
                AlgorithmKind::HeaderHash => By::Header(algorithm.header.as_ref()?.parse().ok()?),
                AlgorithmKind::IpHash if !algorithm.use_x_forwarded_for => By::Peer(prefixes),
                AlgorithmKind::RoundRobin
                | AlgorithmKind::ConsistentHash
                | AlgorithmKind::IpHash
                | AlgorithmKind::Maglev => By::Client(prefixes),
            };
            (algorithm.kind, algorithm.replicas, by)
        }
        None if affinity.methods.contains(&Method::SourceIp) => {
            (AlgorithmKind::IpHash, POINTS_PER_WEIGHT, By::Client(prefixes))
        }
        None if carriers.iter().any(Carrier::takes_names) => {
            (AlgorithmKind::ConsistentHash, POINTS_PER_WEIGHT, By::Name)
        }
        None => return None,
    };
    Some(Placement { selection: selections.get(pool, kind, replicas), by })
}

fn attributes(cookie: &Cookie) -> Attributes<'_> {
    let (secure_on_http, secure_on_https) = match cookie.secure {
        Secure::Auto => (false, true),
        Secure::Always => (true, true),
        Secure::Never => (false, false),
    };
    Attributes {
        path: &cookie.path,
        domain: &cookie.domain,
        max_age: cookie.max_age,
        http_only: cookie.http_only,
        secure_on_http,
        secure_on_https,
        same_site: match cookie.same_site {
            SameSite::Lax => Some(cookie::SameSite::Lax),
            SameSite::Strict => Some(cookie::SameSite::Strict),
            SameSite::None => Some(cookie::SameSite::None),
            SameSite::Unspecified => None,
        },
        expires: cookie.expires.map(|after| u32::try_from(after.as_secs()).unwrap_or(u32::MAX)),
        extensions: &cookie.extensions,
    }
}

fn policies(affinity: &Affinity) -> Policies {
    Policies {
        on_missing: match affinity.on_missing {
            config::OnMissing::Redistribute => OnMissing::Redistribute,
            config::OnMissing::Reject => OnMissing::Reject,
        },
        on_unhealthy: match affinity.on_unhealthy {
            config::OnUnhealthy::Redistribute => OnUnhealthy::Redistribute,
            config::OnUnhealthy::ServeOnce => OnUnhealthy::ServeOnce,
            config::OnUnhealthy::Reject => OnUnhealthy::Reject,
        },
        on_draining: match affinity.on_draining {
            config::OnDraining::Keep => OnDraining::Keep,
            config::OnDraining::RedistributeWhenIdle => OnDraining::RedistributeWhenIdle,
            config::OnDraining::Redistribute => OnDraining::Redistribute,
        },
        failback: match affinity.failback {
            config::Failback::Never => Failback::Never,
            config::Failback::Immediate => Failback::Immediate,
        },
    }
}

/// A key is written anew after a tenth of its life, be it bounded by the idle time or by the
/// browser, so that a client that comes now and then keeps it.
pub(super) fn terms(affinity: &Affinity) -> Terms {
    let seconds =
        |duration: std::time::Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    let idle = seconds(affinity.idle_timeout);
    // browsers let Max-Age decide where both are given
    let expires = affinity.cookie.expires.map(|after| after.as_secs());
    let in_browser = affinity.cookie.max_age.or(expires);
    let in_browser = in_browser.map_or(idle, |age| u32::try_from(age).unwrap_or(u32::MAX));
    Terms {
        idle,
        absolute: seconds(affinity.absolute_timeout),
        refresh: (idle.min(in_browser) / 10).max(1),
    }
}
