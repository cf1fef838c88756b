//! What each way of a key yields, one by one. Only told here; which of them counts and what it means
//! is decided by [`crate::proxy::decide`].

use super::placing::described;
use super::report::{HomeTold, Moment, Opened, Source, Yield};
use crate::affinity::app_session::{Role, unwrap};
use crate::affinity::cookies::{Candidate, MAX_CANDIDATES};
use crate::affinity::learned::Found as Recalled;
use crate::affinity::sealed::{MAX_KEY, OpenBuffer};
use crate::affinity::{
    Adopted, AppSession, CookieNames, Presented, Resolution, Terms, Unreadable, resolve,
};
use crate::config::{Affinity, Encoding};
use crate::model::{Cause, UnixTime};
use crate::proxy::decide::Asked;
use crate::rewriting::{Cut, KeyPlace};
use crate::snapshot::{Carrier, Codec, Place, Service, Stickiness};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::COOKIE;
use std::borrow::Cow;

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

/// Every source of a key that a rule knows, in the order in which they are tried. `remembers`: whether
/// sessions that were learnt can be looked up.
pub(super) fn sources(
    asked: &Asked<'_, HeaderMap>,
    remembers: bool,
    blind: Option<Blind>,
) -> Vec<Source> {
    let Some(stickiness) = &asked.rule.stickiness else { return Vec::new() };
    let (mut ours, mut foreign, mut sessions) = (Vec::new(), Vec::new(), Vec::new());
    for line in asked.headers.get_all(COOKIE) {
        let cut = asked.snapshot.cutter.cut(line.as_bytes(), stickiness.wanted());
        ours.extend(cut.found);
        foreign.extend(cut.foreign);
        sessions.extend(cut.sessions);
    }
    ours.truncate(MAX_CANDIDATES);
    let reader = Reader { asked, stickiness, service: &asked.rule.service, remembers, blind };
    let mut all = Vec::new();
    let mut decided = false;
    let mut add = |found: Vec<Source>| {
        // one that cannot be opened here may well decide there
        let decides = found.iter().any(|s| s.decides || matches!(s.yielded, Yield::NotHere));
        all.extend(found);
        decides
    };
    for (at, session) in stickiness.sessions.iter().enumerate() {
        let in_header = session.header(asked.headers).map(|(_, value)| value);
        let in_cookies = sessions.iter().filter(|(of, _)| *of == at).map(|(_, value)| *value);
        let values: Vec<&[u8]> = in_cookies.chain(in_header).collect();
        decided |= add(reader.session(session, &values, decided));
    }
    let mut target = Cow::Borrowed(asked.target);
    for carrier in &stickiness.carriers {
        let way = Way::of(carrier, stickiness);
        let (keys, others) = reader.in_url(carrier, &mut target);
        let candidates: Vec<Candidate<'_>> = match &carrier.place {
            Place::Cookie => ours.clone(),
            Place::Header(name) => {
                let lines = asked.headers.get_all(name).iter().take(MAX_CANDIDATES);
                lines.map(|line| Candidate { key: line.as_bytes(), current: true }).collect()
            }
            Place::Url(_) => {
                keys.iter().map(|key| Candidate { key: key.as_bytes(), current: true }).collect()
            }
        };
        decided |= add(reader.read(&way, &candidates, decided));
        decided |= add(reader.route(&way, &others, decided));
    }
    add(reader.adopted(&foreign, decided));
    all
}

/// One way of a key, and what it is called in the report.
struct Way<'a> {
    codec: &'a Codec,
    terms: Terms,
    place: String,
    names: Option<&'a CookieNames>,
    takes_names: bool,
}

impl<'a> Way<'a> {
    fn of(carrier: &'a Carrier, stickiness: &'a Stickiness) -> Self {
        let names = stickiness.names.as_ref().filter(|_| carrier.place == Place::Cookie);
        let place = match (&carrier.place, names) {
            (Place::Header(name), _) => format!("header {name}"),
            (Place::Url(KeyPlace::Query(name)), _) => format!("parameter {name} of the query"),
            (Place::Url(KeyPlace::Path(name)), _) => format!("parameter {name} of the path"),
            (Place::Cookie, Some(names)) => {
                format!("cookie {} or {}", names.plain, names.suffixed)
            }
            (Place::Cookie, None) => "cookie".into(),
        };
        let (codec, terms) = (&carrier.codec, stickiness.terms);
        Self { codec, terms, place, names, takes_names: carrier.takes_names() }
    }

    fn under(&self, candidate: &Candidate<'_>) -> String {
        match self.names {
            Some(names) if candidate.current => format!("cookie {}", names.written()),
            Some(names) if names.written() == &*names.plain => {
                format!("cookie {}", names.suffixed)
            }
            Some(names) => format!("cookie {}", names.plain),
            None => self.place.clone(),
        }
    }
}

struct Reader<'a> {
    asked: &'a Asked<'a, HeaderMap>,
    stickiness: &'a Stickiness,
    service: &'a Service,
    remembers: bool,
    blind: Option<Blind>,
}

/// What a key weighs against other readable ones.
type Worth = (bool, UnixTime, bool);

impl Reader<'_> {
    /// Keys of ours and values of the application's in the URL, which loses the keys.
    fn in_url(&self, carrier: &Carrier, target: &mut Cow<'_, str>) -> (Vec<String>, Vec<String>) {
        let Place::Url(place) = &carrier.place else { return (Vec::new(), Vec::new()) };
        let looks = |value: &str| carrier.codec.looks_like_key(value.as_bytes(), self.asked.now);
        let Cut { found, rest } = place.cut(target, looks);
        let (mut keys, mut others) = (Vec::new(), Vec::new());
        for found in found {
            let values = if found.ours { &mut keys } else { &mut others };
            values.push(found.value.into_owned());
        }
        if let Some(rest) = rest {
            *target = Cow::Owned(rest);
        }
        (keys, others)
    }

    /// A session of the application's: an envelope has a key in it, what was learnt is in the
    /// memory of a gateway.
    fn session(&self, session: &AppSession, values: &[&[u8]], decided: bool) -> Vec<Source> {
        let told = described(session);
        let told = told.strip_prefix("the application's ").unwrap_or(&told);
        let one = |place: String, yielded| vec![Source { place, yielded, decides: false }];
        match (session.role, &self.stickiness.envelope) {
            (Role::Learnt, _) => {
                let place = format!("learnt session in {told}");
                let recalled = || values.iter().map(|value| (self.asked.recall)(session, value));
                let yielded = match values {
                    _ if decided => Yield::NotAsked,
                    [] => Yield::Nothing,
                    [_, ..] if !self.remembers => Yield::OnlyRunning,
                    [_, ..] => {
                        recalled().fold(Yield::NotLearnt, |yielded, found| match (yielded, found) {
                            (Yield::Backend(id), _) => Yield::Backend(id),
                            (_, Recalled::Entry(learnt)) => {
                                Yield::Backend(learnt.backend.to_string())
                            }
                            (_, Recalled::Expired) => Yield::Expired,
                            (yielded, Recalled::Nothing) => yielded,
                        })
                    }
                };
                vec![Source { place, decides: matches!(yielded, Yield::Backend(_)), yielded }]
            }
            (Role::Envelope, codec) => {
                let place = format!("envelope in {told}");
                let keys = values.iter().filter_map(|value| unwrap(value)).take(MAX_CANDIDATES);
                let keys: Vec<_> = keys.map(|(key, _)| Candidate { key, current: true }).collect();
                match codec {
                    Some(codec) if decided || !keys.is_empty() || values.is_empty() => {
                        let terms = self.stickiness.envelope_terms();
                        let way = Way { codec, terms, place, names: None, takes_names: false };
                        self.read(&way, &keys, decided)
                    }
                    Some(_) | None => one(place, Yield::NoKey),
                }
            }
        }
    }

    /// The route behind a session id of a servlet container.
    fn route(&self, way: &Way<'_>, others: &[String], decided: bool) -> Vec<Source> {
        if others.is_empty() {
            return Vec::new();
        }
        let place = format!("route behind the last dot in {}", way.place);
        let named = |value: &String| self.stickiness.route(value.as_bytes(), self.asked.now);
        let yielded = match others.iter().find_map(named) {
            _ if decided => Yield::NotAsked,
            Some(at) => self.backend(at),
            None => Yield::NoKey,
        };
        let decides = matches!(yielded, Yield::Backend(_));
        vec![Source { place, yielded, decides }]
    }

    /// The cookies of other load balancers; the first in the request that names a backend counts.
    fn adopted(&self, foreign: &[(usize, &[u8])], decided: bool) -> Vec<Source> {
        let (all, terms) = (&self.stickiness.adopted, self.stickiness.terms);
        let named = foreign.iter().find_map(|(at, value)| {
            Some((*at, all.get(*at)?.backend(value, terms, self.asked.now)?))
        });
        let one = |(at, adopted): (usize, &Adopted)| {
            let yielded = match named {
                _ if decided => Yield::NotAsked,
                Some((place, backend)) if place == at => self.backend(backend),
                Some(_) | None if foreign.iter().any(|(place, _)| *place == at) => Yield::Nobody,
                Some(_) | None => Yield::Nothing,
            };
            let place = format!("adopted cookie {}", String::from_utf8_lossy(&adopted.cookie));
            Source { place, decides: matches!(yielded, Yield::Backend(_)), yielded }
        };
        all.iter().enumerate().map(one).collect()
    }

    fn backend(&self, at: usize) -> Yield {
        let member = self.service.pool.members().get(at);
        member.map_or(Yield::Nobody, |member| Yield::Backend(member.backend.id.to_string()))
    }

    fn read(&self, way: &Way<'_>, candidates: &[Candidate<'_>], decided: bool) -> Vec<Source> {
        let nothing = |yielded| vec![Source { place: way.place.clone(), yielded, decides: false }];
        if decided {
            return nothing(Yield::NotAsked);
        }
        let (mut found, mut best) = (Vec::new(), None);
        for candidate in candidates {
            let (yielded, worth) = self.one(way, candidate);
            if worth.is_some() && worth > best.map(|(worth, _)| worth) {
                best = worth.map(|worth| (worth, found.len()));
            }
            found.push(Source { place: way.under(candidate), yielded, decides: false });
        }
        // while a key that cannot be opened here is there, nobody knows which one counts
        let open = !found.iter().any(|source| matches!(source.yielded, Yield::NotHere));
        let is_name = |key: &[u8]| !way.codec.looks_like_key(key, self.asked.now);
        if let Some(source) = best.filter(|_| open).and_then(|(_, at)| found.get_mut(at)) {
            source.decides = true;
        } else if let (Some(first), true) = (candidates.first(), way.takes_names && open)
            && is_name(first.key)
            && let Some(source) = found.first_mut()
        {
            source.yielded = Yield::ClientName;
            source.decides = true;
        }
        if found.is_empty() { nothing(Yield::Nothing) } else { found }
    }

    /// What `candidate` yields, and what it weighs against other readable ones.
    fn one(&self, way: &Way<'_>, candidate: &Candidate<'_>) -> (Yield, Option<Worth>) {
        if self.blind.is_some_and(|blind| blind.hides(candidate.key)) {
            return (Yield::NotHere, None);
        }
        let now = self.asked.now;
        let mut buffer = OpenBuffer::default();
        let presented = way.codec.open(candidate.key, now, &mut buffer);
        let pool = &self.service.pool;
        let holds = match resolve(&presented, pool, self.asked.subset, way.terms, now, 0) {
            Resolution::Place(Cause::IdleExpired | Cause::TooOld | Cause::OtherSubset)
            | Resolution::Gone { from: None, .. } => Some(false),
            Resolution::Place(_) => None,
            Resolution::Bound { .. }
            | Resolution::Draining { .. }
            | Resolution::Down { .. }
            | Resolution::Gone { from: Some(_), .. }
            | Resolution::Restarted { .. } => Some(true),
        };
        let (yielded, seen) = match presented {
            Presented::Nothing => (Yield::Nothing, UnixTime(0)),
            Presented::Expired => (Yield::Expired, UnixTime(0)),
            Presented::NamesNobody => (Yield::Nobody, UnixTime(0)),
            Presented::Named(at) => (self.backend(at), UnixTime(0)),
            Presented::Unreadable(why) => {
                (Yield::Unreadable(reason(why, candidate.key)), UnixTime(0))
            }
            Presented::Opened(binding, key_id) => {
                let opened = Opened {
                    backend: binding.backend.into(),
                    issued: Moment::new(binding.issued, now),
                    last_seen: Moment::new(binding.seen, now),
                    key_id,
                    incarnation: binding.incarnation.into(),
                    version: binding.version.into(),
                    home: HomeTold::read(binding.home),
                };
                (Yield::Key(Box::new(opened)), binding.seen)
            }
        };
        (yielded, holds.map(|holds| (holds, seen, candidate.current)))
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
