//! What each way of a key yields, one by one. Only told here; which of them counts and what it means
//! is decided by [`crate::proxy::decide`].

use super::report::{Moment, Opened, Source, Yield};
use crate::affinity::cookies::{Candidate, MAX_CANDIDATES};
use crate::affinity::sealed::{MAX_KEY, OpenBuffer};
use crate::affinity::{Adopted, Presented, Resolution, Unreadable, resolve};
use crate::config::{Affinity, Encoding};
use crate::model::{Cause, UnixTime};
use crate::snapshot::{Carrier, Place, Service, Snapshot, Stickiness};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::COOKIE;

/// The shortest sealed key: head, empty fields and tag, in characters.
const SHORTEST: usize = 67;

/// Keys that cannot be read without the secret that a gateway generates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blind {
    /// Sealed ones.
    Sealed,
    /// Hashed ones: 32 hex digits.
    Hashed,
}

/// What cannot be read on files under `affinity`.
pub(super) fn blind_for(affinity: &Affinity) -> Option<Blind> {
    let blind = match affinity.encoding {
        Encoding::Secure => Blind::Sealed,
        Encoding::Hash => Blind::Hashed,
        Encoding::Plain | Encoding::HashCookie | Encoding::ArrCookie => return None,
    };
    affinity.keys.is_empty().then_some(blind)
}

impl Blind {
    fn hides(self, key: &[u8]) -> bool {
        match self {
            Self::Sealed => (SHORTEST..=MAX_KEY).contains(&key.len()) && sealing_id(key).is_some(),
            Self::Hashed => key.len() == 32 && key.iter().all(u8::is_ascii_hexdigit),
        }
    }
}

/// Every source of a key that `stickiness` knows, in the order in which they are tried.
pub(super) fn sources(
    snapshot: &Snapshot,
    stickiness: &Stickiness,
    service: &Service,
    headers: &HeaderMap,
    blind: Option<Blind>,
    now: UnixTime,
) -> Vec<Source> {
    let (mut ours, mut foreign) = (Vec::new(), Vec::new());
    for line in headers.get_all(COOKIE) {
        let cut = snapshot.cutter.cut(line.as_bytes(), stickiness.wanted());
        ours.extend(cut.found);
        foreign.extend(cut.foreign);
    }
    ours.truncate(MAX_CANDIDATES);
    let mut all = Vec::new();
    let mut decided = false;
    for carrier in &stickiness.carriers {
        let reader = Reader { carrier, stickiness, service, blind, now };
        let candidates: Vec<Candidate<'_>> = match &carrier.place {
            Place::Cookie => ours.clone(),
            Place::Header(name) => {
                let lines = headers.get_all(name).iter().take(MAX_CANDIDATES);
                lines.map(|line| Candidate { key: line.as_bytes(), current: true }).collect()
            }
        };
        let found = reader.read(&candidates, decided);
        // one that cannot be opened here may well decide there
        decided |= found.iter().any(|s| s.decides || matches!(s.yielded, Yield::NotHere));
        all.extend(found);
    }
    all.extend(adopted(stickiness, service, &foreign, decided, now));
    all
}

/// The cookies of other load balancers; the first in the request that names a backend counts.
fn adopted(
    stickiness: &Stickiness,
    service: &Service,
    foreign: &[(usize, &[u8])],
    decided: bool,
    now: UnixTime,
) -> Vec<Source> {
    let named = foreign.iter().find_map(|(at, value)| {
        let backend = stickiness.adopted.get(*at)?.backend(value, stickiness.terms, now)?;
        Some((*at, service.pool.members().get(backend)?))
    });
    let one = |(at, adopted): (usize, &Adopted)| {
        let yielded = match named {
            _ if decided => Yield::NotAsked,
            Some((place, member)) if place == at => Yield::Backend(member.backend.id.to_string()),
            Some(_) | None if foreign.iter().any(|(place, _)| *place == at) => Yield::Nobody,
            Some(_) | None => Yield::Nothing,
        };
        let place = format!("adopted cookie {}", String::from_utf8_lossy(&adopted.cookie));
        Source { place, decides: matches!(yielded, Yield::Backend(_)), yielded }
    };
    stickiness.adopted.iter().enumerate().map(one).collect()
}

struct Reader<'a> {
    carrier: &'a Carrier,
    stickiness: &'a Stickiness,
    service: &'a Service,
    blind: Option<Blind>,
    now: UnixTime,
}

impl Reader<'_> {
    fn read(&self, candidates: &[Candidate<'_>], decided: bool) -> Vec<Source> {
        let nothing = |yielded| vec![Source { place: self.place(), yielded, decides: false }];
        if decided {
            return nothing(Yield::NotAsked);
        }
        let (mut found, mut best) = (Vec::new(), None);
        for candidate in candidates {
            let (yielded, worth) = self.one(candidate);
            if worth.is_some() && worth > best.map(|(worth, _)| worth) {
                best = worth.map(|worth| (worth, found.len()));
            }
            found.push(Source { place: self.under(candidate), yielded, decides: false });
        }
        // while a key that cannot be opened here is there, nobody knows which one counts
        let open = !found.iter().any(|source| matches!(source.yielded, Yield::NotHere));
        if let Some(source) = best.filter(|_| open).and_then(|(_, at)| found.get_mut(at)) {
            source.decides = true;
        } else if let (Some(first), true) = (candidates.first(), self.carrier.takes_names() && open)
            && (1..=256).contains(&first.key.len())
            && let Some(source) = found.first_mut()
            && !self.is_of_an_unknown_key(first.key)
        {
            source.yielded = Yield::ClientName;
            source.decides = true;
        }
        if found.is_empty() { nothing(Yield::Nothing) } else { found }
    }

    fn is_of_an_unknown_key(&self, key: &[u8]) -> bool {
        let mut buffer = OpenBuffer::default();
        let presented = self.carrier.open(key, self.now, &mut buffer);
        presented == Presented::Unreadable(Unreadable::UnknownKey)
    }

    /// What `candidate` yields, and what it weighs against other readable ones.
    fn one(&self, candidate: &Candidate<'_>) -> (Yield, Option<(bool, UnixTime, bool)>) {
        if self.blind.is_some_and(|blind| blind.hides(candidate.key)) {
            return (Yield::NotHere, None);
        }
        let mut buffer = OpenBuffer::default();
        let presented = self.carrier.open(candidate.key, self.now, &mut buffer);
        let (pool, terms) = (&self.service.pool, self.stickiness.terms);
        let holds = match resolve(&presented, pool, terms, self.now, 0) {
            Resolution::Place(Cause::IdleExpired | Cause::TooOld) => Some(false),
            Resolution::Place(_) => None,
            Resolution::Bound { .. }
            | Resolution::Draining { .. }
            | Resolution::Down { .. }
            | Resolution::Gone { .. }
            | Resolution::Restarted { .. } => Some(true),
        };
        let (yielded, seen) = match presented {
            Presented::Nothing => (Yield::Nothing, UnixTime(0)),
            Presented::Expired => (Yield::Expired, UnixTime(0)),
            Presented::NamesNobody => (Yield::Nobody, UnixTime(0)),
            Presented::Named(at) => {
                let id = pool.members().get(at).map(|member| member.backend.id.to_string());
                (id.map_or(Yield::Nobody, Yield::Backend), UnixTime(0))
            }
            Presented::Unreadable(why) => {
                (Yield::Unreadable(reason(why, candidate.key)), UnixTime(0))
            }
            Presented::Opened(binding, key_id) => {
                let opened = Opened {
                    backend: binding.backend.into(),
                    issued: Moment::new(binding.issued, self.now),
                    last_seen: Moment::new(binding.seen, self.now),
                    key_id,
                    incarnation: binding.incarnation.into(),
                    version: binding.version.into(),
                    home: binding.home.into(),
                };
                (Yield::Key(Box::new(opened)), binding.seen)
            }
        };
        (yielded, holds.map(|holds| (holds, seen, candidate.current)))
    }

    fn place(&self) -> String {
        match (&self.carrier.place, &self.stickiness.names) {
            (Place::Header(name), _) => format!("header {name}"),
            (Place::Cookie, Some(names)) => {
                format!("cookie {} or {}", names.plain, names.suffixed)
            }
            (Place::Cookie, None) => "cookie".into(),
        }
    }

    fn under(&self, candidate: &Candidate<'_>) -> String {
        match (&self.carrier.place, &self.stickiness.names) {
            (Place::Cookie, Some(names)) if candidate.current => {
                format!("cookie {}", names.written())
            }
            (Place::Cookie, Some(names)) if names.written() == &*names.plain => {
                format!("cookie {}", names.suffixed)
            }
            (Place::Cookie, Some(names)) => format!("cookie {}", names.plain),
            (Place::Header(_), _) | (Place::Cookie, None) => self.place(),
        }
    }
}

fn reason(why: Unreadable, key: &[u8]) -> String {
    match (why, sealing_id(key)) {
        (Unreadable::UnknownKey, Some(id)) => format!(
            "sealed with key id {id} (key {} of `keys`, period {}), which is not, or no longer, known",
            id >> 4,
            id & 15
        ),
        (Unreadable::UnknownKey, None) => "sealed with a key that is not known".into(),
        (Unreadable::Malformed, _) => {
            "not a key, altered, of another service or secret, or of a clock too far ahead".into()
        }
    }
}

/// The id of the key that sealed `key`, which it tells openly.
fn sealing_id(key: &[u8]) -> Option<u8> {
    match URL_SAFE_NO_PAD.decode(key.get(..4)?).ok()?.as_slice() {
        [1, id, ..] => Some(*id),
        _ => None,
    }
}
