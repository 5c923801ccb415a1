//! One sample as detectors see it, and what all of them are.

use super::view::View;

/// A sample, and what is known of the series from before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// Seconds since 1970.
    pub at: f64,
    /// Intervals since the sample before; 1 in a steady series.
    pub steps: f64,
    /// Finite.
    pub value: f64,
    /// What the baseline did not expect of it.
    pub(crate) residual: f64,
    /// Whether the baseline knows a season.
    pub(crate) seasonal: bool,
    /// Usual size of values: what is too small to matter is measured by it.
    pub size: f64,
    /// Share by which extremes are forgotten with each sample.
    pub forget: f64,
}

/// The range of a stream is taken as at least this share of the usual size: a change of a thousandth is nothing to act on,
/// however flat the series was.
const FLOOR: f64 = 0.05;

impl Sample {
    /// The least range that values are measured by.
    pub(crate) fn floor(&self) -> f64 {
        FLOOR * self.size
    }
}

/// A detector: one view of a series, on the scale that all share.
pub(crate) trait Detector {
    /// What it looks at.
    const VIEW: View;

    /// How far the sample lies beyond all that this view has seen, in ranges of what it has seen; 0 inside. Judges by
    /// earlier samples, then learns.
    fn observe(&mut self, sample: &Sample) -> f64;
}
