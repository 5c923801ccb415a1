//! One sample as detectors see it, and what all of them are.

use super::view::View;
use crate::learn::Extremes;

/// A sample, and what is known of the series from before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// Seconds since 1970.
    pub at: f64,
    /// Intervals since the sample before; 1 in a steady series.
    pub steps: f64,
    /// Seconds between two samples of a steady series.
    pub interval: f64,
    /// Finite.
    pub value: f64,
    /// What the baseline did not expect of it; `None` while it has seen too little.
    pub(crate) residual: Option<f64>,
    /// Whether the baseline knows a season.
    pub(crate) seasonal: bool,
    /// Usual size of values: what is too small to matter is measured by it.
    pub size: f64,
    /// Share by which extremes are forgotten with each sample, towards those of late.
    pub forget: f64,
    /// Share by which extremes of late fade with each sample.
    pub fade: f64,
}

/// The range of a stream is taken as at least this share of the usual size: a change of a thousandth is nothing to act on,
/// however flat the series was.
const FLOOR: f64 = 0.05;

impl Sample {
    /// The least range that values are measured by.
    pub(crate) fn floor(&self) -> f64 {
        Self::least(self.size)
    }

    /// The same, by the usual size of values.
    pub(crate) fn least(size: f64) -> f64 {
        FLOOR * size
    }
}

/// A detector: one view of a series, on the scale that all share.
pub(crate) trait Detector {
    /// What it looks at.
    const VIEW: View;

    /// How far the sample lies beyond what this view has seen, in ranges of that; 0 inside. Judges by earlier samples, then
    /// learns.
    fn observe(&mut self, sample: &Sample) -> Novelty;
}

/// Novelty in ranges of what was seen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Novelty {
    /// Beyond what was seen of late.
    pub(crate) late: f64,
    /// Beyond all that is remembered.
    pub(crate) ever: f64,
}

impl Novelty {
    /// Of `x` in a stream with these extremes, and a range of at least `floor`.
    pub(crate) fn of(extremes: &Extremes, x: f64, floor: f64) -> Self {
        let (late, ever) = extremes.novelty(x, floor);
        Self { late, ever }
    }

    /// What counts: in noise all that is remembered, in a course what was seen of late.
    pub(crate) fn told(&self, course: f64) -> f64 {
        self.ever + course * (self.late - self.ever)
    }
}
