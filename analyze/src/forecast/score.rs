//! How good forecasts were: pinball loss and coverage by lead time (Koenker & Bassett 1978).

/// The quantiles that are scored.
pub const SCORED: [f64; 5] = [0.05, 0.5, 0.9, 0.95, 0.99];

/// How good the forecasts of one lead time were, over about the last thousand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeadScore {
    /// Steps ahead.
    pub steps: usize,
    /// Forecasts judged, ever.
    pub count: u64,
    /// Mean absolute error of the median, in units of the signal.
    pub mean_absolute_error: f64,
    /// Mean pinball loss at each of `SCORED`, in units of the signal.
    pub pinball: [f64; 5],
    /// Share of values at or below each of `SCORED`; equal to it where forecasts are honest.
    pub coverage: [f64; 5],
}

/// How good the forecasts were, shortest lead first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ForecastScore {
    /// One for each lead time that is tracked.
    pub leads: Vec<LeadScore>,
}

impl LeadScore {
    pub(super) fn new(steps: usize) -> Self {
        Self { steps, count: 0, mean_absolute_error: 0.0, pinball: [0.0; 5], coverage: SCORED }
    }

    pub(super) fn learn(&mut self, quantiles: &[f32; 5], value: f64) {
        self.count += 1;
        let gain = 1.0 / self.count.min(1_000) as f64;
        self.mean_absolute_error +=
            gain * ((value - f64::from(quantiles[1])).abs() - self.mean_absolute_error);
        for (i, share) in SCORED.iter().enumerate() {
            let error = value - f64::from(quantiles[i]);
            let loss = (share * error).max((share - 1.0) * error);
            self.pinball[i] += gain * (loss - self.pinball[i]);
            self.coverage[i] += gain * (f64::from(u8::from(error <= 0.0)) - self.coverage[i]);
        }
    }

    /// Share of values between the quantiles 0.05 and 0.95.
    #[must_use]
    pub fn interval_coverage(&self) -> f64 {
        self.coverage[3] - self.coverage[0]
    }
}
