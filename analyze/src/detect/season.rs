//! Records of what the baseline leaves unexplained, in series with a daily season.

use super::excursion::Excursion;
use super::sample::{Detector, Novelty, Sample};
use super::view::View;
use crate::learn::Extremes;
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Residuals higher or lower than ever.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct SeasonRecord {
    excursion: Excursion,
}

impl SeasonRecord {
    /// What was seen.
    pub(crate) fn extremes(&self) -> &Extremes {
        self.excursion.extremes()
    }
}

impl Detector for SeasonRecord {
    const VIEW: View = View::Season;

    fn observe(&mut self, sample: &Sample) -> Novelty {
        let Some(residual) = sample.residual else { return Novelty::default() };
        let novelty = self.excursion.observe(residual, sample);
        if sample.seasonal { novelty } else { Novelty::default() }
    }
}

impl Stored for SeasonRecord {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.excursion);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { excursion: reader.get()? })
    }
}
