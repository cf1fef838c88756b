//! Why a client is placed anew. Causes are never merged: each has its own policy and its own count.

use super::Brought;

/// Why a client is placed anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It has no key.
    NoKey,
    /// Its key cannot be read.
    Unreadable,
    /// Its key was sealed with a key that is not (or no longer) known.
    UnknownKey,
    /// It was silent for too long.
    IdleExpired,
    /// It was bound too long ago.
    TooOld,
    /// Its backend was restarted since.
    WrongIncarnation,
    /// Its backend is no longer part of the service.
    Gone,
    /// Its backend cannot serve: health checks say so, or it refused the connection.
    Unhealthy,
    /// Its backend drains and the policy moves its clients.
    Draining,
    /// Its backend has all the requests that it may have.
    Full,
    /// Its backend is not of the version that the request is for.
    OtherSubset,
}

impl Cause {
    /// Every value, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::NoKey,
        Self::Unreadable,
        Self::UnknownKey,
        Self::IdleExpired,
        Self::TooOld,
        Self::WrongIncarnation,
        Self::Gone,
        Self::Unhealthy,
        Self::Draining,
        Self::Full,
        Self::OtherSubset,
    ];

    /// The label in the metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::NoKey => "no-key",
            Self::Unreadable => "unreadable",
            Self::UnknownKey => "unknown-key",
            Self::IdleExpired => "idle-expired",
            Self::TooOld => "too-old",
            Self::WrongIncarnation => "wrong-incarnation",
            Self::Gone => "gone",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
            Self::Full => "full",
            Self::OtherSubset => "other-subset",
        }
    }

    /// The letter in the log.
    pub fn brought(self) -> Brought {
        match self {
            // no key for what it asks for
            Self::NoKey | Self::OtherSubset => Brought::Nothing,
            Self::Full => Brought::Full,
            Self::Unreadable | Self::UnknownKey => Brought::Unreadable,
            Self::IdleExpired => Brought::Idle,
            Self::TooOld => Brought::Old,
            Self::WrongIncarnation => Brought::Incarnation,
            Self::Gone => Brought::Gone,
            Self::Unhealthy => Brought::Down,
            Self::Draining => Brought::Draining,
        }
    }
}
