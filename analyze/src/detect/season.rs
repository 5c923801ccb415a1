//! Records of what the baseline leaves unexplained, in series with a daily season.

use super::sample::{Detector, Sample};
use super::view::View;
use crate::learn::Extremes;
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Residuals higher or lower than ever.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct SeasonRecord {
    extremes: Extremes,
}

impl SeasonRecord {
    /// What was seen.
    pub(crate) fn extremes(&self) -> &Extremes {
        &self.extremes
    }
}

impl Detector for SeasonRecord {
    const VIEW: View = View::Season;

    fn observe(&mut self, sample: &Sample) -> f64 {
        let novelty = self.extremes.novelty(sample.residual, sample.floor());
        self.extremes.learn(sample.residual, sample.forget);
        if sample.seasonal { novelty } else { 0.0 }
    }
}

impl Stored for SeasonRecord {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.extremes);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { extremes: reader.get()? })
    }
}
