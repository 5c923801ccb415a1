//! Records of a whole excursion: while a stream is beyond what was seen, it is held against what was seen before it left, for a
//! few samples. Else a ramp would be a row of small records, each taken as seen before the next.

use super::sample::{Novelty, Sample};
use crate::learn::Extremes;
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Samples of an excursion; those after it are held against it.
const SAMPLES: u32 = 5;

/// Extremes that take an excursion in as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Excursion {
    extremes: Extremes,
    furthest: f64,
    samples: u32,
}

impl Excursion {
    /// What was seen before this excursion.
    pub(crate) fn extremes(&self) -> &Extremes {
        &self.extremes
    }

    /// Judges `x`, which is taken from the sample; then it is learned, or kept for the end of the excursion.
    pub(crate) fn observe(&mut self, x: f64, sample: &Sample) -> Novelty {
        let novelty = Novelty::of(&self.extremes, x, sample.floor());
        let Some((low, high)) =
            self.extremes.bounds().filter(|_| novelty.ever > 0.0 && self.samples < SAMPLES)
        else {
            if self.samples > 0 {
                self.extremes.learn(self.furthest, sample.forget, sample.fade);
                self.samples = 0;
            }
            self.extremes.learn(x, sample.forget, sample.fade);
            return novelty;
        };
        let beyond = |x: f64| (x - high).max(low - x);
        if self.samples == 0 || beyond(x) > beyond(self.furthest) {
            self.furthest = x;
        }
        self.samples += 1;
        novelty
    }
}

impl Stored for Excursion {
    fn save(&self, writer: &mut Writer) {
        let Self { extremes, furthest, samples } = self;
        writer.put(extremes).put(furthest).put(samples);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { extremes: reader.get()?, furthest: reader.get()?, samples: reader.get()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_is_one_large_record_not_many_small_ones() {
        let mut excursion = Excursion::default();
        let sample = Sample {
            at: 0.0,
            steps: 1.0,
            interval: 300.0,
            value: 0.0,
            residual: None,
            seasonal: false,
            size: 0.0,
            forget: 0.0,
            fade: 1e-4,
        };
        for i in 0..100 {
            excursion.observe(f64::from(i % 2), &sample);
        }
        let found: Vec<_> =
            [1.2, 1.4, 1.6, 1.8, 2.0].iter().map(|x| excursion.observe(*x, &sample).ever).collect();
        assert!((found[4] - 1.0).abs() < 1e-9, "{found:?}");
        excursion.observe(0.5, &sample);
        assert_eq!(excursion.extremes().bounds(), Some((0.0, 2.0)), "taken in once it is over");
    }
}
