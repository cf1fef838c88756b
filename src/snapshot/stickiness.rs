//! The affinity of one rule, compiled: what is read, what is written, and under which keys.

use super::carrier::{Carrier, Codec, Place};
use super::placement::{By, Placement, Prefixes};
use super::selections::Selections;
use crate::affinity::app_session::{Role, Source};
use crate::affinity::cookies::value_of;
use crate::affinity::course::{Failback, OnDraining, OnFull, OnMissing, OnUnhealthy};
use crate::affinity::formats::{Carrier as Rides, Format, Over, Reading, Table, Target};
use crate::affinity::sealed::{OpenBuffer, associated};
use crate::affinity::set_cookie::Attributes;
use crate::affinity::{
    Adopted, AppSession, CookieNames, KeyRing, Policies, Presented, SetCookie, Terms, Wanted,
};
use crate::balance::{LoadFactor, POINTS_PER_WEIGHT};
use crate::config::{
    self, Adopt, AdoptFormat, Affinity, AlgorithmKind, Cookie, Encoding, KeyOver, Method, SameSite,
    Secure, SessionSource,
};
use crate::model::{Fields, Secret, UnixTime};
use crate::pool::{Member, Pool};
use crate::rewriting::KeyPlace;
use http::HeaderName;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// For what a key is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// For the way at this place among [`Stickiness::carriers`].
    Carrier(usize),
    /// For the envelope.
    Envelope,
}

/// How clients of one rule are kept with their backend.
pub struct Stickiness {
    /// What the cookie is called; `None` where no key rides in a cookie.
    pub names: Option<CookieNames>,
    /// The ways of a key, in the order in which they are tried; the first one is written.
    pub carriers: Box<[Carrier]>,
    /// Cookies of other load balancers that are honoured.
    pub adopted: Box<[Adopted]>,
    /// Sessions of the application that stand in for a key; they are asked first.
    pub sessions: Box<[AppSession]>,
    /// The routes that a servlet container writes behind its session ids, where URLs are looked at.
    routes: Option<Table>,
    /// What the key in an envelope looks like.
    pub envelope: Option<Codec>,
    /// Which first requests belong together.
    pub burst: Burst,
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

/// `burst`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Those of one connection.
    pub same_connection: bool,
    /// Those of one address and `User-Agent` within so many milliseconds; 0 for none.
    pub window_ms: u64,
}

impl Stickiness {
    /// Compiles `affinity` for the service that the rule leads to, whose backends are in `pool`.
    pub(super) fn new(
        affinity: &Affinity,
        pool: &Pool,
        shared_name: bool,
        keys: &Arc<KeyRing>,
        secrets: &[Secret],
        selections: &mut Selections<'_>,
    ) -> Self {
        let service = pool.service.as_str();
        let names = CookieNames::new(&affinity.cookie.name, service, shared_name);
        let urls: Vec<String> =
            pool.members().iter().map(|m| format!("http://{}", m.backend.written)).collect();
        let targets = pool.members().iter().zip(&urls).map(|(member, url)| target(member, url));
        let targets: Vec<Target<'_>> = targets.collect();
        let carriers = affinity.methods.iter().filter_map(|method| {
            let (place, rides, name) = match method {
                Method::Cookie => (Place::Cookie, Rides::Cookie, affinity.cookie.name.as_str()),
                Method::Header => {
                    let header = affinity.header_name.parse().ok()?;
                    (Place::Header(header), Rides::Header, affinity.header_name.as_str())
                }
                Method::Query => {
                    let name = affinity.query_name.as_str();
                    (Place::Url(KeyPlace::Query(name.into())), Rides::Header, name)
                }
                Method::Path => {
                    let name = affinity.path_name.as_str();
                    (Place::Url(KeyPlace::Path(name.into())), Rides::Header, name)
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
        let in_url = carriers.iter().any(|c| matches!(c.place, Place::Url(_)));
        let adopted = affinity.adopt.iter();
        Self {
            set_cookie: SetCookie::new(names.written(), &attributes(&affinity.cookie)),
            names: carriers.iter().any(|c| c.place == Place::Cookie).then_some(names),
            adopted: adopted.map(|a| Adopted::new(&a.cookie, &foreign(a), &targets)).collect(),
            placement: placement(affinity, &carriers, pool, selections),
            carriers,
            routes: in_url.then(|| Table::new(&Format::Servlet, &targets)),
            sessions: sessions(affinity),
            envelope: affinity.envelope.as_ref().map(|source| {
                let (SessionSource::Header(name) | SessionSource::Cookie(name)) = source;
                Codec::Sealed { keys: Arc::clone(keys), associated: associated(service, name) }
            }),
            burst: Burst {
                same_connection: affinity.burst.same_connection,
                window_ms: u64::try_from(affinity.burst.window.as_millis()).unwrap_or(u64::MAX),
            },
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
        Wanted { names: self.names.as_ref(), adopted: &self.adopted, sessions: &self.sessions }
    }

    /// Whether a key may be written to this client: always in a header, in a cookie when it is
    /// essential or the client has consented to cookies.
    pub fn may_write(&self, headers: &impl Fields) -> bool {
        let in_cookie = self.stamped().is_some_and(|(_, c)| c.place == Place::Cookie);
        let asked = self.consent.as_ref().filter(|_| in_cookie);
        asked.is_none_or(|name| value_of(headers, name).is_some_and(consents))
    }

    /// The way of a key that responses write: the first in a cookie or a header, by its place among
    /// [`Self::carriers`].
    pub fn stamped(&self) -> Option<(usize, &Carrier)> {
        let mut carriers = self.carriers.iter().enumerate();
        carriers.find(|(_, carrier)| !matches!(carrier.place, Place::Url(_)))
    }

    /// The first way of a key in URLs.
    pub fn in_url(&self) -> Option<(usize, &Carrier, &KeyPlace)> {
        self.carriers.iter().enumerate().find_map(|(at, carrier)| match &carrier.place {
            Place::Url(place) => Some((at, carrier, place)),
            Place::Cookie | Place::Header(_) => None,
        })
    }

    /// What a key looks like there.
    pub fn codec(&self, text: Text) -> Option<&Codec> {
        match text {
            Text::Carrier(at) => self.carriers.get(at).map(|carrier| &carrier.codec),
            Text::Envelope => self.envelope.as_ref(),
        }
    }

    /// The backend that the route behind a servlet container's session id names.
    pub fn route(&self, session_id: &[u8], now: UnixTime) -> Option<usize> {
        match self.routes.as_ref()?.read(session_id, now) {
            Reading::Backend { at, .. } => Some(at),
            Reading::NoKey | Reading::Expired | Reading::Unknown | Reading::Malformed => None,
        }
    }

    /// The application's cookie that is wrapped, if one is.
    pub fn enveloped_cookie(&self) -> Option<&[u8]> {
        self.sessions.iter().find_map(|session| match (&session.source, session.role) {
            (Source::Cookie(name), Role::Envelope) => Some(&**name),
            (Source::Cookie(_), Role::Learnt) | (Source::Header(_), _) => None,
        })
    }

    /// The application's session header that goes in an envelope.
    pub fn enveloped_header(&self) -> Option<&HeaderName> {
        self.sessions.iter().find_map(|session| match (&session.source, session.role) {
            (Source::Header(name), Role::Envelope) => Some(name),
            (Source::Header(_), Role::Learnt) | (Source::Cookie(_), _) => None,
        })
    }

    /// How long an envelope holds. It is written when the application writes, which may be once, so
    /// that silence cannot be told; the application ends its sessions itself.
    pub fn envelope_terms(&self) -> Terms {
        Terms { idle: self.terms.absolute, refresh: u32::MAX, ..self.terms }
    }

    /// The `Set-Cookie` value for `key`.
    pub fn set_cookie(&self, key: &str, https: bool, now: UnixTime) -> String {
        self.set_cookie.value(key, https, now)
    }

    /// The `Set-Cookie` value for the application's cookie `name`, with the attributes of ours.
    pub fn set_cookie_named(
        &self,
        name: &[u8],
        value: &[u8],
        https: bool,
        now: UnixTime,
    ) -> Vec<u8> {
        self.set_cookie.named(name, value, https, now)
    }

    /// The `Set-Cookie` values that take our cookie back: also the one of another time, if the
    /// client has it and it is a key of this service.
    pub fn clear_cookies(
        &self,
        headers: &impl Fields,
        https: bool,
        now: UnixTime,
    ) -> impl Iterator<Item = String> {
        let codec = self.carriers.iter().find(|c| c.place == Place::Cookie).map(|c| &c.codec);
        let other = self.names.as_ref().and_then(|names| {
            let value = value_of(headers, names.unwritten().as_bytes())?;
            let mut buffer = OpenBuffer::default();
            match codec?.open(value, now, &mut buffer) {
                Presented::Nothing | Presented::Unreadable(_) => None,
                Presented::Opened(..)
                | Presented::Named(_)
                | Presented::NamesNobody
                | Presented::Expired => Some(self.set_cookie.clearing_as(names.unwritten(), https)),
            }
        });
        let written = self.names.as_ref().map(|_| self.set_cookie.clearing(https));
        written.into_iter().chain(other)
    }
}

/// Banners write a refusal into the same cookie.
fn consents(value: &[u8]) -> bool {
    let refusals = ["", "0", "false", "no", "denied", "rejected"];
    !refusals.iter().any(|refusal| value.eq_ignore_ascii_case(refusal.as_bytes()))
}

/// The envelope first: it says itself where it was.
fn sessions(affinity: &Affinity) -> Box<[AppSession]> {
    let all = affinity.envelope.iter().map(|source| (source, Role::Envelope));
    let all = all.chain(affinity.learn.iter().map(|source| (source, Role::Learnt)));
    let session = |(source, role): (&SessionSource, Role)| {
        let source = match source {
            SessionSource::Header(name) => Source::Header(name.parse().ok()?),
            SessionSource::Cookie(name) => Source::Cookie(name.as_bytes().into()),
        };
        Some(AppSession::new(source, role))
    };
    all.filter_map(session).collect()
}

fn target<'m>(member: &'m Member, url: &'m str) -> Target<'m> {
    let backend = &member.backend;
    // a socket has no address that another system's key could name
    let nowhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let address = backend.address.inet().unwrap_or(nowhere);
    Target { id: backend.id.as_str(), address, route: None, url: Some(url) }
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
    selections: &mut Selections<'_>,
) -> Option<Placement> {
    let prefixes =
        Prefixes { ipv4: affinity.source_ip.ipv4_prefix, ipv6: affinity.source_ip.ipv6_prefix };
    let factor = affinity.algorithm.as_ref().and_then(|algorithm| algorithm.load_factor);
    let factor = factor.and_then(LoadFactor::new);
    let (kind, replicas, by) = match &affinity.algorithm {
        // turns have no place for a name
        Some(algorithm)
            if algorithm.kind == AlgorithmKind::RoundRobin
                && carriers.iter().any(Carrier::takes_names) =>
        {
            (AlgorithmKind::ConsistentHash, POINTS_PER_WEIGHT, By::Name)
        }
        Some(algorithm) => {
            let by = match algorithm.kind {
                AlgorithmKind::HeaderHash => By::Header(algorithm.header.as_ref()?.parse().ok()?),
                AlgorithmKind::IpHash if !algorithm.use_x_forwarded_for => By::Peer(prefixes),
                AlgorithmKind::RoundRobin | AlgorithmKind::IpHash => By::Client(prefixes),
                AlgorithmKind::ConsistentHash | AlgorithmKind::Maglev => By::Session(prefixes),
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
    // the bound is one of the walk on a ring
    let on_ring = matches!(kind, AlgorithmKind::ConsistentHash);
    let factor = factor.filter(|_| on_ring);
    Some(Placement { choices: selections.choices(pool, kind, replicas, factor), by })
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
        on_full: match affinity.on_full {
            config::OnFull::Wait => OnFull::Wait,
            config::OnFull::ServeOnce => OnFull::ServeOnce,
            config::OnFull::Redistribute => OnFull::Redistribute,
            config::OnFull::Reject => OnFull::Reject,
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
