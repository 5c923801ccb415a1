//! The recent past in a ring of time buckets with running sums: recording costs the same at any rate.

use std::time::Duration;

/// Ten buckets: what leaves the window does so in steps of a tenth of it.
const BUCKETS: usize = 10;

/// What was counted in a span of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls with a result that counts.
    pub calls: u64,
    /// Calls that failed.
    pub failures: u64,
    /// Calls that took too long, failed or not.
    pub slow: u64,
}

impl Counts {
    /// Failed share, unknown without calls.
    pub fn failure_ratio(&self) -> Option<f64> {
        (self.calls > 0).then(|| self.failures as f64 / self.calls as f64)
    }

    /// Slow share, unknown without calls.
    pub fn slow_ratio(&self) -> Option<f64> {
        (self.calls > 0).then(|| self.slow as f64 / self.calls as f64)
    }

    fn add(&mut self, failed: bool, slow: bool) {
        self.calls += 1;
        self.failures += u64::from(failed);
        self.slow += u64::from(slow);
    }

    fn subtract(&mut self, other: Counts) {
        self.calls -= other.calls;
        self.failures -= other.failures;
        self.slow -= other.slow;
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Window {
    width_nanos: u64,
    /// Number of the newest bucket, counted in widths since the clock's zero.
    newest: u64,
    sums: Counts,
    ring: [Counts; BUCKETS],
}

impl Window {
    pub(crate) fn new(span: Duration, now: Duration) -> Self {
        let width_nanos = (nanos(span) / BUCKETS as u64).max(1);
        Self {
            width_nanos,
            newest: nanos(now) / width_nanos,
            sums: Counts::default(),
            ring: Default::default(),
        }
    }

    pub(crate) fn record(&mut self, now: Duration, failed: bool, slow: bool) {
        self.advance(now);
        // A caller whose `now` is older than another's still counts, in the newest bucket.
        self.ring[(self.newest % BUCKETS as u64) as usize].add(failed, slow);
        self.sums.add(failed, slow);
    }

    pub(crate) fn counts(&mut self, now: Duration) -> Counts {
        self.advance(now);
        self.sums
    }

    pub(crate) fn clear(&mut self) {
        self.sums = Counts::default();
        self.ring = Default::default();
    }

    fn advance(&mut self, now: Duration) {
        let current = nanos(now) / self.width_nanos;
        if current <= self.newest {
            return;
        }
        if current - self.newest >= BUCKETS as u64 {
            self.clear();
        } else {
            for number in self.newest + 1..=current {
                let bucket = &mut self.ring[(number % BUCKETS as u64) as usize];
                self.sums.subtract(std::mem::take(bucket));
            }
        }
        self.newest = current;
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(10);

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn forgets_what_is_older_than_the_window() {
        let mut window = Window::new(SPAN, at(0));
        window.record(at(500), true, false);
        window.record(at(1_500), false, true);
        assert_eq!(window.counts(at(9_900)), Counts { calls: 2, failures: 1, slow: 1 });
        assert_eq!(window.counts(at(10_100)), Counts { calls: 1, failures: 0, slow: 1 });
        assert_eq!(window.counts(at(60_000)), Counts::default());
    }

    #[test]
    fn counts_calls_whose_clock_reading_is_behind() {
        let mut window = Window::new(SPAN, at(0));
        window.record(at(5_000), false, false);
        window.record(at(3_000), true, false);
        assert_eq!(window.counts(at(5_000)).calls, 2);
    }

    #[test]
    fn running_sums_equal_a_recount() {
        let mut window = Window::new(SPAN, at(0));
        let mut all = Vec::new();
        for step in 0..5_000u64 {
            let now = step * 37 % 400 + step * 11;
            let now = all.last().map_or(now, |&(last, _): &(u64, bool)| now.max(last));
            window.record(at(now), step % 3 == 0, false);
            all.push((now, step % 3 == 0));
            let oldest = (now / 1_000).saturating_sub(9) * 1_000;
            let recount = all.iter().filter(|(t, _)| *t >= oldest).count() as u64;
            assert_eq!(window.counts(at(now)).calls, recount);
        }
    }
}
