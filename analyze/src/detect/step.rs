//! Records of how far the last five samples, together, stand from where those before them were going: a step, found at once in
//! noise also where a season of which not enough is known yet, a week say, carries the level along.
//!
//! As `level`, two adjacent windows (Basseville and Nikiforov, "Detection of abrupt changes", 1993, ch. 2). But what is expected
//! knows nothing of the five and follows a slope, and the mean of five is near to normal, whatever single samples are: its
//! records tell sooner what to expect of the next. In a course, where levels move by themselves, `level` alone is asked.

use super::excursion::Excursion;
use super::sample::{Detector, Novelty, Sample};
use super::view::View;
use crate::learn::Smoothing;
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Samples within which a step is to be found.
const LAST: usize = 5;
/// From the newest sample before those to their middle.
const AHEAD: f64 = 3.0;
/// Seconds over which what is expected is smoothed: in half a day a week goes in a straight line,
const SPAN: f64 = 43_200.0;
/// but no fewer samples than tell a slope at all, nor more than tell it well.
const SPAN_SAMPLES_MIN: f64 = 12.0;
const SPAN_SAMPLES_MAX: f64 = 96.0;

/// Steps of the residual, higher or lower than ever.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct StepRecord {
    last: [f64; LAST],
    before: Smoothing,
    excursion: Excursion,
}

impl Detector for StepRecord {
    const VIEW: View = View::Level;

    fn observe(&mut self, sample: &Sample) -> Novelty {
        let Some(residual) = sample.residual else { return Novelty::default() };
        let span = (SPAN / sample.interval.max(1e-3)).clamp(SPAN_SAMPLES_MIN, SPAN_SAMPLES_MAX);
        // Nothing is left unexplained before the first residual.
        self.before.slide(self.last[LAST - 1], sample.steps, span);
        self.last.rotate_right(1);
        self.last[0] = residual;
        if !self.before.is_full(span) {
            return Novelty::default();
        }
        let mean = self.last.iter().sum::<f64>() / LAST as f64;
        self.excursion.observe(mean - self.before.ahead(AHEAD), sample)
    }
}

impl Stored for StepRecord {
    fn save(&self, writer: &mut Writer) {
        let Self { last, before, excursion } = self;
        last.iter().for_each(|residual| _ = writer.put(residual));
        writer.put(before).put(excursion);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut last = [0.0; LAST];
        for residual in &mut last {
            *residual = reader.get()?;
        }
        Ok(Self { last, before: reader.get()?, excursion: reader.get()? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::level::LevelRecord;
    use super::*;

    /// The strongest record among five samples after a step of 5, on what was there before.
    fn found<D: Detector + Default>(before: impl Fn(f64) -> f64) -> f64 {
        let mut record = D::default();
        let mut sample = Sample {
            at: 0.0,
            steps: 1.0,
            interval: 3_600.0,
            value: 0.0,
            residual: None,
            seasonal: true,
            size: 1.0,
            forget: 0.0,
            fade: 0.0,
        };
        let mut strongest = 0.0_f64;
        for i in 0..305 {
            let step = if i < 300 { 0.0 } else { 5.0 };
            sample.residual = Some(before(f64::from(i)) + f64::from(i % 2) + step);
            let novelty = record.observe(&sample);
            if i >= 300 {
                strongest = strongest.max(novelty.ever);
            }
        }
        strongest
    }

    #[test]
    fn a_step_shows_on_a_slope_and_on_a_week_better_than_in_the_level() {
        let slope = |i: f64| 0.2 * i;
        let week = |i: f64| 2.0 * (std::f64::consts::TAU * i / 168.0).sin();
        for (step, level) in [
            (found::<StepRecord>(slope), found::<LevelRecord>(slope)),
            (found::<StepRecord>(week), found::<LevelRecord>(week)),
        ] {
            assert!(step > 1.0 && step > 1.3 * level, "{step} {level}");
        }
    }
}
