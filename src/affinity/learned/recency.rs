//! The order in which the slots of a shard were used: a ring of links, apart from the entries, since
//! three links change with every look-up and eight times as many of them fit a cache line.

/// The order. Slots are numbered from 0 without gaps.
pub(super) struct Recency {
    /// The first link belongs to no slot: its `newer` is the oldest one, its `older` the newest. So
    /// there are no ends to tell apart. Slot `n` has link `n + 1`.
    links: Vec<Link>,
}

#[derive(Clone, Copy)]
struct Link {
    newer: u32,
    older: u32,
}

impl Recency {
    pub(super) fn new() -> Self {
        Self { links: vec![Link { newer: 0, older: 0 }] }
    }

    /// Makes room for as many slots in all, or gives back what is beyond.
    pub(super) fn fit(&mut self, slots: usize) {
        self.links.reserve_exact((slots + 1).saturating_sub(self.links.len()));
        self.links.shrink_to(slots + 1);
    }

    /// Adds a slot behind the last one; it is the newest.
    pub(super) fn push(&mut self) {
        let at = u32::try_from(self.links.len()).unwrap_or_default();
        self.links.push(Link { newer: at, older: at });
        self.enter(at);
    }

    /// Makes `slot` the newest.
    pub(super) fn touch(&mut self, slot: u32) {
        self.leave(slot + 1);
        self.enter(slot + 1);
    }

    /// Takes `slot` out; the last one gets its number, as in [`Vec::swap_remove`].
    pub(super) fn swap_remove(&mut self, slot: u32) {
        let at = slot + 1;
        self.leave(at);
        let Some(last) = self.links.pop() else { return };
        if let Some(link) = self.links.get_mut(at as usize) {
            *link = last;
            self.join(last.older, at);
            self.join(at, last.newer);
        }
    }

    /// The slot that was used least recently.
    pub(super) fn oldest(&self) -> Option<u32> {
        self.link(0).newer.checked_sub(1)
    }

    /// Every slot, the oldest first.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(self.oldest(), |slot| self.link(slot + 1).newer.checked_sub(1))
    }

    fn enter(&mut self, at: u32) {
        let newest = self.link(0).older;
        self.join(newest, at);
        self.join(at, 0);
    }

    fn leave(&mut self, at: u32) {
        let Link { newer, older } = self.link(at);
        self.join(older, newer);
    }

    fn join(&mut self, older: u32, newer: u32) {
        if let Some(link) = self.links.get_mut(older as usize) {
            link.newer = newer;
        }
        if let Some(link) = self.links.get_mut(newer as usize) {
            link.older = older;
        }
    }

    fn link(&self, at: u32) -> Link {
        self.links.get(at as usize).copied().unwrap_or(Link { newer: 0, older: 0 })
    }
}
