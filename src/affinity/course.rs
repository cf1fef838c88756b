//! What is done about what a key means: the operator's named choices, applied in one place. A codec
//! never decides; [`super::resolve`](mod@super::resolve) only tells what is.

use super::resolve::Resolution;
use super::stamp::Kept;
use crate::model::{BackendId, Cause};
use crate::pool::Member;
use std::sync::Arc;

/// `onMissing`: the bound backend is no longer part of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMissing {
    /// Place the client anew and bind it there.
    Redistribute,
    /// Refuse the request.
    Reject,
}

/// `onUnhealthy`: the bound backend cannot serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnhealthy {
    /// Place the client anew and bind it there.
    Redistribute,
    /// Serve it elsewhere, and leave its binding as it is.
    ServeOnce,
    /// Refuse the request.
    Reject,
}

/// `onDraining`: the bound backend takes no new clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDraining {
    /// Its clients stay.
    Keep,
    /// A client stays until it has been silent for a while.
    RedistributeWhenIdle,
    /// Its clients move.
    Redistribute,
}

/// `onFull`: the bound backend has all the requests that it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// Wait for as long as the service allows, then place the client anew and bind it there.
    Wait,
    /// Serve it elsewhere, and leave its binding as it is.
    ServeOnce,
    /// Place the client anew and bind it there.
    Redistribute,
    /// Refuse the request.
    Reject,
}

/// `failback`: the backend that a client had to leave serves again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failback {
    /// The client stays where it is now.
    Never,
    /// It returns with its next request.
    Immediate,
}

/// The choices of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policies {
    /// `onMissing`
    pub on_missing: OnMissing,
    /// `onUnhealthy`
    pub on_unhealthy: OnUnhealthy,
    /// `onDraining`
    pub on_draining: OnDraining,
    /// `onFull`
    pub on_full: OnFull,
    /// `failback`
    pub failback: Failback,
}

/// What is to be done.
#[derive(Debug)]
pub enum Course<'p> {
    /// The client goes to this backend, which its key names.
    Stay {
        /// Its backend.
        member: &'p Arc<Member>,
        /// What of the key stays when it is written anew.
        kept: Kept,
        /// Whether it is to be written anew.
        refresh: bool,
    },
    /// The client goes back to the backend that it had to leave; should that refuse after all, it
    /// stays where it is.
    Return {
        /// Where it belongs.
        home: &'p Arc<Member>,
        /// Where it is.
        from: &'p Arc<Member>,
        /// What of the key stays when it is written anew.
        kept: Kept,
    },
    /// The client is placed anew and bound to whoever answers.
    Move {
        /// Why.
        cause: Cause,
        /// The backend that it leaves, as its key calls it.
        from: Option<BackendId>,
        /// That backend, if it is still known: the first choice should nobody else serve either.
        left: Option<(&'p Arc<Member>, Kept)>,
        /// The version that it was bound to, where it had best stay.
        within: Option<Arc<str>>,
    },
    /// The client is served elsewhere, and its key stays as it is.
    Once {
        /// Why.
        cause: Cause,
        /// Its backend.
        member: &'p Arc<Member>,
        /// What of the key stays.
        kept: Kept,
    },
    /// The request is refused.
    Reject(Cause),
}

/// Applies `policies` to what a key means.
pub fn course(resolution: Resolution<'_>, policies: Policies) -> Course<'_> {
    match resolution {
        Resolution::Bound { member, kept, home: Some(home), .. }
        | Resolution::Draining { member, kept, home: Some(home), .. }
        | Resolution::Down { member, kept, home: Some(home) }
            if policies.failback == Failback::Immediate =>
        {
            Course::Return { home, from: member, kept }
        }
        Resolution::Bound { member, kept, refresh, .. } => Course::Stay { member, kept, refresh },
        Resolution::Draining { member, kept, refresh, idle, .. } => match policies.on_draining {
            OnDraining::Keep => Course::Stay { member, kept, refresh },
            OnDraining::RedistributeWhenIdle if !idle => Course::Stay { member, kept, refresh },
            OnDraining::RedistributeWhenIdle | OnDraining::Redistribute => {
                leave(Cause::Draining, member, Some(kept))
            }
        },
        Resolution::Down { member, kept, .. } => match policies.on_unhealthy {
            OnUnhealthy::Redistribute => leave(Cause::Unhealthy, member, Some(kept)),
            OnUnhealthy::ServeOnce => Course::Once { cause: Cause::Unhealthy, member, kept },
            OnUnhealthy::Reject => Course::Reject(Cause::Unhealthy),
        },
        Resolution::Gone { from, version: within } => match policies.on_missing {
            OnMissing::Redistribute => {
                Course::Move { cause: Cause::Gone, from, left: None, within }
            }
            OnMissing::Reject => Course::Reject(Cause::Gone),
        },
        Resolution::Restarted { member } => leave(Cause::WrongIncarnation, member, None),
        Resolution::Place(cause) => Course::Move { cause, from: None, left: None, within: None },
    }
}

fn leave(cause: Cause, member: &Arc<Member>, kept: Option<Kept>) -> Course<'_> {
    Course::Move {
        cause,
        from: Some(member.backend.id.clone()),
        left: kept.map(|kept| (member, kept)),
        within: Some(&member.backend.version).filter(|v| !v.is_empty()).map(Arc::clone),
    }
}

/// What is done when the bound backend has all the requests that it may have. Known only when the
/// request is about to go there, so apart from [`course`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Wait for a place.
    Wait,
    /// Serve it elsewhere, and leave its binding as it is.
    Visit,
    /// Place the client anew and bind it there.
    Move,
    /// Refuse the request.
    Reject,
}

/// Applies `onFull`, to a request that has or has not waited yet.
pub fn when_full(policy: OnFull, has_waited: bool) -> WhenFull {
    match policy {
        OnFull::Wait if !has_waited => WhenFull::Wait,
        OnFull::Wait | OnFull::Redistribute => WhenFull::Move,
        OnFull::ServeOnce => WhenFull::Visit,
        OnFull::Reject => WhenFull::Reject,
    }
}

#[cfg(test)]
mod tests;
