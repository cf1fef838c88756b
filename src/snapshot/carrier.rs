//! Where the key of a rule rides, and what it looks like there.

use crate::affinity::formats::{Reading, Table};
use crate::affinity::sealed::{OpenBuffer, open, seal};
use crate::affinity::{Binding, KeyRing, Presented, Unreadable};
use crate::model::UnixTime;
use http::HeaderName;
use std::sync::Arc;

/// One way for a key to travel, both ways.
pub struct Carrier {
    /// Where it rides.
    pub place: Place,
    pub(super) codec: Codec,
}

/// Where a key rides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the cookie of the rule.
    Cookie,
    /// In this header, of the response and of later requests.
    Header(HeaderName),
}

/// What a key looks like.
pub(super) enum Codec {
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

impl Carrier {
    /// Reads one key as the client sent it.
    pub fn open<'b>(&self, key: &[u8], now: UnixTime, buffer: &'b mut OpenBuffer) -> Presented<'b> {
        match &self.codec {
            Codec::Sealed { keys, associated } => match open(keys, associated, key, now, buffer) {
                Ok((binding, key_id)) => Presented::Opened(binding, key_id),
                Err(why) => Presented::Unreadable(why),
            },
            Codec::Named(table) => match table.read(key, now) {
                Reading::Backend { at, .. } => Presented::Named(at),
                Reading::Unknown => Presented::NamesNobody,
                Reading::Expired => Presented::Expired,
                Reading::NoKey => Presented::Nothing,
                Reading::Malformed => Presented::Unreadable(Unreadable::Malformed),
            },
        }
    }

    /// The id of the key that seals at `now`; 0 where nothing is sealed.
    pub fn sealing_id(&self, now: UnixTime) -> u8 {
        match &self.codec {
            Codec::Sealed { keys, .. } => keys.sealing_id(now),
            Codec::Named(_) => 0,
        }
    }

    /// Whether a header value that is no key is the client's own name for its session.
    pub fn takes_names(&self) -> bool {
        matches!((&self.place, &self.codec), (Place::Header(_), Codec::Sealed { .. }))
    }

    /// The key for `binding` to the backend at place `at` of the pool.
    pub(super) fn write(
        &self,
        binding: &Binding<'_>,
        at: usize,
        nonce: [u8; 12],
        now: UnixTime,
    ) -> Option<String> {
        match &self.codec {
            Codec::Sealed { keys, associated } => seal(keys, associated, binding, nonce, now),
            Codec::Named(table) => table.write(at).map(str::to_owned),
        }
    }
}
