//! Who may read what: a bearer token, compared in constant time, for everything but the probes.

use crate::model::Secret;
use axum::http::{HeaderMap, header};
use subtle::ConstantTimeEq;

/// The rules of one admin listener.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Empty: no token is asked for, which configuration allows on loopback only.
    pub token: Secret,
    /// Whether metrics are for everybody, which they are on loopback anyway.
    pub public_metrics: bool,
}

/// What a request may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Granted,
    Denied,
}

impl Guard {
    /// Whether a request with these headers may read metrics.
    pub(super) fn metrics(&self, headers: &HeaderMap) -> Access {
        if self.public_metrics || self.token.is_empty() {
            return Access::Granted;
        }
        let given = headers.get(header::AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
        let token = match given.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token,
            _ => return Access::Denied,
        };
        if token.ct_eq(self.token.expose()).into() { Access::Granted } else { Access::Denied }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_need_the_token_unless_they_are_public() {
        let guard = |public_metrics| Guard { token: Secret::new("t0ken".into()), public_metrics };
        let with =
            |value: &str| HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
        assert_eq!(guard(false).metrics(&with("Bearer t0ken")), Access::Granted);
        assert_eq!(guard(false).metrics(&with("bearer t0ken")), Access::Granted);
        for wrong in ["Bearer t0ke", "Bearer t0ken2", "Bearer", "Basic t0ken", "t0ken"] {
            assert_eq!(guard(false).metrics(&with(wrong)), Access::Denied, "{wrong}");
        }
        assert_eq!(guard(false).metrics(&HeaderMap::new()), Access::Denied);
        assert_eq!(guard(true).metrics(&HeaderMap::new()), Access::Granted);
    }
}
