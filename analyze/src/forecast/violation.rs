//! When a limit will be crossed, and how surely.

use std::time::Duration;

use jiff::Timestamp;

use super::Forecaster;

/// A crossing that is to be expected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Violation {
    /// Steps ahead of the origin.
    pub steps: usize,
    /// Time from the origin to the start of that step.
    pub lead: Duration,
    /// Start of that step.
    pub at: Timestamp,
    /// Probability that the signal lies above the limit then.
    pub probability: f64,
}

impl Forecaster {
    /// Probability that the signal lies above the limit at each of the next `steps` steps.
    #[must_use]
    pub fn chances_above(&self, limit: f64, steps: usize) -> Vec<f64> {
        self.outlooks(steps).map(|outlook| outlook.above(limit)).collect()
    }

    /// The first of the next `steps` steps at which the signal lies above the limit with at least that probability.
    #[must_use]
    pub fn violation(&self, limit: f64, probability: f64, steps: usize) -> Option<Violation> {
        let chances = self.outlooks(steps).map(|outlook| outlook.above(limit)).enumerate();
        let (index, probability) = chances.into_iter().find(|(_, chance)| *chance >= probability)?;
        let lead = self.step() * u32::try_from(index + 1).ok()?;
        let at = self.origin()?.checked_add(jiff::SignedDuration::try_from(lead).ok()?).ok()?;
        Some(Violation { steps: index + 1, lead, at, probability })
    }
}
