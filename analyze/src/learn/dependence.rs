//! Whether a stream is white noise from one sample to the next, or has a course.
//!
//! The structure function (Kolmogorov, 1941): the mean size of the difference of samples `k` apart is the same for all `k`
//! if they are independent, whatever their distribution, and hardly touched by seasons and slopes much longer than `k`.

use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// The lags that are held against each other, in samples.
const LAGS: [usize; 3] = [1, 2, 4];
/// Samples over which the means are taken.
const MEMORY_SAMPLES: f32 = 4_000.0;
/// A difference counts as at most this many mean ones: bursts say nothing about the noise between them.
const CLIP: f32 = 1.5;
/// Before as many samples differences are not clipped, and nothing is said.
const SAMPLES_MIN: f32 = 50.0;
/// Deviations of the logarithm of the ratio up to this are chance however many samples there are,
const TOLERANCE: f32 = 0.02;
/// and up to as many standard errors; a mean difference has a relative standard error of about one over the root of the samples.
const STANDARD_ERRORS: f32 = 0.6;
/// From the limit on, dependence is sure after as much more.
const SLOPE: f32 = 0.05;

/// Measures dependence.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Dependence {
    last: [f32; 4],
    differences: [f32; 3],
    samples: f32,
    origin: f64,
}

impl Dependence {
    /// 0 when the stream may well be white noise, 1 when it surely is not.
    #[must_use]
    pub fn measure(&self) -> f32 {
        let [one, two, four] = self.differences;
        if self.samples < SAMPLES_MIN || one <= 0.0 {
            return 0.0;
        }
        // A line that never moves over two or four samples but does over one would be a logarithm of zero.
        let off = |other: f32| (other / one).max(1e-6).ln().abs();
        let limit = TOLERANCE + STANDARD_ERRORS / self.samples.sqrt();
        ((off(two).max(off(four)) - limit) / SLOPE).clamp(0.0, 1.0)
    }

    /// Takes a sample in.
    pub fn learn(&mut self, x: f64) {
        if self.samples == 0.0 {
            self.origin = x;
        }
        // Relative to the first one: differences of large numbers survive the shorter format.
        let x = (x - self.origin) as f32;
        let seen = self.samples as usize;
        if seen >= self.last.len() {
            let share = 1.0 / (self.samples - 3.0).min(MEMORY_SAMPLES);
            let most = if self.samples < SAMPLES_MIN { f32::MAX } else { CLIP * self.differences[0] };
            for (mean, lag) in self.differences.iter_mut().zip(LAGS) {
                let difference = (x - self.last[lag - 1]).abs().min(most);
                *mean += share * (difference - *mean);
            }
        }
        self.last.rotate_right(1);
        self.last[0] = x;
        self.samples = (self.samples + 1.0).min(MEMORY_SAMPLES);
    }
}

impl Stored for Dependence {
    fn save(&self, writer: &mut Writer) {
        let Self { last, differences, samples, origin } = self;
        last.iter().chain(differences).for_each(|number| _ = writer.put(number));
        writer.put(samples).put(origin);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut own = Self::default();
        for number in own.last.iter_mut().chain(&mut own.differences) {
            *number = reader.get()?;
        }
        Ok(Self { samples: reader.get()?, origin: reader.get()?, ..own })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::generate::{Family, Generator, Random};

    fn measure(values: impl Iterator<Item = f64>) -> f32 {
        let mut dependence = Dependence::default();
        values.take(2_000).for_each(|x| dependence.learn(x));
        dependence.measure()
    }

    #[test]
    fn noise_is_white_whatever_it_is_drawn_from_and_whatever_slow_thing_it_rides_on() {
        for family in
            [Family::Gaussian, Family::LogNormal, Family::HeavyTailed, Family::Seasonal, Family::Trending]
        {
            let of = |seed| measure(Generator::new(family, 300.0, seed).map(|(_, value)| value));
            let mean = (0..20).map(of).sum::<f32>() / 20.0;
            assert!(mean < 0.25, "{family:?} {mean}");
        }
    }

    #[test]
    fn a_course_is_no_white_noise() {
        let mut random = Random::new(1);
        let mut level = 0.0;
        let course = std::iter::repeat_with(|| {
            level = 0.8 * level + random.normal();
            level
        });
        assert_eq!(measure(course), 1.0);
        assert_eq!(measure((0..).map(|i| f64::from(i % 2))), 1.0, "nor is a rhythm");
    }

    #[test]
    fn nothing_is_said_of_a_flat_line() {
        assert_eq!(measure(std::iter::repeat(7.0)), 0.0);
    }
}
