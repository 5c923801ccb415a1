//! The forecaster.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

/// What a forecaster is told.
#[derive(Debug, Clone)]
pub struct ForecastSettings {
    /// Length of a step, 1 s to 1 h. Values within one are averaged.
    pub step: Duration,
    /// Most steps that anyone will ask for.
    pub horizon: usize,
    /// Whose wall clock the days follow; UTC without.
    pub zone: Option<TimeZone>,
}

impl Default for ForecastSettings {
    fn default() -> Self {
        Self { step: Duration::from_secs(60), horizon: 60, zone: None }
    }
}

/// How good the forecasts of one lead time were.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeadScore {
    /// Steps ahead.
    pub steps: usize,
    /// Forecasts judged.
    pub count: u64,
    /// Mean absolute error of the median.
    pub mean_absolute_error: f64,
    /// Mean pinball loss over the quantiles 0.05, 0.5, 0.9, 0.95 and 0.99.
    pub pinball: [f64; 5],
    /// Share of values that were at or below those quantiles.
    pub coverage: [f64; 5],
}

/// How good the forecasts were, by lead time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ForecastScore {
    /// Shortest lead first.
    pub leads: Vec<LeadScore>,
}

/// Forecasts one signal.
#[derive(Debug, Clone)]
pub struct Forecaster {
    settings: ForecastSettings,
    last: Option<(Timestamp, f64)>,
}

impl Forecaster {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new(settings: ForecastSettings) -> Self {
        Self { settings, last: None }
    }

    /// Takes in a value. `false` if it was refused: not finite, or older than the current step.
    pub fn observe(&mut self, at: Timestamp, value: f64) -> bool {
        if !value.is_finite() || self.last.is_some_and(|(last, _)| at <= last) {
            return false;
        }
        self.last = Some((at, value));
        true
    }

    /// Quantiles of the next `steps` steps, `[step][quantile]`, step 1 first. Empty before the first value.
    #[must_use]
    pub fn quantiles(&self, steps: usize, quantiles: &[f64]) -> Vec<Vec<f64>> {
        let Some((_, value)) = self.last else { return Vec::new() };
        vec![vec![value; quantiles.len()]; steps.min(self.settings.horizon)]
    }

    /// Start of the last step that was taken in.
    #[must_use]
    pub fn origin(&self) -> Option<Timestamp> {
        self.last.map(|(at, _)| at)
    }

    /// How good the forecasts were.
    #[must_use]
    pub fn score(&self) -> ForecastScore {
        ForecastScore::default()
    }
}
