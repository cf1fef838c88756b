//! Who is next among the backends of a service, or among those of one of its versions.

use crate::balance::{LoadFactor, Selection};
use crate::pool::Member;
use siphasher::sip::SipHasher24;
use std::sync::Arc;

/// How new clients of a service are placed.
pub struct Choices {
    /// Over all backends.
    pub all: Arc<Selection>,
    /// Over those of each version, where requests may be for one.
    pub(super) versions: Box<[(Arc<str>, Arc<Selection>)]>,
    /// How much more than its share a backend may carry; `None`: any.
    pub(super) factor: Option<LoadFactor>,
    /// Equal where clients are placed alike, on whatever machine; `None` where nothing is hashed.
    pub(super) fingerprint: Option<u64>,
    /// Draws versions; `None` where nothing is hashed.
    pub(super) spread: Option<SipHasher24>,
}

impl Choices {
    /// One selection for all, and no bound.
    pub fn of_all(all: Arc<Selection>) -> Self {
        let fingerprint = all.fingerprint();
        Self { all, versions: [].into(), factor: None, fingerprint, spread: None }
    }

    /// Whether clients are placed by a hash.
    pub fn hashes(&self) -> bool {
        self.fingerprint.is_some()
    }

    /// Equal where clients are placed alike, on whatever machine; `None` where nothing is hashed.
    pub fn fingerprint(&self) -> Option<u64> {
        self.fingerprint
    }

    /// A hash of what places a client, so that one who is placed by it keeps to one version; `None`
    /// where clients are placed in turn.
    pub fn spread(&self, key: &[u8]) -> Option<u64> {
        self.spread.map(|hasher| hasher.hash(key))
    }

    /// What places clients of `version`, or of any.
    pub fn of(&self, version: Option<&str>) -> &Selection {
        let laid_out = version.and_then(|version| {
            let mut versions = self.versions.iter();
            versions.find(|(name, _)| **name == *version).map(|(_, selection)| selection)
        });
        laid_out.unwrap_or(&self.all)
    }

    /// The next backend of `version`, or of any, that `fits`.
    pub fn pick(
        &self,
        version: Option<&str>,
        key: &[u8],
        members: &[Arc<Member>],
        fits: impl Fn(&Member) -> bool,
    ) -> Option<Arc<Member>> {
        let is_of = |m: &Member| version.is_none_or(|version| *m.backend.version == *version);
        let load = |m: &Member| m.seats().taken();
        self.of(version).pick_bounded(key, members, |m| is_of(m) && fits(m), self.factor, load)
    }
}

/// How new clients are split over the versions of a service; bound ones stay where they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split(Box<[(Arc<str>, u32)]>);

impl Split {
    /// Parts of whatever sum they have. None at all: new clients may go to every version. The order
    /// does not matter, so that gateways agree on who goes where.
    pub fn new(parts: impl IntoIterator<Item = (Arc<str>, u32)>) -> Self {
        let mut parts: Vec<_> = parts.into_iter().collect();
        parts.sort();
        Self(parts.into())
    }

    /// Whether there is one.
    pub fn is_on(&self) -> bool {
        !self.0.is_empty()
    }

    /// The part of each version; none at all without a split.
    pub fn parts(&self) -> &[(Arc<str>, u32)] {
        &self.0
    }

    /// Whether new clients may go to `version`.
    pub fn takes(&self, version: &str) -> bool {
        !self.is_on() || self.0.iter().any(|(name, part)| *part > 0 && **name == *version)
    }

    /// The version for one new client; `dice` is random, or a hash of the client.
    pub fn draw(&self, dice: u64) -> Option<&Arc<str>> {
        let total: u64 = self.0.iter().map(|(_, part)| u64::from(*part)).sum();
        // a share of the whole range instead of a remainder: when parts change, no more clients
        // than need be have another version
        let left = (u128::from(dice) * u128::from(total)) >> 64;
        let mut left = u64::try_from(left).ok()?;
        self.0.iter().find_map(|(name, part)| match left.checked_sub(u64::from(*part)) {
            None => Some(name),
            Some(rest) => {
                left = rest;
                None
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_is_as_even_as_its_parts_say() {
        let split = Split::new([("v1".into(), 95), ("v2".into(), 5), ("v3".into(), 0)]);
        let mut counts = [0; 3];
        for dice in 0..1_000 {
            match &**split.draw(dice * (u64::MAX / 1_000) + 1_000).unwrap() {
                "v1" => counts[0] += 1,
                "v2" => counts[1] += 1,
                _ => counts[2] += 1,
            }
        }
        assert_eq!(counts, [950, 50, 0]);
        assert!(split.takes("v2") && !split.takes("v3") && !split.takes("v4"));
    }

    #[test]
    fn a_changed_split_moves_no_more_than_its_change() {
        let before = Split::new([("v2".into(), 5), ("v1".into(), 95)]);
        let after = Split::new([("v1".into(), 9), ("v2".into(), 1)]);
        let dice = (0..1_000).map(|nth| nth * (u64::MAX / 1_000) + 1_000);
        let moved = dice.filter(|dice| before.draw(*dice) != after.draw(*dice)).count();
        assert_eq!(moved, 50);
    }

    #[test]
    fn without_parts_every_version_takes_new_clients() {
        let none = Split::default();
        assert_eq!(none.draw(7), None);
        assert!(none.takes("v1") && !none.is_on());
    }
}
