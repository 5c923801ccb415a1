//! The value that a signal is expected to have now: a local mean that single outliers and a fault hardly move.

use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Samples that the mean looks back: 4 minutes at 1 s, an hour at 15 s. Its own noise is then 5 % of the signal's.
const LEVEL_SAMPLES: f64 = 240.0;
/// A residual counts at most this many mean absolute residuals, about two standard deviations: an outlier is cut to that.
const CLIP: f64 = 2.5;
/// Before this many samples the spread says too little to cut by.
const CLIP_AFTER: u64 = 8;

/// The local level.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Level {
    value: f64,
    spread: f64,
    samples: u64,
}

impl Level {
    /// What is expected of the next sample; `None` before the first.
    #[must_use]
    pub fn expected(&self) -> Option<f64> {
        (self.samples > 0).then_some(self.value)
    }

    /// Takes a sample in, after it was judged. `weight` below 1 makes it count less; `floor` is the least cut, so that a flat
    /// signal can move at all.
    pub fn update(&mut self, value: f64, weight: f64, floor: f64) {
        if self.samples == 0 {
            self.value = value;
        }
        let residual = value - self.value;
        let cut = if self.samples < CLIP_AFTER { f64::INFINITY } else { (CLIP * self.spread).max(floor) };
        let residual = residual.clamp(-cut, cut);
        let share = weight / LEVEL_SAMPLES.min((self.samples + 1) as f64);
        self.value += share * residual;
        self.spread += share * (residual.abs() - self.spread);
        self.samples = self.samples.saturating_add(1);
    }

    /// Counts from another origin, `by` higher.
    pub fn shift(&mut self, by: f64) {
        self.value += by;
    }

    /// Starts over at a value that has become the normal one.
    pub fn restart(&mut self, value: f64) {
        *self = Self { value, spread: self.spread, samples: CLIP_AFTER };
    }
}

impl Stored for Level {
    fn save(&self, writer: &mut Writer) {
        let Self { value, spread, samples } = self;
        writer.put(value).put(spread).put(samples);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { value: reader.get()?, spread: reader.get()?, samples: reader.get()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_follows_slow_change_and_shrugs_off_an_outlier() {
        let mut level = Level::default();
        let noise = |i: i32| f64::from(i * 7919 % 13 - 6) / 6.0;
        for i in 0..2_000 {
            level.update(100.0 + f64::from(i) * 0.001 + noise(i), 1.0, 0.0);
        }
        let before = level.expected().unwrap();
        assert!((before - 101.9).abs() < 0.5, "{before}");
        level.update(1e9, 1.0, 0.0);
        assert!((level.expected().unwrap() - before).abs() < 0.05);
    }

    #[test]
    fn flat_signal_can_still_move() {
        let mut level = Level::default();
        (0..100).for_each(|_| level.update(3.0, 1.0, 0.03));
        assert_eq!(level.expected(), Some(3.0));
        (0..3_000).for_each(|_| level.update(6.0, 1.0, 0.03));
        assert!((level.expected().unwrap() - 6.0).abs() < 0.1, "{level:?}");
    }
}
