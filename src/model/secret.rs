//! Text that must not be seen: wiped when dropped, masked when printed.

use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret as the operator wrote it.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Takes the text over; no copy is left behind.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The bytes, for key derivation and comparison only.
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether there is nothing to keep secret.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
