//! Correlations that changed: pairs of signals that go together by a learned baseline, now, and at which lag.
//!
//! Correlation as such is no finding: what counts is its change. Both are compared as Fisher's z (atanh of r), whose variance
//! is 1/(n - 3) (Fisher 1921), with n the effective samples of each side. All pairs of a review are tested at once, and the
//! false ones among those reported are held to a rate (Benjamini and Hochberg 1995). Cost is bounded by pruning: each
//! signal keeps its few strongest partners of the baseline, at the best of a few lags.

use statrs::distribution::{ContinuousCDF, Normal};

/// Samples of a baseline or a window before it says anything.
const SAMPLES_MIN: usize = 30;
/// Correlations are held off 1, where Fisher's z is infinite.
const CORRELATION_MAX: f64 = 0.999;

/// What is compared, and how strictly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChangeSettings {
    /// Partners that each signal keeps.
    pub partners: usize,
    /// Largest lag in samples, on both sides.
    pub lag: usize,
    /// A baseline weaker than this is none worth keeping.
    pub baseline: f64,
    /// Share of the reported pairs that may be false.
    pub false_rate: f64,
    /// A smaller change is not worth a word.
    pub effect: f64,
}

impl Default for ChangeSettings {
    /// Four partners; lags up to 5; half of the variance shared; one in a hundred; a change of 0.3.
    fn default() -> Self {
        Self { partners: 4, lag: 5, baseline: 0.7, false_rate: 0.01, effect: 0.3 }
    }
}

/// Two signals that go together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// Place of the one that goes before, or of both at lag 0.
    pub leader: usize,
    /// Place of the one that follows.
    pub follower: usize,
    /// Samples between them.
    pub lag: usize,
    /// Pearson's r of the baseline.
    pub correlation: f64,
    /// Samples that it is worth, less than there were where they depend on one another.
    pub samples: f64,
}

/// A pair that changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// As it was.
    pub pair: Pair,
    /// Pearson's r now.
    pub now: f64,
    /// Probability of so large a change by chance.
    pub p: f64,
}

/// Pairs of a baseline.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Baseline {
    pairs: Vec<Pair>,
}

impl Baseline {
    /// Learns which signals go together from their history: one series each, aligned in time, unknown values not finite. At most
    /// `partners` pairs a signal are kept, so that later reviews cost no more than the number of signals.
    #[must_use]
    pub fn learn(series: &[Vec<f64>], settings: &ChangeSettings) -> Self {
        let standard: Vec<Vec<f64>> = series.iter().map(|values| standardised(values)).collect();
        let mut kept: Vec<Vec<Pair>> = vec![Vec::new(); series.len()];
        for one in 0..series.len() {
            for other in one + 1..series.len() {
                // Most pairs share nothing: a coarse look spares them the lags.
                if coarse(&standard[one], &standard[other], settings.lag) < 0.5 * settings.baseline {
                    continue;
                }
                let Some(pair) = best(&standard, one, other, settings) else { continue };
                keep(&mut kept[one], pair, settings.partners);
                keep(&mut kept[other], pair, settings.partners);
            }
        }
        let mut pairs: Vec<Pair> = kept.into_iter().flatten().collect();
        pairs.sort_by_key(|pair| (pair.leader, pair.follower, pair.lag));
        pairs.dedup_by_key(|pair| (pair.leader, pair.follower, pair.lag));
        Self { pairs }
    }

    /// The pairs kept, in the order of their signals.
    #[must_use]
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// Pairs that changed in this window, most certain first; series as in `learn`.
    #[must_use]
    pub fn review(&self, window: &[Vec<f64>], settings: &ChangeSettings) -> Vec<Change> {
        let tested: Vec<Change> = self.pairs.iter().filter_map(|pair| test(pair, window)).collect();
        let mut changes = reject(tested, settings.false_rate);
        changes.retain(|change| (change.now - change.pair.correlation).abs() >= settings.effect);
        changes
    }
}

/// Those of all tested whose share of false ones is at most `rate` (Benjamini and Hochberg's step-up procedure).
fn reject(mut tested: Vec<Change>, rate: f64) -> Vec<Change> {
    tested.sort_by(|a, b| a.p.total_cmp(&b.p));
    let count = tested.len() as f64;
    let last =
        tested.iter().enumerate().rposition(|(rank, change)| change.p <= rate * (rank + 1) as f64 / count);
    tested.truncate(last.map_or(0, |last| last + 1));
    tested
}

fn test(pair: &Pair, window: &[Vec<f64>]) -> Option<Change> {
    let (leader, follower) = (window.get(pair.leader)?, window.get(pair.follower)?);
    let (now, samples) = correlation(leader, follower, pair.lag)?;
    let fisher = |correlation: f64| correlation.clamp(-CORRELATION_MAX, CORRELATION_MAX).atanh();
    let variance = 1.0 / (pair.samples - 3.0).max(1.0) + 1.0 / (samples - 3.0).max(1.0);
    let far = (fisher(now) - fisher(pair.correlation)).abs() / variance.sqrt();
    let p = Normal::standard().sf(far) * 2.0;
    Some(Change { pair: *pair, now, p })
}

/// Strongest correlation of two signals over the lags, if it is worth keeping.
fn best(standard: &[Vec<f64>], one: usize, other: usize, settings: &ChangeSettings) -> Option<Pair> {
    let lags = (0..=settings.lag).flat_map(|lag| [(one, other, lag), (other, one, lag)]);
    let pairs = lags.filter_map(|(leader, follower, lag)| {
        let (correlation, samples) = correlation(&standard[leader], &standard[follower], lag)?;
        Some(Pair { leader, follower, lag, correlation, samples })
    });
    // The first of equals is the shortest lag.
    pairs
        .fold(None, |best: Option<Pair>, pair| match best {
            Some(best) if best.correlation.abs() >= pair.correlation.abs() => Some(best),
            _ => Some(pair),
        })
        .filter(|pair| pair.correlation.abs() >= settings.baseline)
}

fn keep(kept: &mut Vec<Pair>, pair: Pair, partners: usize) {
    kept.push(pair);
    kept.sort_by(|a, b| b.correlation.abs().total_cmp(&a.correlation.abs()));
    kept.truncate(partners);
}

/// Correlation of means over twice the lag: what goes together at some lag goes together there.
fn coarse(one: &[f64], other: &[f64], lag: usize) -> f64 {
    let width = 2 * lag.max(1);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mut products, mut first, mut second, mut count) = (0.0, 0.0, 0.0, 0);
    for (one, other) in one.chunks_exact(width).zip(other.chunks_exact(width)) {
        let (one, other) = (mean(one), mean(other));
        if one.is_finite() && other.is_finite() {
            products += one * other;
            first += one * one;
            second += other * other;
            count += 1;
        }
    }
    let scale = (first * second).sqrt();
    // Too little to prune by.
    if count < SAMPLES_MIN || scale <= 0.0 { 1.0 } else { (products / scale).abs() }
}

/// Pearson's r at a lag, and the samples it is worth; `None` where there are too few, or one stands still.
fn correlation(leader: &[f64], follower: &[f64], lag: usize) -> Option<(f64, f64)> {
    let known = || {
        let later = follower.iter().skip(lag);
        leader.iter().zip(later).filter(|(one, other)| one.is_finite() && other.is_finite())
    };
    let count = known().count();
    if count < SAMPLES_MIN {
        return None;
    }
    let samples = count as f64;
    let (sum, other_sum) = known().fold((0.0, 0.0), |sums, (one, other)| (sums.0 + one, sums.1 + other));
    let (mean, other_mean) = (sum / samples, other_sum / samples);
    let (mut cross, mut square, mut other_square) = (0.0, 0.0, 0.0);
    let (mut next, mut other_next, mut before) = (0.0, 0.0, None);
    for (one, other) in known() {
        let (one, other) = (one - mean, other - other_mean);
        cross += one * other;
        square += one * one;
        other_square += other * other;
        if let Some((one_before, other_before)) = before.replace((one, other)) {
            next += one * one_before;
            other_next += other * other_before;
        }
    }
    let scale = (square * other_square).sqrt();
    if !scale.is_finite() || scale <= f64::MIN_POSITIVE {
        return None;
    }
    // Bartlett (1935): samples of autocorrelated signals are worth (1 - ab)/(1 + ab) each.
    let both = ((next / square) * (other_next / other_square)).clamp(0.0, 0.99);
    Some((cross / scale, samples * (1.0 - both) / (1.0 + both)))
}

fn standardised(values: &[f64]) -> Vec<f64> {
    let known = || values.iter().filter(|value| value.is_finite());
    let count = known().count().max(1) as f64;
    let mean = known().sum::<f64>() / count;
    let spread = (known().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
    let scale = if spread.is_finite() && spread > 0.0 { spread } else { 1.0 };
    values.iter().map(|value| (value - mean) / scale).collect()
}

#[cfg(test)]
mod tests;
