//! What tests need everywhere: a clock that they move, and waiting for a condition instead of for a time.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::clock::Clock;

/// How often [`eventually`] looks.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A clock that stands still until it is moved, to the nanosecond.
#[derive(Debug)]
pub struct ManualClock {
    reading: Mutex<Reading>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    now: Timestamp,
    monotonic: Duration,
}

impl ManualClock {
    /// A clock that shows `now`, its monotonic time at zero.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self { reading: Mutex::new(Reading { now, monotonic: Duration::ZERO }) }
    }

    /// Moves both times on.
    ///
    /// # Panics
    /// If the time would be after the year 9999.
    pub fn advance(&self, by: Duration) {
        let mut reading = self.lock();
        reading.now = reading.now.checked_add(by).expect("tests stay before the year 9999");
        reading.monotonic += by;
    }

    /// Sets the wall clock, also back, as an administrator might. The monotonic time stays.
    pub fn set(&self, now: Timestamp) {
        self.lock().now = now;
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn monotonic(&self) -> Duration {
        self.lock().monotonic
    }
}

/// Asks every 10 ms until `look` finds something, and returns it.
///
/// # Panics
/// With `what`, if nothing was found before the deadline.
pub async fn eventually<T, M, F>(deadline: Duration, what: &str, mut look: M) -> T
where
    M: FnMut() -> F,
    F: Future<Output = Option<T>>,
{
    let began = Instant::now();
    loop {
        let left = deadline.saturating_sub(began.elapsed());
        match tokio::time::timeout(left.max(POLL_INTERVAL), look()).await {
            Ok(Some(found)) => return found,
            Ok(None) if began.elapsed() < deadline => tokio::time::sleep(POLL_INTERVAL).await,
            _ => panic!("not within {deadline:?}: {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_clock_keeps_nanoseconds() {
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        clock.advance(Duration::from_nanos(1));
        clock.advance(Duration::from_nanos(2));
        assert_eq!(clock.now().as_nanosecond(), 3);
        assert_eq!(clock.monotonic(), Duration::from_nanos(3));
    }

    #[test]
    fn setting_the_wall_clock_back_leaves_the_monotonic_time() {
        let clock = ManualClock::at(Timestamp::from_second(100).unwrap());
        clock.advance(Duration::from_secs(5));
        clock.set(Timestamp::UNIX_EPOCH);
        assert_eq!((clock.now().as_second(), clock.monotonic().as_secs()), (0, 5));
    }

    #[tokio::test]
    async fn eventually_returns_what_it_finds() {
        let mut looks = 0;
        let found = eventually(Duration::from_secs(5), "third look", || {
            looks += 1;
            std::future::ready((looks == 3).then_some(looks))
        });
        assert_eq!(found.await, 3);
    }

    #[tokio::test]
    async fn eventually_gives_up_with_what_it_waited_for() {
        let never = eventually(Duration::from_millis(30), "the moon", std::future::pending::<Option<()>>);
        let panic = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(never)).await.unwrap_err();
        assert_eq!(panic.downcast_ref::<String>().map(String::as_str), Some("not within 30ms: the moon"));
    }
}
