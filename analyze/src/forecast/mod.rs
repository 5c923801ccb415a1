//! Forecasts of one load signal as quantiles at any number of steps ahead, from its own past only, scored as it goes.

mod forecaster;
pub mod lookahead;

pub use forecaster::{ForecastScore, ForecastSettings, Forecaster, LeadScore};
