//! A change to a text as places and what comes there, so that everything between stays as it was:
//! the HTML rewriter makes the same changes in a text that is encoded another way.

use smallvec::SmallVec;
use std::ops::Range;

/// One place of a text, and what comes there instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Splice {
    /// Bytes of the text; empty where something is only put in.
    pub at: Range<usize>,
    /// What comes there.
    pub text: String,
}

/// In ascending order, without overlaps.
pub(super) type Splices = SmallVec<[Splice; 2]>;

/// `text` with all `splices` made.
pub(super) fn apply(text: &str, splices: &[Splice]) -> String {
    let added: usize = splices.iter().map(|splice| splice.text.len()).sum();
    let mut made = String::with_capacity(text.len() + added);
    let mut from = 0;
    for splice in splices {
        made.push_str(text.get(from..splice.at.start).unwrap_or_default());
        made.push_str(&splice.text);
        from = splice.at.end;
    }
    made.push_str(text.get(from..).unwrap_or_default());
    made
}
