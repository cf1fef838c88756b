//! First requests that belong together (`burst`): a browser opens several connections before it has
//! a key, and is one client all the same.

use super::choose::wish;
use super::ctx::Ctx;
use super::decide::{self, Choice, Wish, Within};
use crate::affinity::{Joined, Pick};
use crate::model::Fields;
use crate::pool::{Ability, Member};
use crate::snapshot::{Burst, Live, Rule};
use http::header::USER_AGENT;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

/// The fresh binding of a connection. Proxies send several clients through one, hence the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fresh {
    target: Box<str>,
    client: IpAddr,
    pick: Pick,
}

/// Chooses for a request; one without a key goes where its company went. `remembered` is the fresh
/// binding of its connection.
pub(super) fn choose(
    header: &impl Fields,
    remembered: &mut Option<Fresh>,
    ctx: &mut Ctx,
    rule: &Rule,
    live: &Live,
) -> Choice {
    let burst = rule.stickiness.as_ref().map(|stickiness| stickiness.burst);
    let burst = burst.filter(|burst| burst.same_connection || burst.window_ms > 0);
    // whatever it brought holds no longer, or it brought nothing
    let is_new = ctx.bond.is_none() && ctx.cause.is_some() && ctx.stamps;
    let mut buffer = [0; 16];
    let Some(burst) = burst.filter(|_| is_new) else {
        return decide::choose(wish(ctx, rule, &mut buffer));
    };
    let (choice, pick) = together(header, remembered.as_ref(), ctx, rule, live, burst);
    if let Some(pick) = pick {
        ctx.tag = Some(pick.tag);
        if burst.same_connection {
            let target = target(ctx, rule).into();
            *remembered = Some(Fresh { target, client: ctx.client, pick });
        }
    }
    choice
}

/// The service, and the version where only one may serve: requests for two are no company.
fn target<'t>(ctx: &Ctx, rule: &'t Rule) -> Cow<'t, str> {
    let service = rule.service.pool.service.as_str();
    match &ctx.within {
        Within::Any | Within::Rather(_) => Cow::Borrowed(service),
        // no service has a slash in its name
        Within::Only(version) => Cow::Owned(format!("{service}/{version}")),
    }
}

fn together(
    header: &impl Fields,
    remembered: Option<&Fresh>,
    ctx: &Ctx,
    rule: &Rule,
    live: &Live,
    burst: Burst,
) -> (Choice, Option<Pick>) {
    let member = |pick: &Pick| {
        let member = rule.service.pool.find(pick.backend.as_str())?;
        let serves = member.ability() == Ability::Anyone && member.has_room();
        let untried = !ctx.tried.iter().any(|tried| tried.is(member));
        (serves && untried).then_some(member)
    };
    let mut buffer = [0; 16];
    let wish = wish(ctx, rule, &mut buffer);
    let with = |company: Option<&Arc<Member>>| decide::choose(Wish { company, ..wish });
    let target = target(ctx, rule);
    let on_connection = remembered.filter(|fresh| {
        burst.same_connection && *fresh.target == *target && fresh.client == ctx.client
    });
    if let Some(fresh) = on_connection
        && let Some(company) = member(&fresh.pick)
    {
        return (with(Some(company)), Some(fresh.pick.clone()));
    }
    let agent = header.first(&USER_AGENT);
    let key = live.bursts.key(&target, ctx.client, agent);
    let now = ctx.arrived.saturating_duration_since(live.started).as_millis();
    let now = u64::try_from(now).unwrap_or(u64::MAX);
    let mut own = None;
    let fresh = || {
        let choice = with(None);
        let pick = match &choice {
            Choice::Bound(m) | Choice::Placed(m) | Choice::Panic(m) => {
                Some(Pick { backend: m.backend.id.clone(), tag: rand::random() })
            }
            Choice::Lost(_) | Choice::Full(_) | Choice::Crowded | Choice::Nobody => None,
        };
        own = Some(choice);
        pick
    };
    match live.bursts.join(key, now, burst.window_ms, |pick| member(pick).is_some(), fresh) {
        Joined::Same(pick) => (with(member(&pick)), Some(pick)),
        Joined::First(pick) => (own.unwrap_or(Choice::Nobody), Some(pick)),
        Joined::Nobody => (own.unwrap_or(Choice::Nobody), None),
    }
}
