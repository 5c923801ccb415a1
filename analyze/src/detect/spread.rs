//! Records of how much the series varies: bursts, and lines that went flat.

use super::sample::{Detector, Novelty, Sample};
use super::view::View;
use crate::learn::{Extremes, Moments};
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Intervals in the window: two hours at 5 minutes.
const SPAN: u32 = 24;
/// Shares of the range and of the usual size below which variation counts as none.
const FLOOR_RANGE: f64 = 0.01;
const FLOOR_SIZE: f64 = 1e-3;
/// Spreads that differ by less than this factor (e to the half) are alike.
const FLOOR: f64 = 0.5;

/// Logarithms of the standard deviation of a window, higher or lower than ever.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct SpreadRecord {
    window: Moments,
    values: Extremes,
    extremes: Extremes,
}

impl Detector for SpreadRecord {
    const VIEW: View = View::Spread;

    fn observe(&mut self, sample: &Sample) -> Novelty {
        let none = FLOOR_RANGE * self.values.range(0.0) + FLOOR_SIZE * sample.size;
        self.window.slide(sample.value, sample.steps, f64::from(SPAN));
        self.values.learn(sample.value, sample.forget, sample.fade);
        if !self.window.is_full(f64::from(SPAN)) {
            return Novelty::default();
        }
        let spread = (self.window.deviation() + none).ln();
        let novelty = Novelty::of(&self.extremes, spread, FLOOR);
        self.extremes.learn(spread, sample.forget, sample.fade);
        novelty
    }
}

impl Stored for SpreadRecord {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.window).put(&self.values).put(&self.extremes);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { window: reader.get()?, values: reader.get()?, extremes: reader.get()? })
    }
}
