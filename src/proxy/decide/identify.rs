//! Who the client of a request is and where it belongs, and what the backend gets of what it sent:
//! nothing of ours.

use super::familiar::Familiar;
use super::read::{Found, Read, UrlKeys, read};
use super::{Bond, if_refused, moves};
use crate::affinity::app_session::unwrap;
use crate::affinity::cookies::MAX_CANDIDATES;
use crate::affinity::learned;
use crate::affinity::sealed::{OpenBuffer, looks_sealed};
use crate::affinity::stamp::{Elsewhere, Kept};
use crate::affinity::{AppSession, Course, Presented, Resolution, Wanted, course, resolve};
use crate::model::fields::{Fields, text};
use crate::model::{BackendId, Brought, Cause, UnixTime};
use crate::pool::Member;
use crate::snapshot::{Caller, Place, PlaceKey, Rule, Snapshot, Stickiness};
use http::header::{COOKIE, HeaderName, REFERER};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::Arc;

/// What is remembered of a session of the application.
pub type Recall<'r> = &'r dyn Fn(&AppSession, &[u8]) -> learned::Found;

/// A request as it is decided on.
pub struct Asked<'r, F> {
    /// The configuration in force.
    pub snapshot: &'r Snapshot,
    /// The rule that takes it.
    pub rule: &'r Rule,
    /// The only version that may serve it.
    pub subset: Option<&'r str>,
    /// As the client sent them.
    pub headers: &'r F,
    /// Path and query.
    pub target: &'r str,
    /// Where it comes from.
    pub caller: Caller,
    /// Looks up sessions of the application.
    pub recall: Recall<'r>,
    /// The time now.
    pub now: UnixTime,
}

/// What a request says of its client, and what is done about it.
#[derive(Debug)]
pub struct Identified {
    /// The letter in the log.
    pub brought: Brought,
    /// Why the client is placed anew; `None` when it is with its backend, or without affinity.
    pub cause: Option<Cause>,
    /// The backend that it has to leave, or returns from, as its key calls it.
    pub from: Option<BackendId>,
    /// The version that it was bound to.
    pub version: Option<Arc<str>>,
    /// The binding that its key holds, also while its backend is down.
    pub bond: Option<Bond>,
    /// Whether the request is refused, as the policy for the cause says.
    pub rejected: bool,
    /// What places the client on the ring of the rule, instead of the service's policy.
    pub place: Option<PlaceKey>,
    /// Whether a response may write a key.
    pub stamps: bool,
    /// The application's own names for the session of this client, each with its place among the
    /// rule's.
    pub sessions: SmallVec<[(usize, PlaceKey); 1]>,
    /// The key that came in the URL, if that one counts.
    pub url_key: Option<String>,
    /// What the backend gets instead.
    pub changes: Changes,
}

impl Identified {
    /// A request that nothing binds.
    fn unbound(changes: Changes) -> Self {
        Self {
            brought: Brought::Nothing,
            cause: None,
            from: None,
            version: None,
            bond: None,
            rejected: false,
            place: None,
            stamps: false,
            sessions: SmallVec::new(),
            url_key: None,
            changes,
        }
    }

    /// The same client as one without a key; what it has stays as it is.
    #[must_use]
    pub fn placed_anew(self) -> Self {
        if self.cause.is_none_or(|cause| cause == Cause::NoKey) && self.bond.is_none() {
            return self;
        }
        Self {
            brought: Brought::Nothing,
            cause: Some(Cause::NoKey),
            from: None,
            version: None,
            bond: None,
            rejected: false,
            stamps: false,
            sessions: SmallVec::new(),
            url_key: None,
            ..self
        }
    }
}

/// Values under one name.
pub(super) type Lines = SmallVec<[Arc<[u8]>; 1]>;

/// What the backend gets instead of what the client sent. A piece of a valid value is a valid value.
#[derive(Debug, Default)]
pub struct Changes {
    /// The `Cookie` lines; `None` when they stay as they are.
    pub cookies: Option<Lines>,
    /// Headers that held keys of ours.
    pub dropped: SmallVec<[HeaderName; 1]>,
    /// The headers of envelopes, each with the application's lines.
    pub unwrapped: SmallVec<[(HeaderName, Lines); 1]>,
    /// Path and query without keys of ours.
    pub target: Option<String>,
    /// The page that the client comes from, without keys of ours.
    pub referer: Option<String>,
}

/// Takes the cookies apart; tells the lines that the backend gets instead, if any differs.
fn cut<'h>(
    snapshot: &Snapshot,
    wanted: Wanted<'_>,
    headers: &'h impl Fields,
    found: &mut Found<'h>,
) -> Option<Lines> {
    let mut changed: Option<Lines> = None;
    for (nth, line) in headers.all(&COOKIE).enumerate() {
        let cut = snapshot.cutter.cut(line, wanted);
        let room = MAX_CANDIDATES - found.ours.len();
        found.ours.extend(cut.found.into_iter().take(room));
        let room = |held: usize| MAX_CANDIDATES.saturating_sub(held);
        found.foreign.extend(cut.foreign.into_iter().take(room(found.foreign.len())));
        found.sessions.extend(cut.sessions.into_iter().take(room(found.sessions.len())));
        match (cut.rest, &mut changed) {
            (None, None) => {}
            (None, Some(lines)) => lines.push(line.into()),
            (Some(rest), lines) => {
                let before = || headers.all(&COOKIE).take(nth).map(Arc::from).collect();
                let lines = lines.get_or_insert_with(before);
                lines.extend((!rest.is_empty()).then(|| Arc::from(&*rest)));
            }
        }
    }
    changed
}

/// Takes everything of ours out of the request.
fn take_out<'h>(asked: &Asked<'h, impl Fields>, found: &mut Found<'h>) -> Changes {
    let stickiness = asked.rule.stickiness.as_ref();
    let wanted = stickiness.map(Stickiness::wanted).unwrap_or_default();
    let mut changes = Changes {
        cookies: cut(asked.snapshot, wanted, asked.headers, found),
        ..Changes::default()
    };
    (changes.target, changes.referer) = take_out_of_urls(asked, found);
    take_out_of_headers(asked, &mut changes);
    let Some(stickiness) = stickiness else { return changes };
    for carrier in &stickiness.carriers {
        match &carrier.place {
            Place::Cookie | Place::Url(_) => {}
            Place::Header(name) => {
                let mut lines = asked.headers.all(name);
                if !changes.dropped.contains(name)
                    && lines.any(|line| carrier.codec.looks_like_key(line, asked.now))
                {
                    changes.dropped.push(name.clone());
                }
            }
        }
    }
    changes
}

/// Takes sealed keys out of headers, whichever rule or time they are of: keys alone go with their
/// header, of an envelope the application's part stays.
fn take_out_of_headers(asked: &Asked<'_, impl Fields>, changes: &mut Changes) {
    for key in &asked.snapshot.header_keys {
        let lines = || asked.headers.all(&key.name);
        if !key.wraps {
            if lines().any(looks_sealed) {
                changes.dropped.push(key.name.clone());
            }
            continue;
        }
        if lines().any(|line| unwrap(line).is_some()) {
            let inner = lines().map(|line| unwrap(line).map_or(line, |(_, inner)| inner));
            changes.unwrapped.push((key.name.clone(), inner.map(Arc::from).collect()));
        }
    }
}

/// Takes the keys out of what is asked for and of the page that the client comes from: those of the
/// rule, and what looks like a sealed one of another rule or of another time.
fn take_out_of_urls(
    asked: &Asked<'_, impl Fields>,
    found: &mut Found<'_>,
) -> (Option<String>, Option<String>) {
    if asked.snapshot.url_keys.is_empty() {
        return (None, None);
    }
    let mut target = Cow::Borrowed(asked.target);
    let referer = asked.headers.first(&REFERER).and_then(text);
    let mut referer = Cow::Borrowed(referer.unwrap_or_default());
    let carriers = asked.rule.stickiness.iter().flat_map(|stickiness| &stickiness.carriers);
    for (at, carrier) in carriers.enumerate() {
        if let Place::Url(place) = &carrier.place {
            let keys = UrlKeys::cut(at, place, &carrier.codec, asked.now, &mut target);
            found.urls.push(keys);
            UrlKeys::cut(at, place, &carrier.codec, asked.now, &mut referer);
        }
    }
    for place in &asked.snapshot.url_keys {
        for url in [&mut target, &mut referer] {
            let rest = place.cut(url, |value| looks_sealed(value.as_bytes())).rest;
            if let Some(rest) = rest {
                *url = Cow::Owned(rest);
            }
        }
    }
    let changed = |url: Cow<'_, str>| match url {
        Cow::Owned(url) => Some(url),
        Cow::Borrowed(_) => None,
    };
    (changed(target), changed(referer))
}

/// The application's own names for the session of this client.
fn sessions(
    asked: &Asked<'_, impl Fields>,
    stickiness: &Stickiness,
    found: &Found<'_>,
) -> SmallVec<[(usize, PlaceKey); 1]> {
    let all = stickiness.sessions.iter().enumerate().flat_map(|(at, session)| {
        let in_cookies = found.sessions.iter().filter(move |(of, _)| *of == at);
        let in_cookies = in_cookies.map(|(_, value)| *value);
        let in_header = session.header(asked.headers).map(|(_, value)| value);
        let values = in_cookies.chain(in_header).map(|value| session.inner(value));
        values.map(move |value| (at, PlaceKey::from_slice(value)))
    });
    all.collect()
}

/// What a request says of its client, before it is known what is done about it.
struct Word<'p> {
    meant: Resolution<'p>,
    /// The key that came in the URL, if that one counts.
    url_key: Option<String>,
    sessions: SmallVec<[(usize, PlaceKey); 1]>,
    changes: Changes,
}

/// Takes everything of ours out of the request, opens the keys for its rule and says what they mean.
/// `familiar` spares the work for cookies that came before; the answer is the same without.
pub fn identify(asked: &Asked<'_, impl Fields>, familiar: Option<&mut Familiar>) -> Identified {
    let Some(stickiness) = &asked.rule.stickiness else {
        return Identified::unbound(take_out(asked, &mut Found::default()));
    };
    let service = &*asked.rule.service;
    let alone = |opened: &Presented<'_>, sealing, changes| Word {
        meant: resolve(opened, &service.pool, asked.subset, stickiness.terms, asked.now, sealing),
        url_key: None,
        sessions: SmallVec::new(),
        changes,
    };
    let (mut found, mut buffer);
    let word = if let Some(recalled) = familiar.as_ref().and_then(|known| known.recall(asked)) {
        let changes = Changes { cookies: recalled.rest, ..Changes::default() };
        alone(&recalled.opened, recalled.sealing, changes)
    } else {
        (found, buffer) = (Found::default(), OpenBuffer::default());
        let changes = take_out(asked, &mut found);
        let opened = familiar.and_then(|familiar| {
            familiar.open(asked, &found.ours, changes.cookies.as_ref(), &mut buffer)
        });
        match opened {
            Some((opened, sealing)) => alone(&opened, sealing, changes),
            None => match read(asked, (stickiness, service), &found) {
                Read::Key { meant, url_key } => {
                    let sessions = sessions(asked, stickiness, &found);
                    Word { meant, url_key, sessions, changes }
                }
                // the name that a client gives its session places it, and is the application's
                Read::Name(name) => {
                    return Identified {
                        place: Some(name),
                        cause: Some(Cause::NoKey),
                        ..Identified::unbound(changes)
                    };
                }
            },
        }
    };
    settle(asked, stickiness, word)
}

/// What is done about it.
fn settle(asked: &Asked<'_, impl Fields>, stickiness: &Stickiness, word: Word<'_>) -> Identified {
    let Word { meant, url_key, sessions, changes } = word;
    let placement = stickiness.placement.as_ref();
    let place = placement.and_then(|placement| {
        let session = sessions.first().map(|(_, name)| name.as_slice());
        placement.by.key(asked.caller, asked.headers, session)
    });
    let stamps = stickiness.may_write(asked.headers);
    let Fate { brought, cause, from, version, bond, rejected } =
        fate(course(meant, stickiness.policies), asked, stickiness);
    Identified {
        brought,
        cause,
        from,
        version,
        bond,
        rejected,
        place,
        stamps,
        sessions,
        url_key,
        changes,
    }
}

/// The part of [`Identified`] that the course decides.
struct Fate {
    brought: Brought,
    cause: Option<Cause>,
    from: Option<BackendId>,
    version: Option<Arc<str>>,
    bond: Option<Bond>,
    rejected: bool,
}

fn fate(course: Course<'_>, asked: &Asked<'_, impl Fields>, stickiness: &Stickiness) -> Fate {
    let policies = stickiness.policies;
    let bond = |member: &Arc<Member>, elsewhere, kept: Kept| Bond {
        member: Arc::clone(member),
        elsewhere,
        kept,
        refresh: false,
        leaves: false,
        until_then: None,
    };
    let version_of = |member: &Member| {
        Some(&member.backend.version).filter(|version| !version.is_empty()).cloned()
    };
    let stays = |bond| Fate {
        brought: Brought::Valid,
        cause: None,
        from: None,
        version: None,
        bond,
        rejected: false,
    };
    let leaves =
        |cause: Cause, bond| Fate { brought: cause.brought(), cause: Some(cause), ..stays(bond) };
    match course {
        Course::Stay { member, kept, refresh } => {
            let bond = Bond { refresh, ..bond(member, if_refused(policies), kept) };
            Fate { version: version_of(member), ..stays(Some(bond)) }
        }
        Course::Return { home, from, kept } => {
            let left = Some(from.backend.id.clone());
            let elsewhere = if_refused(policies);
            let here = bond(from, elsewhere, kept.clone());
            let bond = Bond {
                refresh: true,
                until_then: Some(Box::new(here)),
                ..bond(home, elsewhere, Kept { home: None, ..kept })
            };
            Fate { from: left, version: version_of(from), ..stays(Some(bond)) }
        }
        Course::Move { cause, from, left, within: version } => {
            let bond = left
                .map(|(member, kept)| Bond { leaves: true, ..bond(member, moves(policies), kept) });
            Fate { from, version, ..leaves(cause, bond) }
        }
        Course::Once { cause, member, kept } => {
            let due = asked.now.seconds_since(kept.seen) >= stickiness.terms.refresh;
            let bond = Bond { leaves: true, refresh: due, ..bond(member, Elsewhere::Visits, kept) };
            Fate { version: version_of(member), ..leaves(cause, Some(bond)) }
        }
        Course::Reject(cause) => Fate { rejected: true, ..leaves(cause, None) },
    }
}
