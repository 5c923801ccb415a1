//! Spectra of evenly spaced values: autocorrelation, peaks, and an exact test of one period against the frequencies beside it.

use realfft::{RealFftPlanner, num_complex::Complex};

/// How many harmonics are tested together. A smooth season is in the first few; a spike puts as much into each of its first
/// dozen as into any other.
const HARMONICS: [usize; 2] = [4, 12];
/// Background of a peak: the median over frequencies from 1/1.6 to 1.6 of its own, and this many more bins each way.
const BACKGROUND_BINS: usize = 8;

/// Computes spectra; keeps what it prepared for a length.
pub(super) struct Spectra {
    planner: RealFftPlanner<f64>,
}

impl Default for Spectra {
    fn default() -> Self {
        Self { planner: RealFftPlanner::new() }
    }
}

impl Spectra {
    /// Autocorrelation at lags 0 to `lags`, each divided by the share of pairs that exist, so that a steady period keeps its
    /// height. Values must have mean 0.
    pub(super) fn autocorrelation(&mut self, values: &[f64], lags: usize) -> Vec<f64> {
        let padded = (values.len() + lags + 1).next_power_of_two();
        let mut spectrum = self.transform(values.to_vec(), padded);
        for bin in &mut spectrum {
            *bin = Complex::new(bin.norm_sqr(), 0.0);
        }
        let inverse = self.planner.plan_fft_inverse(padded);
        let mut products = inverse.make_output_vec();
        // Only a wrong length or an imaginary part at the ends can fail, and neither can occur here.
        if inverse.process(&mut spectrum, &mut products).is_err() || products[0] <= 0.0 {
            return vec![0.0; lags + 1];
        }
        let (all, zero) = (values.len() as f64, products[0]);
        (0..=lags).map(|lag| products[lag] / zero * all / (all - lag as f64).max(1.0)).collect()
    }

    /// Periods at which the spectrum stands out of its neighbourhood, most outstanding first.
    pub(super) fn peaks(&mut self, values: &[f64], most: usize) -> Vec<f64> {
        let padded = values.len().next_power_of_two();
        let step = std::f64::consts::TAU / values.len() as f64;
        let tapered =
            values.iter().enumerate().map(|(i, v)| v * (1.0 - ((i as f64 + 0.5) * step).cos())).collect();
        let power: Vec<f64> = self.transform(tapered, padded).iter().map(Complex::norm_sqr).collect();
        let mut scratch = Vec::new();
        let mut peaks: Vec<(f64, f64)> = (2..power.len() - 1)
            .filter(|&k| power[k] > power[k - 1] && power[k] >= power[k + 1])
            .map(|k| (power[k] / background(&power, k, &mut scratch), k))
            .filter(|(ratio, _)| *ratio > 4.0)
            .map(|(ratio, k)| (ratio, padded as f64 / vertex(&power, k)))
            .collect();
        peaks.sort_by(|a, b| b.0.total_cmp(&a.0));
        peaks.into_iter().take(most).map(|(_, period)| period).collect()
    }

    /// Probability that noise of any smooth colour would show this period as clearly.
    ///
    /// Over a whole number k of cycles each harmonic falls on one frequency and the k-1 frequencies around it hold only noise.
    /// Their ratio follows F(2, 2(k-1)); Fisher's method combines the harmonics. Those that `taken` periods have, too, are
    /// left out. `None` where fewer than three cycles are there.
    pub(super) fn chance(&mut self, values: &[f64], period: f64, taken: &[f64]) -> Option<f64> {
        let cycles = (values.len() as f64 / period + 1e-9).floor() as usize;
        if cycles < 3 {
            return None;
        }
        let length = ((cycles as f64 * period).round() as usize).min(values.len());
        let start = values.len() - length;
        let power: Vec<f64> =
            self.transform(values[start..].to_vec(), length).iter().map(Complex::norm_sqr).collect();
        let is_taken = |harmonic: usize| {
            taken.iter().any(|other| {
                let ratio = harmonic as f64 * other / period;
                ratio > 0.5 && (ratio - ratio.round()).abs() < 0.5 / cycles as f64 * other / period
            })
        };
        let highest = HARMONICS[1].min((period / 2.0).ceil() as usize - 1).max(1);
        let (mut log_chance, mut count, mut least) = (0.0, 0, 1.0_f64);
        for harmonic in 1..=highest {
            if is_taken(harmonic) {
                continue;
            }
            let centre = harmonic * cycles;
            if centre + cycles / 2 >= power.len() {
                break;
            }
            let beside = (centre - cycles / 2)..=(centre + cycles / 2);
            let noise: Vec<f64> =
                beside.filter(|bin| *bin != centre && *bin > 0).map(|bin| power[bin]).collect();
            let degrees = noise.len() as f64;
            let mean = noise.iter().sum::<f64>() / degrees;
            if mean <= 0.0 {
                return Some(if power[centre] > 0.0 { 0.0 } else { 1.0 });
            }
            log_chance -= degrees * (power[centre] / mean / degrees).ln_1p();
            count += 1;
            if harmonic == HARMONICS[0] {
                least = gamma_survival(count, -log_chance);
            }
        }
        // Two looks, two chances.
        (count > 0).then(|| (2.0 * least.min(gamma_survival(count, -log_chance))).min(1.0))
    }

    fn transform(&mut self, mut values: Vec<f64>, length: usize) -> Vec<Complex<f64>> {
        values.resize(length, 0.0);
        let forward = self.planner.plan_fft_forward(length);
        let mut spectrum = forward.make_output_vec();
        if forward.process(&mut values, &mut spectrum).is_err() {
            spectrum.fill(Complex::default());
        }
        spectrum
    }
}

/// What is left of the values when each is predicted from the one before: the colour of noise mostly goes, lines stay.
pub(super) fn whitened(values: &[f64]) -> Vec<f64> {
    let squares: f64 = values.iter().map(|v| v * v).sum();
    let products: f64 = values.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let share = if squares > 0.0 { (products / squares).clamp(-1.0, 1.0) } else { 0.0 };
    let rest: Vec<f64> = values.windows(2).map(|pair| pair[1] - share * pair[0]).collect();
    let mean = rest.iter().sum::<f64>() / rest.len().max(1) as f64;
    rest.into_iter().map(|v| v - mean).collect()
}

fn background(power: &[f64], k: usize, scratch: &mut Vec<f64>) -> f64 {
    let low = ((k as f64 / 1.6) as usize).saturating_sub(BACKGROUND_BINS).max(1);
    let high = ((k as f64 * 1.6) as usize + BACKGROUND_BINS).min(power.len() - 1);
    scratch.clear();
    // A few dozen of them tell the median well enough.
    scratch.extend(power[low..=high].iter().step_by(((high - low) / 64).max(1)));
    let middle = scratch.len() / 2;
    let (_, median, _) = scratch.select_nth_unstable_by(middle, f64::total_cmp);
    (*median / std::f64::consts::LN_2).max(f64::MIN_POSITIVE)
}

/// Where the parabola through a peak and its neighbours has its top.
pub(super) fn vertex(heights: &[f64], k: usize) -> f64 {
    let (left, top, right) = (heights[k - 1], heights[k], heights[k + 1]);
    let bend = left - 2.0 * top + right;
    if bend < 0.0 { k as f64 + (0.5 * (left - right) / bend).clamp(-0.5, 0.5) } else { k as f64 }
}

/// Probability that a sum of `count` unit exponentials is above `x`.
fn gamma_survival(count: usize, x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for i in 1..count {
        term *= x / i as f64;
        sum += term;
    }
    (sum.ln() - x).exp().min(1.0)
}
