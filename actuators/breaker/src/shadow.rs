//! What an enforcing breaker would have spared and what it would have cost, told by calls that were made nevertheless. While it
//! opens and probes this is known. Shedding is another matter: whether a callee that is asked less fails less cannot be seen where
//! all calls are made, so what is told of it rests on an assumption, and the report says how often.

use std::time::Duration;

use crate::ticket::Fate;

/// The report of METRICS_ONLY. Counts since the breaker was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShadowReport {
    /// Calls that ended in this mode.
    pub offered: u64,
    /// Calls that would have been rejected.
    pub would_reject: u64,
    /// Of these, calls that trials of shedding would have left out, and what followed from trials.
    pub tried: u64,
    /// Of these, calls that would have been shed because the callee says itself that it has too much to do. Assumed is that it
    /// works on as many calls whatever it is asked, so each is a failure spared and no answer lost.
    pub relieved: u64,
    /// Trials whose end is a guess: they are played as if load had no part in what fails. If it has, enforcing would go on
    /// shedding, and more would be rejected and spared than is told here.
    pub trials_unknown: u64,
    /// Of the calls that would have been rejected, those that failed: load that the callee would have been spared.
    pub failures_spared: u64,
    /// The time that callers spent waiting for those failures.
    pub wait_spared: Duration,
    /// Of the calls that would have been rejected, those that succeeded: answers that would have been lost.
    pub successes_lost: u64,
}

impl ShadowReport {
    /// A call would be rejected; what its result is good for.
    pub(crate) fn rejects(&mut self, shed: bool, by_word: bool) -> Fate {
        self.would_reject += 1;
        self.tried += u64::from(shed && !by_word);
        self.relieved += u64::from(shed && by_word);
        if shed && by_word { Fate::Relief } else { Fate::Shadow }
    }

    pub(crate) fn relieved(&mut self) {
        self.failures_spared += 1;
    }

    pub(crate) fn ended(&mut self, failed: bool, latency: Duration) {
        if failed {
            self.failures_spared += 1;
            self.wait_spared = self.wait_spared.saturating_add(latency);
        } else {
            self.successes_lost += 1;
        }
    }

    /// Share of the calls that would have been rejected; unknown without calls.
    pub fn rejected_share(&self) -> Option<f64> {
        (self.offered > 0).then(|| self.would_reject as f64 / self.offered as f64)
    }
}
