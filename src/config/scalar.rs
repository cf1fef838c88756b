//! One value as text, and what it can be read as. Each reading says what it expected when it
//! refuses; so this file is also the list of the kinds of values that the language has.

use super::env::expand;
use super::fault::Refused;
use super::node::{Content, Node};
use super::suggest::did_you_mean;
use crate::model::{Secret, units};
use std::ops::RangeInclusive;
use std::time::Duration;

/// What a reading yields.
pub(super) type Parsed<T> = Result<T, Refused>;

/// Every duration ends here: affinity keys count seconds in 32 bits, and no clock overflows.
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);

/// A value, its variables filled in.
pub(super) struct Scalar {
    kind: Kind,
    text: String,
    /// For messages: never what the environment holds.
    shown: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Number,
    Text,
    /// Came from the environment: serves as whatever it would be if written plainly.
    Expanded,
    NotScalar,
}

impl Scalar {
    pub(super) fn of(node: &Node, env: &dyn Fn(&str) -> Option<String>) -> Parsed<Self> {
        let (kind, text, shown) = match &node.content {
            Content::Bool(flag) => (Kind::Bool, flag.to_string(), flag.to_string()),
            Content::Number(number) => (Kind::Number, number.clone(), number.clone()),
            Content::Text(text) => match expand(text, env)? {
                None => (Kind::Text, text.clone(), format!("{text:?}")),
                Some(expanded) => (Kind::Expanded, expanded, format!("what {text:?} stands for")),
            },
            Content::Null | Content::List(_) | Content::Map(_) | Content::Clash(_) => {
                (Kind::NotScalar, String::new(), node.kind().to_owned())
            }
        };
        Ok(Self { kind, text, shown })
    }

    /// Text that `parse` understands.
    pub(super) fn text<T>(
        &self,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Parsed<T> {
        let text = self.plain(&[Kind::Text]);
        text.and_then(parse).ok_or_else(|| self.refuse(expected))
    }

    /// Text that passes `check`.
    pub(super) fn checked(&self, expected: &str, check: impl Fn(&str) -> bool) -> Parsed<String> {
        self.text(expected, |text| check(text).then(|| text.to_owned()))
    }

    /// Text that is kept from messages.
    pub(super) fn secret(&self) -> Parsed<Secret> {
        let text = self.plain(&[Kind::Text]);
        text.map(|text| Secret::new(text.to_owned()))
            .ok_or_else(|| Refused::new("is not text", "put it in quotes"))
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Parsed<bool> {
        let flag = self.plain(&[Kind::Bool]).and_then(|text| text.parse().ok());
        flag.ok_or_else(|| self.refuse("true or false"))
    }

    /// A whole number.
    pub(super) fn number(&self, range: RangeInclusive<i64>) -> Parsed<i64> {
        let expected = if range == (i64::MIN..=i64::MAX) {
            "a whole number".to_owned()
        } else {
            format!("a whole number from {} to {}", range.start(), range.end())
        };
        let number = self.plain(&[Kind::Number]).and_then(|text| text.parse().ok());
        let number = number.ok_or_else(|| self.refuse(&expected))?;
        if range.contains(&number) { Ok(number) } else { Err(self.out_of_range(&expected)) }
    }

    /// A number that may have a fraction.
    pub(super) fn decimal(&self, range: RangeInclusive<f64>) -> Parsed<f64> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        let number = self.plain(&[Kind::Number]).and_then(|text| text.parse().ok());
        let number = number.ok_or_else(|| self.refuse(&expected))?;
        if range.contains(&number) { Ok(number) } else { Err(self.out_of_range(&expected)) }
    }

    /// A duration of at least `shortest`.
    pub(super) fn duration(&self, shortest: Duration) -> Parsed<Duration> {
        let duration = self.plain(&[Kind::Text]).and_then(units::duration);
        let duration =
            duration.ok_or_else(|| self.refuse("a duration such as 300ms, 30s, 5m, 1h"))?;
        self.within(duration, shortest)
    }

    /// A duration, or a bare number of seconds.
    pub(super) fn seconds(&self, shortest: Duration) -> Parsed<Duration> {
        let number = self.plain(&[Kind::Number]).and_then(|text| text.parse().ok());
        let duration = || self.plain(&[Kind::Text]).and_then(units::duration);
        let duration = number.map(Duration::from_secs).or_else(duration);
        let expected = "a number of seconds or a duration such as 30s, 5m, 1h";
        self.within(duration.ok_or_else(|| self.refuse(expected))?, shortest)
    }

    fn within(&self, duration: Duration, shortest: Duration) -> Parsed<Duration> {
        if duration < shortest {
            return Err(self.out_of_range(&format!("at least {}", in_words(shortest))));
        }
        if duration > LONGEST {
            return Err(self.out_of_range(&format!("at most {}", in_words(LONGEST))));
        }
        Ok(duration)
    }

    /// A number of bytes.
    pub(super) fn size(&self, range: RangeInclusive<u64>) -> Parsed<u64> {
        let size = self.plain(&[Kind::Text, Kind::Number]).and_then(units::size);
        let size = size.ok_or_else(|| self.refuse("a size such as 8KB, 1MiB or 4096"))?;
        if range.contains(&size) {
            return Ok(size);
        }
        Err(self.out_of_range(&format!("{} to {} bytes", range.start(), range.end())))
    }

    /// One of the words that are `built`; those in `later` are known but not built.
    pub(super) fn choice<T: Copy>(&self, built: &[(&str, T)], later: &[&str]) -> Parsed<T> {
        let words: Vec<_> = built.iter().map(|(word, _)| *word).collect();
        let expected = words.join(" or ");
        let text = self.plain(&[Kind::Text, Kind::Bool]);
        let text = text.ok_or_else(|| self.refuse(&expected))?;
        if let Some((_, value)) = built.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        if later.contains(&text) {
            let problem = format!("{} is not supported yet", self.shown);
            return Err(Refused::new(problem, format!("write {expected}")));
        }
        let nearest = did_you_mean(text, &words);
        let cure = nearest.unwrap_or_else(|| format!("expected {expected}"));
        Err(Refused::new(format!("{} is not known", self.shown), cure))
    }

    /// The text, if its kind is among `kinds` or it came from the environment.
    fn plain(&self, kinds: &[Kind]) -> Option<&str> {
        (self.kind == Kind::Expanded || kinds.contains(&self.kind)).then_some(self.text.as_str())
    }

    /// What was found and what was expected.
    pub(super) fn refuse(&self, expected: &str) -> Refused {
        let what = match self.kind {
            Kind::Number => "the number ",
            Kind::Text => "the text ",
            Kind::Bool | Kind::Expanded | Kind::NotScalar => "",
        };
        Refused::new(format!("found {what}{}", self.shown), format!("expected {expected}"))
    }

    fn out_of_range(&self, expected: &str) -> Refused {
        let problem = format!("{} is out of range", self.shown);
        Refused::new(problem, format!("expected {expected}"))
    }
}

/// A duration the way an operator would write it.
pub(super) fn in_words(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let fitting = units.iter().find(|(unit, _)| millis >= *unit && millis.is_multiple_of(*unit));
    fitting.map_or_else(|| format!("{millis}ms"), |(unit, name)| format!("{}{name}", millis / unit))
}
