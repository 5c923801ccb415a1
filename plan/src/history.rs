//! The recent load of one service: its maximum over the stabilisation window, and its short trend. Bounded, and empty
//! after a restart: then nothing is scaled in until a whole window was watched again.

use crate::{
    data::{distance, interval, is_whole, ready_replicas, stale_after, value},
    few::Few,
};
use jiff::{SignedDuration, Timestamp};
use proto::model::{Assessment, SymptomKind};
use std::{collections::VecDeque, time::Duration};

/// Points for the trend: at a 1 s interval, the last 6 s.
const RECENT_MAX: usize = 7;
/// Length of one bucket of the long window: it is what a window may be longer than asked for.
const BUCKET: SignedDuration = SignedDuration::from_secs(2);
/// Half an hour in buckets of 2 s, the longest stabilisation window: 900 × 24 bytes, under 22 KiB per service.
const BUCKETS_MAX: usize = 900;
/// The longest window that can be asked for: all buckets.
pub const WINDOW_MAX: Duration = Duration::from_secs(2 * BUCKETS_MAX as u64);
/// Estimates of capacity that are kept; their median is used, so that half may be wrong.
const ESTIMATES_MAX: usize = 9;
/// Between these utilisations load and busy time are proportional: below, noise rules; above, queues do.
const PROPORTIONAL: std::ops::RangeInclusive<f64> = 0.1..=0.9;
/// A trend counts only when load rose by this share of where it began ...
const TREND_RISE_MIN: f64 = 0.1;
/// ... and by this many standard deviations of what noise alone would do, which chance reaches once in 30,000 windows, ...
const TREND_DEVIATIONS_MIN: f64 = 4.0;
/// ... while at most one of the increments falls: after a jump, noise falls as often as it rises.
const FALLS_MAX: usize = 1;
/// A single step counts as a surge from so many standard deviations of the difference between two noisy points on.
const SURGE_DEVIATIONS_MIN: f64 = 4.0;
/// Two steps up in a row are a climb from so many of them on, because each pair of steps is looked at,
const CLIMB_DEVIATIONS_MIN: f64 = 5.0;
/// and only when together they are this many times the largest of the steps before.
const CLIMB_STEPS_MIN: f64 = 3.0;
/// The rise is measured between the means of the first and the last points.
const THIRD: usize = 3;

/// What is remembered of a service's load.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    recent: VecDeque<(Timestamp, f64)>,
    buckets: VecDeque<(Timestamp, f64)>,
    estimates: VecDeque<f64>,
    scale: f64,
    last: Option<Timestamp>,
    unbroken_since: Option<Timestamp>,
    ready: Option<(u32, Timestamp)>,
    /// The newest load that is known at all, and whether all of it is.
    newest: Option<(Timestamp, f64, bool)>,
    /// The newest whole one before that.
    before: Option<(Timestamp, f64)>,
}

impl History {
    /// Takes in one assessment; repeated and older ones change nothing. Whatever is not good breaks the record.
    pub fn observe(&mut self, assessment: &Assessment) {
        let at = assessment.at;
        if self.last.is_some_and(|last| at <= last) {
            return;
        }
        let gap = self.last.is_some_and(|last| distance(at, last) > stale_after(assessment));
        self.last = Some(at);
        if let Some(ready) =
            ready_replicas(assessment).filter(|now| self.ready.is_none_or(|(known, _)| known != *now))
        {
            self.ready = Some((ready, at));
        }
        self.note_step(assessment, gap);
        let Some(load) = value(assessment, "load").filter(|_| is_whole(assessment)) else {
            return self.break_off();
        };
        if gap {
            self.break_off();
        }
        self.unbroken_since.get_or_insert(at);
        self.scale = assessment
            .signal("load")
            .and_then(|load| load.scale)
            .filter(|s| s.is_finite())
            .unwrap_or(0.0)
            .abs();
        push(&mut self.recent, (at, load), RECENT_MAX);
        self.add_to_bucket(at, load);
        if let Some(estimate) = estimate(assessment, load) {
            push(&mut self.estimates, estimate, ESTIMATES_MAX);
        }
    }

    /// Half a view shows at most too little load, so it may be the end of a step, but never its beginning.
    fn note_step(&mut self, assessment: &Assessment, gap: bool) {
        if gap {
            (self.newest, self.before) = (None, None);
        }
        let Some(load) = value(assessment, "load") else { return };
        if let Some((at, load, true)) = self.newest {
            self.before = Some((at, load));
        }
        self.newest = Some((assessment.at, load, is_whole(assessment)));
    }

    /// Load that the next interval may add, when the newest step up cannot be noise: a crowd that arrives. Where it ends one
    /// step does not tell, so only one more such step is expected; after two steps in a row, two more. Never negative.
    pub fn surge(&self, interval: Duration) -> f64 {
        let step = self
            .before
            .zip(self.newest)
            .map(|(before, (to, now, _))| self.rise(before, (to, now), SURGE_DEVIATIONS_MIN));
        step.unwrap_or(0.0).max(2.0 * self.climb()) * interval.as_secs_f64()
    }

    /// Growth per second over the two newest steps, when both go up. A ramp shows in two steps what one step of it does not.
    fn climb(&self) -> f64 {
        let mut newest = self.recent.iter().rev().copied();
        match (newest.next(), newest.next(), newest.next()) {
            (Some(c), Some(b), Some(a)) if a.1 < b.1 && b.1 < c.1 && self.dwarfs(c.1 - a.1) => {
                self.rise(a, c, CLIMB_DEVIATIONS_MIN)
            }
            _ => 0.0,
        }
    }

    /// Whether a rise is far larger than any step before it: few steps tell little of the noise, their largest tells most.
    fn dwarfs(&self, rise: f64) -> bool {
        let pairs = self.recent.iter().zip(self.recent.iter().skip(1));
        let earlier = self.recent.len().saturating_sub(THIRD);
        let largest = pairs.take(earlier).map(|(a, b)| (b.1 - a.1).abs()).fold(0.0, f64::max);
        earlier >= THIRD && rise > CLIMB_STEPS_MIN * largest
    }

    /// Growth per second between two points, if noise alone would hardly make it; else zero.
    fn rise(&self, (from, before): (Timestamp, f64), (to, now): (Timestamp, f64), deviations: f64) -> f64 {
        let seconds = distance(to, from).as_secs_f64().max(f64::MIN_POSITIVE);
        let noise = self.step_noise().max((before.max(0.0) / seconds).sqrt()) * std::f64::consts::SQRT_2;
        let rise = now - before;
        let stands_out = rise > (deviations * noise).max(TREND_RISE_MIN * before);
        if rise.is_finite() && stands_out { rise / seconds } else { 0.0 }
    }

    /// The noise of one point as the last steps show it; what was learned long ago may hold crowds of its own. Without enough
    /// steps the learned one has to do.
    fn step_noise(&self) -> f64 {
        let pairs = self.recent.iter().zip(self.recent.iter().skip(1));
        let mut steps = Few::<f64, RECENT_MAX>::of(pairs.map(|(a, b)| (b.1 - a.1).abs()));
        // The newest step is the one that is judged.
        steps.pop();
        if steps.as_slice().len() < THIRD {
            return self.scale;
        }
        // The median of the size of steps is 0.954 standard deviations of one point, if noise is normal.
        steps.median().map_or(self.scale, |step| step / 0.954)
    }

    fn break_off(&mut self) {
        self.unbroken_since = None;
        self.recent.clear();
    }

    fn add_to_bucket(&mut self, at: Timestamp, load: f64) {
        match self.buckets.back_mut() {
            Some((start, max)) if at.duration_since(*start) < BUCKET => *max = max.max(load),
            _ => push(&mut self.buckets, (at, load), BUCKETS_MAX),
        }
    }

    /// Whether every moment of the window before `now` was watched on good data.
    pub fn covers(&self, window: Duration, now: Timestamp) -> bool {
        self.watched(now) >= window.min(WINDOW_MAX)
    }

    /// For how long load has been watched without a break.
    pub fn watched(&self, now: Timestamp) -> Duration {
        let since = self.unbroken_since.map(|since| now.duration_since(since));
        since.and_then(|watched| Duration::try_from(watched).ok()).unwrap_or_default()
    }

    /// For how long the number of ready replicas has stood as it is.
    pub fn ready_unchanged(&self, now: Timestamp) -> Duration {
        let unchanged = self.ready.map(|(_, since)| now.duration_since(since));
        unchanged.and_then(|unchanged| Duration::try_from(unchanged).ok()).unwrap_or_default()
    }

    /// The largest load in the window before `now`; a bucket that reaches into it counts whole.
    pub fn maximum(&self, window: Duration, now: Timestamp) -> Option<f64> {
        let window = SignedDuration::try_from(window.min(WINDOW_MAX)).unwrap_or(SignedDuration::ZERO);
        let begin = now.checked_sub(window + BUCKET).unwrap_or(Timestamp::MIN);
        let inside = self.buckets.iter().rev().take_while(|(start, _)| *start >= begin);
        inside.map(|(_, max)| *max).reduce(f64::max)
    }

    /// Load growth per second, when it is a ramp and no jump or noise: the median of the last increments, which one jump does
    /// not move, provided that nearly all of them rise and that the whole rise stands out. Never negative: falling load is left
    /// to the window's maximum.
    pub fn growth_per_second(&self) -> f64 {
        if self.recent.len() < RECENT_MAX {
            return 0.0;
        }
        let loads = Few::<f64, RECENT_MAX>::of(self.recent.iter().map(|(_, load)| *load));
        let loads = loads.as_slice();
        let (first, last) = (mean(&loads[..THIRD]), mean(&loads[loads.len() - THIRD..]));
        let chance = TREND_DEVIATIONS_MIN * self.noise(first) * (2.0 / THIRD as f64).sqrt();
        let pairs = self.recent.iter().zip(self.recent.iter().skip(1));
        let rates = pairs.map(|(a, b)| (b.1 - a.1) / distance(b.0, a.0).as_secs_f64());
        let rates = Few::<f64, RECENT_MAX>::of(rates);
        let falls = rates.as_slice().iter().filter(|rate| **rate <= 0.0).count();
        if last - first < (TREND_RISE_MIN * first).max(chance) || falls > FALLS_MAX {
            return 0.0;
        }
        let finite = rates.as_slice().iter().copied().filter(|rate| rate.is_finite());
        Few::<f64, RECENT_MAX>::of(finite).median().unwrap_or(0.0).max(0.0)
    }

    /// The noise of one point: as learned, and at least that of arrivals at random.
    fn noise(&self, load: f64) -> f64 {
        let steps =
            self.recent.iter().zip(self.recent.iter().skip(1)).map(|(a, b)| distance(b.0, a.0).as_secs_f64());
        let interval = steps.reduce(f64::max).unwrap_or(1.0).max(f64::MIN_POSITIVE);
        self.scale.max((load / interval).sqrt())
    }

    /// Load per replica at full utilisation, as seen lately while load and busy time were proportional.
    pub fn capacity_seen(&self) -> Option<f64> {
        Few::<f64, ESTIMATES_MAX>::of(self.estimates.iter().copied()).median()
    }
}

/// Load per fully used replica, when this assessment can tell: no queues, and no trouble that makes work wait.
fn estimate(assessment: &Assessment, load: f64) -> Option<f64> {
    let troubled = [SymptomKind::Objective, SymptomKind::Dependency, SymptomKind::Saturation];
    if troubled.into_iter().any(|kind| assessment.open_symptom(kind).is_some()) {
        return None;
    }
    let utilisation = value(assessment, "utilisation").filter(|used| PROPORTIONAL.contains(used))?;
    let ready = ready_replicas(assessment).filter(|ready| *ready > 0)?;
    Some(load / (f64::from(ready) * utilisation)).filter(|estimate| estimate.is_finite() && *estimate > 0.0)
}

/// How far ahead a scale-out must look: until it is decided, delivered, started and ready, and once more measured.
pub fn look_ahead(assessment: &Assessment) -> Duration {
    /// A process is ready within 1 to 3 s of its directive; containers are learned later (see the README's decisions).
    const ACTUATION_DELAY: Duration = Duration::from_secs(5);
    ACTUATION_DELAY + interval(assessment)
}

fn push<T>(queue: &mut VecDeque<T>, item: T, limit: usize) {
    if queue.len() == limit {
        queue.pop_front();
    }
    queue.push_back(item);
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, service_assessment};
    use proto::model::Quality;

    fn watch(loads: &[f64]) -> History {
        let mut history = History::default();
        for (second, load) in loads.iter().enumerate() {
            history.observe(&service_assessment("catalog", second as i64, &[("load", *load)]));
        }
        history
    }

    #[test]
    fn ramp_is_followed_and_a_jump_is_not() {
        for (loads, growth) in [
            ([100.0, 120.0, 140.0, 160.0, 180.0, 200.0, 220.0], 20.0),
            ([200.0, 200.0, 200.0, 200.0, 200.0, 200.0, 800.0], 0.0),
            ([200.0, 200.0, 200.0, 800.0, 800.0, 800.0, 800.0], 0.0),
            ([200.0, 180.0, 160.0, 140.0, 120.0, 100.0, 80.0], 0.0),
            ([200.0, 203.0, 199.0, 202.0, 205.0, 201.0, 206.0], 0.0),
        ] {
            assert!((watch(&loads).growth_per_second() - growth).abs() < 1e-9, "{loads:?}");
        }
    }

    #[test]
    fn step_beyond_the_noise_is_a_surge_and_half_a_view_never_begins_one() {
        let second = Duration::from_secs(1);
        assert!((watch(&[100.0, 100.0, 200.0]).surge(second) - 100.0).abs() < 1e-9);
        assert_eq!(watch(&[100.0, 100.0, 130.0]).surge(second), 0.0, "arrivals at random do that");
        assert_eq!(watch(&[200.0, 100.0]).surge(second), 0.0);
        assert_eq!(watch(&[200.0]).surge(second), 0.0);
        let mut history = watch(&[200.0, 200.0]);
        let partial = |at, load| {
            let mut assessment = service_assessment("catalog", at, &[("load", load)]);
            assessment.data.quality = Quality::Partial;
            assessment
        };
        history.observe(&partial(2, 80.0));
        history.observe(&service_assessment("catalog", 3, &[("load", 200.0)]));
        assert_eq!(history.surge(second), 0.0, "what was missing came back");
        history.observe(&partial(4, 400.0));
        assert!((history.surge(second) - 200.0).abs() < 1e-9, "at least so much is known to have come");
    }

    #[test]
    fn ramp_shows_in_two_steps_before_one_step_of_it_stands_out() {
        let second = Duration::from_secs(1);
        let ramp = [120.0, 118.0, 121.0, 119.0, 122.0, 120.0, 175.0];
        assert_eq!(watch(&ramp).surge(second), 0.0, "one such step may be chance");
        let longer: Vec<f64> = ramp.into_iter().chain([230.0]).collect();
        assert!((watch(&longer).surge(second) - 110.0).abs() < 1e-9, "55 a second, for two more");
        let there_and_back: Vec<f64> = ramp.into_iter().chain([121.0]).collect();
        assert_eq!(watch(&there_and_back).surge(second), 0.0);
    }

    #[test]
    fn rise_within_the_noise_of_the_signal_is_no_trend() {
        let mut history = History::default();
        for second in 0..7 {
            let mut assessment =
                service_assessment("catalog", second, &[("load", 100.0 + 5.0 * second as f64)]);
            assessment.signals[0].scale = Some(20.0);
            history.observe(&assessment);
        }
        assert_eq!(history.growth_per_second(), 0.0);
    }

    #[test]
    fn maximum_forgets_what_is_older_than_the_window() {
        let mut loads = vec![100.0; 200];
        loads[20] = 900.0;
        let history = watch(&loads);
        let max = |window| history.maximum(Duration::from_secs(window), at(199));
        assert_eq!(max(60), Some(100.0));
        assert_eq!(max(180), Some(900.0));
    }

    #[test]
    fn window_is_covered_only_without_a_break() {
        let mut history = watch(&[100.0; 61]);
        assert!(history.covers(Duration::from_secs(60), at(60)));
        assert!(!history.covers(Duration::from_secs(61), at(60)));
        let mut unknown = service_assessment("catalog", 61, &[]);
        unknown.data.quality = Quality::Unknown;
        history.observe(&unknown);
        assert!(!history.covers(Duration::from_secs(1), at(61)));
        history.observe(&service_assessment("catalog", 62, &[("load", 100.0)]));
        assert_eq!(history.watched(at(70)), Duration::from_secs(8));
    }

    #[test]
    fn silence_breaks_the_record() {
        let mut history = watch(&[100.0; 10]);
        history.observe(&service_assessment("catalog", 30, &[("load", 100.0)]));
        assert_eq!(history.watched(at(30)), Duration::ZERO);
    }

    #[test]
    fn repeated_assessment_changes_nothing() {
        let mut history = watch(&[100.0, 110.0]);
        let before = history.clone();
        history.observe(&service_assessment("catalog", 1, &[("load", 999.0)]));
        assert_eq!(history, before);
    }

    #[test]
    fn memory_is_bounded() {
        let history = watch(&vec![1.0; 10_000]);
        assert_eq!((history.recent.len(), history.buckets.len()), (RECENT_MAX, BUCKETS_MAX));
    }

    #[test]
    fn capacity_is_seen_only_while_work_is_proportional() {
        let mut history = History::default();
        let mut see = |second, load, utilisation| {
            let signals = [("load", load), ("ready_replicas", 2.0), ("utilisation", utilisation)];
            history.observe(&service_assessment("catalog", second, &signals));
            history.capacity_seen()
        };
        assert_eq!(see(1, 100.0, 0.99), None);
        assert_eq!(see(2, 100.0, 0.5), Some(100.0));
        assert_eq!(see(3, 400.0, 1.0), Some(100.0));
    }
}
