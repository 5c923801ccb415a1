//! Records of the mean of a few samples, and of many: shifts too small for a single sample to show.

use super::sample::{Detector, Novelty, Sample};
use super::view::View;
use crate::learn::{Extremes, Moments};
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Samples in a short mean: an hour at 5 minutes.
pub(crate) const SHORT: u32 = 12;
/// Samples in a long mean: three hours at 5 minutes.
pub(crate) const LONG: u32 = 36;

/// Means over about `SPAN` samples, higher or lower than ever.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct MeanRecord<const SPAN: u32> {
    window: Moments,
    extremes: Extremes,
}

impl<const SPAN: u32> Detector for MeanRecord<SPAN> {
    const VIEW: View = if SPAN < LONG { View::ShortMean } else { View::LongMean };

    fn observe(&mut self, sample: &Sample) -> Novelty {
        self.window.slide(sample.value, sample.steps, f64::from(SPAN));
        if !self.window.is_full(f64::from(SPAN)) {
            return Novelty::default();
        }
        let mean = self.window.mean();
        let novelty = Novelty::of(&self.extremes, mean, sample.floor());
        self.extremes.learn(mean, sample.forget, sample.fade);
        novelty
    }
}

impl<const SPAN: u32> Stored for MeanRecord<SPAN> {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.window).put(&self.extremes);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { window: reader.get()?, extremes: reader.get()? })
    }
}
