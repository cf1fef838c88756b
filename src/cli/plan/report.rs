//! What a change moves, as a value: what `--json` prints, and what `text` lays out for a terminal.

use serde::Serialize;

/// What a change moves.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    /// What concerns the whole gateway, in words.
    pub(super) changes: Vec<String>,
    /// Every service of either side.
    pub(super) services: Vec<ServiceChange>,
    /// Every rule of either side.
    pub(super) rules: Vec<RuleChange>,
    /// Of all services and rules that place by a hash; `None` when there is none.
    pub(super) total: Option<Share>,
}

/// Whether something stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Fate {
    /// On the new side only.
    Added,
    /// On the old side only.
    Removed,
    /// On both sides.
    Stays,
}

/// A part of a number of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Share {
    pub(super) moved: u32,
    pub(super) of: u32,
}

/// One service.
#[derive(Debug, Serialize)]
pub(super) struct ServiceChange {
    pub(super) service: String,
    pub(super) fate: Fate,
    /// Backends that come.
    pub(super) added: Vec<String>,
    /// Backends that go; bindings to them become missing.
    pub(super) removed: Vec<String>,
    /// Other changes, in words.
    pub(super) changes: Vec<String>,
    /// Sample clients without a key that the hash sends elsewhere; `None` where it places by no
    /// hash before or after.
    pub(super) moved: Option<Share>,
}

/// One rule.
#[derive(Debug, Serialize)]
pub(super) struct RuleChange {
    pub(super) rule: String,
    pub(super) fate: Fate,
    /// What becomes of its clients and their keys, in words.
    pub(super) changes: Vec<String>,
    /// Backends whose bindings become missing.
    pub(super) missing: Vec<String>,
    /// Sample clients that a hash of the rule's own sends elsewhere; `None` where it has none.
    pub(super) moved: Option<Share>,
    /// Ids of `keys` with which no key opens any more.
    #[serde(rename = "closedKeyIds")]
    pub(super) closed: Vec<u8>,
}

impl Plan {
    /// Whether nothing that matters to a client changes.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
            && self.services.iter().all(ServiceChange::is_empty)
            && self.rules.iter().all(RuleChange::is_empty)
    }
}

impl ServiceChange {
    pub(super) fn is_empty(&self) -> bool {
        self.fate == Fate::Stays
            && self.added.is_empty()
            && self.removed.is_empty()
            && self.changes.is_empty()
            && self.moved.is_none_or(|share| share.moved == 0)
    }
}

impl RuleChange {
    pub(super) fn is_empty(&self) -> bool {
        self.fate == Fate::Stays
            && self.changes.is_empty()
            && self.closed.is_empty()
            && self.moved.is_none_or(|share| share.moved == 0)
    }
}
