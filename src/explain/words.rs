//! Policies and causes in words.

use crate::affinity::Policies;
use crate::affinity::course::{Failback, OnDraining, OnFull, OnMissing, OnUnhealthy};
use crate::model::Cause;

/// What a key means that does not hold.
pub(super) fn meaning(cause: Cause, policies: Policies) -> String {
    let (what, policy) = match cause {
        Cause::NoKey => ("there is no key", None),
        Cause::Unreadable => ("the key cannot be read", None),
        Cause::UnknownKey => ("the key was sealed with a key that is not known", None),
        Cause::IdleExpired => ("the client was silent for longer than idleTimeout", None),
        Cause::TooOld => ("the binding is older than absoluteTimeout", None),
        Cause::WrongIncarnation => ("the backend was restarted since", None),
        Cause::Gone => ("the backend is gone", Some(on_missing(policies))),
        Cause::Unhealthy => ("the backend cannot serve", Some(on_unhealthy(policies))),
        Cause::Draining => ("the backend drains", Some(on_draining(policies))),
        Cause::Full => {
            ("the backend has all the requests that it may have", Some(on_full(policies)))
        }
        Cause::OtherSubset => ("the key is for another version", None),
    };
    policy.map_or_else(|| what.to_owned(), |policy| format!("{what}; {policy}"))
}

pub(super) fn on_missing(policies: Policies) -> &'static str {
    match policies.on_missing {
        OnMissing::Redistribute => "onMissing: redistribute",
        OnMissing::Reject => "onMissing: reject",
    }
}

pub(super) fn on_unhealthy(policies: Policies) -> &'static str {
    match policies.on_unhealthy {
        OnUnhealthy::Redistribute => "onUnhealthy: redistribute",
        OnUnhealthy::ServeOnce => "onUnhealthy: serve-once",
        OnUnhealthy::Reject => "onUnhealthy: reject",
    }
}

pub(super) fn on_full(policies: Policies) -> &'static str {
    match policies.on_full {
        OnFull::Wait => "onFull: wait",
        OnFull::ServeOnce => "onFull: serve-once",
        OnFull::Redistribute => "onFull: redistribute",
        OnFull::Reject => "onFull: reject",
    }
}

pub(super) fn on_draining(policies: Policies) -> &'static str {
    match policies.on_draining {
        OnDraining::Keep => "onDraining: keep",
        OnDraining::RedistributeWhenIdle => "onDraining: redistribute-when-idle",
        OnDraining::Redistribute => "onDraining: redistribute",
    }
}

pub(super) fn failback(policies: Policies) -> &'static str {
    match policies.failback {
        Failback::Never => "failback: never",
        Failback::Immediate => "failback: immediate",
    }
}
