//! Validated words: identities, declared documents, assessments, directives, outcomes. Values here are always valid.

mod text;

pub mod actuator;
pub mod assessment;
pub mod breaker;
pub mod budget;
pub mod declared;
pub mod directive;
pub mod ids;
pub mod lifecycle;
pub mod openslo;
pub mod outcome;
pub mod sample;
pub mod seasonality;
pub mod selector;
pub mod standing;
pub mod threshold;
pub mod yaml;

pub use actuator::{ActuatorRecord, ActuatorSpec, AppliedGeneration, Lease, ResourcePattern};
pub use assessment::{
    Assessment, Capacity, DataQuality, LatePoint, LearnedSignal, ObjectiveStanding, ObjectiveState, Outlook,
    OutlookPoint, Severity, SignalDeviation, SignalGlance, SignalView, Symptom, SymptomEvidence, SymptomKind,
    SymptomState,
};
pub use breaker::{
    BreakerAdvice, BreakerBaseline, BreakerKey, BreakerPhase, BreakerProbing, BreakerRecord, BreakerReport,
    BreakerVerdict,
};
pub use budget::{
    BudgetMeasure, BudgetPolicyState, ExhaustionForecast, MeasureInForce, QueryReading, TrackedObjective,
};
pub use declared::{
    AutonomyLevel, BreakerRule, Declared, DeclaredKind, DeclaredSpec, EdgeSpec, Objective, PolicySpec,
    ReviewRule, ScalePolicy, ServiceSpec, SloSpec,
};
pub use directive::{
    Action, Alternative, BreakerMode, BreakerOverride, BreakerSetting, Counterfactual, CounterfactualPoint,
    Directive, DirectiveKind, DirectiveRecord, Evidence, ExpectedCost, ExpectedEffect, FreezeScope,
    GuardrailVerdict, InputAsk, NotifyUrgency, Observation, Preconditions, Rationale, Release, ServiceMode,
    Transition,
};
pub use ids::{Generation, InvalidId, ResourceId, ResourceKind, SHARDS, Shard, SignalId};
pub use lifecycle::{DirectiveState, InvalidTransition};
pub use outcome::{FeedbackLoop, FeedbackSignal, MeasuredEffect, Outcome, OutcomeResult, PauseState};
pub use sample::{DataGap, IngestAck, Quality, Sample, SampleBatch, SignalDescriptor, SignalKind};
pub use seasonality::{SeasonalPeriod, SeasonalityModel, SeasonalityState};
pub use selector::{Matcher, Selector};
pub use standing::{EvidenceSource, EvidenceVerdict, Standing, StandingCause, StandingEvidence};
pub use threshold::{Threshold, ThresholdReview, ThresholdState};
