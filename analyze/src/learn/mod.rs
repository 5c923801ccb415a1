//! What is normal for one signal, learned online in bounded memory: level, residual, thresholds.

pub mod dependence;
pub mod extremes;
pub mod histogram;
pub mod level;
pub mod moments;
pub mod prior;
pub mod records;
pub mod residual;
pub mod seasonality;
pub mod smoothing;
pub mod threshold;

pub use dependence::Dependence;
pub use extremes::Extremes;
pub use histogram::Histogram;
pub use level::Level;
pub use moments::Moments;
pub use prior::{Lesson, Prior, Priors};
pub use records::Records;
pub use residual::{Limits, Residuals};
pub use smoothing::Smoothing;
pub use threshold::{Threshold, Versions};

use std::time::Duration;

use proto::model::SignalKind;

/// Least relative change that is worth a word: 1 % of the level.
const EFFECT_RELATIVE: f64 = 0.01;
/// Least change of a ratio: half a percentage point.
const EFFECT_RATIO: f64 = 0.005;
/// Least change of anything: a microsecond of latency, a millionth of a request per second.
const EFFECT_ABSOLUTE: f64 = 1e-6;

/// How much a signal must move before it can be a deviation, however flat it has been.
#[must_use]
pub fn minimum_effect(kind: SignalKind, level: f64) -> f64 {
    let absolute = if kind == SignalKind::Ratio { EFFECT_RATIO } else { EFFECT_ABSOLUTE };
    (EFFECT_RELATIVE * level.abs()).max(absolute)
}

/// What learning is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Samples before the first threshold.
    pub warm_up_samples: u64,
    /// Least time between two versions of a threshold.
    pub threshold_interval: Duration,
    /// One false deviation per signal is accepted in this time.
    pub false_alarm_budget: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            warm_up_samples: 60,
            threshold_interval: Duration::from_secs(3_600),
            false_alarm_budget: Duration::from_secs(28 * 86_400),
        }
    }
}

impl Settings {
    /// False alarms per sample that the budget allows: the interval's share of its time.
    #[must_use]
    pub fn false_alarm_probability(&self, interval: Duration) -> f64 {
        interval.div_duration_f64(self.false_alarm_budget).clamp(1e-12, 0.01)
    }
}
