//! Where the key of a rule rides, and what it looks like there.

use crate::affinity::formats::{Reading, Table};
use crate::affinity::keyring::Season;
use crate::affinity::sealed::{OpenBuffer, looks_sealed, open, seal};
use crate::affinity::{Binding, KeyRing, Presented, Unreadable};
use crate::model::UnixTime;
use crate::rewriting::KeyPlace;
use http::HeaderName;
use std::sync::Arc;

/// One way for a key to travel, both ways.
pub struct Carrier {
    /// Where it rides.
    pub place: Place,
    /// What it looks like there.
    pub codec: Codec,
}

/// Where a key rides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the cookie of the rule.
    Cookie,
    /// In this header, of the response and of later requests.
    Header(HeaderName),
    /// In the URL: in links of responses, and in what clients ask for then.
    Url(KeyPlace),
}

/// What a key looks like.
pub enum Codec {
    /// `secure`
    Sealed {
        /// Shared between rules with the same secrets.
        keys: Arc<KeyRing>,
        /// What a key is authenticated with.
        associated: Box<[u8]>,
    },
    /// An unsealed one, worked out for the backends of the service.
    Named(Table),
}

impl Codec {
    /// Reads one key as the client sent it.
    pub fn open<'b>(&self, key: &[u8], now: UnixTime, buffer: &'b mut OpenBuffer) -> Presented<'b> {
        match self {
            Self::Sealed { keys, associated } => match open(keys, associated, key, now, buffer) {
                Ok((binding, key_id)) => Presented::Opened(binding, key_id),
                Err(why) => Presented::Unreadable(why),
            },
            Self::Named(table) => match table.read(key, now) {
                Reading::Backend { at, .. } => Presented::Named(at),
                Reading::Unknown => Presented::NamesNobody,
                Reading::Expired => Presented::Expired,
                Reading::NoKey => Presented::Nothing,
                Reading::Malformed => Presented::Unreadable(Unreadable::Malformed),
            },
        }
    }

    /// Which keys seal at `now`; `None` where nothing is sealed.
    pub fn season(&self, now: UnixTime) -> Option<Season> {
        match self {
            Self::Sealed { keys, .. } => Some(keys.season(now)),
            Self::Named(_) => None,
        }
    }

    /// Whether `text` is a key by the look of it, be it one that holds or not. What is none is the
    /// application's, and never taken away.
    pub fn looks_like_key(&self, text: &[u8], now: UnixTime) -> bool {
        match self {
            Self::Sealed { .. } => looks_sealed(text),
            Self::Named(table) => match table.read(text, now) {
                Reading::Backend { .. } | Reading::Unknown | Reading::Expired => true,
                Reading::NoKey | Reading::Malformed => false,
            },
        }
    }

    /// The key for `binding` to the backend at place `at` of the pool.
    pub fn write(
        &self,
        binding: &Binding<'_>,
        at: usize,
        nonce: [u8; 12],
        now: UnixTime,
    ) -> Option<String> {
        match self {
            Self::Sealed { keys, associated } => seal(keys, associated, binding, nonce, now),
            Self::Named(table) => table.write(at).map(str::to_owned),
        }
    }
}

impl Carrier {
    /// Whether a header value that is no key is the client's own name for its session.
    pub fn takes_names(&self) -> bool {
        matches!((&self.place, &self.codec), (Place::Header(_), Codec::Sealed { .. }))
    }
}
