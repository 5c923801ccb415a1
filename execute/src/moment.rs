//! Time as the cores see it: the wall clock for what the ledger holds, the monotonic clock for leases; saturating sums.

use std::time::Duration;

use jiff::Timestamp;

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// What the ledger is stamped with. It may jump.
    pub wall: Timestamp,
    /// What leases are measured with. It never goes back.
    pub monotonic: Duration,
}

/// `at` plus `by`, at most the end of the calendar.
pub(crate) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// From `from` to `to`; nothing if that is backwards.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}
