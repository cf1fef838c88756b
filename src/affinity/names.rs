//! What our cookie is called. Where several services would write one name, each writes
//! `name-<8 hex digits of SHA-256(service)>`; the plain and the suffixed name are always both read,
//! so that adding or removing a service breaks nobody.

use sha2::{Digest, Sha256};

/// The names under which the key of one service travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieNames {
    /// As configured.
    pub plain: Box<str>,
    /// With the suffix of the service.
    pub suffixed: Box<str>,
    /// Whether the suffixed one is written.
    shared: bool,
}

impl CookieNames {
    /// The names for `service`; `shared` when another service would write the same plain name.
    pub fn new(plain: &str, service: &str, shared: bool) -> Self {
        let suffixed = format!("{plain}-{}", suffix(service)).into();
        Self { plain: plain.into(), suffixed, shared }
    }

    /// The name that is written.
    pub fn written(&self) -> &str {
        if self.shared { &self.suffixed } else { &self.plain }
    }

    /// The one that is only read.
    pub fn unwritten(&self) -> &str {
        if self.shared { &self.plain } else { &self.suffixed }
    }

    /// Whether `name` is one of the two.
    pub fn either(&self, name: &[u8]) -> bool {
        name == self.plain.as_bytes() || name == self.suffixed.as_bytes()
    }
}

fn suffix(service: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(service.as_bytes()).into();
    let [a, b, c, d, ..] = digest;
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_name_is_written_with_the_suffix_of_its_service() {
        let alone = CookieNames::new("gateway-backend", "cart", false);
        assert_eq!(alone.written(), "gateway-backend");
        let shared = CookieNames::new("gateway-backend", "cart", true);
        // printf cart | sha256sum
        assert_eq!(shared.written(), "gateway-backend-1c42ddc0");
        assert!(shared.either(b"gateway-backend") && shared.either(b"gateway-backend-1c42ddc0"));
        assert!(!shared.either(b"gateway-backend-00000000"));
    }
}
