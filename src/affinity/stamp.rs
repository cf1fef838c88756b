//! What a response says about the binding. Decided when the backend has answered, since a retry may
//! have moved the request.

use crate::model::{Did, UnixTime};

/// What of an opened key stays when it is written anew for the same backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// When the client was bound.
    pub issued: UnixTime,
    /// The tag made then.
    pub tag: u64,
}

/// Where the client stood when the request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing<'b> {
    /// Bound to this backend by a key that holds.
    Bound {
        /// The backend's id.
        backend: &'b str,
        /// What of its key stays.
        kept: Kept,
        /// Whether the key is due.
        refresh: bool,
    },
    /// Not bound.
    Free,
}

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// Nothing: the client's key holds.
    Nothing,
    /// A new binding to the backend that answered.
    Bind,
    /// The same binding with a new time, under the key in force.
    Refresh(Kept),
}

/// Decides what to write for a response of `answered`.
pub fn stamp(standing: Standing<'_>, answered: &str) -> Stamp {
    match standing {
        Standing::Bound { backend, kept, refresh } if backend == answered => {
            if refresh {
                Stamp::Refresh(kept)
            } else {
                Stamp::Nothing
            }
        }
        Standing::Bound { .. } | Standing::Free => Stamp::Bind,
    }
}

impl Stamp {
    /// The letter in the log.
    pub fn did(self) -> Did {
        match self {
            Self::Nothing => Did::Nothing,
            Self::Bind => Did::Bound,
            Self::Refresh(_) => Did::Refreshed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Kept = Kept { issued: UnixTime(7), tag: 9 };

    #[test]
    fn the_backend_that_answered_is_the_one_that_is_written() {
        let bound = |refresh| Standing::Bound { backend: "b1", kept: KEPT, refresh };
        assert_eq!(stamp(Standing::Free, "b1"), Stamp::Bind);
        assert_eq!(stamp(bound(false), "b1"), Stamp::Nothing);
        assert_eq!(stamp(bound(true), "b1"), Stamp::Refresh(KEPT));
        assert_eq!(stamp(bound(false), "b2"), Stamp::Bind, "a retry moved the request");
    }
}
