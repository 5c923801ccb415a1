//! Tracks one objective: a short and a long window for the burn rate, the whole window for the budget.

use std::time::Duration;

use jiff::Timestamp;
use proto::model::{Objective, ObjectiveStanding, ObjectiveState};

use super::budget::Window;
use super::indicator::Tick;
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Ticks of the short window: enough to tell a burst from a trend, few enough to see it begin.
const SHORT_TICKS: u32 = 5;
/// The long window is this share of the objective's: an hour of 28 days,
const LONG_SHARE: u32 = 672;
/// but no fewer ticks than these.
const LONG_TICKS_MIN: u32 = 60;
/// Buckets of the long window.
const LONG_BUCKETS: usize = 60;
/// Buckets of the budget's window: the oldest leave it in steps of 0.4 %, and it takes 8 KiB.
const BUDGET_BUCKETS: usize = 256;
/// A short burn this fast counts as burning before the long window shows it.
const BURNING_SHORT: f64 = 10.0;
/// Time between ticks that is not yet a gap, in intervals.
const GAP_INTERVALS: f64 = 2.0;

/// Tracks one objective over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracker {
    target_ratio: f64,
    span: Duration,
    interval: Duration,
    short: Window,
    long: Window,
    budget: Window,
    last_at: Option<Timestamp>,
    last: Tick,
    good_ratio: Option<f64>,
}

impl Tracker {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(objective: &Objective, interval: Duration) -> Self {
        let Objective { target_ratio, window, latency_bound: _ } = *objective;
        let (short, long) = burn_windows(window, interval);
        let budget = Window::new(window, BUDGET_BUCKETS);
        let (last_at, last, good_ratio) = (None, Tick::Unknown, None);
        Self { target_ratio, span: window, interval, short, long, budget, last_at, last, good_ratio }
    }

    /// Whether it tracks this objective; another target is judged on the same events, another window starts over.
    pub fn follow(&mut self, objective: &Objective) {
        if self.span == objective.window {
            self.target_ratio = objective.target_ratio;
        } else {
            *self = Self::new(objective, self.interval);
        }
    }

    /// Share of events that may be bad.
    #[must_use]
    pub fn allowed_ratio(&self) -> f64 {
        1.0 - self.target_ratio
    }

    /// Takes in one tick of `interval`.
    pub fn observe(&mut self, at: Timestamp, tick: Tick, interval: Duration) {
        if interval != self.interval {
            self.interval = interval;
            (self.short, self.long) = burn_windows(self.span, interval);
        }
        let since = self
            .last_at
            .map_or(Duration::ZERO, |last| Duration::try_from(at.duration_since(last)).unwrap_or_default());
        let is_gap = since > interval.mul_f64(GAP_INTERVALS);
        let gap = if is_gap { since.saturating_sub(interval).min(self.span) } else { Duration::ZERO };
        for window in [&mut self.short, &mut self.long, &mut self.budget] {
            window.add(at, tick, interval, gap);
        }
        self.last_at = Some(at);
        self.last = tick;
        self.good_ratio = tick.good_ratio().or(self.good_ratio).filter(|_| tick != Tick::Unknown);
    }

    /// Events of the short window and the bad ones among them.
    #[must_use]
    pub fn short_events(&self) -> (f64, f64) {
        let sums = self.short.sums();
        (sums.total, sums.bad)
    }

    /// Burn rate over the short window; `None` without events.
    #[must_use]
    pub fn burn_rate_short(&self) -> Option<f64> {
        self.short.sums().bad_ratio().map(|ratio| ratio / self.allowed_ratio())
    }

    /// How the objective stands.
    #[must_use]
    pub fn state(&self) -> ObjectiveState {
        let allowed = self.allowed_ratio();
        let (short, sums) = (self.burn_rate_short(), self.budget.sums());
        let long = self.long.sums().bad_ratio().map(|ratio| ratio / allowed);
        let remaining = sums.bad_ratio().map(|ratio| 1.0 - ratio / allowed);
        let seen_s = sums.known_s + sums.unknown_s;
        let standing = match (self.last, remaining) {
            (Tick::Unknown, _) | (_, None) => ObjectiveStanding::Unknown,
            (_, Some(remaining)) if remaining <= 0.0 => ObjectiveStanding::Exhausted,
            _ if long.is_some_and(|burn| burn > 1.0) || short.is_some_and(|burn| burn >= BURNING_SHORT) => {
                ObjectiveStanding::Burning
            }
            _ => ObjectiveStanding::Met,
        };
        ObjectiveState {
            standing,
            target_ratio: self.target_ratio,
            good_ratio: self.good_ratio,
            burn_rate_short: short,
            burn_rate_long: long,
            budget_remaining_ratio: remaining,
            total_events: sums.total,
            unknown_time_ratio: if seen_s > 0.0 { (sums.unknown_s / seen_s).clamp(0.0, 1.0) } else { 1.0 },
        }
    }
}

fn burn_windows(span: Duration, interval: Duration) -> (Window, Window) {
    let long = (span / LONG_SHARE).max(interval * LONG_TICKS_MIN);
    (Window::new(interval * SHORT_TICKS, SHORT_TICKS as usize), Window::new(long, LONG_BUCKETS))
}

impl Stored for Duration {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.as_secs()).put(&self.subsec_nanos());
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (seconds, nanos) = (reader.get::<u64>()?, reader.get::<u32>()?);
        if nanos >= 1_000_000_000 { Err(reader.damaged()) } else { Ok(Self::new(seconds, nanos)) }
    }
}

impl Stored for Tick {
    fn save(&self, writer: &mut Writer) {
        let known = match self {
            Self::Known { total, bad } => Some((total, bad)),
            Self::Unknown => None,
        };
        writer.put(&known.map(|(total, _)| *total)).put(&known.map(|(_, bad)| *bad));
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        match (reader.get()?, reader.get()?) {
            (Some(total), Some(bad)) => Ok(Self::Known { total, bad }),
            _ => Ok(Self::Unknown),
        }
    }
}

impl Stored for Tracker {
    fn save(&self, writer: &mut Writer) {
        let Self { target_ratio, span, interval, short, long, budget, last_at, last, good_ratio } = self;
        writer.put(target_ratio).put(span).put(interval).put(short).put(long).put(budget);
        writer.put(last_at).put(last).put(good_ratio);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            target_ratio: reader.get()?,
            span: reader.get()?,
            interval: reader.get()?,
            short: reader.get()?,
            long: reader.get()?,
            budget: reader.get()?,
            last_at: reader.get()?,
            last: reader.get()?,
            good_ratio: reader.get()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn tracker() -> Tracker {
        let objective =
            Objective { target_ratio: 0.99, latency_bound: None, window: Duration::from_secs(3_600) };
        Tracker::new(&objective, SECOND)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    #[test]
    fn burn_rate_is_the_share_of_bad_events_over_the_share_allowed() {
        let mut tracker = tracker();
        (0..100).for_each(|s| tracker.observe(at(s), Tick::Known { total: 100.0, bad: 2.0 }, SECOND));
        let state = tracker.state();
        assert!((state.burn_rate_short.unwrap() - 2.0).abs() < 1e-9);
        assert!((state.burn_rate_long.unwrap() - 2.0).abs() < 1e-9);
        assert!((state.budget_remaining_ratio.unwrap() + 1.0).abs() < 1e-9);
        assert_eq!((state.standing, state.total_events), (ObjectiveStanding::Exhausted, 10_000.0));
    }

    #[test]
    fn unknown_is_its_own_class_and_never_met() {
        let mut tracker = tracker();
        assert_eq!(tracker.state().standing, ObjectiveStanding::Unknown);
        (0..10).for_each(|s| tracker.observe(at(s), Tick::Known { total: 100.0, bad: 0.0 }, SECOND));
        assert_eq!(tracker.state().standing, ObjectiveStanding::Met);
        (10..20).for_each(|s| tracker.observe(at(s), Tick::Unknown, SECOND));
        let state = tracker.state();
        assert_eq!((state.standing, state.good_ratio), (ObjectiveStanding::Unknown, None));
        assert_eq!((state.unknown_time_ratio, state.burn_rate_short), (0.5, None));
        assert_eq!(state.budget_remaining_ratio, Some(1.0), "unknown ticks use none of the budget");
    }

    #[test]
    fn silence_between_ticks_is_unknown_time() {
        let mut tracker = tracker();
        tracker.observe(at(0), Tick::Known { total: 1.0, bad: 0.0 }, SECOND);
        tracker.observe(at(9), Tick::Known { total: 1.0, bad: 0.0 }, SECOND);
        assert_eq!(tracker.state().unknown_time_ratio, 0.8);
    }

    #[test]
    fn another_target_is_judged_on_the_same_events() {
        let mut tracker = tracker();
        tracker.observe(at(0), Tick::Known { total: 100.0, bad: 2.0 }, SECOND);
        tracker.follow(&Objective {
            target_ratio: 0.9,
            latency_bound: None,
            window: Duration::from_secs(3_600),
        });
        assert_eq!(tracker.state().standing, ObjectiveStanding::Met);
    }
}
