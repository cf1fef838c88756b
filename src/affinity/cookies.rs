//! Cutting our cookies out of `Cookie`. The application never sees one of ours, whichever rule had
//! set it, and every other cookie reaches it byte for byte.

use super::adopted::Adopted;
use super::app_session::{AppSession, Source, unwrap};
use super::names::CookieNames;
use crate::model::Fields;
use ahash::AHashSet;
use http::header::COOKIE;
use smallvec::SmallVec;

/// Keys that are tried for one request; a client that sends more is playing.
pub const MAX_CANDIDATES: usize = 4;

/// The names of all our cookies in one snapshot.
#[derive(Debug, Default)]
pub struct Cutter {
    names: AHashSet<Box<[u8]>>,
    /// Cookies of the application that may be in an envelope; few, if any.
    enveloped: Vec<Box<[u8]>>,
    /// Cookies of other lengths are passed over without a look at their names.
    lengths: Lengths,
}

/// A set of numbers below 128; cookie names are limited to fewer bytes.
#[derive(Debug, Default, Clone, Copy)]
struct Lengths(u128);

impl Lengths {
    fn insert(&mut self, length: usize) {
        self.0 |= 1_u128.checked_shl(u32::try_from(length).unwrap_or(u32::MAX)).unwrap_or(0);
    }

    fn contains(self, length: usize) -> bool {
        u32::try_from(length).is_ok_and(|n| self.0.checked_shr(n).unwrap_or(0) & 1 == 1)
    }
}

/// What a rule reads from the cookies of a request.
#[derive(Clone, Copy, Default)]
pub struct Wanted<'w> {
    /// The names of its own cookie.
    pub names: Option<&'w CookieNames>,
    /// Cookies of other load balancers that it honours.
    pub adopted: &'w [Adopted],
    /// Sessions of the application.
    pub sessions: &'w [AppSession],
}

/// One `Cookie` value taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Cut<'h> {
    /// What is left, where something was cut out; empty when nothing is left. On the stack for
    /// all but the largest.
    pub rest: Option<SmallVec<[u8; 512]>>,
    /// The keys under the wanted names, in order, at most [`MAX_CANDIDATES`].
    pub found: SmallVec<[Candidate<'h>; MAX_CANDIDATES]>,
    /// The values of foreign cookies, each with its place among [`Wanted::adopted`].
    pub foreign: SmallVec<[(usize, &'h [u8]); 1]>,
    /// The values of the application's session cookies, each with its place among
    /// [`Wanted::sessions`].
    pub sessions: SmallVec<[(usize, &'h [u8]); 1]>,
}

/// A key that the request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'h> {
    /// As sent.
    pub key: &'h [u8],
    /// Whether it came under the name that is written now, not under one of another time.
    pub current: bool,
}

impl Cutter {
    /// A cutter for all `names` of a snapshot.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n CookieNames>) -> Self {
        let mut cutter = Self::default();
        for name in names.into_iter().flat_map(|names| [&names.plain, &names.suffixed]) {
            cutter.lengths.insert(name.len());
            cutter.names.insert(name.as_bytes().into());
        }
        cutter
    }

    /// It, with the cookies that may be in an envelope: whichever rule had wrapped one, the
    /// application gets its own value.
    #[must_use]
    pub fn with_enveloped<'n>(mut self, names: impl IntoIterator<Item = &'n [u8]>) -> Self {
        self.enveloped = names.into_iter().map(Box::from).collect();
        self
    }

    /// Takes one `Cookie` value apart.
    pub fn cut<'h>(&self, value: &'h [u8], wanted: Wanted<'_>) -> Cut<'h> {
        let mut cut = Cut::default();
        let mut start = 0;
        while start < value.len() {
            let tail = value.get(start..).unwrap_or_default();
            let end = start + memchr::memchr(b';', tail).unwrap_or(tail.len());
            let pair = value.get(start..end).unwrap_or_default();
            // up to the next pair, with the white space that separates it
            let gap = value.get(end..).unwrap_or_default().iter();
            let next = end + gap.take_while(|b| matches!(b, b';' | b' ' | b'\t')).count();
            let kept = self.look_at(pair, wanted, &mut cut);
            let before = value.get(..start).unwrap_or_default();
            match (kept, &mut cut.rest) {
                (Keep::All, None) => {}
                (Keep::All, Some(rest)) => {
                    rest.extend_from_slice(value.get(start..next).unwrap_or_default());
                }
                (Keep::Value(application), rest) => {
                    let rest = rest.get_or_insert_with(|| SmallVec::from_slice(before));
                    let equals = memchr::memchr(b'=', pair).map_or(0, |at| at + 1);
                    rest.extend_from_slice(pair.get(..equals).unwrap_or_default());
                    rest.extend_from_slice(application);
                    rest.extend_from_slice(value.get(end..next).unwrap_or_default());
                }
                (Keep::Nothing, rest) => {
                    let rest = rest.get_or_insert_with(|| SmallVec::from_slice(before));
                    if next >= value.len() {
                        // the last one takes the separator before it along
                        let kept = rest.iter().rposition(|b| !matches!(b, b';' | b' ' | b'\t'));
                        rest.truncate(kept.map_or(0, |at| at + 1));
                    }
                }
            }
            start = next;
        }
        cut
    }

    /// Notes what `pair` holds for us, and tells what of it stays.
    fn look_at<'h>(&self, pair: &'h [u8], wanted: Wanted<'_>, cut: &mut Cut<'h>) -> Keep<'h> {
        let Some(Pair { name, value }) = Pair::of(pair) else { return Keep::All };
        if self.lengths.contains(name.len()) && self.names.contains(name) {
            if cut.found.len() < MAX_CANDIDATES
                && let Some(names) = wanted.names.filter(|names| names.either(name))
            {
                let current = name == names.written().as_bytes();
                cut.found.push(Candidate { key: value, current });
            }
            return Keep::Nothing;
        }
        let is_it = |session: &AppSession| match &session.source {
            Source::Cookie(cookie) => **cookie == *name,
            Source::Header(_) => false,
        };
        let mut sessions = wanted.sessions.iter().enumerate();
        if let Some((at, session)) = sessions.find(|(_, session)| is_it(session)) {
            if !value.is_empty() && cut.sessions.len() < MAX_CANDIDATES {
                cut.sessions.push((at, value));
            }
            let inner = session.inner(value);
            return if inner.len() == value.len() { Keep::All } else { Keep::Value(inner) };
        }
        let mut adopted = wanted.adopted.iter().enumerate();
        let Some((at, adopted)) = adopted.find(|(_, adopted)| *adopted.cookie == *name) else {
            let wrapped = self.enveloped.iter().any(|enveloped| **enveloped == *name);
            let inner = unwrap(value).filter(|_| wrapped);
            return inner.map_or(Keep::All, |(_, inner)| Keep::Value(inner));
        };
        cut.foreign.push((at, value));
        match adopted.application(value) {
            None => Keep::Nothing,
            Some(all) if all.len() == value.len() => Keep::All,
            Some(part) => Keep::Value(part),
        }
    }
}

/// What of a pair stays in the request.
enum Keep<'h> {
    All,
    /// The name, with this part of the value.
    Value(&'h [u8]),
    Nothing,
}

/// Whether a request carries a cookie of this name.
pub fn carries(headers: &impl Fields, name: &[u8]) -> bool {
    value_of(headers, name).is_some()
}

/// The value of the first cookie of this name.
pub fn value_of<'h>(headers: &'h impl Fields, name: &[u8]) -> Option<&'h [u8]> {
    let lines = headers.all(&COOKIE);
    let pairs = lines.flat_map(|line| line.split(|byte| *byte == b';'));
    let mut pairs = pairs.filter_map(Pair::of);
    pairs.find(|pair| pair.name == name).map(|pair| pair.value)
}

struct Pair<'h> {
    name: &'h [u8],
    value: &'h [u8],
}

impl<'h> Pair<'h> {
    fn of(pair: &'h [u8]) -> Option<Self> {
        let pair = pair.trim_ascii();
        let equals = memchr::memchr(b'=', pair)?;
        let name = pair.get(..equals)?.trim_ascii_end();
        Some(Self { name, value: pair.get(equals + 1..)?.trim_ascii_start() })
    }
}

#[cfg(test)]
mod tests;
