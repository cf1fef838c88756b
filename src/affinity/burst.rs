//! First requests that come in a burst: a browser that opens six connections before it has a key is
//! one client, and goes to one backend. Separate from [`super::learned`]: this one remembers for
//! about a second, may forget at any time, and decides what a fresh binding is.
//!
//! The room is fixed: buckets of a few places, each under a lock of its own, the oldest overwritten.
//! Only requests of one burst (or, seldom, of one bucket) ever wait for each other.

#[cfg(test)]
mod tests;

use super::keyed::{HashKey, Key};
use crate::model::BackendId;
use parking_lot::Mutex;
use std::net::IpAddr;

/// Places in a bucket. A table with as many buckets as there are clients in a window hardly ever
/// has five of them in one.
const WAYS: usize = 4;

/// A fresh binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pick {
    /// The backend.
    pub backend: BackendId,
    /// The tag of the binding, the same for the whole burst: it is one client.
    pub tag: u64,
}

/// What a request without a key is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    /// The pick that it made itself; those that follow within the window share it.
    First(Pick),
    /// What an earlier request of its burst was given.
    Same(Pick),
    /// It could pick none, and nothing is remembered.
    Nobody,
}

/// One burst.
#[derive(Clone)]
struct Burst {
    key: Key,
    pick: Pick,
    /// Milliseconds, of the first request.
    began: u64,
}

type Bucket = [Option<Burst>; WAYS];

/// The bursts of the last moment.
pub struct Bursts {
    hash: HashKey,
    buckets: Box<[Mutex<Bucket>]>,
}

impl Bursts {
    /// Room for `bursts` at a time (rounded up to a few more), all of it taken now: about 50 bytes
    /// each. The hash key is to be random.
    pub fn new(bursts: usize, hash_key: [u8; 16]) -> Self {
        let buckets = bursts.div_ceil(WAYS).max(1);
        Self {
            hash: HashKey::new(hash_key),
            buckets: (0..buckets).map(|_| Mutex::new(Bucket::default())).collect(),
        }
    }

    /// The key of those who may be one client: same service, address and `User-Agent`. Without one
    /// it is as if it were empty.
    pub fn key(&self, service: &str, address: IpAddr, user_agent: Option<&[u8]>) -> Key {
        let agent = user_agent.unwrap_or_default();
        match address.to_canonical() {
            IpAddr::V4(v4) => self.hash.hash([service.as_bytes(), &v4.octets(), agent]),
            IpAddr::V6(v6) => self.hash.hash([service.as_bytes(), &v6.octets(), agent]),
        }
    }

    /// What a request without a key is given: the pick of its burst, if one began less than
    /// `window` milliseconds ago (by a clock that never goes back) and its pick `fits` this request;
    /// else a `fresh` one, which its burst has from now on.
    ///
    /// The first request asks with a `fits` that says whether the backend serves. One that was
    /// refused asks again with a `fits` that leaves out the backends it has tried: the burst moves
    /// with it, once, and its window goes on as it began. A window of 0 leaves the table alone.
    ///
    /// `fits` and `fresh` run under the lock of the bucket, so that a burst costs one pick and one
    /// turn of the round robin. They may take locks of their own, but must not come back here.
    pub fn join(
        &self,
        key: Key,
        now: u64,
        window: u64,
        fits: impl FnOnce(&Pick) -> bool,
        fresh: impl FnOnce() -> Option<Pick>,
    ) -> Joined {
        let Some(bucket) = self.bucket(key).filter(|_| window > 0) else {
            return fresh().map_or(Joined::Nobody, Joined::First);
        };
        let mut bucket = bucket.lock();
        // threads may come here in another order than they read the clock
        let held =
            bucket.iter_mut().flatten().find(|b| b.key == key && b.began.abs_diff(now) < window);
        if let Some(burst) = held {
            if fits(&burst.pick) {
                return Joined::Same(burst.pick.clone());
            }
            let Some(pick) = fresh() else { return Joined::Nobody };
            burst.pick = pick.clone();
            return Joined::First(pick);
        }
        let Some(pick) = fresh() else { return Joined::Nobody };
        if let Some(place) = place(&mut bucket, key) {
            *place = Some(Burst { key, pick: pick.clone(), began: now });
        }
        Joined::First(pick)
    }

    fn bucket(&self, key: Key) -> Option<&Mutex<Bucket>> {
        // a share of the whole range instead of a remainder: any number of buckets is even
        let at = (u128::from(key.low) * self.buckets.len() as u128) >> 64;
        self.buckets.get(usize::try_from(at).ok()?)
    }
}

/// Where a burst of `key` goes: where one of the same key stood, else where none stands, else where
/// the oldest does.
fn place(bucket: &mut Bucket, key: Key) -> Option<&mut Option<Burst>> {
    bucket.iter_mut().min_by_key(|place| match place {
        Some(burst) if burst.key == key => (0, 0),
        None => (1, 0),
        Some(burst) => (2, burst.began),
    })
}
