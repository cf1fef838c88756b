//! What clients hand in, hashed under a random key before it becomes the key of a table: nobody can
//! aim at a bucket or at another client's entry, and no session id stays in memory. Shared by the
//! tables of this module.

use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;

/// 128 bits that stand for something a client handed in.
// two words, since the alignment of a `u128` would pad every entry
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub(super) high: u64,
    pub(super) low: u64,
}

impl Key {
    /// The key as it is handed to another process, big-endian.
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.high) << 64 | u128::from(self.low)).to_be_bytes()
    }

    /// The key that [`Key::to_bytes`] wrote.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_be_bytes(bytes);
        let word = |word: u128| u64::try_from(word).unwrap_or_default();
        Self { high: word(both >> 64), low: word(both & u128::from(u64::MAX)) }
    }
}

/// The secret that makes a [`Key`]: two tables agree on keys only where they share it.
pub(super) struct HashKey(SipHasher24);

impl HashKey {
    pub(super) fn new(secret: [u8; 16]) -> Self {
        Self(SipHasher24::new_with_key(&secret))
    }

    pub(super) fn secret(&self) -> [u8; 16] {
        self.0.key()
    }

    /// SipHash-2-4-128 over each part behind its length, so that no two lists of parts are alike.
    pub(super) fn hash<const N: usize>(&self, parts: [&[u8]; N]) -> Key {
        let mut hasher = self.0;
        for part in parts {
            hasher.write(&(part.len() as u64).to_be_bytes());
            hasher.write(part);
        }
        let hash = hasher.finish128();
        Key { high: hash.h1, low: hash.h2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other_and_the_secret_counts() {
        let hash = HashKey::new([1; 16]);
        let key = hash.hash([b"ab", b"c"]);
        assert_eq!(key, HashKey::new(hash.secret()).hash([b"ab", b"c"]));
        assert_ne!(key, hash.hash([b"a", b"bc"]));
        assert_ne!(key, hash.hash([b"ab", b"c", b""]));
        assert_ne!(key, HashKey::new([2; 16]).hash([b"ab", b"c"]));
    }

    #[test]
    fn a_key_outlives_its_process() {
        let key = HashKey::new([1; 16]).hash([b"x"]);
        assert_ne!(key.high, key.low);
        assert_eq!(Key::from_bytes(key.to_bytes()), key);
    }
}
