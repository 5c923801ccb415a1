//! What an enforcing breaker would have spared and what it would have cost, told by calls that were made nevertheless.

use std::time::Duration;

/// The report of METRICS_ONLY. Counts since the breaker was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShadowReport {
    /// Calls that ended in this mode.
    pub offered: u64,
    /// Calls that would have been rejected.
    pub would_reject: u64,
    /// Of these, calls that failed: load that the callee would have been spared.
    pub failures_spared: u64,
    /// The time that callers spent waiting for those failures.
    pub wait_spared: Duration,
    /// Of these, calls that succeeded: answers that would have been lost.
    pub successes_lost: u64,
}

impl ShadowReport {
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
