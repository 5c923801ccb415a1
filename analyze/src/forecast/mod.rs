//! Forecasts of one load signal as quantiles at any number of steps ahead, from its own past only, scored as it goes.
//!
//! Many simple forecasts (the level; yesterday, last week, the usual day, week and hour, each with the level brought up to date
//! quickly or slowly) are made for a few lead times, and each is compared with what came. They are combined by how well they
//! did at that lead time, and the combination's own errors, counted by lead time, make the quantiles.

mod bins;
mod experts;
mod forecaster;
mod lead;
pub mod lookahead;
mod patterns;
mod residuals;
mod root;
mod score;
mod store;
#[cfg(test)]
mod tests;
mod violation;

pub use forecaster::{ForecastSettings, Forecaster};
pub use score::{ForecastScore, LeadScore, SCORED};
pub use violation::Violation;
