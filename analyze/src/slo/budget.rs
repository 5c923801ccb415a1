//! A rolling window of events in buckets: adding is O(1), and what is older than the window is gone.

use std::time::Duration;

use jiff::Timestamp;

use super::Tick;
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// What happened in one bucket, or in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sums {
    /// Events.
    pub total: f64,
    /// Bad ones.
    pub bad: f64,
    /// Seconds that are known.
    pub known_s: f64,
    /// Seconds that are not.
    pub unknown_s: f64,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.total += other.total;
        self.bad += other.bad;
        self.known_s += other.known_s;
        self.unknown_s += other.unknown_s;
    }

    /// Share of bad events; `None` without events.
    #[must_use]
    pub fn bad_ratio(&self) -> Option<f64> {
        (self.total > 0.0).then(|| (self.bad / self.total).clamp(0.0, 1.0))
    }
}

/// A rolling window.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    width_ms: i64,
    buckets: Vec<Sums>,
    /// Number of the newest bucket since 1970.
    head: i64,
    sums: Sums,
}

impl Window {
    /// Covers `span` in this many buckets.
    #[must_use]
    pub fn new(span: Duration, buckets: usize) -> Self {
        let buckets = buckets.max(1);
        let width_ms = i64::try_from(span.as_millis() / buckets as u128).unwrap_or(i64::MAX).max(1);
        Self { width_ms, buckets: vec![Sums::default(); buckets], head: i64::MIN, sums: Sums::default() }
    }

    /// Adds a tick that stands for `covers` and ends at `at`; `gap` before it is unknown.
    pub fn add(&mut self, at: Timestamp, tick: Tick, covers: Duration, gap: Duration) {
        self.advance(at.as_millisecond().div_euclid(self.width_ms));
        let mut sums = Sums { unknown_s: gap.as_secs_f64(), ..Sums::default() };
        match tick {
            Tick::Known { total, bad } => {
                (sums.total, sums.bad, sums.known_s) = (total, bad, covers.as_secs_f64())
            }
            Tick::Unknown => sums.unknown_s += covers.as_secs_f64(),
        }
        let slot = self.slot(self.head);
        self.buckets[slot].add(&sums);
        self.sums.add(&sums);
    }

    /// Everything in the window.
    #[must_use]
    pub fn sums(&self) -> &Sums {
        &self.sums
    }

    fn slot(&self, number: i64) -> usize {
        number.rem_euclid(self.buckets.len() as i64) as usize
    }

    fn advance(&mut self, number: i64) {
        if number <= self.head {
            return;
        }
        let steps = number.saturating_sub(self.head).min(self.buckets.len() as i64);
        for step in 0..steps {
            let slot = self.slot(number - step);
            self.buckets[slot] = Sums::default();
        }
        self.head = number;
        // Summed anew at each new bucket, so that rounding never piles up.
        self.sums = Sums::default();
        self.buckets.iter().for_each(|bucket| self.sums.add(bucket));
    }
}

impl Stored for Sums {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.total).put(&self.bad).put(&self.known_s).put(&self.unknown_s);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            total: reader.get()?,
            bad: reader.get()?,
            known_s: reader.get()?,
            unknown_s: reader.get()?,
        })
    }
}

impl Stored for Window {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.width_ms).put(&self.head).put(&self.sums).list(&self.buckets);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (width_ms, head, sums, buckets) = (reader.get()?, reader.get()?, reader.get()?, reader.list()?);
        if width_ms < 1 || buckets.is_empty() {
            return Err(reader.damaged());
        }
        Ok(Self { width_ms, buckets, head, sums })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn old_events_leave_the_window_and_new_ones_weigh_by_number() {
        let mut window = Window::new(SECOND * 60, 60);
        window.add(at(1_000), Tick::Known { total: 10.0, bad: 10.0 }, SECOND, Duration::ZERO);
        (1_001..1_060)
            .for_each(|s| window.add(at(s), Tick::Known { total: 30.0, bad: 0.0 }, SECOND, Duration::ZERO));
        assert_eq!(window.sums().bad_ratio(), Some(10.0 / (10.0 + 59.0 * 30.0)));
        window.add(at(1_060), Tick::Known { total: 30.0, bad: 0.0 }, SECOND, Duration::ZERO);
        assert_eq!(window.sums().bad, 0.0);
        window.add(at(5_000), Tick::Unknown, SECOND, Duration::ZERO);
        assert_eq!((window.sums().total, window.sums().unknown_s), (0.0, 1.0));
    }

    #[test]
    fn rolling_sums_equal_a_recount() {
        let mut window = Window::new(SECOND * 100, 20);
        let mut all = Vec::new();
        for i in 0..2_000_i64 {
            let second = 10_000 + i * 7 / 3;
            let tick = Tick::Known { total: (i % 11) as f64, bad: (i % 3) as f64 };
            window.add(at(second), tick, SECOND, Duration::ZERO);
            all.push((second / 5, (i % 3) as f64));
            let expect: f64 =
                all.iter().filter(|(bucket, _)| *bucket > second / 5 - 20).map(|(_, bad)| bad).sum();
            assert!((window.sums().bad - expect).abs() < 1e-9, "{i}");
        }
    }
}
