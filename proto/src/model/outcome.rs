//! What verification found, and the feedback signals that follow.

use super::{ids::ResourceId, text::words};
use jiff::Timestamp;
use serde::Serialize;
use std::time::Duration;
use uuid::Uuid;

words! {
    /// What verification found.
    OutcomeResult {
        /// The promise was kept.
        Verified = "verified",
        /// It was not.
        Ineffective = "ineffective",
        /// Things got worse.
        Harmful = "harmful",
        /// The data needed to judge was missing.
        Unknown = "unknown",
    }
}

/// One promise held against what was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MeasuredEffect {
    /// Signal name.
    pub signal: String,
    /// Promised interval.
    pub promised_lower: f64,
    /// Promised interval.
    pub promised_upper: f64,
    /// `None` when unknown.
    pub measured: Option<f64>,
    /// Counterfactual q10 at that moment.
    pub otherwise_lower: Option<f64>,
    /// Counterfactual q90 at that moment.
    pub otherwise_upper: Option<f64>,
    /// Whether the promise was kept.
    pub kept: bool,
}

/// The verdict on one applied directive.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// Which directive.
    pub directive_id: Uuid,
    /// The verdict.
    pub result: OutcomeResult,
    /// For people.
    pub text: String,
    /// Promise by promise.
    pub effects: Vec<MeasuredEffect>,
    /// When.
    pub at: Timestamp,
    /// From creation to application.
    #[serde(skip)]
    pub decided_to_applied: Duration,
    /// From application to verdict.
    #[serde(skip)]
    pub applied_to_verdict: Duration,
}

words! {
    /// The five feedback loops.
    FeedbackLoop {
        /// Thresholds.
        MetricsLearning = "metrics_learning",
        /// Actuation delay and the loop's own speed.
        PerformanceAdaptation = "performance_adaptation",
        /// Promises against measurements.
        DecisionQuality = "decision_quality",
        /// Alarms that proved right or wrong.
        AnomalyFeedback = "anomaly_feedback",
        /// Capacity used and left.
        ResourceOptimisation = "resource_optimisation",
    }
}

/// One durable feedback signal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeedbackSignal {
    /// Storing the same id again changes nothing.
    pub id: Uuid,
    /// Which loop it feeds.
    pub feedback_loop: FeedbackLoop,
    /// About which resource.
    pub resource: ResourceId,
    /// The directive that it follows from.
    pub directive_id: Option<Uuid>,
    /// What was measured, unit last.
    pub name: String,
    /// Finite.
    pub value: f64,
    /// When.
    pub at: Timestamp,
}

/// The kill switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct PauseState {
    /// Whether acting is stopped.
    pub paused: bool,
    /// Counts every pause and resume.
    pub counter: u64,
    /// Why.
    pub reason: String,
    /// Who.
    pub actor: String,
    /// When.
    pub at: Timestamp,
}

impl PauseState {
    /// Never paused.
    pub fn never(now: Timestamp) -> Self {
        Self { paused: false, counter: 0, reason: String::new(), actor: String::new(), at: now }
    }

    /// Of two memories of the switch the one that holds: the higher counter wins, a tie means paused.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        match self.counter.cmp(&other.counter) {
            std::cmp::Ordering::Less => other,
            std::cmp::Ordering::Greater => self,
            std::cmp::Ordering::Equal if other.paused => other,
            std::cmp::Ordering::Equal => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(paused: bool, counter: u64) -> PauseState {
        PauseState { paused, counter, ..PauseState::never(Timestamp::UNIX_EPOCH) }
    }

    #[test]
    fn higher_counter_wins_and_a_tie_means_paused() {
        assert!(!state(true, 1).merge(state(false, 2)).paused);
        assert!(state(true, 3).merge(state(false, 2)).paused);
        assert!(state(true, 2).merge(state(false, 2)).paused);
        assert!(state(false, 2).merge(state(true, 2)).paused);
    }
}
