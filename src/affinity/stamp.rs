//! What a response says about the binding. Decided when the backend has answered, since a retry may
//! have moved the request.

use crate::model::{BackendId, Did, UnixTime};
use std::sync::Arc;

/// What of an opened key stays when it is written anew for the same backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// When the client was bound.
    pub issued: UnixTime,
    /// When the key was written.
    pub seen: UnixTime,
    /// The tag made then.
    pub tag: u64,
    /// Where the client belongs, if it had to leave there.
    pub home: Option<Home>,
}

/// The backend that a client had to leave, and which start of it held its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The backend.
    pub id: BackendId,
    /// Its start; empty where it was not known.
    pub incarnation: Arc<str>,
}

impl Home {
    /// As a key has it: the id, and behind a zero byte the start where that was known.
    pub fn read(text: &str) -> Option<Self> {
        if text.is_empty() {
            return None; // nearly every client is where it belongs
        }
        let (id, incarnation) = text.split_once('\0').unwrap_or((text, ""));
        (!id.is_empty()).then(|| Self { id: id.into(), incarnation: incarnation.into() })
    }

    /// What [`Self::read`] reads.
    pub fn write(&self) -> String {
        match &*self.incarnation {
            "" => self.id.to_string(),
            incarnation => format!("{}\0{incarnation}", self.id),
        }
    }
}

/// Where the client stood when the request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing<'b> {
    /// Bound to this backend by a key that holds.
    Bound {
        /// The backend's id.
        backend: &'b BackendId,
        /// What of its key stays.
        kept: &'b Kept,
        /// Whether the key is due.
        refresh: bool,
        /// What another backend that answers means.
        elsewhere: Elsewhere,
    },
    /// Not bound.
    Free,
}

/// What it means when another backend answers than the bound one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// The client moves there.
    Moves,
    /// The client moves there, and its key remembers where it belongs.
    MovesFromHome,
    /// The client is a guest there.
    Visits,
}

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// Nothing: the client's key holds.
    Nothing,
    /// A new binding to the backend that answered, and where the client belongs.
    Bind(Option<Home>),
    /// The same binding, to the backend that it has been, with a new time and under the key in force.
    Refresh(Kept),
}

/// Decides what to write for a response of `answered`. `incarnation` tells the start that is running at
/// the backend of the binding.
pub fn stamp(
    standing: Standing<'_>,
    answered: &BackendId,
    incarnation: impl FnOnce() -> Arc<str>,
) -> Stamp {
    match standing {
        Standing::Bound { backend, kept, refresh, elsewhere, .. }
            if backend == answered || elsewhere == Elsewhere::Visits =>
        {
            // a guest's own binding must not run out while its backend is away
            if refresh { Stamp::Refresh(kept.clone()) } else { Stamp::Nothing }
        }
        Standing::Bound { elsewhere: Elsewhere::Moves | Elsewhere::Visits, .. } => {
            Stamp::Bind(None)
        }
        Standing::Bound { backend, kept, .. } => {
            let here = || Home { id: backend.clone(), incarnation: incarnation() };
            let home = kept.home.clone().unwrap_or_else(here);
            Stamp::Bind((home.id != *answered).then_some(home))
        }
        Standing::Free => Stamp::Bind(None),
    }
}

impl Stamp {
    /// The letter in the log.
    pub fn did(&self) -> Did {
        match self {
            Self::Nothing => Did::Nothing,
            Self::Bind(_) => Did::Bound,
            Self::Refresh(_) => Did::Refreshed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(refresh: bool, elsewhere: Elsewhere, home: Option<&str>) -> [Stamp; 2] {
        let b1 = BackendId::from("b1");
        let home = home.and_then(Home::read);
        let kept = Kept { issued: UnixTime(7), seen: UnixTime(8), tag: 9, home };
        let start = || Arc::from("i");
        let bound = Standing::Bound { backend: &b1, kept: &kept, refresh, elsewhere };
        [stamp(bound, &b1, start), stamp(bound, &BackendId::from("b2"), start)]
    }

    #[test]
    fn the_backend_that_answered_is_the_one_that_is_written() {
        let kept = Kept { issued: UnixTime(7), seen: UnixTime(8), tag: 9, home: None };
        let free = stamp(Standing::Free, &BackendId::from("b1"), || Arc::from("i"));
        assert_eq!(free, Stamp::Bind(None));
        assert_eq!(standing(false, Elsewhere::Moves, None), [Stamp::Nothing, Stamp::Bind(None)]);
        assert_eq!(
            standing(true, Elsewhere::Moves, None),
            [Stamp::Refresh(kept), Stamp::Bind(None)]
        );
    }

    #[test]
    fn a_guest_keeps_its_key() {
        let [_, elsewhere] = standing(false, Elsewhere::Visits, None);
        assert_eq!(elsewhere, Stamp::Nothing);
        let [_, due] = standing(true, Elsewhere::Visits, None);
        assert!(matches!(due, Stamp::Refresh(kept) if kept.issued == UnixTime(7)));
    }

    #[test]
    fn a_home_is_read_as_it_was_written() {
        for (id, incarnation) in [("b1", ""), ("b1", "start-2")] {
            let home = Home { id: id.into(), incarnation: incarnation.into() };
            assert_eq!(Home::read(&home.write()), Some(home));
        }
        assert_eq!(Home::read(""), None);
    }

    #[test]
    fn a_key_remembers_the_first_home_and_forgets_it_on_the_way_back() {
        let bind = |home: &str| Stamp::Bind(Home::read(home));
        let [_, moved] = standing(false, Elsewhere::MovesFromHome, None);
        assert_eq!(moved, bind("b1\0i"));
        let [_, moved_again] = standing(false, Elsewhere::MovesFromHome, Some("b0"));
        assert_eq!(moved_again, bind("b0"));
        let [_, back] = standing(false, Elsewhere::MovesFromHome, Some("b2"));
        assert_eq!(back, Stamp::Bind(None));
    }
}
