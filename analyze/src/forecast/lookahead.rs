//! The load a few minutes ahead, as planning needs it: at every step of the scrape interval, with quantiles far into the tail.
//!
//! For each lead the change of load is predicted by a regression that is updated with every sample (recursive least squares with
//! forgetting) on the last slopes, the distance from the level, and what the daily and the weekly profile say of the way ahead.
//! It begins as persistence and a rise that is sure (`trend`), so that nothing learned means a reactive policy. The errors of each lead, in units of their recent
//! size, are counted in a histogram with a heavy-tailed prior; its quantiles are the forecast's.

mod profile;
mod regression;
mod saved;
mod trend;

use jiff::{SignedDuration, Timestamp};
use profile::Profile;
use proto::model::{Outlook, OutlookPoint};
use regression::{FEATURES, Regression};
use std::{collections::VecDeque, time::Duration};

/// Leads in steps, denser where most actuators are: at 15 s they reach 6 minutes, beyond any start of a replica that can be
/// planned for with a forecast of this kind.
pub const LEADS: [usize; 13] = [1, 2, 3, 4, 5, 6, 7, 8, 10, 13, 16, 20, 24];
/// Probabilities of the quantiles: what a price of risk asks for lies between the median and one in a thousand.
pub const LEVELS: [f64; 14] =
    [0.02, 0.075, 0.175, 0.375, 0.6, 0.775, 0.89, 0.945, 0.97, 0.985, 0.9925, 0.9965, 0.999, 0.99975];
/// The level about which forecasts widen while nothing is seen: the first above the median.
const MIDDLE: usize = 4;
/// Steps that are kept: the longest lead and the longest slope.
const KEPT: usize = 8;
/// The level follows within so many steps: ten minutes at 15 s, the time scale on which a recurring burst is over.
const LEVEL_STEPS: f64 = 40.0;
/// Growth against the profile is believed slowly, ...
const GROWTH_GAIN: f64 = 0.01;
/// ... and within these factors.
const GROWTH: (f64, f64) = (0.3, 3.0);
/// Features are cut here: one burst must not decide what is learned.
const FEATURE_MAX: f64 = 3.0;
/// A prediction says at most so much of the level.
const CHANGE: (f64, f64) = (-2.0, 6.0);
/// Without samples the load is carried on by the profile for so long; what was true half an hour ago may no longer be.
const BLIND_MAX: Duration = Duration::from_secs(30 * 60);
/// A gap in the samples of more than so many steps is a gap in what was seen.
const GAP_STEPS: f64 = 1.5;

#[derive(Debug, Clone, PartialEq)]
struct Made {
    due: u64,
    features: [f64; FEATURES],
    change: f64,
    scale: f64,
    base: f64,
    norm: f64,
}

#[derive(Debug, Clone, PartialEq)]
struct Lead {
    regression: Regression,
    made: VecDeque<Made>,
}

impl Lead {
    /// Of the newest forecast: its quantiles, and what they lie around.
    fn quantiles(&self) -> Option<(Vec<f64>, f64)> {
        let made = self.made.back()?;
        let mut values = self.regression.quantiles(&LEVELS);
        for value in &mut values {
            *value = (made.base + made.norm * (made.change + made.scale * *value)).max(0.0);
        }
        Some((values, (made.base + made.norm * made.change).max(0.0)))
    }
}

/// The forecaster of one load signal.
#[derive(Debug, Clone, PartialEq)]
pub struct Lookahead {
    step: Duration,
    leads: Vec<Lead>,
    recent: VecDeque<f64>,
    day: Profile,
    week: Profile,
    level: f64,
    taken: u64,
    last: Option<Timestamp>,
    /// Steps since the last real sample.
    blind: u32,
}

impl Lookahead {
    /// One that has seen nothing, for samples this far apart.
    #[must_use]
    pub fn new(step: Duration) -> Self {
        let lead = |steps: &usize| Lead { regression: Regression::new(*steps), made: VecDeque::new() };
        Self {
            step: step.max(Duration::from_millis(1)),
            leads: LEADS.iter().map(lead).collect(),
            recent: VecDeque::with_capacity(KEPT),
            day: Profile::daily(),
            week: Profile::weekly(),
            level: 0.0,
            taken: 0,
            last: None,
            blind: 0,
        }
    }

    /// The step that it was made for.
    #[must_use]
    pub fn step(&self) -> Duration {
        self.step
    }

    /// Steps learned from.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes in the mean load of the step that ended at `at`; `None` when it is unknown. What is no rate counts as unknown; what
    /// is not newer than the last is refused.
    pub fn observe(&mut self, at: Timestamp, load: Option<f64>) -> bool {
        if self.last.is_some_and(|last| at <= last) {
            return false;
        }
        match load.filter(|load| load.is_finite() && *load >= 0.0) {
            Some(load) => self.take(at, load),
            None => self.carry_on(at),
        }
        true
    }

    fn take(&mut self, at: Timestamp, load: f64) {
        let gap = self.last.is_some_and(|last| seconds(last, at) > GAP_STEPS * self.step.as_secs_f64());
        if gap || self.blind > 0 {
            // Slopes across a hole are none, and forecasts made before it are judged by nobody.
            self.recent.clear();
            self.leads.iter_mut().for_each(|lead| lead.made.clear());
        }
        let middle = self.middle(at);
        (self.blind, self.last) = (0, Some(at));
        self.taken += 1;
        self.push(load);
        let gain = (1.0 / self.taken as f64).max(1.0 / LEVEL_STEPS);
        self.level += (load - self.level) * gain;
        for profile in [&mut self.day, &mut self.week] {
            profile.follow(middle, self.level);
        }
        for (lead, steps) in self.leads.iter_mut().zip(LEADS) {
            while let Some(made) = lead.made.pop_front_if(|made| made.due <= self.taken) {
                let seen = (load - made.base) / made.norm;
                lead.regression.learn(&made.features, made.change, made.scale, seen, steps);
            }
        }
        self.day.observe(middle, load);
        self.week.observe(middle, load);
        self.forecast(middle, load);
    }

    fn forecast(&mut self, middle: f64, load: f64) {
        let step_s = self.step.as_secs_f64();
        let rise = trend::rise(&self.recent, self.taken);
        for (index, steps) in LEADS.iter().enumerate() {
            let (features, norm) = self.features(middle, *steps as f64 * step_s);
            let lead = &mut self.leads[index];
            let change = lead.regression.change(&features).clamp(CHANGE.0, CHANGE.1);
            let due = self.taken + *steps as u64;
            let scale = lead.regression.scale();
            let base = load + trend::over(rise, *steps);
            lead.made.push_back(Made { due, features, change, scale, base, norm });
        }
    }

    /// Nothing is seen: what was forecast last stands. Nothing is learned, and those forecasts are never judged.
    fn carry_on(&mut self, at: Timestamp) {
        if self.last.is_none() {
            return;
        }
        (self.blind, self.last) = (self.blind.saturating_add(1), Some(at));
        for lead in &mut self.leads {
            lead.made.drain(..lead.made.len().saturating_sub(1));
        }
    }

    fn push(&mut self, load: f64) {
        if self.recent.len() == KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back(load);
    }

    /// Slopes and distances in units of the load, so that traces of all sizes are alike.
    fn features(&self, middle: f64, ahead_s: f64) -> ([f64; FEATURES], f64) {
        let newest = self.recent.len().saturating_sub(1);
        let back = |steps: usize| self.recent.get(newest.saturating_sub(steps)).copied().unwrap_or_default();
        let load = back(0);
        let norm = (0.5 * self.level + 0.5 * load).max(1e-6);
        let [day_change, day_distance] = self.day.ahead(middle, ahead_s, load);
        let [week_change, week_distance] = self.week.ahead(middle, ahead_s, load);
        let raw = [
            load - back(1),
            load - back(4),
            load - self.level,
            day_change,
            day_distance,
            week_change,
            week_distance,
        ];
        let mut features = [regression::CONSTANT; FEATURES];
        for (feature, value) in features.iter_mut().zip(raw) {
            *feature = (value / norm).clamp(-FEATURE_MAX, FEATURE_MAX);
        }
        (features, norm)
    }

    /// The forecast; `None` before the first sample, and when nothing was seen for half an hour.
    #[must_use]
    pub fn outlook(&self) -> Option<Outlook> {
        let last = self.last?;
        let unseen = self.step.saturating_mul(self.blind);
        if unseen > BLIND_MAX {
            return None;
        }
        let at = last.checked_sub(SignedDuration::try_from(unseen).ok()?).ok()?;
        let points = LEADS.iter().filter_map(|steps| {
            let mut values = self.quantiles(at, *steps + self.blind as usize)?;
            if self.blind > 0 {
                // What is asked for blindly cannot be corrected by what comes, neither before it is due nor after: for each lead
                // that passes unseen the errors of two add up.
                let wider = (1.0 + 2.0 * f64::from(self.blind) / *steps as f64).sqrt();
                let middle = values[MIDDLE];
                values[MIDDLE..].iter_mut().for_each(|value| *value = middle + (*value - middle) * wider);
            }
            Some(OutlookPoint { after: self.step.saturating_mul(*steps as u32), values })
        });
        let points: Vec<_> = points.collect();
        let coverage_ratio = self.leads[0].regression.coverage();
        (!points.is_empty()).then(|| Outlook {
            at,
            levels: LEVELS.to_vec(),
            points,
            late: Vec::new(),
            coverage_ratio,
        })
    }

    /// Quantiles of the load so many steps after the last sample, at `at`: between two leads straight; beyond the longest as the
    /// day's profile goes on, with errors that grow with the square root of time.
    fn quantiles(&self, at: Timestamp, steps: usize) -> Option<Vec<f64>> {
        let after = LEADS.iter().position(|lead| *lead >= steps).unwrap_or(LEADS.len() - 1);
        let (far, reach) = (self.leads[after].quantiles()?, LEADS[after]);
        if reach == steps {
            return Some(far.0);
        }
        let (values, middle) = far;
        if reach > steps {
            let before = after.saturating_sub(1);
            let share = (steps - LEADS[before]) as f64 / (reach - LEADS[before]).max(1) as f64;
            let near = self.leads[before].quantiles()?.0;
            return Some(near.iter().zip(&values).map(|(near, far)| near + (far - near) * share).collect());
        }
        let (wider, step_s) = ((steps as f64 / reach as f64).sqrt(), self.step.as_secs_f64());
        let seen = self.middle(at);
        let place = |steps: usize| self.day.at(seen + steps as f64 * step_s);
        let grown = match (place(reach), place(steps)) {
            (Some(then), Some(now)) => (now - then) * self.day.growth(),
            _ => 0.0,
        };
        Some(values.iter().map(|value| (middle + grown + (value - middle) * wider).max(0.0)).collect())
    }

    /// Mean pinball loss of the median, the 0.9 and the 0.99 quantile at a lead, in units of the load; `None` until judged.
    #[must_use]
    pub fn pinball(&self, lead: usize) -> Option<[f64; 3]> {
        self.leads.get(lead)?.regression.pinball()
    }

    fn middle(&self, at: Timestamp) -> f64 {
        at.as_millisecond() as f64 / 1e3 - self.step.as_secs_f64() / 2.0
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn watch(samples: i64, load: impl Fn(f64) -> f64) -> Lookahead {
        let mut lookahead = Lookahead::new(Duration::from_secs(15));
        for sample in 1..=samples {
            assert!(lookahead.observe(at(sample * 15), Some(load(sample as f64 * 15.0))));
        }
        lookahead
    }

    fn quantile(lookahead: &Lookahead, steps: usize, level: f64) -> f64 {
        let outlook = lookahead.outlook().unwrap();
        let point = LEADS.iter().position(|lead| *lead == steps).unwrap();
        let level = outlook.levels.iter().position(|found| *found >= level).unwrap();
        outlook.points[point].values[level]
    }

    #[test]
    fn begins_as_persistence() {
        let lookahead = watch(1, |_| 100.0);
        assert!((quantile(&lookahead, 6, 0.6) / 100.0 - 1.0).abs() < 0.05);
        assert!(quantile(&lookahead, 6, 0.99) > 100.0);
    }

    #[test]
    fn recurring_burst_is_foreseen_after_a_few_days() {
        let load =
            |second: f64| if (36_000.0..36_600.0).contains(&(second % 86_400.0)) { 400.0 } else { 100.0 };
        let samples = 5 * 5_760 + 2_395;
        let lookahead = watch(samples, load);
        let now = samples * 15;
        assert_eq!(now % 86_400, 35_925, "just before the burst");
        assert!(quantile(&lookahead, 8, 0.9) > 200.0, "{:?}", lookahead.outlook());
        assert!(quantile(&lookahead, 2, 0.9) < 200.0);
    }

    #[test]
    fn quantiles_never_fall_and_widen_ahead() {
        let lookahead =
            watch(4_000, |second| 100.0 + 20.0 * (second / 700.0).sin() + 7.0 * (second * 1.7).sin());
        let outlook = lookahead.outlook().unwrap();
        assert!(
            outlook.points.iter().all(|p| p.values.windows(2).all(|pair| pair[0] <= pair[1])),
            "{outlook:?}"
        );
        assert!(
            outlook.points.iter().all(|p| p.values.iter().all(|value| value.is_finite() && *value >= 0.0))
        );
        let share = outlook.coverage_ratio.unwrap();
        assert!((0.8..=0.99).contains(&share), "{share}");
    }

    #[test]
    fn one_step_of_the_load_is_no_reason_to_expect_the_next() {
        let noise = |second: f64| 1.0 + 0.015 * (second * 1.7).sin();
        let load = |second: f64| noise(second) * if second < 900.0 { 1_000.0 } else { 2_200.0 };
        for after in [2, 6, 12, 24] {
            let lookahead = watch(60 + after, load);
            let high = quantile(&lookahead, 6, 0.97);
            assert!((2_000.0..2.5 * 2_200.0).contains(&high), "{high} after {after} steps");
        }
    }

    #[test]
    fn jump_far_beyond_the_noise_is_followed_at_once() {
        // Noise that goes back is learned within minutes, and this is none.
        let noise = |second: f64| 1.0 + 0.03 * ((second * second) % 101.0 / 50.0 - 1.0);
        let load = |second: f64| noise(second) * if second < 1_800.0 { 1_000.0 } else { 2_200.0 };
        let lookahead = watch(120, load);
        assert!(quantile(&lookahead, 6, 0.6) > 0.9 * load(1_800.0), "{:?}", lookahead.outlook());
    }

    #[test]
    fn way_that_was_foreseen_is_gone_on_while_blind() {
        // Four hours of rises and falls of ten minutes each; nothing is seen from the third minute of a rise on.
        let load = |second: f64| 100.0 + (second % 1_200.0 - 600.0).abs() / 2.0;
        let samples = 12 * 80 + 40 + 12;
        let mut lookahead = watch(samples, load);
        let seen = load(samples as f64 * 15.0);
        (1..=8).for_each(|blind| _ = lookahead.observe(at((samples + blind) * 15), None));
        let (median, comes) = (quantile(&lookahead, 8, 0.6), load((samples + 16) as f64 * 15.0));
        assert!(comes > 1.4 * seen);
        assert!(median > seen + 0.4 * (comes - seen), "{median} of {comes}, last seen {seen}");
    }

    #[test]
    fn outage_carries_the_profile_on_widens_and_learns_nothing() {
        let load = |second: f64| 100.0 + 50.0 * (second / 86_400.0 * std::f64::consts::TAU).sin();
        let mut lookahead = watch(3 * 5_760, load);
        let (seen, sharp) = (3 * 86_400, quantile(&lookahead, 6, 0.99) - quantile(&lookahead, 6, 0.6));
        for blind in 1..=60 {
            assert!(lookahead.observe(at(seen + blind * 15), None));
        }
        let expected = load((seen + 990) as f64);
        assert!(
            (quantile(&lookahead, 6, 0.6) / expected - 1.0).abs() < 0.03,
            "{} of {expected}",
            quantile(&lookahead, 6, 0.6)
        );
        assert!(quantile(&lookahead, 6, 0.99) - quantile(&lookahead, 6, 0.6) > 2.0 * sharp);
        assert_eq!(lookahead.outlook().unwrap().at, at(seen), "it says on what it rests");
        (61..=121).for_each(|blind| _ = lookahead.observe(at(seen + blind * 15), None));
        assert_eq!(lookahead.outlook(), None);
    }

    #[test]
    fn hostile_values_are_unknown_and_old_ones_refused() {
        let mut lookahead = watch(100, |_| 50.0);
        for bad in [f64::NAN, f64::INFINITY, -1.0] {
            let next = at(lookahead.last.unwrap().as_second() + 15);
            assert!(lookahead.observe(next, Some(bad)));
        }
        assert!(!lookahead.observe(at(15), Some(1.0)));
        let next = at(lookahead.last.unwrap().as_second() + 15);
        assert!(lookahead.observe(next, Some(f64::MAX)));
        let outlook = lookahead.outlook().unwrap();
        assert!(outlook.points.iter().all(|p| p.values.iter().all(|value| !value.is_nan())));
    }

    #[test]
    fn same_samples_give_the_same_forecast() {
        let load = |second: f64| 100.0 + 30.0 * (second / 333.0).cos();
        assert_eq!(watch(2_000, load), watch(2_000, load));
    }
}
