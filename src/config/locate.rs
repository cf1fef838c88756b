//! From a path inside a YAML text to line and column. `serde_yaml` keeps no places in the tree it
//! builds, but its errors have them: the text is parsed again by a visitor that follows the path
//! and fails on purpose when it has arrived.

use super::place::{Point, Step};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Line and column, both from 1, of what `path` leads to. Where the text has no such place (it
/// came in by a `<<` merge, say) the nearest value around it is meant.
pub(super) fn locate(text: &str, path: &[&Step], point: Point) -> (usize, usize) {
    let exact = find(text, Walk { path, point });
    let around = || {
        let outer = (0..path.len()).rev().filter_map(|length| path.get(..length));
        outer.map(|path| Walk { path, point: Point::Value }).find_map(|walk| find(text, walk))
    };
    exact.or_else(around).unwrap_or((1, 1))
}

fn find(text: &str, walk: Walk) -> Option<(usize, usize)> {
    let error = walk.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    error.location().map(|place| (place.line(), place.column()))
}

/// Follows what is left of the path. It never yields a value: arriving is an error.
#[derive(Clone, Copy)]
struct Walk<'a> {
    path: &'a [&'a Step],
    point: Point,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.path {
            [] => deserializer.deserialize_any(Here),
            [..] => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Step::Key(wanted), path)) = self.path.split_first() else { return Ok(()) };
        let stop_at_key = path.is_empty() && self.point == Point::Key;
        while let Some(found) = map.next_key_seed(IsKey { wanted, stop_at_key })? {
            if found {
                map.next_value_seed(Walk { path, ..self })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((Step::Item(wanted), path)) = self.path.split_first() else { return Ok(()) };
        for _ in 0..*wanted {
            list.next_element::<IgnoredAny>()?;
        }
        list.next_element_seed(Walk { path, ..self })?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// Accepts nothing, so that the parser says where it stood.
struct Here;

impl Visitor<'_> for Here {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing")
    }
}

/// Compares a key; fails on the wanted one if that is where the walk ends.
struct IsKey<'a> {
    wanted: &'a str,
    stop_at_key: bool,
}

impl<'de> DeserializeSeed<'de> for IsKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        match key == self.wanted {
            true if self.stop_at_key => Err(E::custom("here")),
            found => Ok(found),
        }
    }
}
