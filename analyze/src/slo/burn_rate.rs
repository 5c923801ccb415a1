//! Tracks one objective: the events of its whole window for the budget and the long burn rate, a few ticks for the short one,
//! and its alerts.

use std::time::Duration;

use jiff::Timestamp;
use proto::model::{Objective, ObjectiveStanding, ObjectiveState};

use super::alert::{AlertChange, Alerting, Urgency, workbook_rules};
use super::budget::Window;
use super::events::{EventHistory, Sums};
use super::indicator::Tick;
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Ticks of the short window: enough to tell a burst from a trend, few enough to see it begin.
const SHORT_TICKS: u32 = 5;
/// The long window is this share of the objective's: an hour of 28 days,
const LONG_SHARE: u32 = 672;
/// but no fewer ticks than these.
const LONG_TICKS_MIN: u32 = 60;
/// A short burn this fast counts as burning before the long window shows it.
const BURNING_SHORT: f64 = 10.0;
/// Time between ticks that is not yet a gap, in intervals: Monitor bridges as many when a scrape is lost, and its rates then
/// speak of all the time since the last one.
const GAP_INTERVALS: f64 = 3.5;
/// Closed spans and alerts that wait to be recorded; the shell takes them at each tick.
const WAITING_MAX: usize = 1_024;

/// What happened in a closed span of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClosedSpan {
    /// Its begin.
    pub from: Timestamp,
    /// How long.
    pub width: Duration,
    /// What happened.
    pub sums: Sums,
}

/// Tracks one objective over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracker {
    target_ratio: f64,
    span: Duration,
    interval: Duration,
    short: Window,
    history: EventHistory,
    alerting: Alerting,
    first_at: Option<Timestamp>,
    last_at: Option<Timestamp>,
    last: Tick,
    good_ratio: Option<f64>,
    /// Up to where closed spans were given out.
    told_upto: Option<Timestamp>,
    changes: Vec<AlertChange>,
}

impl Tracker {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(objective: &Objective, interval: Duration) -> Self {
        let Objective { target_ratio, window, latency_bound: _ } = *objective;
        let allowed = 1.0 - target_ratio;
        Self {
            target_ratio,
            span: window,
            interval,
            short: short_window(interval),
            history: EventHistory::new(window, allowed),
            alerting: Alerting::new(workbook_rules(window, interval * SHORT_TICKS), allowed),
            first_at: None,
            last_at: None,
            last: Tick::Unknown,
            good_ratio: None,
            told_upto: None,
            changes: Vec::new(),
        }
    }

    /// Whether it tracks this objective; another target or window is judged on the same events, as far back as they are known.
    pub fn follow(&mut self, objective: &Objective) {
        let Objective { target_ratio, window, latency_bound: _ } = *objective;
        if self.span == window && self.target_ratio == target_ratio {
            return;
        }
        let fresh = Self::new(objective, self.interval);
        self.history = self.history.reshaped(window, fresh.allowed_ratio());
        self.alerting = fresh.alerting;
        (self.span, self.target_ratio) = (window, target_ratio);
    }

    /// Share of events that may be bad.
    #[must_use]
    pub fn allowed_ratio(&self) -> f64 {
        1.0 - self.target_ratio
    }

    /// Takes in one tick of `interval`. What a tick says of events is a rate, so after a lost scrape it speaks of all the time
    /// since the last one; after a longer gap only of its own interval, and the rest is unknown.
    pub fn observe(&mut self, at: Timestamp, tick: Tick, interval: Duration) {
        if interval != self.interval {
            self.interval = interval;
            self.short = short_window(interval);
        }
        let since = self
            .last_at
            .map_or(interval, |last| Duration::try_from(at.duration_since(last)).unwrap_or_default());
        let is_gap = since > interval.mul_f64(GAP_INTERVALS);
        let covers = if is_gap || self.last == Tick::Unknown { interval } else { since };
        let gap = if is_gap { since.saturating_sub(interval).min(self.span) } else { Duration::ZERO };
        self.short.add(at, tick, interval, gap);
        let from = at.checked_sub(covers).unwrap_or(at);
        let counted = tick.scaled(covers.as_secs_f64() / interval.as_secs_f64().max(f64::MIN_POSITIVE));
        if let Tick::Known { total, bad } = counted {
            self.history.add(from, at, total, bad);
        }
        self.changes.extend(self.alerting.observe(at, counted, &self.history));
        self.changes.truncate(WAITING_MAX);
        self.first_at = self.first_at.or(at.checked_sub(interval).ok());
        self.last_at = Some(self.last_at.map_or(at, |last| last.max(at)));
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

    /// The most urgent alert that is open.
    #[must_use]
    pub fn alert(&self) -> Option<Urgency> {
        self.alerting.firing()
    }

    /// Alerts that opened and closed since the last call.
    pub fn take_changes(&mut self) -> Vec<AlertChange> {
        std::mem::take(&mut self.changes)
    }

    /// Spans that closed since the last call, oldest first. Events may come a gap late, so a span is given out when the next one
    /// has closed too; it is told again when that proves too early.
    pub fn take_closed(&mut self) -> Vec<ClosedSpan> {
        let Some(last) = self.last_at else { return Vec::new() };
        let width = self.history.bucket_width();
        let begin = self.told_upto.or(self.history.began()).unwrap_or(last);
        // The begin of the first bucket lies before its first event.
        let begin = if self.told_upto.is_none() { begin.checked_sub(width).unwrap_or(begin) } else { begin };
        let end = last.checked_sub(width).unwrap_or(last);
        let spans: Vec<_> =
            self.history.buckets(begin, end).map(|(from, sums)| ClosedSpan { from, width, sums }).collect();
        if let Some(newest) = spans.last() {
            self.told_upto = newest.from.checked_add(width).ok();
        }
        spans
    }

    /// How the objective stands.
    #[must_use]
    pub fn state(&self) -> ObjectiveState {
        let allowed = self.allowed_ratio();
        let short = self.burn_rate_short();
        let now = self.last_at.unwrap_or(Timestamp::UNIX_EPOCH);
        let sums = self.history.window(now, self.span);
        let long = self.history.window(now, long_window(self.span, self.interval));
        let long = long.bad_ratio().map(|ratio| ratio / allowed);
        // Of the budget that the whole window has at the traffic seen in it, as for imported objectives.
        let share = (sums.known_s / self.span.as_secs_f64()).min(1.0);
        let remaining = sums.bad_ratio().map(|ratio| 1.0 - ratio * share / allowed);
        let seen_s = self.first_at.map_or(0.0, |first| now.duration_since(first).as_secs_f64());
        let seen_s = seen_s.min(self.span.as_secs_f64());
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
            unknown_time_ratio: if seen_s > 0.0 {
                (1.0 - sums.known_s / seen_s).clamp(0.0, 1.0)
            } else {
                1.0
            },
        }
    }
}

fn short_window(interval: Duration) -> Window {
    Window::new(interval * SHORT_TICKS, SHORT_TICKS as usize)
}

fn long_window(span: Duration, interval: Duration) -> Duration {
    (span / LONG_SHARE).max(interval * LONG_TICKS_MIN)
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
        let Self { target_ratio, span, interval, short, history, alerting, .. } = self;
        writer.put(target_ratio).put(span).put(interval).put(short).put(history);
        alerting.save(writer);
        writer
            .put(&self.first_at)
            .put(&self.last_at)
            .put(&self.last)
            .put(&self.good_ratio)
            .put(&self.told_upto);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (target_ratio, window, interval) = (reader.get()?, reader.get()?, reader.get()?);
        let objective = Objective { target_ratio, latency_bound: None, window };
        let damaged = reader.damaged();
        objective.validate().map_err(|_| damaged)?;
        let mut tracker = Self::new(&objective, interval);
        (tracker.short, tracker.history) = (reader.get()?, reader.get()?);
        tracker.alerting.restore(reader)?;
        (tracker.first_at, tracker.last_at, tracker.last) = (reader.get()?, reader.get()?, reader.get()?);
        (tracker.good_ratio, tracker.told_upto) = (reader.get()?, reader.get()?);
        Ok(tracker)
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
        // 200 bad events of the 3,600 that an hour of such traffic may have.
        assert!((state.budget_remaining_ratio.unwrap() - (1.0 - 200.0 / 3_600.0)).abs() < 1e-9);
        assert_eq!((state.standing, state.total_events), (ObjectiveStanding::Burning, 10_000.0));
        (100..2_000).for_each(|s| tracker.observe(at(s), Tick::Known { total: 100.0, bad: 2.0 }, SECOND));
        assert_eq!(tracker.state().standing, ObjectiveStanding::Exhausted);
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

    #[test]
    fn a_lost_scrape_loses_no_event_of_the_budget() {
        let mut tracker = tracker();
        for second in [0, 1, 2, 4, 5, 8, 9] {
            tracker.observe(at(second), Tick::Known { total: 100.0, bad: 1.0 }, SECOND);
        }
        let state = tracker.state();
        assert!((state.total_events - 1_000.0).abs() < 1e-6, "{state:?}");
        assert_eq!(state.unknown_time_ratio, 0.0);
    }

    #[test]
    fn another_window_keeps_the_events() {
        let mut tracker = tracker();
        (0..300).for_each(|s| tracker.observe(at(s), Tick::Known { total: 10.0, bad: 0.0 }, SECOND));
        let objective =
            Objective { target_ratio: 0.99, latency_bound: None, window: Duration::from_secs(7 * 86_400) };
        tracker.follow(&objective);
        assert!((tracker.state().total_events - 3_000.0).abs() < 1e-6, "{:?}", tracker.state());
    }

    #[test]
    fn closed_spans_are_given_out_once_and_add_up() {
        let mut tracker = tracker();
        let mut spans = Vec::new();
        for second in 0..1_000 {
            tracker.observe(at(second), Tick::Known { total: 10.0, bad: 1.0 }, SECOND);
            spans.extend(tracker.take_closed());
        }
        let total: f64 = spans.iter().map(|span| span.sums.total).sum();
        assert!((8_000.0..10_000.0).contains(&total), "{total}");
        assert!(
            spans.windows(2).all(|pair| pair[0].from.checked_add(pair[0].width).unwrap() == pair[1].from)
        );
    }

    #[test]
    fn a_snapshot_goes_on_as_if_nothing_had_been() {
        let mut tracker = tracker();
        (0..100).for_each(|s| tracker.observe(at(s), Tick::Known { total: 100.0, bad: 50.0 }, SECOND));
        assert_eq!(tracker.alert(), Some(Urgency::Page));
        tracker.take_changes();
        let mut writer = Writer::default();
        writer.put(&tracker);
        let bytes = writer.into_bytes();
        let mut back: Tracker = Reader::new(&bytes).get().unwrap();
        for tracker in [&mut tracker, &mut back] {
            tracker.observe(at(100), Tick::Known { total: 100.0, bad: 0.0 }, SECOND);
        }
        assert_eq!((back.state(), back.alert()), (tracker.state(), tracker.alert()));
    }
}
