//! Records of the value itself.

use super::sample::{Detector, Novelty, Sample};
use super::view::View;
use crate::learn::Extremes;
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Values higher or lower than ever.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct ValueRecord {
    extremes: Extremes,
}

impl Detector for ValueRecord {
    const VIEW: View = View::Value;

    fn observe(&mut self, sample: &Sample) -> Novelty {
        let novelty = Novelty::of(&self.extremes, sample.value, sample.floor());
        self.extremes.learn(sample.value, sample.forget, sample.fade);
        novelty
    }
}

impl ValueRecord {
    /// What was seen.
    pub(crate) fn extremes(&self) -> &Extremes {
        &self.extremes
    }
}

impl Stored for ValueRecord {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.extremes);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { extremes: reader.get()? })
    }
}
