//! Exponentially weighted mean and variance.
//!
//! West, "Updating mean and variance estimates: an improved method", CACM 22 (1979), with a fading weight.

use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Mean and variance of about the last `span` samples.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moments {
    mean: f64,
    variance: f64,
    seen: f32,
}

impl Moments {
    /// Takes `x` in. The mean of few samples is the plain one.
    pub fn learn(&mut self, x: f64, span: f64) {
        self.seen = (self.seen + 1.0).min(span as f32);
        let share = 1.0 / f64::from(self.seen);
        let delta = x - self.mean;
        self.mean += share * delta;
        self.variance = (1.0 - share) * (self.variance + share * delta * delta);
    }

    /// Takes `x` in, `steps` intervals after the one before. What lies a whole span back is no part of a window any more.
    pub fn slide(&mut self, x: f64, steps: f64, span: f64) {
        if steps > span {
            *self = Self::default();
        }
        self.learn(x, span);
    }

    /// Whether it has seen a whole span. The mean of fewer samples varies more, and is no like for like.
    #[must_use]
    pub fn is_full(&self, span: f64) -> bool {
        f64::from(self.seen) >= span
    }

    /// The mean.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The standard deviation.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        self.variance.max(0.0).sqrt()
    }
}

impl Stored for Moments {
    fn save(&self, writer: &mut Writer) {
        let Self { mean, variance, seen } = self;
        writer.put(mean).put(variance).put(seen);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { mean: reader.get()?, variance: reader.get()?, seen: reader.get()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_samples_count_alike_and_many_fade() {
        let mut moments = Moments::default();
        [1.0, 2.0, 3.0].iter().for_each(|x| moments.learn(*x, 100.0));
        assert!((moments.mean() - 2.0).abs() < 1e-12);
        assert!((moments.deviation() - (2.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        (0..2_000).for_each(|_| moments.learn(9.0, 100.0));
        assert!((moments.mean() - 9.0).abs() < 1e-6 && moments.deviation() < 1e-3);
    }

    #[test]
    fn a_gap_longer_than_the_window_empties_it() {
        let mut moments = Moments::default();
        (0..100).for_each(|_| moments.slide(0.0, 1.0, 10.0));
        assert!(moments.is_full(10.0));
        moments.slide(1.0, 90.0, 10.0);
        assert!(!moments.is_full(10.0) && moments.mean() == 1.0);
    }
}
