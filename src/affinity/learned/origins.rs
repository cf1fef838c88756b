//! Where sessions were minted: each pair of backend and incarnation once, however many entries name
//! it. Each shard has its own, so that no second lock is taken.

use crate::model::BackendId;
use std::collections::BTreeMap;
use std::sync::Arc;

type Pair = (BackendId, Arc<str>);

/// The pairs that the entries of a shard name. Restarts bring ever new ones, so those that no entry
/// names any more are dropped.
#[derive(Default)]
pub(super) struct Origins {
    pairs: Vec<Option<Named>>,
    /// A tree, since it is only asked when a session is bound, and needs no hash.
    numbers: BTreeMap<Pair, u32>,
    vacant: Vec<u32>,
}

struct Named {
    pair: Pair,
    entries: usize,
}

impl Origins {
    /// The number of a pair, which one more entry names.
    pub(super) fn hold(&mut self, pair: Pair) -> u32 {
        if let Some(number) = self.numbers.get(&pair) {
            if let Some(Some(named)) = self.pairs.get_mut(*number as usize) {
                named.entries += 1;
            }
            return *number;
        }
        let number = self.vacant.pop().unwrap_or_else(|| {
            self.pairs.push(None);
            u32::try_from(self.pairs.len() - 1).unwrap_or_default()
        });
        if let Some(place) = self.pairs.get_mut(number as usize) {
            *place = Some(Named { pair: pair.clone(), entries: 1 });
        }
        self.numbers.insert(pair, number);
        number
    }

    /// One entry less names `number`.
    pub(super) fn release(&mut self, number: u32) {
        let Some(place) = self.pairs.get_mut(number as usize) else { return };
        let Some(named) = place else { return };
        named.entries -= 1;
        if named.entries == 0 {
            self.numbers.remove(&named.pair);
            *place = None;
            self.vacant.push(number);
        }
    }

    /// The pair of `number`.
    pub(super) fn pair(&self, number: u32) -> Option<&Pair> {
        self.pairs.get(number as usize)?.as_ref().map(|named| &named.pair)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(incarnation: &str) -> Pair {
        (BackendId::from("b1"), Arc::from(incarnation))
    }

    #[test]
    fn a_pair_is_kept_once_and_as_long_as_an_entry_names_it() {
        let mut origins = Origins::default();
        let (first, second) = (origins.hold(pair("1")), origins.hold(pair("2")));
        assert_ne!(first, second);
        assert_eq!(origins.hold(pair("1")), first);
        origins.release(first);
        assert_eq!(origins.pair(first), Some(&pair("1")));
        origins.release(first);
        assert_eq!(origins.pair(first), None);
        assert_eq!(origins.pair(second), Some(&pair("2")));
    }

    #[test]
    fn a_thousand_restarts_take_the_room_of_one() {
        let mut origins = Origins::default();
        for restart in 0..1000 {
            let number = origins.hold(pair(&restart.to_string()));
            origins.release(number);
        }
        assert_eq!((origins.pairs.len(), origins.numbers.len()), (1, 0));
    }
}
