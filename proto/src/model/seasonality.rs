//! Seasons of one signal: versions of what is known about its periods.

use super::{ids::SignalId, text::words};
use jiff::Timestamp;
use serde::Serialize;

words! {
    /// Where a version stands.
    SeasonalityState {
        /// In force.
        Active = "active",
        /// Replaced by a newer version.
        Superseded = "superseded",
    }
}

/// One period of a signal, and why it is believed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeasonalPeriod {
    /// Its length in seconds; above 0.
    pub length_s: f64,
    /// Share of the variance that it explains beyond the periods before it, 0 to 1.
    pub strength: f64,
    /// Probability that noise would look like it, 0 to 1.
    pub chance: f64,
    /// Autocorrelation at that lag; finite.
    pub autocorrelation: f64,
    /// How often it fits into the evidence; not negative.
    pub cycles: f64,
    /// When the cycle begins that `shape` describes; for days and weeks midnight, weeks on a Monday.
    pub starts_at: Timestamp,
    /// The usual distance from the level at evenly spaced moments of a cycle; at most [`Self::SHAPE_MOST`]. Empty: not told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shape: Vec<f32>,
}

impl SeasonalPeriod {
    /// Most points of a shape: a week in hours, and a terminal's width.
    pub const SHAPE_MOST: usize = 200;
}

/// One version of what is known about the seasons of one signal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeasonalityModel {
    /// Whose seasons.
    pub signal: SignalId,
    /// Counts this signal's versions from 1.
    pub generation: u64,
    /// Where it stands.
    pub state: SeasonalityState,
    /// How it was found.
    pub method: String,
    /// IANA name of the zone by whose wall clock whole hours, days and weeks run; empty: UTC.
    pub time_zone: String,
    /// Strongest first, at most [`Self::PERIODS_MOST`]. None: there was a season, and it is gone.
    pub periods: Vec<SeasonalPeriod>,
    /// Evenly spaced means that it was found in.
    pub samples: u64,
    /// Seconds between two of them; above 0.
    pub interval_s: f64,
    /// Share of the variance that all periods explain together, 0 to 1.
    pub explained_ratio: f64,
    /// What the shapes are distances from; finite.
    pub level: f64,
    /// First sample behind it.
    pub evidence_from: Timestamp,
    /// Last sample behind it; not before `evidence_from`.
    pub evidence_to: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
}

impl SeasonalityModel {
    /// Most periods of a model.
    pub const PERIODS_MOST: usize = 8;

    /// Whether forecasts and thresholds go by it.
    pub fn in_force(&self) -> bool {
        self.state == SeasonalityState::Active
    }
}
