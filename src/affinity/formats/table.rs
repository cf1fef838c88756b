//! A format worked out for the backends of one service: every digest is taken once, when the
//! snapshot is made.

use super::{Carrier, Dates, Format, MAX_KEY, Reading, Target, digest, envoy, haproxy};
use crate::model::UnixTime;
use ahash::AHashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::SocketAddr;

/// A format compiled for the backends of one service.
pub struct Table {
    names: Names,
    /// What is written for each target; empty where the format is only read.
    written: Box<[Option<Box<str>>]>,
    clashes: Box<[Clash]>,
}

/// Two targets that have one name in this format: a key of either is read as the first's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The one that is found.
    pub first: usize,
    /// The one that is not.
    pub second: usize,
}

/// How a key is looked up. Keys come from clients, so the maps are keyed at random.
enum Names {
    /// By the address in it, however it was wrapped and printed.
    Addresses(AHashMap<SocketAddr, usize>),
    /// By its text.
    Texts(Syntax, AHashMap<Box<[u8]>, usize>),
}

/// What else is in the value, and which texts could be a name.
#[derive(Clone, Copy)]
enum Syntax {
    /// This many lower-case hex digits.
    LowerHex(usize),
    /// This many upper-case hex digits.
    UpperHex(usize),
    /// Any text.
    Bare,
    /// Any text, with dates behind it.
    Dated,
    /// Any text, `~`, and what is the application's.
    Prefix,
    /// What is the application's, `.`, and any text.
    Suffix,
}

impl Table {
    /// Works `format` out for `targets`; readings tell a target by its index here.
    pub fn new(format: &Format, targets: &[Target<'_>]) -> Self {
        let mut clashes = Vec::new();
        let names = match syntax(format) {
            None => {
                let addresses = targets.iter().map(|target| target.address).enumerate();
                Names::Addresses(index(addresses, &mut clashes))
            }
            Some(syntax) => {
                let texts = targets.iter().enumerate().flat_map(|(at, target)| {
                    names(format, target)
                        .into_iter()
                        .map(move |name| (at, name.into_bytes().into_boxed_slice()))
                });
                Names::Texts(syntax, index(texts, &mut clashes))
            }
        };
        let written =
            targets.iter().map(|target| written(format, target).map(String::into_boxed_str));
        Self { names, written: written.collect(), clashes: clashes.into() }
    }

    /// What `value`, as the client sent it, says at `now`.
    pub fn read<'k>(&self, value: &'k [u8], now: UnixTime) -> Reading<'k> {
        match &self.names {
            Names::Addresses(by_address) => match envoy::decode(value) {
                None => Reading::Malformed,
                Some(said) if said.expired(now) => Reading::Expired,
                Some(said) => match by_address.get(&said.address) {
                    Some(at) => {
                        Reading::Backend { at: *at, application: None, dates: Dates::default() }
                    }
                    None => Reading::Unknown,
                },
            },
            Names::Texts(syntax, by_text) => {
                let (name, dates) = match syntax.split(value) {
                    Split::Name(name, dates) => (name, dates),
                    Split::NoKey => return Reading::NoKey,
                    Split::Malformed => return Reading::Malformed,
                };
                if !syntax.could_be(name) {
                    return Reading::Malformed;
                }
                match by_text.get(name) {
                    Some(at) => {
                        let application = self.application(value);
                        Reading::Backend { at: *at, application, dates }
                    }
                    None => Reading::Unknown,
                }
            }
        }
    }

    /// The part of `value` that is the application's, which it must get whatever the key says;
    /// `None` where the cookie is the load balancer's alone.
    ///
    /// A value of the application may hold a `~` of its own, so what stands before one is cut off
    /// only where it is the name of a target.
    pub fn application<'k>(&self, value: &'k [u8]) -> Option<&'k [u8]> {
        match &self.names {
            Names::Texts(Syntax::Prefix, by_text) => {
                let cut = prefix(value).filter(|(name, _)| {
                    Syntax::Prefix.could_be(name) && by_text.contains_key(*name)
                });
                Some(cut.map_or(value, |(_, application)| application))
            }
            // the container expects its route, too
            Names::Texts(Syntax::Suffix, _) => Some(value),
            Names::Texts(
                Syntax::LowerHex(_) | Syntax::UpperHex(_) | Syntax::Bare | Syntax::Dated,
                _,
            )
            | Names::Addresses(_) => None,
        }
    }

    /// What is written for the target at this index; `None` where the format is only read.
    pub fn write(&self, at: usize) -> Option<&str> {
        self.written.get(at)?.as_deref()
    }

    /// Targets that this format cannot tell apart.
    pub fn clashes(&self) -> &[Clash] {
        &self.clashes
    }
}

fn index<K: Eq + Hash>(
    names: impl Iterator<Item = (usize, K)>,
    clashes: &mut Vec<Clash>,
) -> AHashMap<K, usize> {
    let mut index = AHashMap::new();
    for (at, name) in names {
        match index.entry(name) {
            Entry::Vacant(place) => {
                place.insert(at);
            }
            Entry::Occupied(taken) if *taken.get() == at => {}
            Entry::Occupied(taken) => clashes.push(Clash { first: *taken.get(), second: at }),
        }
    }
    index
}

/// How values of `format` are taken apart; `None` where they are decoded to an address.
fn syntax(format: &Format) -> Option<Syntax> {
    match format {
        Format::Plain(_) | Format::Envoy => None,
        Format::Hash { .. } => Some(Syntax::LowerHex(32)),
        Format::HashCookie(_) | Format::Traefik => Some(Syntax::LowerHex(16)),
        Format::ArrCookie(_) => Some(Syntax::UpperHex(64)),
        Format::Caddy { .. } => Some(Syntax::LowerHex(64)),
        Format::HaProxy { prefix: false, .. } => Some(Syntax::Dated),
        Format::HaProxy { prefix: true, .. } => Some(Syntax::Prefix),
        Format::Nginx | Format::Sozu => Some(Syntax::Bare),
        Format::Servlet => Some(Syntax::Suffix),
    }
}

/// The names that `target` has in `format`, the one that is written first. Those of Envoy are its
/// address.
fn names(format: &Format, target: &Target<'_>) -> Vec<String> {
    let name = match format {
        Format::Plain(_) | Format::Envoy => None,
        Format::Hash { secrets, service } => {
            let message = [service.as_str().as_bytes(), &[0], target.id.as_bytes()].concat();
            let digest = |secret: &[u8]| digest::hmac_sha256(secret, &message);
            let digests = secrets.iter().filter_map(|secret| digest(secret.expose()));
            return digests.map(|hex| digest::first(32, hex)).collect();
        }
        Format::HashCookie(over) => {
            Some(digest::xxh64(&digest::upper_utf16(&target.hashed(*over))))
        }
        Format::ArrCookie(over) => {
            let lower = digest::lower_utf16(&target.hashed(*over));
            Some(digest::sha256(&lower).to_ascii_uppercase())
        }
        Format::HaProxy { dynamic, .. } => match (target.route, dynamic) {
            (None, Some(key)) => Some(haproxy::dynamic(key.expose(), target.address)),
            (Some(_), _) | (None, None) => Some(target.route().to_owned()),
        },
        Format::Nginx => {
            return vec![digest::md5(&target.address.to_string()), target.route().to_owned()];
        }
        Format::Traefik => {
            // it hashes what the operator wrote; a slash at the end is as good as none
            let digest = |url: &str| digest::first(16, digest::sha256(url.as_bytes()));
            let (url, resolved) = (target.url(), format!("http://{}", target.address));
            let bare = url.trim_end_matches('/');
            let slash = |url: &str| format!("{url}/");
            return [&url, bare, &slash(bare), &resolved, &slash(&resolved)].map(digest).into();
        }
        Format::Caddy { secret } => {
            // as written, too
            let (url, resolved) = (target.url(), target.address.to_string());
            let dial = url.trim_start_matches("http://");
            let digest = |dial: &str| digest::hmac_sha256(secret.expose(), dial.as_bytes());
            return [dial, &resolved].into_iter().filter_map(digest).collect();
        }
        Format::Sozu | Format::Servlet => Some(target.route().to_owned()),
    };
    name.into_iter().collect()
}

/// What is written for `target`, in the formats that are.
fn written(format: &Format, target: &Target<'_>) -> Option<String> {
    match format {
        Format::Hash { .. } | Format::HashCookie(_) | Format::ArrCookie(_) => {
            names(format, target).into_iter().next()
        }
        Format::Plain(Carrier::Cookie) => envoy::encode_message(target.address),
        Format::Plain(Carrier::Header) => Some(envoy::encode_address(target.address)),
        Format::Envoy
        | Format::HaProxy { .. }
        | Format::Nginx
        | Format::Traefik
        | Format::Caddy { .. }
        | Format::Sozu
        | Format::Servlet => None,
    }
}

/// A value taken apart.
enum Split<'k> {
    Name(&'k [u8], Dates),
    NoKey,
    Malformed,
}

impl Syntax {
    fn split(self, value: &[u8]) -> Split<'_> {
        let name = match self {
            Self::LowerHex(_) | Self::UpperHex(_) | Self::Bare => Some(value),
            Self::Dated if value.len() > MAX_KEY => return Split::Malformed,
            Self::Dated => {
                return haproxy::split_dates(value)
                    .map_or(Split::Malformed, |(name, dates)| Split::Name(name, dates));
            }
            Self::Prefix => prefix(value).map(|(name, _)| name),
            Self::Suffix => memchr::memrchr(b'.', value).and_then(|dot| value.get(dot + 1..)),
        };
        name.map_or(Split::NoKey, |name| Split::Name(name, Dates::default()))
    }

    fn could_be(self, name: &[u8]) -> bool {
        match self {
            Self::LowerHex(digits) => {
                name.len() == digits && name.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
            }
            Self::UpperHex(digits) => {
                name.len() == digits && name.iter().all(|c| matches!(c, b'0'..=b'9' | b'A'..=b'F'))
            }
            Self::Bare | Self::Dated | Self::Prefix | Self::Suffix => {
                (1..=MAX_KEY).contains(&name.len())
            }
        }
    }
}

/// The two sides of the first `~`.
fn prefix(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b'~', value)?;
    Some((value.get(..at)?, value.get(at + 1..)?))
}
