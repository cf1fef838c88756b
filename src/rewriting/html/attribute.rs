//! The value of an attribute: character references out, changes back in at the right bytes.

use super::super::splice::{Splice, Splices, apply};
use std::fmt::Write as _;
use std::ops::Range;

/// A value that was read with one character for each byte.
pub(super) struct Value {
    /// Without character references.
    pub text: String,
    /// For each byte of `text` and its end, where that is in the page, from the start of the
    /// value. `None` where the two are the same.
    places: Option<Vec<usize>>,
}

impl Value {
    /// `None` where it is not sure what browsers read: of the two thousand named references only
    /// those of markup are known here.
    pub(super) fn of(raw: String) -> Option<Self> {
        if raw.is_ascii() && memchr::memchr(b'&', raw.as_bytes()).is_none() {
            return Some(Self { text: raw, places: None });
        }
        let mut text = String::with_capacity(raw.len());
        let mut places = Vec::with_capacity(raw.len() + 1);
        let mut rest = raw.as_str();
        let mut place = 0;
        while let Some(first) = rest.chars().next() {
            let (read, length) = match first {
                '&' => Reference::at(rest).character()?,
                other => (other, 1),
            };
            text.push(read);
            places.resize(text.len(), place);
            place += length;
            // a reference is ASCII
            let bytes = if length == 1 { first.len_utf8() } else { length };
            rest = rest.get(bytes..).unwrap_or_default();
        }
        places.push(place);
        Some(Self { text, places: Some(places) })
    }

    /// Hands the changes to `change`, as the value stands in the page.
    pub(super) fn changes(&self, splices: Splices, mut change: impl FnMut(Range<usize>, String)) {
        let Some(places) = &self.places else {
            for Splice { at, text } in splices {
                let plain = memchr::memchr(b'&', text.as_bytes()).is_none();
                change(at, if plain { text } else { text.replace('&', "&amp;") });
            }
            return;
        };
        if splices.iter().any(|splice| !splice.at.is_empty()) {
            self.anew(&splices).into_iter().for_each(|Splice { at, text }| change(at, text));
            return;
        }
        for Splice { at, text } in splices {
            let place = |at: usize| places.get(at).copied().unwrap_or_default();
            let mut escaped = String::with_capacity(text.len() + 8);
            for c in text.chars() {
                match c {
                    '&' => escaped.push_str("&amp;"),
                    // after `&copy` a semicolon would make a reference
                    ';' => escaped.push_str("&#59;"),
                    other => escaped.push(other),
                }
            }
            change(place(at.start)..place(at.end), escaped);
        }
    }

    /// The whole value written anew. Taking something out between references could make another
    /// one of their rests. Other than ASCII stays as it is.
    fn anew(&self, splices: &Splices) -> Splices {
        if !self.text.is_ascii() {
            return Splices::new();
        }
        let end = self.places.as_ref().and_then(|places| places.last().copied());
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/?#:;=%+,@!$()*[]".contains(c);
        let text = apply(&self.text, splices).chars().fold(String::new(), |mut text, c| {
            if plain(c) {
                text.push(c);
            } else {
                let _ = write!(text, "&#{};", u32::from(c));
            }
            text
        });
        [Splice { at: 0..end.unwrap_or_default(), text }].into_iter().collect()
    }
}

/// What a `&` in an attribute begins.
#[derive(Debug, PartialEq, Eq)]
enum Reference {
    /// Nothing: it is a character.
    Literal,
    /// A reference to the character, of that many bytes.
    To(char, usize),
    /// A reference that is not known here.
    Unknown,
}

impl Reference {
    fn at(text: &str) -> Self {
        let tail = text.get(1..).unwrap_or_default();
        if let Some(number) = tail.strip_prefix('#') {
            return Self::number(number);
        }
        let end = tail.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(tail.len());
        let (name, after) = tail.split_at(end);
        let closed = after.starts_with(';');
        let character = match name {
            "" => return Self::Literal,
            "amp" | "AMP" => '&',
            "lt" | "LT" => '<',
            "gt" | "GT" => '>',
            "quot" | "QUOT" => '"',
            "apos" if closed => '\'',
            _ if closed => return Self::Unknown,
            // others without a semicolon are letters beyond ASCII, or none: no matter to a URL
            _ => return Self::Literal,
        };
        if !closed && after.starts_with('=') {
            return Self::Literal;
        }
        Self::To(character, 1 + end + usize::from(closed))
    }

    /// What comes after `&#`.
    fn number(text: &str) -> Self {
        let hex = text.strip_prefix(['x', 'X']);
        let (digits, radix) = hex.map_or((text, 10), |digits| (digits, 16));
        let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
        let (digits, after) = digits.split_at(end);
        if digits.is_empty() {
            return Self::Literal;
        }
        let number = u32::from_str_radix(digits, radix).ok();
        // browsers read zero and the second controls as something else
        let sure = number.filter(|n| *n != 0 && !(0x80..0xA0).contains(n));
        let length = 2 + usize::from(hex.is_some()) + end + usize::from(after.starts_with(';'));
        sure.and_then(char::from_u32).map_or(Self::Unknown, |c| Self::To(c, length))
    }

    /// The character that is read, and the bytes it takes; `None` when it is not known.
    fn character(&self) -> Option<(char, usize)> {
        match self {
            Self::Literal => Some(('&', 1)),
            Self::To(character, length) => Some((*character, *length)),
            Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_in_an_attribute() {
        for (text, read) in [
            ("&amp;x", Reference::To('&', 5)),
            ("&AMP;", Reference::To('&', 5)),
            ("&amp", Reference::To('&', 4)),
            ("&amp/", Reference::To('&', 4)),
            ("&amp=", Reference::Literal),
            ("&ampx", Reference::Literal),
            ("&lt;", Reference::To('<', 4)),
            ("&quot;", Reference::To('"', 6)),
            ("&apos;", Reference::To('\'', 6)),
            ("&apos", Reference::Literal),
            ("&", Reference::Literal),
            ("& ", Reference::Literal),
            ("&copy=1", Reference::Literal),
            ("&b=1", Reference::Literal),
            ("&sol;", Reference::Unknown),
            ("&NewLine;", Reference::Unknown),
            ("&#47;x", Reference::To('/', 5)),
            ("&#47x", Reference::To('/', 4)),
            ("&#x2F;", Reference::To('/', 6)),
            ("&#X2fg", Reference::To('/', 5)),
            ("&#", Reference::Literal),
            ("&#x", Reference::Literal),
            ("&#xg", Reference::Literal),
            ("&#0;", Reference::Unknown),
            ("&#x80;", Reference::Unknown),
            ("&#xD800;", Reference::Unknown),
            ("&#99999999999999;", Reference::Unknown),
        ] {
            assert_eq!(Reference::at(text), read, "{text}");
        }
    }

    #[test]
    fn places_are_those_of_the_page() {
        let value = Value::of("/é?a=1&amp;b&#61;2#f".into()).unwrap();
        assert_eq!(value.text, "/é?a=1&b=2#f");
        let at = value.text.find('#').unwrap();
        let splice = Splice { at: at..at, text: "&k=v;".into() };
        let mut changes = Vec::new();
        value.changes([splice].into_iter().collect(), |at, text| changes.push((at, text)));
        // é was one byte of the page
        assert_eq!(changes, [(18..18, "&amp;k=v&#59;".to_owned())]);
        assert!(Value::of("/a&sol;b".into()).is_none());
    }
}
