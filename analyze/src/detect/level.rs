//! Records of how far the mean of four samples stands from that of the last hours, both of what the baseline leaves
//! unexplained: a level that moved, also where a slope or a season would hide it.
//!
//! Two adjacent windows held against each other, as in Basseville and Nikiforov, "Detection of abrupt changes" (1993), ch. 2.

use super::excursion::Excursion;
use super::sample::{Detector, Novelty, Sample};
use super::view::View;
use crate::learn::Moments;
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Samples in the fast mean: a shift shows before a person would look twice.
const FAST: usize = 4;
/// Seconds in the slow mean: what is slower than a day, a week say, the baseline does not know,
const SLOW: f64 = 86_400.0;
/// but no more samples than tell a mean well, eight hours at 5 minutes, nor so few that a shift moves it at once.
const SLOW_SAMPLES_MAX: f64 = 96.0;
const SLOW_SAMPLES_MIN: f64 = 24.0;

/// Shifts of the residual, higher or lower than ever.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct LevelRecord {
    last: [f64; FAST],
    slow: Moments,
    excursion: Excursion,
}

impl LevelRecord {
    /// Samples in the slow mean, at so many seconds between two.
    pub(crate) fn slow_samples(interval: f64) -> f64 {
        (SLOW / interval.max(1e-3)).clamp(SLOW_SAMPLES_MIN, SLOW_SAMPLES_MAX)
    }

    /// Mean of the last few residuals.
    pub(crate) fn short(&self) -> f64 {
        self.last.iter().sum::<f64>() / FAST as f64
    }

    /// Where that mean usually is.
    pub(crate) fn usual(&self) -> Option<(f64, f64)> {
        let (low, high) = self.excursion.extremes().bounds()?;
        Some((self.slow.mean() + low, self.slow.mean() + high))
    }
}

impl Detector for LevelRecord {
    const VIEW: View = View::Level;

    fn observe(&mut self, sample: &Sample) -> Novelty {
        let Some(residual) = sample.residual else { return Novelty::default() };
        let slow = Self::slow_samples(sample.interval);
        self.slow.slide(residual, sample.steps, slow);
        self.last.rotate_right(1);
        self.last[0] = residual;
        if !self.slow.is_full(slow) {
            return Novelty::default();
        }
        self.excursion.observe(self.short() - self.slow.mean(), sample)
    }
}

impl Stored for LevelRecord {
    fn save(&self, writer: &mut Writer) {
        let Self { last, slow, excursion } = self;
        last.iter().for_each(|residual| _ = writer.put(residual));
        writer.put(slow).put(excursion);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut last = [0.0; FAST];
        for residual in &mut last {
            *residual = reader.get()?;
        }
        Ok(Self { last, slow: reader.get()?, excursion: reader.get()? })
    }
}
