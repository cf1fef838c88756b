//! One shard of the table, all that one lock guards: an index from key to slot, the entries without
//! gaps, and the order of their use. Separate, since nothing in here knows of threads.

use super::origins::Origins;
use super::recency::Recency;
use super::{Found, Key, Learnt, has_expired};
use crate::model::UnixTime;
use hashbrown::HashTable;

/// 40 bytes; with 8 of links and 5 to 10 of index that is all an entry takes.
#[derive(Clone, Copy)]
struct Entry {
    key: Key,
    tag: u64,
    origin: u32,
    since: UnixTime,
    seen: UnixTime,
    idle: u32,
}

impl Entry {
    fn has_expired(&self, now: UnixTime) -> bool {
        has_expired(self.seen, self.idle, now)
    }
}

/// A table of its own, up to the lock.
pub(super) struct Shard {
    index: HashTable<u32>,
    entries: Vec<Entry>,
    recency: Recency,
    origins: Origins,
    capacity: usize,
}

impl Shard {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            index: HashTable::new(),
            entries: Vec::new(),
            recency: Recency::new(),
            origins: Origins::default(),
            capacity,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn find(&mut self, key: Key, idle: u32, now: UnixTime) -> Found {
        let Some(slot) = self.slot(key) else { return Found::Nothing };
        let Some(entry) = self.entries.get_mut(slot as usize) else { return Found::Nothing };
        if has_expired(entry.seen, entry.idle.min(idle), now) {
            self.remove(slot);
            return Found::Expired;
        }
        // two threads may have read the clock in another order than they come here
        // what it is told is how long the client has been silent
        let known = *entry;
        entry.seen = entry.seen.max(now);
        entry.idle = idle;
        self.recency.touch(slot);
        self.learnt(&known).map_or(Found::Nothing, Found::Entry)
    }

    /// As [`Shard::find`], but that leaves no trace.
    pub(super) fn peek(&self, key: Key, idle: u32, now: UnixTime) -> Found {
        let entry = self.slot(key).and_then(|slot| self.entries.get(slot as usize));
        match entry {
            None => Found::Nothing,
            Some(entry) if has_expired(entry.seen, entry.idle.min(idle), now) => Found::Expired,
            Some(entry) => self.learnt(entry).map_or(Found::Nothing, Found::Entry),
        }
    }

    /// Binds `key`; tells how many entries had to go before their time.
    pub(super) fn bind(&mut self, key: Key, learnt: Learnt) -> u64 {
        if self.capacity == 0 {
            return 0;
        }
        let Learnt { backend, incarnation, since, seen, idle, tag } = learnt;
        let origin = self.origins.hold((backend, incarnation));
        let entry = Entry { key, tag, origin, since, seen, idle };
        if let Some(slot) = self.slot(key) {
            if let Some(place) = self.entries.get_mut(slot as usize) {
                self.origins.release(place.origin);
                *place = entry;
            }
            self.recency.touch(slot);
            return 0;
        }
        let evicted = self.cut(self.capacity - 1, Some(seen));
        self.grow();
        let slot = u32::try_from(self.entries.len()).unwrap_or_default();
        self.entries.push(entry);
        self.recency.push();
        let entries = &self.entries;
        self.index.insert_unique(key.low, slot, |slot| hash(entries, *slot));
        evicted
    }

    pub(super) fn forget(&mut self, key: Key) -> bool {
        let slot = self.slot(key);
        if let Some(slot) = slot {
            self.remove(slot);
        }
        slot.is_some()
    }

    /// Whether an entry that was last used at `seen` would be news, and not push out a later one.
    pub(super) fn would_take(&self, key: Key, seen: UnixTime) -> bool {
        let older = |slot: u32| self.entries.get(slot as usize).is_some_and(|e| e.seen < seen);
        match self.slot(key) {
            Some(slot) => older(slot),
            None if self.len() < self.capacity => true,
            None => self.recency.oldest().is_some_and(older),
        }
    }

    /// Visits at most `step` entries below slot `left`, and removes those that have expired; returns
    /// how many are left to visit. From the last slot down: a removal fills its slot with the last
    /// entry, which was visited before.
    pub(super) fn sweep(&mut self, left: usize, step: usize, now: UnixTime) -> usize {
        let left = left.min(self.len());
        let until = left.saturating_sub(step);
        for slot in (until..left).rev() {
            if self.entries.get(slot).is_some_and(|entry| entry.has_expired(now)) {
                self.remove(u32::try_from(slot).unwrap_or_default());
            }
        }
        until
    }

    /// Every entry, the least recently used first.
    pub(super) fn list(&self) -> Vec<(Key, Learnt)> {
        let entries =
            self.recency.oldest_first().filter_map(|slot| self.entries.get(slot as usize));
        entries.filter_map(|entry| Some((entry.key, self.learnt(entry)?))).collect()
    }

    /// As [`Shard::list`], and nothing is left.
    pub(super) fn take(&mut self) -> Vec<(Key, Learnt)> {
        let all = self.list();
        *self = Self::new(self.capacity);
        all
    }

    /// Changes the capacity; tells how many entries had to go.
    pub(super) fn resize(&mut self, capacity: usize) -> u64 {
        self.capacity = capacity;
        let evicted = self.cut(capacity, None);
        if self.entries.capacity() > capacity {
            self.entries.shrink_to(capacity);
            self.recency.fit(self.entries.capacity());
            let entries = &self.entries;
            self.index.shrink_to(entries.len(), |slot| hash(entries, *slot));
        }
        evicted
    }

    /// Drops the least recently used until there are at most `most`; tells how many of them had not
    /// expired at `now`.
    fn cut(&mut self, most: usize, now: Option<UnixTime>) -> u64 {
        let mut evicted = 0;
        while self.len() > most {
            let Some(slot) = self.recency.oldest() else { break };
            let entry = self.entries.get(slot as usize);
            let expired = entry.zip(now).is_some_and(|(entry, now)| entry.has_expired(now));
            evicted += u64::from(!expired);
            self.remove(slot);
        }
        evicted
    }

    /// Makes room for one more. Doubles, but never beyond the capacity.
    fn grow(&mut self) {
        let len = self.len();
        if len == self.entries.capacity() {
            self.entries.reserve_exact(len.clamp(4, self.capacity.max(4)).min(self.capacity - len));
            self.recency.fit(self.entries.capacity());
        }
    }

    fn slot(&self, key: Key) -> Option<u32> {
        let is = |slot: &u32| self.entries.get(*slot as usize).is_some_and(|e| e.key == key);
        self.index.find(key.low, is).copied()
    }

    fn remove(&mut self, slot: u32) {
        let Some(entry) = self.entries.get(slot as usize).copied() else { return };
        if let Ok(found) = self.index.find_entry(entry.key.low, |at| *at == slot) {
            found.remove();
        }
        self.entries.swap_remove(slot as usize);
        self.recency.swap_remove(slot);
        self.origins.release(entry.origin);
        let moved = u32::try_from(self.entries.len()).unwrap_or_default();
        if let Some(entry) = self.entries.get(slot as usize)
            && let Some(at) = self.index.find_mut(entry.key.low, |at| *at == moved)
        {
            *at = slot;
        }
    }

    fn learnt(&self, entry: &Entry) -> Option<Learnt> {
        let (backend, incarnation) = self.origins.pair(entry.origin)?.clone();
        let Entry { since, seen, idle, tag, .. } = *entry;
        Some(Learnt { backend, incarnation, since, seen, idle, tag })
    }
}

fn hash(entries: &[Entry], slot: u32) -> u64 {
    entries.get(slot as usize).map_or(0, |entry| entry.key.low)
}
