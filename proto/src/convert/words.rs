//! Closed words: every model enum against its wire enum, variant by variant.

use super::Error;
use crate::{model, wire};

macro_rules! word {
    ($model:ident, $wire:ident, [$($variant:ident),+ $(,)?]) => {
        impl From<model::$model> for wire::$wire {
            fn from(value: model::$model) -> Self {
                match value { $(model::$model::$variant => Self::$variant),+ }
            }
        }
        impl From<model::$model> for i32 {
            fn from(value: model::$model) -> Self {
                wire::$wire::from(value) as i32
            }
        }
        impl TryFrom<i32> for model::$model {
            type Error = Error;
            fn try_from(value: i32) -> Result<Self, Error> {
                match wire::$wire::try_from(value) {
                    $(Ok(wire::$wire::$variant) => Ok(Self::$variant),)+
                    _ => Err(Error::new(stringify!($model), value, "must be a known, specified value")),
                }
            }
        }
    };
}

word!(Quality, Quality, [Good, Partial, Unknown]);
word!(SignalKind, SignalKind, [Gauge, Rate, Ratio, Quantile]);
word!(DirectiveKind, DirectiveKind, [Scale, SetBreaker, Rollback, Freeze, SetMode, SetCadence, Notify]);
word!(Release, Release, [Previous, Newest]);
word!(FreezeScope, FreezeScope, [Deployments, Changes]);
word!(ServiceMode, ServiceMode, [Normal, ReadOnly, Degraded]);
word!(NotifyUrgency, NotifyUrgency, [Info, Ticket, Page]);
word!(
    BudgetMeasure,
    BudgetMeasure,
    [FreezeDeployments, Rollback, ScaleUp, TightenBreakers, ReadOnly, RaiseCadence, Notify, Investigate,]
);
word!(AutonomyLevel, AutonomyLevel, [Observe, Recommend, Approve, Act]);
word!(ReviewRule, ReviewRule, [Automatic, Required]);
word!(DeclaredKind, DeclaredKind, [Service, Policy, Slo]);
word!(BreakerMode, BreakerMode, [MetricsOnly, Enforce, ForcedOpen, Disabled]);
word!(BreakerPhase, BreakerPhase, [Closed, Open, HalfOpen]);
word!(BreakerVerdict, BreakerVerdict, [Nominal, Degraded, Outage]);
word!(BreakerProbing, BreakerProbing, [Free, Hold, Now]);
word!(
    DirectiveState,
    DirectiveState,
    [
        Proposed,
        AwaitingApproval,
        Issued,
        Delivered,
        Accepted,
        Applied,
        Verifying,
        Verified,
        Rejected,
        Expired,
        Refused,
        Failed,
        Unknown,
        Ineffective,
        Harmful,
        Undone,
    ]
);
word!(ThresholdState, ThresholdState, [Learning, Proposed, Active, Pinned, Rejected, Superseded]);
word!(ThresholdReview, ThresholdReview, [Approve, Reject, Pin, Unpin]);
word!(SeasonalityState, SeasonalityState, [Active, Superseded]);
word!(StandingCause, StandingCause, [Promoted, Demoted, Set]);
word!(EvidenceSource, EvidenceSource, [Backtest, Shadow, Outcome]);
word!(EvidenceVerdict, EvidenceVerdict, [For, Against, Harm, Unknown]);
word!(SymptomKind, SymptomKind, [Objective, Saturation, Dependency, Deviation, DataMissing]);
word!(SymptomState, SymptomState, [Suspected, Open, Resolved, Dismissed]);
word!(Severity, Severity, [Low, Medium, High, Critical]);
word!(ObjectiveStanding, ObjectiveStanding, [Met, Burning, Exhausted, Unknown]);
word!(OutcomeResult, OutcomeResult, [Verified, Ineffective, Harmful, Unknown]);
word!(
    FeedbackLoop,
    FeedbackLoop,
    [MetricsLearning, PerformanceAdaptation, DecisionQuality, AnomalyFeedback, ResourceOptimisation,]
);
