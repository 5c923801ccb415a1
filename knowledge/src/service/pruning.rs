//! Deletes what is no longer kept, in small batches from the old end, and counts it.

use std::time::Duration;

use chassis::Context;
use jiff::Timestamp;

use crate::metrics::Metrics;
use crate::retention::{Retention, prune_upto};
use crate::store::{Error, Store, retained};

/// How often it looks: with the batches below it deletes up to 60 times what is written at full speed between two looks.
const EVERY: Duration = Duration::from_secs(60);
/// Rows deleted by one statement: about 50 ms of work, so that the writer is not held up.
const BATCH_ROWS: i64 = 5_000;
/// Batches of one table in one look: 1,000 × 5,000 rows a minute are 83,000 a second, above what can be written.
const BATCHES: usize = 1_000;

/// Deletes once what is too old at `now`.
async fn prune(store: &Store, keep: &Retention, metrics: &Metrics, now: Timestamp) -> Result<(), Error> {
    let pool = &store.pool;
    let before = |age: Duration| {
        now.as_millisecond().saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
    };
    let mut connection = pool.acquire().await.map_err(Error::sql("prune"))?;
    let newest = crate::store::change::revision(&mut connection).await?;
    drop(connection);
    if let Some(upto) = prune_upto(keep, newest) {
        let age = before(keep.changes_age);
        repeat(metrics, "change", || retained::prune_changes(pool, upto, age, BATCH_ROWS)).await?;
    }
    repeat(metrics, "feedback", || retained::prune_feedback(pool, before(keep.feedback), BATCH_ROWS)).await?;
    repeat(metrics, "outcome", || retained::prune_outcomes(pool, before(keep.outcomes), BATCH_ROWS)).await?;
    repeat(metrics, "transition", || retained::prune_transitions(pool, before(keep.transitions), BATCH_ROWS))
        .await?;
    repeat(metrics, "directive", || retained::prune_advice(pool, before(keep.advice), BATCH_ROWS)).await?;
    let old = before(keep.objectives);
    repeat(metrics, "budget_span", || retained::prune_budget_spans(pool, old, BATCH_ROWS)).await?;
    repeat(metrics, "objective_event", || retained::prune_objective_events(pool, old, BATCH_ROWS)).await
}

async fn repeat<F>(metrics: &Metrics, table: &str, mut step: impl FnMut() -> F) -> Result<(), Error>
where
    F: Future<Output = Result<u64, Error>>,
{
    for _ in 0..BATCHES {
        let rows = step().await?;
        metrics.pruned.with_label_values(&[table]).inc_by(rows);
        if rows == 0 {
            break;
        }
    }
    Ok(())
}

/// Deletes now and then until stopped.
pub(crate) async fn keep(store: Store, retention: Retention, metrics: Metrics, ctx: Context) {
    let rounds = async {
        loop {
            if let Err(error) = prune(&store, &retention, &metrics, ctx.clock.now()).await {
                tracing::warn!("nothing was pruned: {}", chassis::chain(&error));
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    tokio::select! {
        () = ctx.stopper.stopped() => {}
        () = rounds => {}
    }
}
