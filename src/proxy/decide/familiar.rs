//! The cookies that the last request of a connection has brought, taken apart and opened. The next
//! one brings the same, as a rule, so neither is done again; what they mean is asked anew each time.
//! Apart from [`super::identify()`], whose answers must not differ for it.

use super::identify::{Asked, Lines};
use crate::affinity::cookies::Candidate;
use crate::affinity::sealed::OpenBuffer;
use crate::affinity::{Binding, Presented};
use crate::model::{Fields, UnixTime};
use crate::snapshot::{Codec, Place, Rule, Snapshot};
use http::header::COOKIE;

/// A line of cookies that is longer is not kept.
const LONGEST: usize = 1024;

/// What is known of the cookies of a connection.
#[derive(Debug, Default)]
pub struct Familiar(Option<Known>);

#[derive(Debug)]
struct Known {
    under: Under,
    line: Box<[u8]>,
    rest: Option<Lines>,
    said: Said,
    key_id: u8,
}

/// What the opened key holds under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Under {
    snapshot: u64,
    /// Its address in there.
    rule: usize,
    /// The period of its keys: with the next one others may have gone.
    period: u64,
}

impl Under {
    fn of(snapshot: &Snapshot, rule: &Rule, period: u64) -> Self {
        Self { snapshot: snapshot.serial, rule: std::ptr::from_ref(rule).addr(), period }
    }
}

/// [`Binding`], owned.
#[derive(Debug)]
struct Said {
    issued: UnixTime,
    seen: UnixTime,
    tag: u64,
    backend: Box<str>,
    incarnation: Box<str>,
    version: Box<str>,
    home: Box<str>,
}

/// A key that is known.
pub(super) struct Recalled<'k> {
    pub(super) opened: Presented<'k>,
    /// The key in force.
    pub(super) sealing: u8,
    /// The `Cookie` lines that the backend gets; `None` when they stay as they are.
    pub(super) rest: Option<Lines>,
}

/// How the keys of a rule are sealed, if that is the only way in which it takes any, and nothing but
/// cookies has to be looked at.
fn only_codec<'a>(asked: &Asked<'a, impl Fields>) -> Option<&'a Codec> {
    let (snapshot, stickiness) = (asked.snapshot, asked.rule.stickiness.as_ref()?);
    let [carrier] = &*stickiness.carriers else { return None };
    let elsewhere = !snapshot.url_keys.is_empty()
        || !snapshot.header_keys.is_empty()
        || !stickiness.sessions.is_empty();
    (carrier.place == Place::Cookie && !elsewhere).then_some(&carrier.codec)
}

/// The one line of cookies.
fn only_line<'a>(asked: &Asked<'a, impl Fields>) -> Option<&'a [u8]> {
    let mut lines = asked.headers.all(&COOKIE);
    let line = lines.next()?;
    lines.next().is_none().then_some(line)
}

impl Familiar {
    /// What is known of the cookies of a request, if they are those of the last one.
    pub(super) fn recall(&self, asked: &Asked<'_, impl Fields>) -> Option<Recalled<'_>> {
        let known = self.0.as_ref()?;
        let season = only_codec(asked)?.season(asked.now)?;
        let same = known.under == Under::of(asked.snapshot, asked.rule, season.period)
            && only_line(asked) == Some(&known.line);
        let binding = known.said.as_binding();
        let opened = Presented::Opened(binding, known.key_id);
        let rest = || known.rest.clone();
        (same && binding.is_of_the_past(asked.now)).then(|| Recalled {
            opened,
            sealing: season.sealing,
            rest: rest(),
        })
    }

    /// Opens the only key of a request, and remembers it with its line; `None` where that takes more.
    pub(super) fn open<'b>(
        &mut self,
        asked: &Asked<'_, impl Fields>,
        found: &[Candidate<'_>],
        rest: Option<&Lines>,
        buffer: &'b mut OpenBuffer,
    ) -> Option<(Presented<'b>, u8)> {
        let [candidate] = found else { return None };
        let codec = only_codec(asked)?;
        let season = codec.season(asked.now)?;
        let opened = codec.open(candidate.key, asked.now, buffer);
        let Presented::Opened(binding, key_id) = opened else { return None };
        if let Some(line) = only_line(asked).filter(|line| line.len() <= LONGEST) {
            self.0 = Some(Known {
                under: Under::of(asked.snapshot, asked.rule, season.period),
                line: line.into(),
                rest: rest.cloned(),
                said: Said::of(&binding),
                key_id,
            });
        }
        Some((opened, season.sealing))
    }
}

impl Said {
    fn of(binding: &Binding<'_>) -> Self {
        Self {
            issued: binding.issued,
            seen: binding.seen,
            tag: binding.tag,
            backend: binding.backend.into(),
            incarnation: binding.incarnation.into(),
            version: binding.version.into(),
            home: binding.home.into(),
        }
    }

    fn as_binding(&self) -> Binding<'_> {
        Binding {
            issued: self.issued,
            seen: self.seen,
            tag: self.tag,
            backend: &self.backend,
            incarnation: &self.incarnation,
            version: &self.version,
            home: &self.home,
        }
    }
}
