//! The highest and the lowest that a stream has been, slowly forgotten, and how far a number lies beyond them.
//!
//! Record statistics are free of any distribution: the n-th of n independent numbers is the highest with probability 1/n,
//! whatever they are drawn from (Rényi, 1962; Foster and Stuart, "Distribution-free tests in time-series", JRSS B 16, 1954).

use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Samples over which the mean is taken towards which extremes are forgotten.
const MEAN_SAMPLES: f32 = 1_000.0;

/// Extremes of a stream: those of late, which fade towards the mean, and those that follow them as slowly as is asked.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Extremes {
    high: f64,
    low: f64,
    faded: (f64, f64),
    mean: f64,
    samples: f32,
}

impl Extremes {
    /// How far `x` lies beyond all that was seen, in units of the range of that; 0 inside: first by what is remembered of late,
    /// then by all that is remembered. The range is taken as at least `floor`, so that a flat stream is not astonished by nothing.
    #[must_use]
    pub fn novelty(&self, x: f64, floor: f64) -> (f64, f64) {
        if self.samples == 0.0 {
            return (0.0, 0.0);
        }
        let (low, high) = self.faded;
        let late = (x - high).max(low - x);
        let ever = (x - self.high).max(self.low - x);
        let range = (high - low).max(floor).max(f64::MIN_POSITIVE);
        (late.max(0.0) / range, ever.max(0.0) / self.range(floor))
    }

    /// Takes `x` in. Beforehand what is remembered of late goes the share `fade` of its way to the mean, and the rest goes the share
    /// `forget` of its way to that.
    pub fn learn(&mut self, x: f64, forget: f64, fade: f64) {
        if self.samples == 0.0 {
            *self = Self { high: x, low: x, faded: (x, x), mean: x, samples: 1.0 };
            return;
        }
        self.samples = (self.samples + 1.0).min(MEAN_SAMPLES);
        self.mean += (x - self.mean) / f64::from(self.samples);

        let (low, high) = &mut self.faded;
        *low = (*low - fade * (*low - self.mean)).min(x);
        *high = (*high - fade * (*high - self.mean)).max(x);
        self.high = (self.high - forget * (self.high - *high)).max(*high);
        self.low = (self.low - forget * (self.low - *low)).min(*low);
    }

    /// Lowest and highest, `None` before the first number.
    #[must_use]
    pub fn bounds(&self) -> Option<(f64, f64)> {
        (self.samples > 0.0).then_some((self.low, self.high))
    }

    /// Lowest and highest of late, `None` before the first number.
    #[must_use]
    pub fn late(&self) -> Option<(f64, f64)> {
        (self.samples > 0.0).then_some(self.faded)
    }

    /// The slow mean of the stream.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Highest less lowest, at least `floor`.
    #[must_use]
    pub fn range(&self, floor: f64) -> f64 {
        (self.high - self.low).max(floor).max(f64::MIN_POSITIVE)
    }
}

impl Stored for Extremes {
    fn save(&self, writer: &mut Writer) {
        let Self { high, low, faded, mean, samples } = self;
        writer.put(high).put(low).put(&faded.0).put(&faded.1).put(mean).put(samples);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            high: reader.get()?,
            low: reader.get()?,
            faded: (reader.get()?, reader.get()?),
            mean: reader.get()?,
            samples: reader.get()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FADE: f64 = std::f64::consts::LN_2 / 5_000.0;

    #[test]
    fn only_what_was_never_seen_is_new() {
        let mut extremes = Extremes::default();
        assert_eq!(extremes.novelty(5.0, 1.0), (0.0, 0.0), "nothing is new to who has seen nothing");
        for x in [1.0, 3.0, 2.0] {
            extremes.learn(x, 0.0, FADE);
        }
        assert_eq!(extremes.novelty(2.5, 0.1).1, 0.0);
        assert_eq!((extremes.novelty(4.0, 0.1).1, extremes.novelty(0.0, 0.1).1), (0.5, 0.5));
        extremes.learn(4.0, 0.0, FADE);
        assert_eq!(extremes.novelty(4.0, 0.1).1, 0.0, "seen once, new no more");
    }

    #[test]
    fn a_flat_stream_is_measured_by_the_floor() {
        let mut extremes = Extremes::default();
        (0..10).for_each(|_| extremes.learn(100.0, 0.0, FADE));
        assert!(extremes.novelty(100.0 + 1e-6, 5.0).0 < 1e-6);
    }

    #[test]
    fn what_is_remembered_of_late_fades_and_the_rest_only_if_asked() {
        let (mut kept, mut forgotten) = (Extremes::default(), Extremes::default());
        for (extremes, forget) in [(&mut kept, 0.0), (&mut forgotten, 1e-3)] {
            extremes.learn(100.0, 0.0, FADE);
            (0..20_000).for_each(|_| extremes.learn(0.0, forget, FADE));
        }
        assert_eq!(kept.bounds(), Some((0.0, 100.0)));
        assert!(kept.novelty(50.0, 1.0).0 > 0.5, "late");
        assert!(forgotten.bounds().unwrap().1 < 20.0);
    }
}
