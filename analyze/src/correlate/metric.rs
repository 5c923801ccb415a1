//! One metric of a host, in two views: how far it jumps from the values just before, and how far it is from where it usually is.
//!
//! Jumps tell of trouble as it begins. Distances, seen together by `view`, tell of metrics that part company.

use super::tail::{Scale, Tail};
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Values that a jump is judged against by their median: few, so that slow changes do not count, and two outliers do not either.
const SHORT: usize = 5;
/// Samples before a metric has a usual level.
const SAMPLES_MIN: f64 = 40.0;
/// What is not worth a word: 1 % of the level.
const EFFECT_MIN: f64 = 0.01;
/// Samples without a value after which what was is no longer what is.
const SILENT_MAX: u32 = 5;
/// A metric that rose so often and fell at most once in a hundred rises only counts: its rate is judged.
const RISES_MIN: f64 = 30.0;
const FALLS_MAX: f64 = 0.01;
/// Samples that the counts of rises and falls remember.
const STEPS: f64 = 1_000.0;
/// Values reach the usual level and spread at most so many spreads from it.
const OUTLIER: f64 = 3.0;

/// Distances count so far: a spread says little of what is far beyond it.
const AWAY_MAX: f64 = 50.0;

/// Larger values are no measurements: their squares overflow.
const VALUE_MAX: f64 = 1e150;

/// Jumps, then distances.
pub(crate) const VIEWS: usize = 2;

/// With which weight a moment is learned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Learning {
    /// Of a full sample, 0 to 1.
    pub(crate) share: f64,
    /// Weight of a full sample now: it grows, so that earlier ones fade.
    pub(crate) unit: f64,
    /// Samples that the usual level remembers.
    pub(crate) memory: f64,
}

/// What is remembered of one metric.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Metric {
    recent: [f64; SHORT],
    filled: u32,
    silent: u32,
    last: Option<f64>,
    rises: f64,
    falls: f64,
    counts_up: bool,
    jumps: Tail,
    scale: Option<Scale>,
    /// Where it usually is, how far from there, and samples of both.
    usual: f64,
    spread: f64,
    samples: f64,
}

/// How far out a metric is in each view, in deviations; `None` is unknown.
pub(crate) type Deviations = [Option<f64>; VIEWS];

impl Metric {
    /// Forgets the values just before, not what is normal: they are too old to compare with.
    pub(crate) fn interrupt(&mut self) {
        (self.filled, self.last) = (0, None);
    }

    /// Compares a value with earlier ones, `seconds` after the one before, and learns it. What is no number is unknown.
    pub(crate) fn observe(&mut self, value: f64, seconds: f64, learning: &Learning) -> Deviations {
        let Some(value) = self.rate(value, seconds).filter(|value| value.abs() < VALUE_MAX) else {
            self.silent = self.silent.saturating_add(1);
            if self.silent > SILENT_MAX {
                self.interrupt();
            }
            return [None; VIEWS];
        };
        self.silent = 0;
        let jump = (self.filled as usize == SHORT).then(|| {
            let middle = median(self.recent);
            worth(value - middle, middle)
        });
        self.push(value);
        let jump = jump.map(|jump| self.judge(jump, learning));
        [jump, self.away(value, learning)]
    }

    fn judge(&mut self, residual: f64, learning: &Learning) -> f64 {
        let deviations = match &self.scale {
            _ if residual == 0.0 => 0.0,
            Some(scale) => scale.deviations(residual),
            None => self.jumps.first_move(learning.unit).copysign(residual),
        };
        self.jumps.learn(residual, learning.share * learning.unit);
        deviations
    }

    /// Takes the scale of jumps from what was learned.
    pub(crate) fn refresh(&mut self, unit: f64) {
        self.scale = self.jumps.scale(unit);
    }

    /// Multiplies all weights.
    pub(crate) fn rescale(&mut self, factor: f64) {
        self.jumps.rescale(factor);
    }

    /// Distance from the usual level in usual spreads; both follow slowly, and outliers only so far.
    fn away(&mut self, value: f64, learning: &Learning) -> Option<f64> {
        let Learning { share: weight, memory, .. } = *learning;
        self.samples = (self.samples + weight).min(memory);
        let share = weight / self.samples.max(1.0);
        let distance = value - self.usual;
        if self.samples <= weight {
            self.usual = value;
            return None;
        }
        let least = f64::max(EFFECT_MIN * self.usual.abs(), f64::MIN_POSITIVE);
        let spread = self.spread.max(least);
        let reach = OUTLIER * spread;
        // Early on the spread itself is not known: nothing is cut.
        let cut = if self.samples < SAMPLES_MIN { distance } else { distance.clamp(-reach, reach) };
        self.usual += share * cut;
        self.spread += share * (1.25 * cut.abs() - self.spread);
        (self.samples > SAMPLES_MIN).then(|| (distance / spread).clamp(-AWAY_MAX, AWAY_MAX))
    }

    /// The value, or the rate of what only counts. A counter that fell was reset: unknown.
    fn rate(&mut self, value: f64, seconds: f64) -> Option<f64> {
        let last = self.last.filter(|_| seconds > 0.0);
        if !value.is_finite() {
            return None;
        }
        self.last = Some(value);
        if let Some(last) = last {
            let keep = 1.0 - 1.0 / STEPS;
            self.rises = self.rises * keep + f64::from(value > last);
            self.falls = self.falls * keep + f64::from(value < last);
            let counts_up = self.rises > RISES_MIN && self.falls < FALLS_MAX * self.rises;
            if counts_up != self.counts_up {
                let Self { last, rises, falls, .. } = *self;
                *self = Self { last, rises, falls, counts_up, ..Self::default() };
            }
        }
        if !self.counts_up {
            return Some(value);
        }
        last.filter(|last| value >= *last).map(|last| (value - last) / seconds)
    }

    fn push(&mut self, value: f64) {
        if self.filled as usize == SHORT {
            self.recent.rotate_left(1);
            self.recent[SHORT - 1] = value;
        } else {
            self.recent[self.filled as usize] = value;
            self.filled += 1;
        }
    }
}

/// A residual that is worth a word beside this level, or none.
fn worth(residual: f64, level: f64) -> f64 {
    if residual.abs() < EFFECT_MIN * level.abs() { 0.0 } else { residual }
}

fn median(mut values: [f64; SHORT]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[SHORT / 2]
}

impl Stored for Metric {
    fn save(&self, writer: &mut Writer) {
        let Self {
            recent,
            filled,
            silent,
            last,
            rises,
            falls,
            counts_up,
            jumps,
            scale,
            usual,
            spread,
            samples,
        } = self;
        writer.put(recent).put(filled).put(silent).put(last).put(rises).put(falls).put(counts_up);
        writer.put(jumps).put(scale).put(usual).put(spread).put(samples);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (recent, filled) = (reader.get()?, reader.get()?);
        if filled as usize > SHORT {
            return Err(reader.damaged());
        }
        Ok(Self {
            recent,
            filled,
            silent: reader.get()?,
            last: reader.get()?,
            rises: reader.get()?,
            falls: reader.get()?,
            counts_up: reader.get()?,
            jumps: reader.get()?,
            scale: reader.get()?,
            usual: reader.get()?,
            spread: reader.get()?,
            samples: reader.get()?,
        })
    }
}
