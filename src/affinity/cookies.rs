//! Cutting our cookies out of `Cookie`. The application never sees one of ours, whichever rule had
//! set it, and every other cookie reaches it byte for byte.

use super::names::CookieNames;
use ahash::AHashSet;
use smallvec::SmallVec;

/// Keys that are tried for one request; a client that sends more is playing.
pub const MAX_CANDIDATES: usize = 4;

/// The names of all our cookies in one snapshot.
#[derive(Debug, Default)]
pub struct Cutter {
    names: AHashSet<Box<[u8]>>,
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

/// One `Cookie` value taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Cut<'h> {
    /// What is left, where something was cut out; empty when nothing is left. On the stack for
    /// all but the largest.
    pub rest: Option<SmallVec<[u8; 512]>>,
    /// The keys under the wanted names, in order, at most [`MAX_CANDIDATES`].
    pub found: SmallVec<[Candidate<'h>; MAX_CANDIDATES]>,
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

    /// Takes one `Cookie` value apart. `wanted` are the names whose values are asked for.
    pub fn cut<'h>(&self, value: &'h [u8], wanted: Option<&CookieNames>) -> Cut<'h> {
        let mut cut = Cut::default();
        let mut start = 0;
        while start < value.len() {
            let tail = value.get(start..).unwrap_or_default();
            let end = start + memchr::memchr(b';', tail).unwrap_or(tail.len());
            let pair = value.get(start..end).unwrap_or_default();
            // up to the next pair, with the white space that separates it
            let gap = value.get(end..).unwrap_or_default().iter();
            let next = end + gap.take_while(|b| matches!(b, b';' | b' ' | b'\t')).count();
            if let Some(ours) = self.ours(pair) {
                if cut.found.len() < MAX_CANDIDATES
                    && let Some(wanted) = wanted.filter(|wanted| wanted.either(ours.name))
                {
                    let current = ours.name == wanted.written().as_bytes();
                    cut.found.push(Candidate { key: ours.value, current });
                }
                let rest = cut.rest.get_or_insert_with(|| {
                    let mut rest = SmallVec::with_capacity(value.len());
                    rest.extend_from_slice(value.get(..start).unwrap_or_default());
                    rest
                });
                if next >= value.len() {
                    // the last one takes the separator before it along
                    let kept = rest.iter().rposition(|b| !matches!(b, b';' | b' ' | b'\t'));
                    rest.truncate(kept.map_or(0, |at| at + 1));
                }
            } else if let Some(rest) = &mut cut.rest {
                rest.extend_from_slice(value.get(start..next).unwrap_or_default());
            }
            start = next;
        }
        cut
    }

    fn ours<'h>(&self, pair: &'h [u8]) -> Option<Pair<'h>> {
        let pair = pair.trim_ascii();
        let equals = memchr::memchr(b'=', pair)?;
        let name = pair.get(..equals)?.trim_ascii_end();
        let ours = self.lengths.contains(name.len()) && self.names.contains(name);
        ours.then_some(Pair { name, value: pair.get(equals + 1..)?.trim_ascii_start() })
    }
}

struct Pair<'h> {
    name: &'h [u8],
    value: &'h [u8],
}

#[cfg(test)]
mod tests;
