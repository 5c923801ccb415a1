//! The whole engine of one signal: the same offline and in production.

use std::time::Duration;

use jiff::Timestamp;

use super::view::View;

/// What the engine of one signal is told. The defaults are meant for every signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesSettings {
    /// One false deviation per signal is accepted in this time.
    pub false_alarm_budget: Duration,
}

impl Default for SeriesSettings {
    fn default() -> Self {
        Self { false_alarm_budget: Duration::from_secs(28 * 86_400) }
    }
}

/// What is said of one sample. It depends on earlier samples and this one only.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Judgement {
    /// How unusual, in [0, 1].
    pub score: f64,
    /// How much it matters now, in [0, 1]; decays after an alert.
    pub severity: f64,
    /// The value that was expected.
    pub expected: Option<f64>,
    /// Lower end of what is usual.
    pub lower: Option<f64>,
    /// Upper end of what is usual.
    pub upper: Option<f64>,
    /// True only where an alert opens.
    pub deviation: bool,
    /// The view that gave the score.
    pub view: View,
    /// Probability that this is no chance, in [0, 1].
    pub confidence: f64,
}

/// The engine of one signal.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    settings: SeriesSettings,
    last_at: Option<Timestamp>,
}

impl Series {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(settings: SeriesSettings) -> Self {
        Self { settings, last_at: None }
    }

    /// What it was told.
    #[must_use]
    pub fn settings(&self) -> SeriesSettings {
        self.settings
    }

    /// Judges by earlier samples only, then learns. `None` = refused (repeated or backward time, not finite): nothing changes.
    pub fn observe(&mut self, at: Timestamp, value: f64) -> Option<Judgement> {
        if !value.is_finite() || self.last_at.is_some_and(|last| at <= last) {
            return None;
        }
        self.last_at = Some(at);
        Some(Judgement::default())
    }
}
