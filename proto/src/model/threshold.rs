//! Learned thresholds: versions of the limits on one signal's residual.

use super::{ids::SignalId, text::words};
use jiff::Timestamp;
use serde::Serialize;

words! {
    /// Where a version stands.
    ThresholdState {
        /// Not enough samples yet.
        Learning = "learning",
        /// Waits for review or for the end of its shadow run.
        Proposed = "proposed",
        /// In force.
        Active = "active",
        /// In force because a person said so.
        Pinned = "pinned",
        /// A person said no.
        Rejected = "rejected",
        /// Replaced by a newer version.
        Superseded = "superseded",
    }
}

words! {
    /// What a person decides about a threshold.
    ThresholdReview {
        /// Put a proposal in force.
        Approve = "approve",
        /// Refuse a proposal.
        Reject = "reject",
        /// Hold limits, whatever is learned.
        Pin = "pin",
        /// Go back to what is learned.
        Unpin = "unpin",
    }
}

/// One version of a learned threshold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Threshold {
    /// Whose limits.
    pub signal: SignalId,
    /// Counts this signal's versions from 1.
    pub generation: u64,
    /// Where it stands.
    pub state: ThresholdState,
    /// How it was learned.
    pub method: String,
    /// Lower limit of the residual; finite, at most `residual_upper`.
    pub residual_lower: f64,
    /// Upper limit of the residual; finite.
    pub residual_upper: f64,
    /// Expected value when it was made.
    pub level: f64,
    /// Robust scale of the residual when it was made; not negative.
    pub scale: f64,
    /// Samples behind it.
    pub samples: u64,
    /// Share of judged samples inside, 0 to 1.
    pub coverage_ratio: f64,
    /// Stated false alarms per sample.
    pub false_alarm_probability: f64,
    /// First sample behind it.
    pub evidence_from: Option<Timestamp>,
    /// Last sample behind it.
    pub evidence_to: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Absolute limits that a person pinned: lower.
    pub pinned_lower: Option<f64>,
    /// Absolute limits that a person pinned: upper.
    pub pinned_upper: Option<f64>,
    /// Who reviewed it; empty when nobody did.
    pub reviewed_by: String,
    /// Why.
    pub reason: String,
}

impl Threshold {
    /// The band around an expected value: absolute limits when pinned to numbers, else the residual's limits.
    pub fn band(&self, expected: f64) -> (f64, f64) {
        (
            self.pinned_lower.unwrap_or(expected + self.residual_lower),
            self.pinned_upper.unwrap_or(expected + self.residual_upper),
        )
    }

    /// Whether judgements are made by it.
    pub fn in_force(&self) -> bool {
        matches!(self.state, ThresholdState::Active | ThresholdState::Pinned)
    }
}
