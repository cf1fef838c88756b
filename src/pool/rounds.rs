//! When checks run: one task for each service with a check, all of them on one background service,
//! each at its own jittered pace. A task lives on through reloads, so that frequent ones do not put
//! the next round off for ever.

use super::cell::Health;
use super::members::Pool;
use crate::model::{ServiceId, clock};
use ahash::AHashMap;
use rand::RngExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// One round over the pools that have a backend nobody has checked yet, all at the same time; at
/// most `limit` long.
pub async fn first_round(pools: Vec<Arc<Pool>>, limit: Duration) {
    let mut rounds: JoinSet<()> = pools
        .into_iter()
        .filter(|pool| unchecked(pool))
        .map(|pool| async move { round(&pool).await })
        .collect();
    let all = async { while rounds.join_next().await.is_some() {} };
    if tokio::time::timeout(limit, all).await.is_err() {
        tracing::warn!(?limit, "some backends have not finished their first health check");
    }
}

/// The tasks that check the pools of the snapshot in force. Dropping it stops them.
#[derive(Default)]
pub struct Rounds {
    tasks: JoinSet<()>,
    by_service: AHashMap<ServiceId, (watch::Sender<Arc<Pool>>, AbortHandle)>,
}

impl Rounds {
    /// Checks `pools` from now on, and no others.
    pub fn follow(&mut self, pools: Vec<Arc<Pool>>) {
        let mut left = std::mem::take(&mut self.by_service);
        for pool in pools.into_iter().filter(|pool| pool.checked.is_some()) {
            let service = pool.service.clone();
            let task = if let Some((sender, task)) = left.remove(&service) {
                sender.send_replace(pool);
                (sender, task)
            } else {
                let (sender, receiver) = watch::channel(pool);
                let task = self.tasks.spawn(forever(receiver));
                (sender, task)
            };
            self.by_service.insert(service, task);
        }
        for (_, task) in left.into_values() {
            task.abort();
        }
        while self.tasks.try_join_next().is_some() {}
    }
}

async fn forever(mut pool: watch::Receiver<Arc<Pool>>) {
    let mut last = clock::monotonic_now();
    // a tenth to either side, so that many services (or many gateways) do not beat as one
    let mut jitter = rand::rng().random_range(0.9..1.1);
    loop {
        let now = Arc::clone(&pool.borrow_and_update());
        let Some(interval) = now.checked.as_ref().map(|c| c.check.interval) else { return };
        if !unchecked(&now) {
            let due = last + interval.mul_f64(jitter);
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                changed = pool.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            }
        }
        last = clock::monotonic_now();
        jitter = rand::rng().random_range(0.9..1.1);
        round(&now).await;
        if unchecked(&now) {
            // checks that cannot even finish (no descriptor left, say) must not spin
            tokio::time::sleep(RESTLESS).await;
        }
    }
}

/// Pause before an unfinished round is repeated.
const RESTLESS: Duration = Duration::from_millis(100);

fn unchecked(pool: &Pool) -> bool {
    pool.checked.is_some() && pool.members().iter().any(|m| m.health() == Health::Unchecked)
}

async fn round(pool: &Pool) {
    let Some(checked) = &pool.checked else { return };
    // the first call takes the members in, later ones find nothing new
    if let Err(why) = checked.backends.update(|_| {}).await {
        tracing::error!(service = %pool.service, %why, "cannot list the backends");
    }
    checked.backends.run_health_check(true).await;
}
