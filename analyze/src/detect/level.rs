//! Records of the short mean of what the baseline leaves unexplained: a level that moved, also where a slope or a season
//! would hide it.

use super::mean::SHORT;
use super::sample::{Detector, Sample};
use super::view::View;
use crate::learn::{Extremes, Moments};
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Shifts of the residual, higher or lower than ever.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct LevelRecord {
    window: Moments,
    extremes: Extremes,
}

impl Detector for LevelRecord {
    const VIEW: View = View::Level;

    fn observe(&mut self, sample: &Sample) -> f64 {
        self.window.slide(sample.residual, sample.steps, f64::from(SHORT));
        if !self.window.is_full(f64::from(SHORT)) {
            return 0.0;
        }
        let mean = self.window.mean();
        let novelty = self.extremes.novelty(mean, sample.floor());
        self.extremes.learn(mean, sample.forget);
        novelty
    }
}

impl Stored for LevelRecord {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.window).put(&self.extremes);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { window: reader.get()?, extremes: reader.get()? })
    }
}
