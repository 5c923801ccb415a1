//! What is kept, and how long. Deletes in small batches from the old end, and counts what it deleted.

use std::time::Duration;

use chassis::{Context, Invalid, Validate};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::metrics::Metrics;
use crate::store::{Store, retained};

/// How often it looks: with the batches below it deletes up to 60 times what is written at full speed between two looks.
pub(crate) const EVERY: Duration = Duration::from_secs(60);
/// Rows deleted by one statement: about 50 ms of work, so that the writer is not held up.
const BATCH_ROWS: i64 = 5_000;
/// Batches of one table in one look: 1,000 × 5,000 rows a minute are 83,000 a second, above what can be written.
const BATCHES: usize = 1_000;

/// How long things are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Changes in the feed that are always kept, for watchers that were away: a day of 10 directives a second, 4 changes each,
    /// is 3.5 million; at about 150 bytes 0.5 GB.
    pub changes: u64,
    /// Changes younger than this are kept beyond that number, so that a burst does not cut watchers off.
    #[serde(with = "chassis::config::duration")]
    pub changes_age: Duration,
    /// Feedback signals: 2 weeks cover the look-back of every loop that learns from them.
    #[serde(with = "chassis::config::duration")]
    pub feedback: Duration,
    /// Outcomes: 90 days, the longest window of an objective.
    #[serde(with = "chassis::config::duration")]
    pub outcomes: Duration,
    /// Transitions of directives that have come to rest: 90 days, for whoever reviews what was done.
    #[serde(with = "chassis::config::duration")]
    pub transitions: Duration,
    /// Advice that expired or was rejected: 4 weeks of shadow runs are compared, and a week more.
    #[serde(with = "chassis::config::duration")]
    pub advice: Duration,
}

const DAY: Duration = Duration::from_secs(86_400);

impl Default for Retention {
    fn default() -> Self {
        Self {
            changes: 3_500_000,
            changes_age: Duration::from_secs(600),
            feedback: DAY * 14,
            outcomes: DAY * 90,
            transitions: DAY * 90,
            advice: DAY * 35,
        }
    }
}

impl Validate for Retention {
    fn validate(&self) -> Result<(), Invalid> {
        /// Fewer would cut off watchers at the usual pace of a restart: 1,000 changes are 25 s at 10 directives a second.
        const CHANGES_LEAST: u64 = 1_000;
        /// What is younger may still be read by a loop that has not come round.
        const AGE_LEAST: Duration = Duration::from_secs(3_600);
        let Self { changes, changes_age: _, feedback, outcomes, transitions, advice } = self;
        if *changes < CHANGES_LEAST {
            return Err(Invalid::new("changes", changes, "must be at least 1000"));
        }
        let ages = [
            ("feedback", feedback),
            ("outcomes", outcomes),
            ("transitions", transitions),
            ("advice", advice),
        ];
        match ages.into_iter().find(|(_, age)| **age < AGE_LEAST) {
            Some((key, age)) => Err(Invalid::new(key, format!("{age:?}"), "must be at least 1h")),
            None => Ok(()),
        }
    }
}

/// The newest revision that is not among the last `changes`; none while there are fewer. Pure.
fn prune_upto(retention: &Retention, newest: u64) -> Option<u64> {
    newest.checked_sub(retention.changes).filter(|upto| *upto > 0)
}

/// Deletes once what is too old at `now`.
pub(crate) async fn prune(
    store: &Store,
    keep: &Retention,
    metrics: &Metrics,
    now: Timestamp,
) -> Result<(), Error> {
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
    repeat(metrics, "directive", || retained::prune_advice(pool, before(keep.advice), BATCH_ROWS)).await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_changes_are_never_deleted() {
        let keep = Retention { changes: 1_000, ..Retention::default() };
        for (newest, expect) in
            [(0, None), (500, None), (1_000, None), (1_001, Some(1)), (5_000, Some(4_000))]
        {
            assert_eq!(prune_upto(&keep, newest), expect, "newest {newest}");
        }
    }

    #[test]
    fn too_short_a_memory_is_refused() {
        assert!(Retention::default().validate().is_ok());
        assert!(Retention { changes: 10, ..Retention::default() }.validate().is_err());
        assert!(Retention { feedback: Duration::from_secs(1), ..Retention::default() }.validate().is_err());
    }
}
