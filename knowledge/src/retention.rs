//! What is kept, and how long. Pure; the deleting is in `service/pruning.rs`.

use std::time::Duration;

use chassis::{Invalid, Validate};
use serde::{Deserialize, Serialize};

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
    /// Spans of budgets and events of objectives: 400 days, a year to compare with and what reports of it take.
    #[serde(with = "chassis::config::duration")]
    pub objectives: Duration,
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
            objectives: DAY * 400,
        }
    }
}

impl Validate for Retention {
    fn validate(&self) -> Result<(), Invalid> {
        /// Fewer would cut off watchers at the usual pace of a restart: 1,000 changes are 25 s at 10 directives a second.
        const CHANGES_LEAST: u64 = 1_000;
        /// What is younger may still be read by a loop that has not come round.
        const AGE_LEAST: Duration = Duration::from_secs(3_600);
        let Self { changes, changes_age: _, feedback, outcomes, transitions, advice, objectives } = self;
        if *changes < CHANGES_LEAST {
            return Err(Invalid::new("changes", changes, "must be at least 1000"));
        }
        let ages = [
            ("feedback", feedback),
            ("outcomes", outcomes),
            ("transitions", transitions),
            ("advice", advice),
            ("objectives", objectives),
        ];
        match ages.into_iter().find(|(_, age)| **age < AGE_LEAST) {
            Some((key, age)) => Err(Invalid::new(key, format!("{age:?}"), "must be at least 1h")),
            None => Ok(()),
        }
    }
}

/// The newest revision that is not among the last `changes`; none while there are fewer. Pure.
pub(crate) fn prune_upto(retention: &Retention, newest: u64) -> Option<u64> {
    newest.checked_sub(retention.changes).filter(|upto| *upto > 0)
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
