//! What a request says of its client: every way of a key in its order. What it means is
//! [`resolve`]'s, what is done about it [`course`](crate::affinity::course())'s.

use super::Asked;
use crate::affinity::app_session::{Role, unwrap};
use crate::affinity::cookies::{Candidate, MAX_CANDIDATES};
use crate::affinity::learned::{Found as Recalled, Learnt};
use crate::affinity::sealed::OpenBuffer;
use crate::affinity::stamp::Kept;
use crate::affinity::{Binding, Presented, Resolution, Terms, resolve};
use crate::model::{Cause, Fields, UnixTime};
use crate::pool::Member;
use crate::rewriting::{Cut, KeyPlace};
use crate::snapshot::{Carrier, Codec, Place, PlaceKey, Service, Stickiness};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::Arc;

/// What was found in a request, before any of it is understood.
#[derive(Default)]
pub(super) struct Found<'h> {
    /// In cookies under the names of the rule.
    pub(super) ours: SmallVec<[Candidate<'h>; MAX_CANDIDATES]>,
    /// In cookies of other load balancers, each with its place among those that are honoured.
    pub(super) foreign: SmallVec<[(usize, &'h [u8]); 1]>,
    /// In the application's session cookies, each with its place among the rule's.
    pub(super) sessions: SmallVec<[(usize, &'h [u8]); 1]>,
    /// In the URL, for each way of a key that rides there.
    pub(super) urls: SmallVec<[UrlKeys; 1]>,
}

type Candidates<'k> = SmallVec<[Candidate<'k>; MAX_CANDIDATES]>;

/// What one way of a key has found in the URL.
pub(super) struct UrlKeys {
    /// Its place among the ways.
    pub(super) carrier: usize,
    /// Keys of ours.
    pub(super) ours: SmallVec<[String; 1]>,
    /// Values of the application's.
    pub(super) others: SmallVec<[String; 1]>,
}

impl UrlKeys {
    /// Takes the keys out of `target`, which becomes what the backend gets.
    pub(super) fn cut(
        carrier: usize,
        place: &KeyPlace,
        codec: &Codec,
        now: UnixTime,
        target: &mut Cow<'_, str>,
    ) -> Self {
        let Cut { found, rest } =
            place.cut(target, |value| codec.looks_like_key(value.as_bytes(), now));
        let (ours, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| found.ours);
        let text = |found: Vec<crate::rewriting::Found<'_>>| {
            found.into_iter().map(|found| found.value.into_owned()).collect()
        };
        let cut = Self { carrier, ours: text(ours), others: text(others) };
        if let Some(rest) = rest {
            *target = Cow::Owned(rest);
        }
        cut
    }
}

/// What a request says of its client.
pub(super) enum Read<'p> {
    /// A key, or that there is none; and the key as it came, where it came in the URL.
    Key { meant: Resolution<'p>, url_key: Option<String> },
    /// The client's own name for its session.
    Name(PlaceKey),
}

/// Tries the sessions of the application, then the ways of a key in their order; the first that
/// yields a readable one decides. Then come the keys of other load balancers.
pub(super) fn read<'p>(
    asked: &Asked<'_, impl Fields>,
    (stickiness, service): (&Stickiness, &'p Service),
    found: &Found<'_>,
) -> Read<'p> {
    let reader = Reader { stickiness, service, subset: asked.subset, now: asked.now };
    let (mut unreadable, mut own_name) = (None, None);
    if let Some(meant) = reader.sessions(asked, found, &mut unreadable) {
        return Read::Key { meant: reader.beside(meant, asked, found), url_key: None };
    }
    for (at, carrier) in stickiness.carriers.iter().enumerate() {
        let in_url = found.urls.iter().find(|url| url.carrier == at);
        let candidates = candidates(carrier, asked, found, in_url);
        let (meant, which) = reader.best(&carrier.codec, stickiness.terms, &candidates);
        let url_key = || in_url.and_then(|url| url.ours.get(which).cloned());
        match meant {
            Resolution::Place(Cause::NoKey) => {}
            Resolution::Place(cause @ (Cause::Unreadable | Cause::UnknownKey)) => {
                let name = candidates.first().map(|candidate| candidate.key);
                let is_name = |name: &&[u8]| !carrier.codec.looks_like_key(name, asked.now);
                match name.filter(|_| carrier.takes_names()).filter(is_name) {
                    // it only places, so a key in any other place comes first
                    Some(name) => own_name = Some(PlaceKey::from_slice(name)),
                    None => unreadable = unreadable.or(Some(cause)),
                }
            }
            meant @ (Resolution::Place(_)
            | Resolution::Bound { .. }
            | Resolution::Draining { .. }
            | Resolution::Down { .. }
            | Resolution::Gone { .. }
            | Resolution::Restarted { .. }) => return Read::Key { meant, url_key: url_key() },
        }
        let routes = in_url.iter().flat_map(|url| &url.others);
        let mut routes = routes.filter_map(|value| stickiness.route(value.as_bytes(), asked.now));
        if let Some(at) = routes.next() {
            return Read::Key { meant: reader.named(at, false), url_key: None };
        }
    }
    let mut foreign = found.foreign.iter().filter_map(|(at, value)| {
        stickiness.adopted.get(*at)?.backend(value, stickiness.terms, asked.now)
    });
    if let Some(at) = foreign.next() {
        // it gets a key of ours with this response
        return Read::Key { meant: reader.named(at, true), url_key: None };
    }
    if let Some(name) = own_name {
        return Read::Name(name);
    }
    let meant = Resolution::Place(unreadable.unwrap_or(Cause::NoKey));
    Read::Key { meant, url_key: None }
}

/// What may be keys in the place of `carrier`.
fn candidates<'k>(
    carrier: &Carrier,
    asked: &Asked<'k, impl Fields>,
    found: &'k Found<'_>,
    in_url: Option<&'k UrlKeys>,
) -> Candidates<'k> {
    match &carrier.place {
        Place::Cookie => found.ours.iter().copied().collect(),
        Place::Header(name) => {
            let lines = asked.headers.all(name).take(MAX_CANDIDATES);
            lines.map(|key| Candidate { key, current: true }).collect()
        }
        Place::Url(_) => {
            let keys = in_url.iter().flat_map(|url| &url.ours);
            keys.map(|key| Candidate { key: key.as_bytes(), current: true }).collect()
        }
    }
}

/// Of several keys the one with the highest counts: what it is worth, when it was written, and
/// whether under the name in force.
type Rank = (u8, UnixTime, bool);

/// What keys are read against.
struct Reader<'s, 'p> {
    stickiness: &'s Stickiness,
    service: &'p Service,
    subset: Option<&'s str>,
    now: UnixTime,
}

impl<'p> Reader<'_, 'p> {
    /// What the sessions of the application say; `None` when they say nothing.
    fn sessions(
        &self,
        asked: &Asked<'_, impl Fields>,
        found: &Found<'_>,
        unreadable: &mut Option<Cause>,
    ) -> Option<Resolution<'p>> {
        for (at, session) in self.stickiness.sessions.iter().enumerate() {
            let in_header = session.header(asked.headers).map(|(_, value)| value);
            let in_cookies = found.sessions.iter().filter(|(of, _)| *of == at);
            let values = in_cookies.map(|(_, value)| *value).chain(in_header);
            let meant = match (session.role, &self.stickiness.envelope) {
                (Role::Learnt, _) => {
                    let mut expired = None;
                    let mut known =
                        values.filter_map(|value| match (asked.recall)(session, value) {
                            Recalled::Nothing => None,
                            Recalled::Expired => {
                                expired = Some(Resolution::Place(Cause::IdleExpired));
                                None
                            }
                            Recalled::Entry(learnt) => Some(self.learnt(&learnt)),
                        });
                    let known = known.next();
                    known.or(expired)
                }
                (Role::Envelope, Some(codec)) => {
                    let keys = values.filter_map(unwrap);
                    let keys = keys.map(|(key, _)| Candidate { key, current: true });
                    let keys: SmallVec<[_; MAX_CANDIDATES]> = keys.take(MAX_CANDIDATES).collect();
                    Some(self.best(codec, self.stickiness.envelope_terms(), &keys).0)
                }
                (Role::Envelope, None) => None,
            };
            match meant {
                None | Some(Resolution::Place(Cause::NoKey)) => {}
                // a session that fell silent here may be well known by another name
                Some(Resolution::Place(
                    cause @ (Cause::Unreadable | Cause::UnknownKey | Cause::IdleExpired),
                )) => *unreadable = unreadable.or(Some(cause)),
                Some(meant) => return Some(meant),
            }
        }
        None
    }

    /// A session has told where the client belongs; a key of ours beside it must live on, for the day
    /// on which the session is not known. So that key alone says whether it is due, and one that
    /// says otherwise is replaced.
    fn beside(
        &self,
        meant: Resolution<'p>,
        asked: &Asked<'_, impl Fields>,
        found: &Found<'_>,
    ) -> Resolution<'p> {
        let key = self.stickiness.stamped().map(|(_, carrier)| {
            let candidates = candidates(carrier, asked, found, None);
            self.best(&carrier.codec, self.stickiness.terms, &candidates).0
        });
        let due = |of: &Arc<Member>| match &key {
            None | Some(Resolution::Place(Cause::NoKey)) => false,
            Some(
                Resolution::Bound { member, refresh, .. }
                | Resolution::Draining { member, refresh, .. },
            ) => *refresh || !member.is(of),
            Some(
                Resolution::Place(_)
                | Resolution::Down { .. }
                | Resolution::Gone { .. }
                | Resolution::Restarted { .. },
            ) => true,
        };
        let here = |kept: Kept| Kept { seen: self.now, ..kept };
        match meant {
            Resolution::Bound { member, kept, home, .. } => {
                Resolution::Bound { member, kept: here(kept), refresh: due(member), home }
            }
            Resolution::Draining { member, kept, idle, home, .. } => {
                let refresh = due(member);
                Resolution::Draining { member, kept: here(kept), refresh, idle, home }
            }
            Resolution::Down { member, kept, home } => {
                Resolution::Down { member, kept: here(kept), home }
            }
            other @ (Resolution::Gone { .. }
            | Resolution::Restarted { .. }
            | Resolution::Place(_)) => other,
        }
    }

    /// What a remembered session means.
    fn learnt(&self, learnt: &Learnt) -> Resolution<'p> {
        let binding = Binding {
            issued: learnt.since,
            seen: learnt.seen,
            tag: learnt.tag,
            backend: learnt.backend.as_str(),
            incarnation: &learnt.incarnation,
            version: "",
            home: "",
        };
        self.resolve(&Presented::Opened(binding, 0), self.stickiness.terms, 0)
    }

    /// What an unsealed key means that names the backend at this place; `renews`: it is replaced.
    fn named(&self, at: usize, renews: bool) -> Resolution<'p> {
        match self.resolve(&Presented::Named(at), self.stickiness.terms, 0) {
            Resolution::Bound { member, kept, home, .. } if renews => {
                Resolution::Bound { member, kept, refresh: true, home }
            }
            Resolution::Draining { member, kept, idle, home, .. } if renews => {
                Resolution::Draining { member, kept, refresh: true, idle, home }
            }
            other @ (Resolution::Place(_)
            | Resolution::Bound { .. }
            | Resolution::Draining { .. }
            | Resolution::Down { .. }
            | Resolution::Gone { .. }
            | Resolution::Restarted { .. }) => other,
        }
    }

    fn resolve(&self, presented: &Presented<'_>, terms: Terms, sealing: u8) -> Resolution<'p> {
        resolve(presented, &self.service.pool, self.subset, terms, self.now, sealing)
    }

    /// What the keys of a request mean. Usually there is one; a browser sends several after a cookie
    /// has changed its path, its domain or (with a second service) its name. The one that was
    /// written last counts, an expired one only when all are. Told with its place among them.
    fn best(
        &self,
        codec: &Codec,
        terms: Terms,
        candidates: &[Candidate<'_>],
    ) -> (Resolution<'p>, usize) {
        let sealing = codec.season(self.now).map_or(0, |season| season.sealing);
        let mut best: Option<(Rank, (Resolution<'p>, usize))> = None;
        for (at, candidate) in candidates.iter().enumerate() {
            let mut buffer = OpenBuffer::default();
            let presented = codec.open(candidate.key, self.now, &mut buffer);
            let resolution = self.resolve(&presented, terms, sealing);
            let seen = match presented {
                Presented::Opened(binding, _) => binding.seen,
                Presented::Nothing
                | Presented::Named(_)
                | Presented::NamesNobody
                | Presented::Expired
                | Presented::Unreadable(_) => UnixTime(0),
            };
            let worth = match &resolution {
                // an unsealed key has no time, so one that names nobody must not hide one that does
                Resolution::Place(Cause::IdleExpired | Cause::TooOld | Cause::OtherSubset)
                | Resolution::Gone { from: None, .. } => 1,
                Resolution::Place(_) => 0,
                Resolution::Bound { .. }
                | Resolution::Draining { .. }
                | Resolution::Down { .. }
                | Resolution::Gone { from: Some(_), .. }
                | Resolution::Restarted { .. } => 2,
            };
            let rank = (worth, seen, candidate.current);
            if best.as_ref().is_none_or(|(other, _)| rank > *other) {
                best = Some((rank, (resolution, at)));
            }
        }
        best.map_or((Resolution::Place(Cause::NoKey), 0), |(_, best)| best)
    }
}
