//! What is normal on one edge: the share of calls that fail, by hour of the week, and how failures cluster.
//!
//! `ratio = level × hour of day × day of week × hour of week`, each factor a ratio of seen to expected failures, shrunk
//! towards 1 by pseudo-counts (the Gamma-Poisson posterior mean). Only what the evidence holds for normal is learned.

/// Seconds of an hour and a day.
const HOUR: f64 = 3_600.0;
const DAY: f64 = 24.0 * HOUR;

/// Failures that a factor must have seen to count half. The hour of the week is seen once a week, so it must show more.
const LEVEL_WEIGHT: f64 = 4.0;
const HOUR_WEIGHT: f64 = 5.0;
const DAY_WEIGHT: f64 = 10.0;
const CELL_WEIGHT: f64 = 20.0;

/// Half-lives: the level follows a drift within days, the shapes are means of several weeks.
const LEVEL_HALF_LIFE: f64 = 1.5 * DAY;
const SHAPE_HALF_LIFE: f64 = 28.0 * DAY;

/// The level, once known, may double in three days at most: what grows faster is a degradation and not a drift.
const LEVEL_DOUBLING: f64 = 3.0 * DAY;
/// Before it is known it follows what is seen within minutes.
const LEVEL_DOUBLING_UNKNOWN: f64 = 120.0;
/// It is known after so many failures, seen or expected, …
const LEVEL_KNOWN: f64 = 20.0;
/// … and so many seconds of learning: an instance that starts into trouble must not take it for normal.
const LEARNING_SECONDS: f64 = 600.0;

/// No baseline is held for cleaner than this, so that two failures in a row never open a breaker.
pub(crate) const RATIO_MIN: f64 = 1e-3;
/// Nothing that fails more often is a baseline.
const RATIO_MAX: f64 = 0.6;

/// Weight of the assumption that failures do not cluster, in failures.
const STAY_WEIGHT: f64 = 10.0;
const STAY_PRIOR: f64 = 0.02;
/// Even where failures cluster strongly, an outage must be told from a burst some time.
const STAY_MAX: f64 = 0.95;

/// Seen over expected, shrunk towards 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Factor {
    seen: f64,
    expected: f64,
}

impl Factor {
    fn value(self, weight: f64) -> f64 {
        (self.seen + weight) / (self.expected + weight)
    }

    fn learn(&mut self, seen: f64, expected: f64) {
        self.seen += seen;
        self.expected += expected;
    }

    fn decay(&mut self, keep: f64) {
        self.seen *= keep;
        self.expected *= keep;
    }
}

/// Calls that were judged normal, to be learned at once.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Batch {
    pub(crate) calls: f64,
    pub(crate) failures: f64,
    /// Calls right after a failure, and how many of them failed too.
    pub(crate) after_failure: f64,
    pub(crate) failed_again: f64,
}

/// The chance of a failure now: after a call that succeeded, and after one that failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Normal {
    pub(crate) ratio: f64,
    pub(crate) start: f64,
    pub(crate) stay: f64,
}

/// A learned baseline. Times are seconds since 1970 (UTC).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Baseline {
    prior: f64,
    level: Factor,
    /// The level as it is used: it follows the learned one at a bounded pace.
    level_held: f64,
    hours: [Factor; 24],
    days: [Factor; 7],
    cells: [[Factor; 24]; 7],
    stay: Factor,
    decayed_at: f64,
    /// Seconds in which something was learned.
    learning: f64,
}

/// Number of values of an exported baseline: level, hours, days, cells, clustering, two each, and four more.
pub(crate) const EXPORT_LEN: usize = 4 + 2 * (1 + 24 + 7 + 168 + 1);

impl Baseline {
    pub(crate) fn new(prior: f64, at: f64) -> Self {
        Self {
            prior,
            level: Factor::default(),
            level_held: 1.0,
            hours: [Factor::default(); 24],
            days: [Factor::default(); 7],
            cells: [[Factor::default(); 24]; 7],
            stay: Factor::default(),
            decayed_at: at,
            learning: 0.0,
        }
    }

    /// What is normal at `at`.
    pub(crate) fn normal(&self, at: f64) -> Normal {
        let ratio = (self.prior * self.level_held * self.shape(&Place::of(at))).clamp(RATIO_MIN, RATIO_MAX);
        let unclustered = ratio.max(STAY_PRIOR);
        let stay = (self.stay.seen + STAY_WEIGHT * unclustered) / (self.stay.expected + STAY_WEIGHT);
        let stay = stay.clamp(ratio, STAY_MAX);
        // The chance to begin to fail that, with this chance to go on, gives the ratio.
        let start = (ratio * (1.0 - stay) / (1.0 - ratio)).clamp(RATIO_MIN / 10.0, RATIO_MAX);
        Normal { ratio, start, stay }
    }

    fn shape(&self, place: &Place) -> f64 {
        let day =
            self.days[place.day].value(DAY_WEIGHT) * self.cells[place.day][place.hour].value(CELL_WEIGHT);
        day * self.hour_factor(place)
    }

    fn hour_factor(&self, place: &Place) -> f64 {
        let here = self.hours[place.near].value(HOUR_WEIGHT);
        let there = self.hours[place.far].value(HOUR_WEIGHT);
        here * (1.0 - place.far_share) + there * place.far_share
    }

    /// Learns what was normal around `at`.
    pub(crate) fn learn(&mut self, batch: &Batch, at: f64) {
        self.age(clean(at));
        self.stay.learn(batch.failed_again, batch.after_failure);
        if batch.calls <= 0.0 {
            return;
        }
        let place = Place::of(at);
        let (hour, shape) = (self.hour_factor(&place), self.shape(&place));
        let unshaped = batch.calls * self.prior;
        // The level first: what it explains is no matter of the hour.
        self.level.learn(batch.failures, unshaped * shape);
        let expected = unshaped * self.level.value(LEVEL_WEIGHT) * shape;
        for (index, share) in [(place.near, 1.0 - place.far_share), (place.far, place.far_share)] {
            self.hours[index].learn(batch.failures * share, expected / hour * share);
        }
        let day = &mut self.days[place.day];
        day.learn(batch.failures, expected / day.value(DAY_WEIGHT));
        let cell = &mut self.cells[place.day][place.hour];
        cell.learn(batch.failures, expected / cell.value(CELL_WEIGHT));
    }

    fn age(&mut self, at: f64) {
        let passed = at - self.decayed_at;
        // A minute at a time is often enough; a clock that jumps back is not followed.
        if passed < if self.is_known() { 60.0 } else { 1.0 } {
            return;
        }
        self.decayed_at = at;
        // A gap without calls teaches nothing.
        self.learning += passed.min(60.0);
        self.level.decay((-passed / LEVEL_HALF_LIFE).exp2());
        let keep = (-passed / SHAPE_HALF_LIFE).exp2();
        self.hours.iter_mut().for_each(|factor| factor.decay(keep));
        self.days.iter_mut().for_each(|factor| factor.decay(keep));
        self.cells.iter_mut().flatten().for_each(|factor| factor.decay(keep));
        self.stay.decay(keep);
        let learned = self.level.value(LEVEL_WEIGHT);
        let doubling = if self.is_known() { LEVEL_DOUBLING } else { LEVEL_DOUBLING_UNKNOWN };
        self.level_held = learned.min(self.level_held * (passed / doubling).exp2()).max(1e-6);
    }

    /// Whether enough was seen for a degradation to be told from how things are.
    pub(crate) fn is_known(&self) -> bool {
        self.learning >= LEARNING_SECONDS && self.level.seen.max(self.level.expected) >= LEVEL_KNOWN
    }

    /// Takes a level that has lasted for the new normal.
    pub(crate) fn adopt(&mut self, ratio: f64, at: f64) {
        let shape = self.shape(&Place::of(at));
        let level = (ratio / (self.prior * shape)).max(1e-6);
        self.level = Factor { seen: level * LEVEL_KNOWN, expected: LEVEL_KNOWN };
        self.level_held = level;
        self.learning = LEARNING_SECONDS;
    }

    /// Everything learned as plain numbers, for sharing.
    pub(crate) fn export(&self) -> Vec<f64> {
        let factors = [self.level].into_iter().chain(self.hours).chain(self.days);
        let factors = factors.chain(self.cells.into_iter().flatten()).chain([self.stay]);
        let mut numbers = vec![self.prior, self.level_held, self.decayed_at, self.learning];
        numbers.extend(factors.flat_map(|factor| [factor.seen, factor.expected]));
        numbers
    }

    /// The baseline that was exported, or `None` if the numbers cannot be one.
    pub(crate) fn import(numbers: &[f64]) -> Option<Self> {
        let bounded = |number: &f64| number.is_finite() && *number >= 0.0 && *number < 1e18;
        if numbers.len() != EXPORT_LEN || !numbers.iter().all(bounded) {
            return None;
        }
        let (head, rest) = numbers.split_at(4);
        let mut baseline = Self::new(head[0], head[2]);
        if !(baseline.prior > 0.0 && baseline.prior < 1.0) {
            return None;
        }
        (baseline.level_held, baseline.learning) = (head[1], head[3]);
        let mut factors = rest.chunks_exact(2).map(|pair| Factor { seen: pair[0], expected: pair[1] });
        let (days, cells) = (&mut baseline.days, &mut baseline.cells);
        let slots = [&mut baseline.level].into_iter().chain(&mut baseline.hours).chain(days);
        for slot in slots.chain(cells.iter_mut().flatten()).chain([&mut baseline.stay]) {
            *slot = factors.next()?;
        }
        Some(baseline)
    }
}

/// Any number as a time: from 1970 to the year 5138.
fn clean(at: f64) -> f64 {
    if at.is_finite() { at.clamp(0.0, 1e11) } else { 0.0 }
}

/// Where a time lies in the week, and between which two hours of the day.
#[derive(Debug)]
struct Place {
    day: usize,
    hour: usize,
    near: usize,
    far: usize,
    far_share: f64,
}

impl Place {
    fn of(at: f64) -> Self {
        let at = clean(at);
        let within = at % DAY;
        let hour = ((within / HOUR) as usize).min(23);
        // 1970-01-01 was a Thursday; which number it has does not matter.
        let day = ((at / DAY) % 7.0) as usize % 7;
        let past_middle = within / HOUR - hour as f64 - 0.5;
        let far = if past_middle >= 0.0 { (hour + 1) % 24 } else { (hour + 23) % 24 };
        Self { day, hour, near: hour, far, far_share: past_middle.abs() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn week_of(baseline: &mut Baseline, from_day: u32, days: u32, ratio: impl Fn(f64) -> f64) {
        for hour in from_day * 24..(from_day + days) * 24 {
            for minute in 0..60 {
                let at = f64::from(hour) * HOUR + f64::from(minute) * 60.0;
                let calls = 600.0;
                let failures = calls * ratio(at);
                baseline.learn(&Batch { calls, failures, ..Batch::default() }, at);
            }
        }
    }

    #[test]
    fn learns_the_hour_of_the_day() {
        let swing = |at: f64| 0.005 * 10f64.powf(0.5 - 0.5 * (at / DAY * std::f64::consts::TAU).cos());
        let mut baseline = Baseline::new(0.01, 0.0);
        week_of(&mut baseline, 0, 14, swing);
        for hour in 0..24 {
            let at = 14.0 * DAY + f64::from(hour) * HOUR;
            let error = baseline.normal(at).ratio / swing(at);
            assert!((0.8..1.25).contains(&error), "hour {hour}: {error}");
        }
    }

    #[test]
    fn a_slow_drift_is_followed_and_a_jump_is_not_believed_at_once() {
        let mut baseline = Baseline::new(0.01, 0.0);
        week_of(&mut baseline, 0, 3, |_| 0.01);
        week_of(&mut baseline, 3, 14, |at| 0.01 + 0.03 * (at / DAY - 3.0) / 14.0);
        let followed = baseline.normal(17.0 * DAY).ratio;
        assert!((0.03..0.05).contains(&followed), "{followed}");
        week_of(&mut baseline, 17, 1, |_| 0.4);
        let bounded = baseline.normal(18.0 * DAY).ratio;
        assert!(bounded < 0.04 * 1.6, "{bounded}");
    }

    #[test]
    fn clustering_is_learned_from_runs() {
        let mut baseline = Baseline::new(0.01, 0.0);
        assert!(baseline.normal(0.0).stay <= 0.05);
        for _ in 0..300 {
            let run = Batch { calls: 500.0, failures: 5.0, after_failure: 5.0, failed_again: 4.0 };
            baseline.learn(&run, 0.0);
        }
        assert!((0.78..0.82).contains(&baseline.normal(0.0).stay));
    }

    #[test]
    fn what_is_exported_is_what_is_imported_and_nonsense_is_refused() {
        let mut baseline = Baseline::new(0.01, 0.0);
        week_of(&mut baseline, 0, 2, |_| 0.03);
        let numbers = baseline.export();
        assert_eq!(Baseline::import(&numbers), Some(baseline));
        let mut broken = numbers.clone();
        broken[5] = f64::NAN;
        assert_eq!(Baseline::import(&broken), None);
        assert_eq!(Baseline::import(&numbers[1..]), None);
    }

    #[test]
    fn hostile_times_and_counts_stay_in_bounds() {
        let mut baseline = Baseline::new(0.01, 0.0);
        for at in [f64::NAN, -5.0, 1e300, f64::INFINITY] {
            baseline.learn(&Batch { calls: 1e12, failures: 1e12, ..Batch::default() }, at);
            let normal = baseline.normal(at);
            assert!((RATIO_MIN..=RATIO_MAX).contains(&normal.ratio), "{normal:?}");
            assert!(normal.start > 0.0 && normal.stay < 1.0);
        }
    }
}
