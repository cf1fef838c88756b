//! The keys that seal and open: derived for each period from the operator's secrets, so that every
//! gateway with the same secrets has the same keys without talking to the others.
//!
//! Key of a period: HKDF-SHA256(secret, info = "stickfast affinity" ‖ period as u64 big-endian).
//! Period: unix time / rotation, 0 where there is no rotation. The key id that a sealed key names:
//! configured id (0 to 15) × 16 + period mod 16.

use crate::model::{Secret, UnixTime};
use aes_gcm::{Aes256Gcm, KeyInit};
use arc_swap::ArcSwap;
use hkdf::Hkdf;
use sha2::Sha256;
use std::num::NonZeroU32;
use std::sync::Arc;
use zeroize::Zeroizing;

/// How many periods back a key may lie; with the current one and the one ahead, 16 in all, which
/// is what four bits tell apart.
pub const PERIODS_BACK: u64 = 14;

const INFO: &[u8] = b"stickfast affinity";

/// The secrets of one rule and the keys derived from them.
pub struct KeyRing {
    /// The first one seals, all open.
    secrets: Box<[(u8, Secret)]>,
    rotation: Option<NonZeroU32>,
    /// Periods before the current one whose keys still open.
    back: u64,
    /// Made anew, by whichever request comes first, when a period begins.
    derived: ArcSwap<Ciphers>,
}

/// The ciphers in force during one period.
pub struct Ciphers {
    period: u64,
    /// Indexed by key id; boxed since most ids have none and a cipher is large.
    by_id: Box<[Option<Box<Aes256Gcm>>]>,
}

/// What of a ring is in force at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Season {
    /// Its number.
    pub period: u64,
    /// The id of the key that seals in the whole of it.
    pub sealing: u8,
}

impl Ciphers {
    pub(super) fn get(&self, id: u8) -> Option<&Aes256Gcm> {
        self.by_id.get(usize::from(id))?.as_deref()
    }
}

impl KeyRing {
    /// A ring of `secrets` (id 0 to 15, secret; the first seals), whose keys change every
    /// `rotation` seconds and open for `absolute` seconds.
    pub fn new(
        secrets: Vec<(u8, Secret)>,
        rotation: Option<NonZeroU32>,
        absolute: u32,
        now: UnixTime,
    ) -> Self {
        let back = rotation
            .map_or(0, |rotation| u64::from(absolute.div_ceil(rotation.get())).min(PERIODS_BACK));
        let secrets: Box<[_]> = secrets.into();
        let ciphers = derive(&secrets, rotation, back, period_of(rotation, now));
        Self { secrets, rotation, back, derived: ArcSwap::from_pointee(ciphers) }
    }

    /// The ciphers in force at `now`, or the next ones, if somebody with a later time has asked for those: they
    /// open all that these would but for the oldest keys, and nobody makes them anew by turns.
    pub(super) fn at(&self, now: UnixTime) -> arc_swap::Guard<Arc<Ciphers>> {
        let period = period_of(self.rotation, now);
        let ciphers = self.derived.load();
        if ciphers.period >= period && ciphers.period <= period + 1 {
            return ciphers;
        }
        // threads that race here derive the same keys
        self.derived.store(Arc::new(derive(&self.secrets, self.rotation, self.back, period)));
        self.derived.load()
    }

    /// What is in force at `now`. Without a look at the ciphers, which may be those of the next period: this
    /// is asked for every request, and its answer is the same for whoever asks at the same time.
    pub fn season(&self, now: UnixTime) -> Season {
        let period = period_of(self.rotation, now);
        let sealing = self.secrets.first().map_or(0, |(id, _)| key_id(*id, period));
        Season { period, sealing }
    }
}

fn period_of(rotation: Option<NonZeroU32>, now: UnixTime) -> u64 {
    rotation.map_or(0, |rotation| u64::from(now.0 / rotation))
}

fn derive(
    secrets: &[(u8, Secret)],
    rotation: Option<NonZeroU32>,
    back: u64,
    period: u64,
) -> Ciphers {
    let ahead = u64::from(rotation.is_some());
    let mut by_id: Vec<Option<Box<Aes256Gcm>>> = (0..256).map(|_| None).collect();
    for (config_id, secret) in secrets {
        for period in period.saturating_sub(back)..=period + ahead {
            if let Some(slot) = by_id.get_mut(usize::from(key_id(*config_id, period))) {
                *slot = cipher(secret, period).map(Box::new);
            }
        }
    }
    Ciphers { period, by_id: by_id.into() }
}

fn key_id(config_id: u8, period: u64) -> u8 {
    let [.., low] = period.to_be_bytes();
    config_id << 4 | low & 15
}

fn cipher(secret: &Secret, period: u64) -> Option<Aes256Gcm> {
    let mut key = Zeroizing::new([0; 32]);
    let mut info = [0; INFO.len() + 8];
    let (text, number) = info.split_at_mut(INFO.len());
    text.copy_from_slice(INFO);
    number.copy_from_slice(&period.to_be_bytes());
    Hkdf::<Sha256>::new(None, secret.expose()).expand(&info, key.as_mut_slice()).ok()?;
    Aes256Gcm::new_from_slice(key.as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(rotation: u32, absolute: u32) -> KeyRing {
        let secrets = vec![(3, Secret::new("a secret of sixteen bytes".into()))];
        KeyRing::new(secrets, NonZeroU32::new(rotation), absolute, UnixTime(0))
    }

    #[test]
    fn the_key_id_is_config_id_times_16_plus_period_mod_16() {
        let ring = ring(100, 300);
        assert_eq!(ring.season(UnixTime(0)).sealing, 3 * 16);
        assert_eq!(ring.season(UnixTime(1_700)).sealing, 3 * 16 + 1);
    }

    #[test]
    fn one_period_ahead_and_all_back_to_the_absolute_time_open() {
        let ring = ring(100, 300);
        let ciphers = ring.at(UnixTime(1_050));
        let open: Vec<u8> = (0..=255).filter(|id| ciphers.get(*id).is_some()).collect();
        assert_eq!(open, [7, 8, 9, 10, 11].map(|period| 3 * 16 + period));
    }

    #[test]
    fn without_rotation_there_is_one_key_for_each_secret() {
        let ciphers = ring(0, 300);
        let ciphers = ciphers.at(UnixTime(4_000_000_000));
        assert_eq!((0..=255).filter(|id| ciphers.get(*id).is_some()).count(), 1);
    }
}
