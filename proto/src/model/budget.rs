//! Error-budget policies as they stand, and what they want done.

use super::{assessment::ObjectiveState, declared::AutonomyLevel, ids::ResourceId, text::words};
use jiff::Timestamp;
use serde::Serialize;

words! {
    /// What an error-budget policy can ask for.
    BudgetMeasure {
        /// No deployments but urgent ones.
        FreezeDeployments = "freeze-deployments",
        /// The newest deployment is taken back.
        Rollback = "rollback",
        /// More replicas.
        ScaleUp = "scale-up",
        /// Breakers open earlier.
        TightenBreakers = "tighten-breakers",
        /// No writes.
        ReadOnly = "read-only",
        /// Look more often.
        RaiseCadence = "raise-cadence",
        /// Tell people.
        Notify = "notify",
        /// Ask people to look into it.
        Investigate = "investigate",
    }
}

/// A measure that a policy wants in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MeasureInForce {
    /// What.
    pub measure: BudgetMeasure,
    /// Which step of the policy wants it, counted from 0.
    pub step: u32,
    /// Since when.
    pub since: Timestamp,
    /// When it ends at the latest; `None`: at the reset.
    pub until: Option<Timestamp>,
    /// For people.
    pub reason: String,
}

/// Where a policy stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BudgetPolicyState {
    /// The objective whose budget it guards: `namespace/slo`.
    pub objective: String,
    /// Share of the budget used up, 0 or above; `None`: unknown.
    pub consumed_ratio: Option<f64>,
    /// Share of the budget left, 1 or below; `None`: unknown.
    pub remaining_ratio: Option<f64>,
    /// Below this share left, what may do harm is refused.
    pub refuse_risk_below: f64,
    /// What it wants in force now.
    pub measures: Vec<MeasureInForce>,
    /// Whether those are known to be all: while nothing is known, none is taken back.
    pub known: bool,
    /// What still stands against the reset, for people.
    pub waiting_for: Vec<String>,
    /// How far it may go by itself, at most as far as a Policy that names the service. `None`: as far as that, and where there
    /// is none, it advises.
    pub autonomy: Option<AutonomyLevel>,
}

impl BudgetPolicyState {
    /// Why what may do harm is refused now; `None`: it is not. A budget that nobody knows is no budget.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let Self { objective, refuse_risk_below: below, .. } = self;
        match self.remaining_ratio {
            None => Some(format!("how much error budget {objective} has left is unknown")),
            Some(left) if left < *below => Some(format!(
                "{objective} has {:.1} % of its error budget left, below the {:.0} % that risk needs",
                left * 100.0,
                below * 100.0
            )),
            Some(_) => None,
        }
    }

    /// The measure, if the policy wants it now.
    #[must_use]
    pub fn wants(&self, measure: BudgetMeasure) -> Option<&MeasureInForce> {
        self.measures.iter().find(|wanted| wanted.measure == measure)
    }
}

/// When a budget will be used up; `None`: not within one more window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ExhaustionForecast {
    /// One in ten times it comes earlier.
    pub early: Option<Timestamp>,
    /// As likely before as after.
    pub likely: Option<Timestamp>,
    /// One in ten times it comes later.
    pub late: Option<Timestamp>,
}

/// One imported objective.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrackedObjective {
    /// `namespace/slo`.
    pub objective: String,
    /// For people.
    pub title: String,
    /// What it is about.
    pub resource: ResourceId,
    /// Why it is not tracked; empty: it is.
    pub untracked: String,
    /// How it stands.
    pub state: ObjectiveState,
    /// Begin of the window now.
    pub from: Timestamp,
    /// End of the window now.
    pub to: Timestamp,
    /// Some events in the window were not counted.
    pub incomplete: bool,
    /// `None`: cannot be said.
    pub exhaustion: Option<ExhaustionForecast>,
    /// `None`: it has no policy.
    pub policy: Option<BudgetPolicyState>,
    /// The most urgent open alert; empty: none.
    pub alert: String,
    /// What the queries of its indicator last gave; empty where it is made of signals.
    pub readings: Vec<QueryReading>,
}

/// The last answer to a query of an indicator.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QueryReading {
    /// The query.
    pub query: String,
    /// The value as it was read, summed over the series of a counter; `None`: there is none.
    pub value: Option<f64>,
    /// Why there is none; empty: there is one.
    pub problem: String,
}
