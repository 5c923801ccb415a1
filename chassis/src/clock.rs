//! Time as a value that can be injected: the wall clock for records, the monotonic clock for durations.
//! This file is the only place in the workspace that asks the operating system what time it is.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// What time it is, for whoever holds it.
pub trait Clock: Send + Sync + Debug {
    /// The wall clock. It may jump; use it for what is stored or shown.
    fn now(&self) -> Timestamp;

    /// Time since a fixed but arbitrary start. It never goes back; use it to measure.
    fn monotonic(&self) -> Duration;
}

/// A clock that many tasks hold.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's own clock; its monotonic time counts from the first reading in this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        process_start().elapsed()
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
fn process_start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_time_never_goes_back() {
        let clock = SystemClock;
        let readings: Vec<Duration> = (0..1000).map(|_| clock.monotonic()).collect();
        assert!(readings.is_sorted());
    }

    #[test]
    fn all_system_clocks_count_from_the_same_start() {
        let first = SystemClock.monotonic();
        let second = SystemClock.monotonic();
        assert!(second - first < Duration::from_secs(5), "{first:?} then {second:?}");
    }
}
