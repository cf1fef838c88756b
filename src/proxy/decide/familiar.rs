//! The cookies that the last request of a connection has brought, taken apart and opened. The next
//! one brings the same, as a rule, so neither is done again; what they mean is asked anew each time.
//! Apart from [`super::identify()`], whose answers must not differ for it.

use super::identify::{Asked, Lines};
use crate::affinity::Presented;
use crate::affinity::cookies::Candidate;
use crate::affinity::sealed::{Noted, OpenBuffer};
use crate::model::Fields;
use crate::snapshot::{Codec, Place, Rule, Snapshot};
use http::header::COOKIE;

/// A line of cookies that is longer is not kept.
const LONGEST: usize = 1024;

/// What is known of the cookies of a connection: of the last request, or nothing.
#[derive(Debug, Default)]
pub struct Familiar(Option<Known>);

#[derive(Debug, Default)]
struct Known {
    under: Under,
    line: Vec<u8>,
    rest: Option<Lines>,
    /// What its key holds.
    noted: Noted,
    key_id: u8,
}

/// What the opened key holds under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
        if !same {
            return None;
        }
        let binding = known.noted.binding();
        binding.is_of_the_past(asked.now).then(|| Recalled {
            opened: Presented::Opened(binding, known.key_id),
            sealing: season.sealing,
            rest: known.rest.clone(),
        })
    }

    /// Opens the only key of a request, and remembers it with its line instead of the last one; `None`
    /// where that takes more.
    pub(super) fn open<'b>(
        &mut self,
        asked: &Asked<'_, impl Fields>,
        found: &[Candidate<'_>],
        rest: Option<&Lines>,
        buffer: &'b mut OpenBuffer,
    ) -> Option<(Presented<'b>, u8)> {
        let known = self.0.take();
        let [candidate] = found else { return None };
        let codec = only_codec(asked)?;
        let season = codec.season(asked.now)?;
        let opened = codec.open(candidate.key, asked.now, buffer);
        let Presented::Opened(binding, key_id) = opened else { return None };
        if let Some(line) = only_line(asked).filter(|line| line.len() <= LONGEST) {
            // many clients behind one connection change it each time, so what was allocated stays
            let mut known = known.unwrap_or_default();
            known.under = Under::of(asked.snapshot, asked.rule, season.period);
            known.line.clear();
            known.line.extend_from_slice(line);
            known.rest = rest.cloned();
            known.key_id = key_id;
            known.noted.note(&binding);
            self.0 = Some(known);
        }
        Some((opened, season.sealing))
    }
}
