//! One lead: recursive least squares for the change, and a histogram of its errors in units of their recent size.

use std::sync::LazyLock;

use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Slopes, distance from the level, daily and weekly change and distance, and a constant.
pub(super) const FEATURES: usize = 8;
/// The constant feature: small, so that a bias is learned slowly.
pub(super) const CONSTANT: f64 = 0.02;
/// Prior variance of every weight. At errors of 2 % of the load it is worth about a hundred samples of persistence.
const PRIOR_VARIANCE: f64 = 0.003;
/// The distance from the level may get its weight within minutes: it tells noise, which goes back, from a change, which stays.
const LEVEL_VARIANCE: f64 = 0.1;
/// Which feature that is.
const LEVEL: usize = 2;
/// Samples after which one counts 1/e in the weights: a week at 15 s.
const MEMORY: f64 = 40_000.0;
/// Errors are cut at so many of their sizes before weights learn from them.
const ERROR_MAX: f64 = 30.0;
/// Errors are cut at so many of their sizes before the size follows them: a step of the load is a rare large error, which the
/// histogram's tail shows. Were the size to grow with it as well, it would count twice.
const SIZE_MAX: f64 = 4.0;
/// What slopes and the distance from the level add or take away is held within so many sizes of errors: weights learned in minutes
/// of noise say nothing of a change that is far beyond it, ...
const RISE_MAX: f64 = 2.0;
const FALL_MAX: f64 = 4.0;
/// ... and more with the square root of what was learned, from an hour at 15 s on.
const TRUST_SAMPLES: f64 = 240.0;
/// Those features come first.
const RECENT: usize = 3;
/// The size of errors follows within 33 samples, and beside it slowly over 2,000; both together guard against calm that ends.
const FAST_GAIN: f64 = 0.03;
const SLOW_GAIN: f64 = 0.000_5;
/// The slow size begins as the prior, worth so many samples.
const SLOW_PRIOR: f64 = 40.0;
/// A normal error's deviation over its mean size.
const DEVIATION: f64 = 1.25;
/// Before anything is learned: random steps of 2 % of the load.
const STEP_SCALE: f64 = 0.02;
/// Errors below one percent of the load change no number of replicas.
const SCALE_MIN: f64 = 0.01;
/// Bins: one for errors below a quarter of their size, then four to an octave up to 256 sizes on either side.
const SIDE: usize = 40;
const BINS: usize = 2 * SIDE + 1;
const INNER: f64 = 0.25;
const PER_OCTAVE: f64 = 4.0;
/// One of so many samples is scored: neighbours err alike.
const JUDGED: u64 = 8;
/// The prior of the histogram counts as so many samples: a quarter of an hour at 15 s.
const PRIOR_SAMPLES: f64 = 60.0;

fn weighed(weights: &[f64], features: &[f64]) -> f64 {
    weights.iter().zip(features).map(|(weight, feature)| weight * feature).sum()
}

/// What was predicted against what came.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Regression {
    weights: [f64; FEATURES],
    variance: [[f64; FEATURES]; FEATURES],
    fast: f64,
    slow: f64,
    histogram: [f64; BINS],
    mass: f64,
    samples: u64,
    below: f64,
    pinball: [f64; 3],
}

impl Regression {
    pub(super) fn new(steps: usize) -> Self {
        let mut variance = [[0.0; FEATURES]; FEATURES];
        (0..FEATURES).for_each(|i| variance[i][i] = PRIOR_VARIANCE);
        variance[LEVEL][LEVEL] = LEVEL_VARIANCE;
        let scale = STEP_SCALE * (steps as f64).sqrt();
        Self {
            weights: [0.0; FEATURES],
            variance,
            fast: scale,
            slow: scale,
            histogram: prior(),
            mass: PRIOR_SAMPLES,
            samples: 0,
            below: 0.0,
            pinball: [0.0; 3],
        }
    }

    /// The predicted change.
    pub(super) fn change(&self, features: &[f64; FEATURES]) -> f64 {
        let recent = weighed(&self.weights[..RECENT], &features[..RECENT]);
        let size = self.scale() * (1.0 + self.samples as f64 / TRUST_SAMPLES).sqrt();
        recent.clamp(-FALL_MAX * size, RISE_MAX * size)
            + weighed(&self.weights[RECENT..], &features[RECENT..])
    }

    /// The size of errors now.
    pub(super) fn scale(&self) -> f64 {
        ((self.fast * self.fast + self.slow * self.slow) / 2.0).sqrt().max(SCALE_MIN)
    }

    /// Compares a prediction with what came. The errors of neighbours rest on the same way ahead, so one of a lead of `steps` tells
    /// the histogram as much as one in so many of a single step.
    pub(super) fn learn(
        &mut self,
        features: &[f64; FEATURES],
        change: f64,
        scale: f64,
        seen: f64,
        steps: usize,
    ) {
        if !seen.is_finite() {
            return;
        }
        let error = seen - change;
        if self.samples.is_multiple_of(JUDGED) {
            self.judge(error / scale, scale);
        }
        self.samples += 1;
        self.count(bin(error / scale), 1.0 / steps.max(1) as f64);
        let size = (error.abs() * DEVIATION).min(SIZE_MAX * scale);
        self.fast += FAST_GAIN * (size - self.fast);
        let gain = SLOW_GAIN.max(1.0 / (self.samples as f64 + SLOW_PRIOR));
        self.slow += gain * (size - self.slow);
        self.update(features, scale, seen);
    }

    fn count(&mut self, bin: usize, samples: f64) {
        let share = samples / (self.mass + samples);
        self.histogram.iter_mut().for_each(|weight| *weight *= 1.0 - share);
        self.histogram[bin] += share;
        self.mass = (self.mass + samples).min(MEMORY);
    }

    fn update(&mut self, features: &[f64; FEATURES], scale: f64, seen: f64) {
        const FORGET: f64 = 1.0 - 1.0 / MEMORY;
        let limit = ERROR_MAX * scale;
        let error = (seen - weighed(&self.weights, features)).clamp(-limit, limit);
        let mut spread = [0.0; FEATURES];
        for (sum, row) in spread.iter_mut().zip(&self.variance) {
            *sum = row.iter().zip(features).map(|(cell, feature)| cell * feature).sum();
        }
        let along: f64 = spread.iter().zip(features).map(|(sum, feature)| sum * feature).sum();
        let whole = FORGET * scale * scale + along;
        for (weight, sum) in self.weights.iter_mut().zip(&spread) {
            *weight += sum / whole * error;
        }
        for (row, sum) in self.variance.iter_mut().zip(&spread) {
            for (cell, other) in row.iter_mut().zip(&spread) {
                *cell = (*cell - sum * other / whole) / FORGET;
            }
        }
        // Without excitation forgetting would inflate the variance for ever; none ever exceeds its prior's.
        for weight in 0..FEATURES {
            let most = if weight == LEVEL { LEVEL_VARIANCE } else { PRIOR_VARIANCE };
            let now = self.variance[weight][weight];
            if now > most {
                let shrink = (most / now).sqrt();
                self.variance[weight].iter_mut().for_each(|cell| *cell *= shrink);
                self.variance.iter_mut().for_each(|row| row[weight] *= shrink);
            }
        }
    }

    /// Scores the quantiles before learning from the outcome.
    fn judge(&mut self, error: f64, scale: f64) {
        let gain = JUDGED as f64 * (1.0 / (self.samples as f64 + JUDGED as f64)).max(1.0 / MEMORY);
        let levels = [0.5, 0.9, 0.99];
        let quantiles = self.quantiles(&levels);
        self.below += (f64::from(error <= quantiles[1]) - self.below) * gain;
        for ((loss, level), quantile) in self.pinball.iter_mut().zip(levels).zip(&quantiles) {
            let over = error - quantile;
            let now = scale * if over >= 0.0 { level * over } else { (level - 1.0) * over };
            *loss += (now - *loss) * gain;
        }
    }

    /// Share of outcomes at or below the 0.9 quantile.
    pub(super) fn coverage(&self) -> Option<f64> {
        (self.samples > 0).then_some(self.below)
    }

    /// Pinball loss of 0.5, 0.9 and 0.99.
    pub(super) fn pinball(&self) -> Option<[f64; 3]> {
        (self.samples > 0).then_some(self.pinball)
    }

    /// Quantiles of the error in units of its size, for rising levels; never falling.
    pub(super) fn quantiles(&self, levels: &[f64]) -> Vec<f64> {
        let mut found = Vec::with_capacity(levels.len());
        let (mut below, mut index) = (0.0, 0);
        for level in levels {
            while index + 1 < BINS && below + self.histogram[index] < *level {
                below += self.histogram[index];
                index += 1;
            }
            let (from, to) = edges(index);
            let share = ((level - below) / self.histogram[index].max(1e-12)).clamp(0.0, 1.0);
            found.push(from + (to - from) * share);
        }
        found
    }
}

fn bin(error: f64) -> usize {
    let size = error.abs();
    let away = if size < INNER { 0 } else { ((size / INNER).log2() * PER_OCTAVE + 1.0) as usize };
    let away = away.min(SIDE);
    if error >= 0.0 { SIDE + away } else { SIDE - away }
}

/// Outer edges of the bins on one side.
static EDGES: LazyLock<[f64; SIDE + 1]> =
    LazyLock::new(|| std::array::from_fn(|away| INNER * (away as f64 / PER_OCTAVE).exp2()));

fn edges(bin: usize) -> (f64, f64) {
    let outer = |away: usize| EDGES[away];
    match bin.cmp(&SIDE) {
        std::cmp::Ordering::Equal => (-INNER, INNER),
        std::cmp::Ordering::Greater => (outer(bin - SIDE - 1), outer(bin - SIDE)),
        std::cmp::Ordering::Less => (-outer(SIDE - bin), -outer(SIDE - bin - 1)),
    }
}

/// A heavy tail: the density of Student's t with three degrees of freedom.
fn prior() -> [f64; BINS] {
    let mut bins = [0.0; BINS];
    for (bin, weight) in bins.iter_mut().enumerate() {
        let (from, to) = edges(bin);
        let middle = if bin == SIDE { 0.0 } else { from.signum() * (from * to).abs().sqrt() };
        *weight = (to - from) / (1.0 + (middle / 1.2).powi(2)).powi(2);
    }
    let sum: f64 = bins.iter().sum();
    bins.map(|weight| weight / sum)
}

impl Stored for Regression {
    fn save(&self, writer: &mut Writer) {
        let Self { weights, variance, fast, slow, histogram, mass, samples, below, pinball } = self;
        writer.put(weights).put(variance).put(fast).put(slow).put(histogram);
        writer.put(mass).put(samples).put(below).put(pinball);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            weights: reader.get()?,
            variance: reader.get()?,
            fast: reader.get()?,
            slow: reader.get()?,
            histogram: reader.get()?,
            mass: reader.get()?,
            samples: reader.get()?,
            below: reader.get()?,
            pinball: reader.get()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_hold_what_falls_into_them() {
        for error in [-300.0, -5.0, -0.26, -0.1, 0.0, 0.24, 0.25, 1.0, 77.0, 1e9] {
            let (from, to) = edges(bin(error));
            assert!((from <= error && error <= to) || error.abs() > 200.0, "{error}: {from} to {to}");
        }
    }

    #[test]
    fn slope_that_goes_on_is_learned() {
        let mut regression = Regression::new(6);
        for sample in 0..3_000 {
            let slope = 0.05 * f64::from(sample % 7 - 3);
            let mut features = [0.0; FEATURES];
            features[0] = slope;
            let (change, scale) = (regression.change(&features), regression.scale());
            regression.learn(&features, change, scale, slope, 1);
        }
        let mut features = [0.0; FEATURES];
        features[0] = 0.1;
        assert!((regression.change(&features) - 0.1).abs() < 0.01, "{}", regression.change(&features));
    }

    #[test]
    fn prior_is_a_distribution_with_the_median_in_the_middle() {
        let quantiles = Regression::new(1).quantiles(&[0.1, 0.5, 0.9, 0.999]);
        assert!(quantiles[1].abs() < 1e-9 && (quantiles[0] + quantiles[2]).abs() < 1e-9, "{quantiles:?}");
        assert!(quantiles[3] > 3.0 * quantiles[2]);
    }
}
