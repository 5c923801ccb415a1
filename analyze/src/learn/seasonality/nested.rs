//! Whether days differ by their place in a week, beyond what they differ anyway: a spectrum over days, of all parts of the day at
//! once, with the weekly frequencies tested against those beside them.
//!
//! Each day is a vector of its parts (hours, say), each part measured from its own mean and in its own deviation. Neighbouring
//! days are alike, so each is first predicted from the one before (prewhitening, Priestley 1981, 7.4.1). Then power at 1/7, 2/7
//! and 3/7 per day over power at frequencies nearby follows F. Parts of a day move together: their degrees of freedom are
//! those of Satterthwaite (1946), from the same neighbours. A trend or a drifting level has a spectrum that falls with frequency; what
//! falls steeply is lower than the mean of its neighbours, so that neither is taken for a week. Weeks of days are looked at in
//! another way, too (`turns`).

use std::collections::BTreeMap;

use realfft::num_complex::Complex;
use statrs::function::beta::checked_beta_reg;

use super::turns::agreement;

/// Most parts of one period, more are averaged: an hour of a day.
const PARTS: usize = 24;
/// Most frequencies on either side of each that is tested: enough for the noise, near enough for its colour.
const NEIGHBOURS: usize = 8;
/// Days farther out than so many usual ones are pulled in: a holiday is no habit.
const FAR: f64 = 2.5;
/// Two tests look for a week. The spectrum can be surer, turned weeks see fainter ones: this share of the chances is the spectrum's.
const SPECTRUM: f64 = 0.2;

/// What the periods of a longer one tell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Nested {
    /// Share of the variance of the values that depends on the place in the longer period, 0 to 1.
    pub share: f64,
    /// Probability of a test like this where there is no longer period.
    pub chance: f64,
}

/// Tests for a period of `times` times `period`, on values without the shorter period. `None` with fewer than three of them.
pub(super) fn nested(values: &[f64], period: f64, times: usize) -> Option<Nested> {
    let cycles = (values.len() as f64 / period / times as f64 + 1e-9) as usize;
    if times < 2 || cycles < 3 || period < 2.0 {
        return None;
    }
    let count = cycles * times;
    let days = days(values, period, count);
    let turned = agreement(&days, times);
    let days = prewhitened(&normed(days), count);
    let all: f64 = days.iter().flatten().map(|part| part * part).sum::<f64>() * count as f64;
    let reach = (cycles / 2).clamp(1, NEIGHBOURS);
    let (mut centres, mut backgrounds, mut excess, mut free) = (0.0, 0.0, 0.0, 0.0);
    // By frequency: those half-way between two that are tested stand beside both and count once.
    let mut noise: BTreeMap<usize, Vec<Complex<f64>>> = BTreeMap::new();
    for harmonic in 1..=times / 2 {
        let centre = harmonic * cycles;
        let beside: Vec<_> = (centre - reach..=centre + reach)
            .filter(|bin| *bin != centre && 2 * *bin < count)
            .map(|bin| (bin, transform(&days, bin)))
            .collect();
        let background = beside.iter().map(|(_, parts)| power(parts)).sum::<f64>() / beside.len() as f64;
        let height = power(&transform(&days, centre));
        // The highest frequency of an even number of days has no phase: half of what the others have.
        let weight = if 2 * centre == count { 0.5 } else { 1.0 };
        centres += weight * height;
        backgrounds += weight * background;
        excess += 2.0 * weight * (height - background);
        free += weight;
        let scale = background.max(f64::MIN_POSITIVE).sqrt();
        noise.extend(
            beside
                .into_iter()
                .map(|(bin, parts)| (bin, parts.into_iter().map(|part| part / scale).collect())),
        );
    }
    if backgrounds <= 0.0 || all <= 0.0 {
        return None;
    }
    let noise: Vec<_> = noise.into_values().collect();
    let parts = degrees(&noise);
    let chance = beyond(centres / backgrounds, 2.0 * parts * free, 2.0 * parts * noise.len() as f64);
    let chance = turned.map_or(chance, |turned| (chance / SPECTRUM).min(turned / (1.0 - SPECTRUM)).min(1.0));
    Some(Nested { share: (excess / all).clamp(0.0, 1.0), chance })
}

/// The last `count` days, and the one before them where it is there, each as its parts.
fn days(values: &[f64], period: f64, count: usize) -> Vec<Vec<f64>> {
    let parts = (period as usize).min(PARTS);
    let start = values.len() as f64 - count as f64 * period;
    let count = if start >= period { count + 1 } else { count };
    let edge =
        |place: f64| (values.len() as f64 - count as f64 * period + place * period).round().max(0.0) as usize;
    let part = |day: usize, part: usize| {
        let place = |part: usize| day as f64 + part as f64 / parts as f64;
        let from = edge(place(part)).min(values.len() - 1);
        let to = edge(place(part + 1)).clamp(from + 1, values.len());
        values[from..to].iter().sum::<f64>() / (to - from) as f64
    };
    (0..count).map(|day| (0..parts).map(|index| part(day, index)).collect()).collect()
}

/// Each part from its mean over the days, in its own deviation: the small hours of the night have their say.
fn normed(mut days: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let count = days.len() as f64;
    for part in 0..days[0].len() {
        let mean = days.iter().map(|day| day[part]).sum::<f64>() / count;
        days.iter_mut().for_each(|day| day[part] -= mean);
        let scale = (days.iter().map(|day| day[part] * day[part]).sum::<f64>() / count).sqrt();
        if scale > 0.0 {
            days.iter_mut().for_each(|day| day[part] /= scale);
        }
    }
    days
}

/// The last `count` days without what the day before each tells of it, those far out pulled in.
fn prewhitened(days: &[Vec<f64>], count: usize) -> Vec<Vec<f64>> {
    let alike: f64 = days.windows(2).map(|pair| product(&pair[0], &pair[1])).sum();
    let all: f64 = days.iter().map(|day| product(day, day)).sum();
    let told = if all > 0.0 { (alike / all).clamp(0.0, 1.0) } else { 0.0 };
    let before = days.len() - count;
    let mut left: Vec<Vec<f64>> = (before..days.len())
        .map(|i| match i.checked_sub(1) {
            Some(last) => days[i].iter().zip(&days[last]).map(|(now, last)| now - told * last).collect(),
            None => days[i].iter().map(|now| (1.0 - told) * now).collect(),
        })
        .collect();
    pull_in(&mut left);
    left
}

/// Days farther out than so many usual ones are pulled in to that. Without days, or where most are nothing, there is none usual.
pub(super) fn pull_in(days: &mut [Vec<f64>]) {
    let lengths: Vec<f64> = days.iter().map(|day| product(day, day).sqrt()).collect();
    let mut sorted = lengths.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let longest = FAR * sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
    for (day, length) in days.iter_mut().zip(lengths) {
        if length > longest && longest > 0.0 {
            day.iter_mut().for_each(|part| *part *= longest / length);
        }
    }
}

pub(super) fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn transform(days: &[Vec<f64>], bin: usize) -> Vec<Complex<f64>> {
    let mut sums = vec![Complex::default(); days[0].len()];
    for (i, day) in days.iter().enumerate() {
        let turn = Complex::from_polar(
            1.0,
            -std::f64::consts::TAU * (bin * i % days.len()) as f64 / days.len() as f64,
        );
        sums.iter_mut().zip(day).for_each(|(sum, part)| *sum += turn * *part);
    }
    sums
}

fn power(parts: &[Complex<f64>]) -> f64 {
    parts.iter().map(Complex::norm_sqr).sum()
}

/// As many independent parts would vary as much: the square of the mean power over the mean square of the inner products. Few
/// frequencies make it too small, never too large, which errs towards no period.
fn degrees(noise: &[Vec<Complex<f64>>]) -> f64 {
    let count = noise.len() as f64;
    let mean = noise.iter().map(|bin| power(bin)).sum::<f64>() / count;
    let mut squares = 0.0;
    for one in noise {
        for other in noise {
            squares += one.iter().zip(other).map(|(a, b)| a * b.conj()).sum::<Complex<f64>>().norm_sqr();
        }
    }
    if squares > 0.0 { (mean * mean * count * count / squares).max(1.0) } else { 1.0 }
}

/// Probability that a variable of F is beyond `ratio`.
fn beyond(ratio: f64, above: f64, below: f64) -> f64 {
    let share = below / (below + above * ratio.max(0.0));
    checked_beta_reg(below / 2.0, above / 2.0, share).unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use crate::{
        learn::seasonality::{FinderSettings, find},
        testing::Noise,
    };

    fn has_week(values: &[f64], day: usize) -> bool {
        let week = 7.0 * day as f64;
        find(values, &FinderSettings::default())
            .iter()
            .any(|period| (period.samples / week - 1.0).abs() < 0.01)
    }

    /// A strong day, days that are each a little different as they like (`alike`: how much one is as the one before), and
    /// weekends that differ by `weekend`.
    fn days(noise: &mut Noise, day: usize, count: usize, alike: f64, weekend: f64) -> Vec<f64> {
        let mut level = 0.0;
        (0..day * count)
            .map(|i| {
                if i % day == 0 {
                    level = alike * level + noise.normal();
                }
                let turn = TAU * (i % day) as f64 / day as f64;
                let rest = if i / day % 7 >= 5 { weekend } else { 0.0 };
                10.0 * turn.sin() + 4.0 * (2.0 * turn).cos() + level + rest + 0.3 * noise.normal()
            })
            .collect()
    }

    #[test]
    fn quiet_weekends_are_a_week_although_days_differ_anyway() {
        for (day, count, name, seeds) in
            [(24, 28, "hours", 20_u64), (24, 40, "hours", 20), (288, 28, "five minutes", 5)]
        {
            let found = (0..seeds)
                .filter(|seed| has_week(&days(&mut Noise::new(*seed), day, count, 0.5, -4.0), day))
                .count();
            assert!(found * 10 >= seeds as usize * 9, "{found} of {seeds} in {count} days of {name}");
        }
    }

    #[test]
    fn days_that_drift_are_no_week() {
        for (alike, count) in [(0.0, 29), (0.7, 40), (1.0, 83)] {
            let seeds = 100;
            let found = (0..seeds)
                .filter(|seed| has_week(&days(&mut Noise::new(500 + *seed), 24, count, alike, 0.0), 24))
                .count();
            assert!(found <= 12, "{found} of {seeds} in {count} days, {alike}");
        }
    }

    #[test]
    fn a_trend_is_no_week() {
        let mut noise = Noise::new(77);
        let values: Vec<f64> = days(&mut noise, 24, 42, 0.0, 0.0)
            .iter()
            .enumerate()
            .map(|(i, value)| value + 1e-4 * (i as f64).powi(2))
            .collect();
        assert!(!has_week(&values, 24));
    }
}
