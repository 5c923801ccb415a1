//! A host with many metrics, as one: what is unusual of all its metrics together, and which of them are to blame.
//!
//! `metric` says how far each metric jumps and how far it is from where it usually is; `view` takes both apart into what metrics
//! do together and what each does alone. Three statistics sum that up: the length of all deviations in each view, and their
//! breadth over both. Metrics depend on one another and have heavy tails, so how these are distributed is not taken from a
//! textbook: it is learned from their block maxima (`maxima`), and an alert opens at the height that chance reaches as often as
//! the budget allows. Nothing is fitted to labels.

use std::time::Duration;

use jiff::Timestamp;

use super::maxima::Maxima;
use super::metric::{Learning, Metric, VIEWS};
use super::view::{Distance, View};

/// The length of all deviations in each view, and the breadth of them all.
const STATISTICS: usize = VIEWS + 1;
/// Samples of the metrics before their evidence is looked at.
const WARM: u32 = 240;
/// Intervals without a sample after which the values before it are too old to compare with.
const GAP: f64 = 5.0;
/// An alert goes on while a statistic stays above this share of the height that opened it.
const HOLD: f64 = 0.6;
/// Samples of an alert weigh this much, so that faults are not taken for normal,
const ALERT_WEIGHT: f64 = 1.0 / 64.0;
/// and those that follow it for a while as well,
const AFTERMATH: Duration = Duration::from_secs(6 * 3_600);
/// until it has lasted a whole day: then it is normal.
const NORMAL_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// An alert that goes this much higher is told again.
const ESCALATION: f64 = 1.25;
/// Each sample refreshes the scales of one metric in so many.
const REFRESH: usize = 16;
/// Severity halves in this time.
const SEVERITY_HALF_LIFE: Duration = Duration::from_secs(15 * 60);
/// Counts are made small again from here on.
const UNIT_MAX: f64 = 1e6;
/// A metric within two deviations is not to blame.
const BLAME_MIN: f64 = 4.0;
/// While young, a host forgets half in this share of its age.
const AMNESIA: f64 = 0.35;
/// No host forgets faster, in seconds.
const HALF_LIFE_MIN: f64 = 600.0;
/// How many metrics are blamed at most.
pub const BLAMED_MAX: usize = 16;

/// How a host is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HostSettings {
    /// Time in which chance may open one alert.
    pub false_alarm_every: Duration,
    /// Alerts this close are one, and so are the values of such a block.
    pub block: Duration,
    /// Time after which a sample counts half.
    pub half_life: Duration,
}

impl Default for HostSettings {
    /// One false alert in 4 weeks; half an hour; one week, so that weekdays and weekends both count.
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        Self { false_alarm_every: days(28), block: Duration::from_secs(1_800), half_life: days(7) }
    }
}

/// A metric and its share of the evidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Blame {
    /// Its place among the names.
    pub metric: usize,
    /// 0 to 1.
    pub share: f64,
}

/// What is said of one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HostJudgement {
    /// 0 as usual, 0.5 where an alert opens, towards 1 far beyond. 0 while learning.
    pub score: f64,
    /// The highest score of late, halving each quarter of an hour.
    pub severity: f64,
    /// An alert opens here.
    pub deviation: bool,
    /// Whether an alert goes on.
    pub standing: bool,
    /// Probability that this is no chance, in [0, 1]: 1 / (1 + c), where chance alone goes as high c times in the time of the budget.
    pub confidence: f64,
    /// Who is to blame, most first; empty below a score of 0.25.
    pub blamed: Vec<Blame>,
}

/// A host and what is learned of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Host {
    pub(crate) settings: HostSettings,
    pub(crate) names: Vec<String>,
    pub(crate) metrics: Vec<Metric>,
    pub(crate) views: [View; VIEWS],
    pub(crate) maxima: [Maxima; STATISTICS],
    pub(crate) last: Option<Timestamp>,
    pub(crate) interval: Option<f64>,
    pub(crate) seen: u32,
    /// Seconds of samples taken in.
    pub(crate) age: f64,
    /// Weight of one sample now: it grows, so that earlier ones fade.
    pub(crate) unit: f64,
    pub(crate) block_start: Option<Timestamp>,
    pub(crate) alert: Option<Alert>,
    pub(crate) severity: f64,
    pub(crate) deviations: [Vec<Option<f64>>; VIEWS],
}

/// An alert that goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Alert {
    pub(crate) opened: Timestamp,
    /// When it was told last.
    pub(crate) told: Timestamp,
    /// When it was last high enough to go on.
    pub(crate) renewed: Timestamp,
    /// How high it went.
    pub(crate) peak: f64,
}

impl Host {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(settings: HostSettings, metric_names: Vec<String>) -> Self {
        let count = metric_names.len();
        Self {
            settings,
            metrics: vec![Metric::default(); count],
            views: std::array::from_fn(|_| View::new(count)),
            maxima: Default::default(),
            last: None,
            interval: None,
            seen: 0,
            age: 0.0,
            unit: 1.0,
            block_start: None,
            alert: None,
            severity: 0.0,
            deviations: std::array::from_fn(|_| vec![None; count]),
            names: metric_names,
        }
    }

    /// Names in the order of the values.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Goes on with other metrics: what is learned of those that stay is kept.
    pub fn follow(&mut self, metric_names: Vec<String>) {
        let place = |name: &String| self.names.iter().position(|known| known == name);
        let places: Vec<_> = metric_names.iter().map(place).collect();
        let metric = |place: &Option<usize>| place.and_then(|place| self.metrics.get(place)).cloned();
        self.metrics = places.iter().map(|place| metric(place).unwrap_or_default()).collect();
        self.views = std::array::from_fn(|view| self.views[view].rearranged(&places));
        self.deviations = std::array::from_fn(|_| vec![None; places.len()]);
        self.names = metric_names;
    }

    /// Seconds of samples that it has seen.
    #[must_use]
    pub fn age(&self) -> f64 {
        self.age
    }

    /// Whether enough was seen to open alerts.
    #[must_use]
    pub fn is_warm(&self) -> bool {
        self.maxima.iter().all(|maxima| maxima.fit.is_some())
    }

    /// Judges the values of a moment by earlier ones, and learns from them afterwards. Values that are no number are unknown, and
    /// so are missing ones; a moment that is not later than the one before is refused.
    pub fn observe(&mut self, at: Timestamp, values: &[f64]) -> HostJudgement {
        let Some(seconds) = self.elapse(at) else { return HostJudgement::default() };
        let statistics = self.look(values, seconds);
        let needed = self.needed();
        let rarities = self.rarities(&statistics);
        let rarity = rarities.into_iter().fold(0.0, f64::max);
        let height = rarity / needed;
        let score = height * height / (1.0 + height * height);
        let deviation = self.alarm(at, height);
        self.learn(at, &statistics, needed);
        let decay = (-seconds / SEVERITY_HALF_LIFE.as_secs_f64()).exp2();
        self.severity = score.max(self.severity * decay);
        let blamed = if score >= 0.25 || deviation { self.blamed() } else { Vec::new() };
        let standing = self.alert.is_some_and(|alert| alert.renewed == at);
        let confidence = if rarity > 0.0 { 1.0 / (1.0 + (needed - rarity).exp()) } else { 0.0 };
        HostJudgement { score, severity: self.severity, deviation, standing, confidence, blamed }
    }

    /// Seconds since the moment before; `None` for one that is not later.
    fn elapse(&mut self, at: Timestamp) -> Option<f64> {
        let Some(last) = self.last.replace(at) else { return Some(0.0) };
        let seconds = at.duration_since(last).as_secs_f64();
        if seconds <= 0.0 {
            self.last = Some(last);
            return None;
        }
        let interval = *self.interval.get_or_insert(seconds);
        if seconds > GAP * interval {
            self.metrics.iter_mut().for_each(Metric::interrupt);
        }
        let step = seconds.min(2.0 * interval);
        self.interval = Some(interval + 0.05 * (step - interval));
        self.age += step;
        self.unit *= (step / self.half_life()).exp2();
        if self.unit > UNIT_MAX {
            let factor = 1.0 / self.unit;
            self.metrics.iter_mut().for_each(|metric| metric.rescale(factor));
            self.views.iter_mut().for_each(|view| view.rescale(factor));
            self.unit = 1.0;
        }
        Some(seconds)
    }

    /// How far out the host is in every view; the moment is learned.
    fn look(&mut self, values: &[f64], seconds: f64) -> [f64; STATISTICS] {
        let memory = self.settings.half_life.as_secs_f64() / self.interval.unwrap_or(60.0).max(1e-3);
        let learning = Learning { share: self.weight(), unit: self.unit, memory };
        let turn = self.seen as usize;
        for (index, metric) in self.metrics.iter_mut().enumerate() {
            let value = values.get(index).copied().unwrap_or(f64::NAN);
            let deviations = metric.observe(value, seconds, &learning);
            for (view, deviation) in deviations.into_iter().enumerate() {
                self.deviations[view][index] = deviation;
            }
            if index % REFRESH == turn % REFRESH {
                metric.refresh(self.unit);
            }
        }
        self.seen = self.seen.saturating_add(1);
        let mut statistics = [0.0; STATISTICS];
        for (index, (view, deviations)) in self.views.iter_mut().zip(&self.deviations).enumerate() {
            let Distance { square, breadth } = view.observe(deviations, learning.share, learning.unit, turn);
            statistics[index] = square.sqrt();
            statistics[VIEWS] += breadth;
        }
        statistics
    }

    /// Seconds after which a sample counts half: at first soon, because early judgements are of a learner that knew little.
    fn half_life(&self) -> f64 {
        let full = self.settings.half_life.as_secs_f64();
        (AMNESIA * self.age).clamp(full / 28.0, full).max(HALF_LIFE_MIN)
    }

    /// What a sample counts: little while an alert goes on and in its aftermath, unless that takes so long that it is normal.
    fn weight(&self) -> f64 {
        let Some((alert, now)) = self.alert.zip(self.last) else { return 1.0 };
        let since = |then: Timestamp| now.duration_since(then).as_secs_f64();
        let is_aftermath = since(alert.renewed) < AFTERMATH.as_secs_f64();
        if is_aftermath && since(alert.opened) < NORMAL_AFTER.as_secs_f64() { ALERT_WEIGHT } else { 1.0 }
    }

    /// The rarity that opens an alert: the budget in blocks, shared by the statistics (Bonferroni).
    fn needed(&self) -> f64 {
        let Self { settings, .. } = self;
        let blocks = settings.false_alarm_every.as_secs_f64() / settings.block.as_secs_f64().max(1.0);
        (blocks.max(1.0) * STATISTICS as f64).ln()
    }

    fn rarities(&self, statistics: &[f64; STATISTICS]) -> [f64; STATISTICS] {
        let mut rarities = [0.0; STATISTICS];
        for ((rarity, maxima), value) in rarities.iter_mut().zip(&self.maxima).zip(statistics) {
            *rarity = maxima.rarity(*value).unwrap_or(0.0);
        }
        rarities
    }

    /// Whether an alert opens. One that goes on is renewed instead, until it was calm for a block, or escalates: after a block
    /// it opens again if it is clearly beaten.
    fn alarm(&mut self, at: Timestamp, height: f64) -> bool {
        let block = self.settings.block.as_secs_f64();
        let since = |then: Timestamp| at.duration_since(then).as_secs_f64();
        let was_calm = self.alert.is_none_or(|alert| since(alert.renewed) > block);
        match &mut self.alert {
            alert if was_calm => {
                if height < 1.0 {
                    return false;
                }
                // What follows soon is the same trouble as far as learning goes.
                let opened = alert.filter(|alert| since(alert.renewed) < AFTERMATH.as_secs_f64());
                let opened = opened.map_or(at, |alert| alert.opened);
                *alert = Some(Alert { opened, told: at, renewed: at, peak: height });
                return true;
            }
            Some(alert) if height >= HOLD => {
                alert.renewed = at;
                if height > ESCALATION * alert.peak {
                    let is_due = since(alert.told) > block;
                    alert.peak = height;
                    if is_due {
                        alert.told = at;
                    }
                    return is_due;
                }
            }
            _ => {}
        }
        false
    }

    fn learn(&mut self, at: Timestamp, statistics: &[f64; STATISTICS], needed: f64) {
        if self.seen <= WARM {
            return;
        }
        for (maxima, value) in self.maxima.iter_mut().zip(statistics) {
            // What opens an alert must not raise the height for the next beyond reason.
            maxima.observe(maxima.level(needed).map_or(*value, |level| value.min(level)));
        }
        let start = *self.block_start.get_or_insert(at);
        if at.duration_since(start).as_secs_f64() < self.settings.block.as_secs_f64() {
            return;
        }
        self.block_start = Some(at);
        let keep = (-self.settings.block.as_secs_f64() / self.half_life()).exp2();
        let weight = self.weight();
        self.maxima.iter_mut().for_each(|maxima| maxima.close(keep, weight));
    }

    /// Metrics by the square of their deviations in the view where they are farthest out.
    fn blamed(&self) -> Vec<Blame> {
        let far = |index: usize| self.deviations.iter().filter_map(move |view| view[index]);
        let squares = (0..self.names.len()).map(|index| far(index).map(|far| far * far).fold(0.0, f64::max));
        let total: f64 = squares.clone().sum();
        let parts = squares.enumerate().filter(|(_, square)| *square > BLAME_MIN);
        let mut blamed: Vec<_> =
            parts.map(|(metric, square)| Blame { metric, share: square / total }).collect();
        blamed.sort_by(|a, b| b.share.total_cmp(&a.share));
        blamed.truncate(BLAMED_MAX);
        blamed
    }
}

#[cfg(test)]
mod tests;
