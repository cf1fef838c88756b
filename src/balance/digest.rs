//! Hashes that come out alike on every machine and in every release: where a backend's id puts it,
//! and what two gateways compare to see whether they place clients alike.

use super::entrants::Entrants;
use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher24;
use std::hash::Hasher;

/// The `nth` four numbers of a backend: SHA-256(id ‖ 0 ‖ nth), cut into 64 bits each; all
/// big-endian.
pub(super) fn numbers(id: &str, nth: u32) -> [u64; 4] {
    let mut hash = Sha256::new();
    hash.update(id.as_bytes());
    hash.update([0]);
    hash.update(nth.to_be_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let number = |nth: usize| {
        let bytes = digest.iter().skip(8 * nth).take(8);
        bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    [number(0), number(1), number(2), number(3)]
}

/// A layout in 64 bits: SipHash-2-4 under the clients' seed, so that two are equal only where layout
/// *and* seed are, and neither can be read from it.
pub(super) struct Fingerprint(SipHasher24);

impl Fingerprint {
    /// Begins one for a layout of this `kind` with the ids of `entrants`, to which owners refer by
    /// place.
    pub(super) fn new(place: SipHasher24, kind: &str, entrants: &Entrants) -> Self {
        let mut whole = Self(place);
        whole.text(kind);
        for member in entrants.members() {
            whole.text(member.backend.id.as_str());
        }
        whole
    }

    /// Takes in one number.
    pub(super) fn number(&mut self, number: u64) {
        self.0.write(&number.to_be_bytes());
    }

    /// Takes in a text, which ends where its length says.
    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.write(text.as_bytes());
    }

    /// The whole.
    pub(super) fn finish(self) -> u64 {
        self.0.finish()
    }
}
