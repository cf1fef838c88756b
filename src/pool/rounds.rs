//! When checks run: one task for each service with a check, all of them on one background service,
//! each at its own jittered pace.

use super::cell::Health;
use super::member::Pool;
use rand::RngExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

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

/// Checks `pools` for ever. Dropping the future stops it.
pub async fn run_rounds(pools: Vec<Arc<Pool>>) {
    let mut tasks: JoinSet<()> =
        pools.into_iter().filter(|p| p.checked.is_some()).map(forever).collect();
    if tasks.is_empty() {
        std::future::pending::<()>().await;
    }
    while tasks.join_next().await.is_some() {}
}

async fn forever(pool: Arc<Pool>) {
    let Some(interval) = pool.checked.as_ref().map(|c| c.check.interval) else { return };
    loop {
        if !unchecked(&pool) {
            // a tenth to either side, so that many services (or many gateways) do not beat as one
            let jitter = rand::rng().random_range(0.9..1.1);
            tokio::time::sleep(interval.mul_f64(jitter)).await;
        }
        round(&pool).await;
    }
}

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
