//! Whether a stream is noise, or has a course: only in noise do records come by chance.
//!
//! Two kinds of noise are told. White noise of any distribution, by the structure function (Kolmogorov, 1941): the mean size
//! of the difference of samples `k` apart is the same for all `k` if they are independent, and hardly touched by seasons and
//! slopes much longer than `k`. And normal noise of any colour: a stationary normal series is nothing but its
//! autocovariance, so what a linear forecast leaves of it (Durbin, "The fitting of time-series models", 1960) is normal again,
//! which the ratio of mean size to standard deviation tells (Geary, "The ratio of the mean deviation to the standard
//! deviation as a test of normality", Biometrika 27, 1935). Events, bursts and regimes make that ratio smaller. What wanders so slowly
//! that nearly all of it is foretold from its last samples has no level to be stationary around, and counts as a course.

use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// The lags that are held against each other, in samples.
const LAGS: [usize; 3] = [1, 2, 4];
/// Where the longest of them is out of reach, dependence must last until this lag: single bursts look alike at the shortest ones only.
const LASTING: usize = 8;
/// Samples over which the means are taken.
const MEMORY_SAMPLES: f64 = 4_000.0;
/// A difference counts as at most this many mean ones: bursts say nothing about the noise between them.
const CLIP: f64 = 1.5;
/// The mean difference by which they are cut is at least this share of the uncut one: it would run to zero where few differ.
const CLIP_LEAST: f64 = 0.25;
/// Before as many samples nothing is cut, and nothing is said.
const SAMPLES_MIN: f64 = 50.0;
/// Deviations of the logarithm of the ratio up to this, and one standard error, are chance.
const TOLERANCE: f64 = 0.02;
/// From the limit on, dependence is sure after as much more.
const SLOPE: f64 = 0.05;

/// Order of the linear forecast.
const ORDER: usize = 3;
/// For its weights, a sample counts as at most this many times the mean size,
const CLIP_COVARIANCE: f64 = 6.0;
/// and what is left as at most this many times its own: one event does not change what a series is.
const CLIP_LEFT: f64 = 10.0;
/// Geary's ratio of normal noise: the root of 2 / pi.
const GEARY_NORMAL: f64 = 0.797_884_560_802_865_4;
/// Its standard deviation, times the root of the number of samples.
const GEARY_ERROR: f64 = 0.2123;
/// Ratios less than normal by this, and one standard deviation, are chance,
const GEARY_TOLERANCE: f64 = 0.02;
/// and after as much more surely not normal.
const GEARY_SLOPE: f64 = 0.02;
/// A stream of whose variance the forecast leaves at most this share wanders for sure,
const WANDERS: f64 = 0.01;
/// and one of which it leaves as much more does not.
const WANDERS_SLOPE: f64 = 0.02;

/// Measures dependence.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Dependence {
    last: [f64; 4],
    /// Those before the last, as sizes only: their range is that of a shorter format.
    earlier: [f32; LASTING - 4],
    differences: [f64; 3],
    lasting: f64,
    uncut: f64,
    square: f64,
    covariances: [f64; ORDER + 1],
    size: f64,
    left: f64,
    left_square: f64,
    samples: f64,
}

impl Dependence {
    /// 0 when the stream may well be noise whose records come by chance, 1 when it surely has a course. Lags beyond `reach` samples
    /// are left out (the shortest two never are): there the stream may hold what was wrong with whatever it is the residual of. Then
    /// dependence counts that lasts.
    #[must_use]
    pub fn measure(&self, reach: f64) -> f64 {
        if self.samples < SAMPLES_MIN { 0.0 } else { self.off_white(reach) * self.off_normal() }
    }

    fn off_white(&self, reach: f64) -> f64 {
        let [one, two, four] = self.differences;
        if one <= 0.0 {
            return 0.0;
        }
        // A line that never moves over two or four samples but does over one would be a logarithm of zero.
        let off = |other: f64| (other / one).max(1e-6).ln().abs();
        let variation = (self.square / (one * one) - 1.0).max(0.0).sqrt();
        let limit = TOLERANCE + variation / self.samples.sqrt();
        let found = if reach >= 4.0 {
            off(two).max(off(four))
        } else {
            off(two).min((self.lasting / two.max(f64::MIN_POSITIVE)).max(1e-6).ln().abs())
        };
        ((found - limit) / SLOPE).clamp(0.0, 1.0)
    }

    fn off_normal(&self) -> f64 {
        if self.left_square <= 0.0 {
            return 1.0;
        }
        let short = GEARY_NORMAL - self.left / self.left_square.sqrt();
        let limit = GEARY_TOLERANCE + GEARY_ERROR / self.samples.sqrt();
        let off = ((short - limit) / GEARY_SLOPE).clamp(0.0, 1.0);
        let foretold = WANDERS + WANDERS_SLOPE - self.left_square / self.covariances[0];
        off.max((foretold / WANDERS_SLOPE).clamp(0.0, 1.0))
    }

    /// Takes a finite sample in.
    pub fn learn(&mut self, x: f64) {
        if self.samples >= self.last.len() as f64 {
            let share = 1.0 / (self.samples - 3.0).min(MEMORY_SAMPLES);
            self.learn_differences(x, share);
            self.learn_left(x, share);
        }
        self.earlier.rotate_right(1);
        self.earlier[0] = self.last[3].clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
        self.last.rotate_right(1);
        self.last[0] = x;
        self.samples = (self.samples + 1.0).min(MEMORY_SAMPLES);
    }

    /// `most` times, once enough has been seen to cut by.
    fn cut(&self, most: f64) -> f64 {
        if self.samples < SAMPLES_MIN { f64::MAX } else { most }
    }

    fn learn_differences(&mut self, x: f64, share: f64) {
        let most = self.cut(CLIP * self.differences[0].max(CLIP_LEAST * self.uncut));
        self.uncut += share * ((x - self.last[0]).abs() - self.uncut);
        if self.samples >= LASTING as f64 {
            let share = 1.0 / (self.samples - (LASTING - 1) as f64).min(MEMORY_SAMPLES);
            let difference = (x - f64::from(self.earlier[LASTING - 5])).abs().min(most);
            self.lasting += share * (difference - self.lasting);
        }
        for (mean, lag) in self.differences.iter_mut().zip(LAGS) {
            let difference = (x - self.last[lag - 1]).abs().min(most);
            *mean += share * (difference - *mean);
            if lag == 1 {
                self.square += share * (difference * difference - self.square);
            }
        }
    }

    fn learn_left(&mut self, x: f64, share: f64) {
        let most = self.cut(CLIP_COVARIANCE * self.size);
        let clip = |x: f64| x.clamp(-most, most);
        let weights = forecast(&self.covariances);
        let expected: f64 = weights.iter().zip(self.last).map(|(weight, x)| weight * clip(x)).sum();
        let left = (x - expected).abs().min(self.cut(CLIP_LEFT * self.left));
        self.left += share * (left - self.left);
        self.left_square += share * (left * left - self.left_square);
        self.size += share * (x.abs() - self.size);
        let now = clip(x);
        self.covariances[0] += share * (now * now - self.covariances[0]);
        for (covariance, before) in self.covariances[1..].iter_mut().zip(self.last) {
            *covariance += share * (now * clip(before) - *covariance);
        }
    }
}

/// Weights of the last samples, the newest first, in the best linear forecast of the next one: the recursion of Levinson and Durbin.
fn forecast(covariances: &[f64; ORDER + 1]) -> [f64; ORDER] {
    let mut weights = [0.0; ORDER];
    let mut left = covariances[0];
    for order in 0..ORDER {
        if left <= 1e-12 * covariances[0] {
            break;
        }
        let explained: f64 = (0..order).map(|j| weights[j] * covariances[order - j]).sum();
        let reflection = ((covariances[order + 1] - explained) / left).clamp(-1.0, 1.0);
        let before = weights;
        weights[order] = reflection;
        for j in 0..order {
            weights[j] = before[j] - reflection * before[order - 1 - j];
        }
        left *= 1.0 - reflection * reflection;
    }
    weights
}

impl Stored for Dependence {
    fn save(&self, writer: &mut Writer) {
        let Self {
            last,
            earlier,
            differences,
            lasting,
            uncut,
            square,
            covariances,
            size,
            left,
            left_square,
            samples,
        } = self;
        last.iter().chain(differences).chain(covariances).for_each(|number| _ = writer.put(number));
        earlier.iter().for_each(|number| _ = writer.put(number));
        writer.put(lasting).put(uncut).put(square).put(size).put(left).put(left_square).put(samples);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut own = Self::default();
        for number in own.last.iter_mut().chain(&mut own.differences).chain(&mut own.covariances) {
            *number = reader.get()?;
        }
        for number in &mut own.earlier {
            *number = reader.get()?;
        }
        own.lasting = reader.get()?;
        own.uncut = reader.get()?;
        own.square = reader.get()?;
        own.size = reader.get()?;
        own.left = reader.get()?;
        own.left_square = reader.get()?;
        own.samples = reader.get()?;
        Ok(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::generate::{Family, Generator, Random};

    fn measure(values: impl Iterator<Item = f64>) -> f64 {
        let mut dependence = Dependence::default();
        values.take(2_000).for_each(|x| dependence.learn(x));
        dependence.measure(4.0)
    }

    /// First-order noise of this colour; what drives it is normal, or its cube, which is far from that.
    fn coloured(colour: f64, power: i32, seed: u64) -> impl Iterator<Item = f64> {
        let mut random = Random::new(seed);
        let mut level = 0.0;
        std::iter::repeat_with(move || {
            level = colour * level + random.normal().powi(power);
            level
        })
    }

    #[test]
    fn noise_is_white_whatever_it_is_drawn_from_and_whatever_slow_thing_it_rides_on() {
        for family in
            [Family::Gaussian, Family::LogNormal, Family::HeavyTailed, Family::Seasonal, Family::Trending]
        {
            let of = |seed| measure(Generator::new(family, 300.0, seed).map(|(_, value)| value));
            let mean = (0..20).map(of).sum::<f64>() / 20.0;
            assert!(mean < 0.25, "{family:?} {mean}");
        }
    }

    #[test]
    fn normal_noise_is_noise_of_whatever_colour() {
        for colour in [0.3, 0.8, 0.95] {
            let mean = (0..20).map(|seed| measure(coloured(colour, 1, seed))).sum::<f64>() / 20.0;
            assert!(mean < 0.1, "{colour} {mean}");
        }
    }

    #[test]
    fn what_is_driven_by_events_has_a_course_and_so_has_what_wanders_or_has_a_rhythm() {
        assert_eq!(measure(coloured(0.8, 3, 1)), 1.0);
        assert_eq!(measure(coloured(1.0, 1, 1).map(|x| x + 100.0)), 1.0);
        assert_eq!(measure((0..).map(|i| f64::from(i % 2))), 1.0);
    }

    #[test]
    fn bursts_of_a_sample_or_two_are_no_course_where_only_short_lags_can_be_held_against_each_other() {
        let bursty = |reach: f64, seed: u64| {
            let mut dependence = Dependence::default();
            let values = Generator::new(Family::Bursty, 900.0, seed).map(|(_, value)| value);
            values.take(5_000).for_each(|x| dependence.learn(x));
            dependence.measure(reach)
        };
        let mean = |reach: f64| (0..20).map(|seed| bursty(reach, seed)).sum::<f64>() / 20.0;
        assert!(mean(1.0) < 0.05, "{}", mean(1.0));
        assert!(mean(4.0) > 0.15, "{}", mean(4.0));
        // What wanders is one, however little of it can be reached.
        let mut dependence = Dependence::default();
        coloured(1.0, 1, 1).take(2_000).for_each(|x| dependence.learn(x));
        assert_eq!(dependence.measure(1.0), 1.0);
    }

    #[test]
    fn nothing_is_said_of_a_flat_line() {
        assert_eq!(measure(std::iter::repeat(7.0)), 0.0);
    }

    #[test]
    fn forecast_of_first_order_noise_is_its_last_sample_times_its_colour() {
        let weights = forecast(&[1.0, 0.8, 0.64, 0.512]);
        assert!((weights[0] - 0.8).abs() < 1e-12 && weights[1].abs() < 1e-12 && weights[2].abs() < 1e-12);
    }
}
