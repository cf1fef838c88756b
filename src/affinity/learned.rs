//! Bindings that are learnt from the application's own answers: a session id such as
//! `Mcp-Session-Id` or `JSESSIONID` belongs to the backend that minted it. In memory and bounded.
//! Separate from the keys that clients carry, since here the gateway itself has to remember.
//!
//! The entry that goes when the table is full is the *exactly* least recently used one of its shard.
//! CLOCK and SIEVE save the two links of an entry (8 bytes) and their updates, but keep a rough order
//! only: a session minted a moment ago may go before one that was silent for minutes. A lost entry
//! is a client on the wrong backend, so that is no saving.
//!
//! An entry has expired when it was silent for longer than its last request allowed, or than the
//! present one allows. So the answer never hangs on whether the sweep has come by.

mod origins;
mod recency;
mod shard;
#[cfg(test)]
mod tests;

use super::keyed::{HashKey, Key};
use crate::model::{BackendId, UnixTime};
use parking_lot::{Mutex, MutexGuard};
use shard::Shard;
use std::array;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Enough that threads seldom meet, and that what is done to a whole shard is short.
const SHARDS: usize = 64;

/// A table below this capacity is one shard: shares of a few entries would be uneven.
const SPREAD_FROM: usize = 1 << 14;

/// Links are 32 bits wide, so a shard holds less than that.
const MOST: usize = 1 << 31;

/// What is known of one session id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learnt {
    /// The backend that minted it.
    pub backend: BackendId,
    /// The start of that backend; empty when it is not known.
    pub incarnation: Arc<str>,
    /// When the client was bound.
    pub since: UnixTime,
    /// When it was last looked up (before this time), or bound.
    pub seen: UnixTime,
    /// Seconds of silence after which the entry expires.
    pub idle: u32,
    /// Made at binding, used only to count.
    pub tag: u64,
}

/// What a look-up comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The table does not know the key (any more).
    Nothing,
    /// It was silent for too long, and is forgotten now.
    Expired,
    /// It is bound.
    Entry(Learnt),
}

/// Where the sweep goes on. A new one begins a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hand {
    shard: usize,
    /// The slots of the shard that are still to be visited; `None` before the first.
    left: Option<usize>,
}

/// The table.
pub struct Learned {
    hash: HashKey,
    shards: [Mutex<Shard>; SHARDS],
    /// Which bits of a key choose its shard. Changes only while every shard is locked.
    mask: AtomicU64,
    /// Locked as long as a resize lasts.
    capacity: Mutex<usize>,
    evicted: AtomicU64,
}

impl Learned {
    /// An empty table for `capacity` entries. The hash key is to be random, and that of the process
    /// whose entries are [imported](Self::import).
    pub fn new(capacity: usize, hash_key: [u8; 16]) -> Self {
        let capacity = capacity.min(MOST);
        let mask = mask(capacity);
        Self {
            hash: HashKey::new(hash_key),
            shards: array::from_fn(|at| Mutex::new(Shard::new(share(capacity, mask, at)))),
            mask: AtomicU64::new(mask),
            capacity: Mutex::new(capacity),
            evicted: AtomicU64::new(0),
        }
    }

    /// The hash key, for the process that takes over.
    pub fn hash_key(&self) -> [u8; 16] {
        self.hash.secret()
    }

    /// The key of `value`, which came from `source` (such as `header:mcp-session-id`) of `service`.
    pub fn key(&self, service: &str, source: &str, value: &[u8]) -> Key {
        self.hash.hash([service.as_bytes(), source.as_bytes(), value])
    }

    /// Looks `key` up and, if it is bound, counts that as its use. It may have been silent for
    /// `idle` seconds, and may be again.
    pub fn find(&self, key: Key, idle: u32, now: UnixTime) -> Found {
        self.lock(key).find(key, idle, now)
    }

    /// As [`Self::find`], for somebody who only wants to know: it counts as no use, and nothing is
    /// forgotten.
    pub fn peek(&self, key: Key, idle: u32, now: UnixTime) -> Found {
        self.lock(key).peek(key, idle, now)
    }

    /// Binds `key`, whatever it was bound to before. In a full table the least recently used goes.
    pub fn bind(&self, key: Key, learnt: Learnt) {
        let evicted = self.lock(key).bind(key, learnt);
        self.count(evicted);
    }

    /// Removes `key`; tells whether it was there.
    pub fn forget(&self, key: Key) -> bool {
        self.lock(key).forget(key)
    }

    /// How many entries there are, with those that have expired but were not swept yet.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many entries may be held.
    pub fn capacity(&self) -> usize {
        *self.capacity.lock()
    }

    /// How many entries went for lack of room before they had expired.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Removes what has expired among at most `step` entries, all of one shard, and moves `hand` on;
    /// tells how many went. The round is over when `hand` is a new one again. An entry that stays
    /// from the begin of a round to its end is visited.
    pub fn sweep(&self, hand: &mut Hand, step: usize, now: UnixTime) -> usize {
        let Some(shard) = self.shards.get(hand.shard) else {
            *hand = Hand::default();
            return 0;
        };
        let mut shard = shard.lock();
        let before = shard.len();
        match shard.sweep(hand.left.unwrap_or(before), step.max(1), now) {
            0 if hand.shard + 1 == SHARDS => *hand = Hand::default(),
            0 => *hand = Hand { shard: hand.shard + 1, left: None },
            left => hand.left = Some(left),
        }
        before - shard.len()
    }

    /// Everything that has not expired, shard by shard, within each the least recently used first.
    /// A shard is locked while it is copied. What changes meanwhile may be there or not.
    pub fn export(&self, now: UnixTime) -> impl Iterator<Item = (Key, Learnt)> + '_ {
        self.shards
            .iter()
            .flat_map(|shard| shard.lock().list())
            .filter(move |(_, learnt)| !has_expired(learnt.seen, learnt.idle, now))
    }

    /// Takes over what another table [exported](Self::export); tells how many. What has expired is
    /// left out, and so is what this table knows more recently, or has no room for but at the cost of
    /// something more recent.
    pub fn import(&self, entries: impl IntoIterator<Item = (Key, Learnt)>, now: UnixTime) -> usize {
        let mut taken = 0;
        for (key, learnt) in
            entries.into_iter().filter(|(_, learnt)| !has_expired(learnt.seen, learnt.idle, now))
        {
            let mut shard = self.lock(key);
            if shard.would_take(key, learnt.seen) {
                let evicted = shard.bind(key, learnt);
                drop(shard);
                self.count(evicted);
                taken += 1;
            }
        }
        taken
    }

    /// Changes the capacity. What is too much goes at once, the least recently used first, and counts
    /// as evicted.
    pub fn resize(&self, capacity: usize) {
        let capacity = capacity.min(MOST);
        let mut resized = self.capacity.lock();
        let (before, after) = (self.mask.load(Ordering::Relaxed), mask(capacity));
        if before == after || capacity < *resized {
            for (at, shard) in self.shards.iter().enumerate() {
                let evicted = shard.lock().resize(share(capacity, before, at));
                self.count(evicted);
            }
        }
        if before != after {
            self.respread(capacity, after);
        }
        *resized = capacity;
    }

    /// Moves every entry to the shard that `mask` gives it. Holds every lock, but over no more than
    /// [`SPREAD_FROM`] entries: the table is below that before or after.
    fn respread(&self, capacity: usize, mask: u64) {
        let mut shards: Vec<_> = self.shards.iter().map(Mutex::lock).collect();
        let mut entries: Vec<_> = shards.iter_mut().flat_map(|shard| shard.take()).collect();
        entries.sort_by_key(|(_, learnt)| learnt.seen);
        self.mask.store(mask, Ordering::Relaxed);
        for (at, shard) in shards.iter_mut().enumerate() {
            shard.resize(share(capacity, mask, at));
        }
        for (key, learnt) in entries {
            if let Some(shard) = shards.get_mut(place(key, mask)) {
                let evicted = shard.bind(key, learnt);
                self.count(evicted);
            }
        }
    }

    /// The shard of `key`. Asks again once it is locked: a resize may have moved the key.
    fn lock(&self, key: Key) -> MutexGuard<'_, Shard> {
        let [first, ..] = &self.shards;
        loop {
            let mask = self.mask.load(Ordering::Relaxed);
            let shard = self.shards.get(place(key, mask)).unwrap_or(first).lock();
            // a mask is stored with all shards locked, so this load sees the one that is in force
            if self.mask.load(Ordering::Relaxed) == mask {
                return shard;
            }
        }
    }

    fn count(&self, evicted: u64) {
        if evicted > 0 {
            self.evicted.fetch_add(evicted, Ordering::Relaxed);
        }
    }
}

fn has_expired(seen: UnixTime, idle: u32, now: UnixTime) -> bool {
    now.seconds_since(seen) > idle
}

fn mask(capacity: usize) -> u64 {
    if capacity < SPREAD_FROM { 0 } else { SHARDS as u64 - 1 }
}

/// The shard of a key: by its upper half, for the shard's own index goes by the lower one.
#[allow(clippy::cast_possible_truncation, reason = "a mask is below 64")]
fn place(key: Key, mask: u64) -> usize {
    (key.high & mask) as usize
}

/// What a shard holds of the whole.
#[allow(clippy::cast_possible_truncation, reason = "a mask is below 64")]
fn share(capacity: usize, mask: u64, at: usize) -> usize {
    let spread = mask as usize + 1;
    if at < spread { capacity / spread + usize::from(at < capacity % spread) } else { 0 }
}
