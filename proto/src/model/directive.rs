//! A directive: one immutable, bounded, reversible change, and what became of it.

use super::{
    declared::AutonomyLevel,
    ids::{Generation, ResourceId, ResourceKind},
    lifecycle::DirectiveState,
    text::words,
};
use jiff::Timestamp;
use serde::Serialize;
use std::{fmt, time::Duration};
use uuid::Uuid;

words! {
    /// Kinds of change.
    DirectiveKind {
        /// Set the number of replicas; exclusive.
        Scale = "scale",
        /// Set an edge's breaker policy; replicated.
        SetBreaker = "set_breaker",
        /// Take a release back; exclusive.
        Rollback = "rollback",
        /// Let nothing be changed; exclusive.
        Freeze = "freeze",
        /// Set how the service works; exclusive.
        SetMode = "set_mode",
        /// Set how often the service is looked at; replicated.
        SetCadence = "set_cadence",
        /// Tell people; replicated.
        Notify = "notify",
    }
}

impl DirectiveKind {
    /// One actuator per resource, or every registered instance.
    pub fn exclusive(self) -> bool {
        match self {
            Self::Scale | Self::Rollback | Self::Freeze | Self::SetMode => true,
            Self::SetBreaker | Self::SetCadence | Self::Notify => false,
        }
    }

    /// Whether making the change is all that it promises: no signal tells it, its actuator's word does.
    pub fn is_its_own_effect(self) -> bool {
        matches!(self, Self::Freeze | Self::SetMode | Self::SetCadence | Self::Notify)
    }

    /// The kind of resource that it changes.
    pub fn resource_kind(self) -> ResourceKind {
        match self {
            Self::SetBreaker => ResourceKind::Edge,
            Self::Scale | Self::Rollback | Self::Freeze | Self::SetMode | Self::SetCadence | Self::Notify => {
                ResourceKind::Service
            }
        }
    }
}

words! {
    /// What a breaker does with its verdict.
    BreakerMode {
        /// Counts what would be rejected.
        MetricsOnly = "metrics_only",
        /// Opens, probes and closes by its own evidence.
        Enforce = "enforce",
        /// Rejects every call.
        ForcedOpen = "forced_open",
        /// Admits every call and counts nothing.
        Disabled = "disabled",
    }
}

words! {
    /// A release of a service, as seen from where it stands.
    Release {
        /// The one before the newest.
        Previous = "previous",
        /// The newest.
        Newest = "newest",
    }
}

words! {
    /// What a freeze keeps from happening.
    FreezeScope {
        /// Deployments, but urgent ones.
        Deployments = "deployments",
        /// Every change by people.
        Changes = "changes",
    }
}

words! {
    /// How a service works.
    ServiceMode {
        /// As ever.
        Normal = "normal",
        /// Without writes.
        ReadOnly = "read_only",
        /// Without what it can do without.
        Degraded = "degraded",
    }
}

words! {
    /// How soon people should look.
    NotifyUrgency {
        /// When they come to it.
        Info = "info",
        /// In working hours.
        Ticket = "ticket",
        /// Now.
        Page = "page",
    }
}

/// Policy of the breaker on an edge.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BreakerSetting {
    /// What it does.
    pub mode: BreakerMode,
    /// Failure ratio at which it opens; above 0, at most 1.
    pub failure_ratio_to_open: f64,
    /// A longer call counts as failed.
    #[serde(serialize_with = "option_millis", rename = "slow_call_ms")]
    pub slow_call: Option<Duration>,
    /// First wait before probing.
    #[serde(serialize_with = "millis", rename = "open_wait_ms")]
    pub open_wait: Duration,
    /// Probes at once while half open; at least 1.
    pub half_open_permits: u32,
    /// What it does to a person's word; `None`: it leaves it as it is.
    #[serde(rename = "override", skip_serializing_if = "Option::is_none")]
    pub told: Option<BreakerOverride>,
}

/// A person's word over a breaker's mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerOverride {
    /// It stands until then, and ends by itself.
    Set {
        /// What the breaker does meanwhile.
        mode: BreakerMode,
        /// Its end.
        until: Timestamp,
    },
    /// None stands any longer.
    Cleared,
}

impl BreakerOverride {
    /// Whether a word stands at `now`.
    pub fn stands(&self, now: Timestamp) -> bool {
        matches!(self, Self::Set { until, .. } if *until > now)
    }
}

/// The change itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Set the number of replicas; at least 1.
    Scale {
        /// How many.
        replicas: u32,
    },
    /// Set the breaker policy.
    SetBreaker(BreakerSetting),
    /// Take the service to a release.
    Rollback {
        /// Which.
        to: Release,
    },
    /// Let nothing be changed.
    Freeze {
        /// What.
        scope: FreezeScope,
        /// The actuator lifts it by itself then; `None`: it is lifted.
        until: Option<Timestamp>,
    },
    /// Set how the service works.
    SetMode {
        /// How.
        mode: ServiceMode,
    },
    /// Set how often the service is looked at.
    SetCadence {
        /// How often; `None`: as configured.
        #[serde(serialize_with = "option_millis", rename = "interval_ms")]
        interval: Option<Duration>,
        /// Whoever looks goes back by itself then; `None`: a day later at most.
        until: Option<Timestamp>,
    },
    /// Tell people what the rationale says.
    Notify {
        /// How soon they should look.
        urgency: NotifyUrgency,
        /// That it is over.
        resolved: bool,
    },
}

impl Action {
    /// Its kind.
    pub fn kind(&self) -> DirectiveKind {
        match self {
            Self::Scale { .. } => DirectiveKind::Scale,
            Self::SetBreaker(_) => DirectiveKind::SetBreaker,
            Self::Rollback { .. } => DirectiveKind::Rollback,
            Self::Freeze { .. } => DirectiveKind::Freeze,
            Self::SetMode { .. } => DirectiveKind::SetMode,
            Self::SetCadence { .. } => DirectiveKind::SetCadence,
            Self::Notify { .. } => DirectiveKind::Notify,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scale { replicas: 1 } => write!(f, "scale to 1 replica"),
            Self::Scale { replicas } => write!(f, "scale to {replicas} replicas"),
            Self::SetBreaker(setting) => {
                write!(
                    f,
                    "set breaker to {} at failure ratio {}",
                    setting.mode, setting.failure_ratio_to_open
                )?;
                match setting.told {
                    None => Ok(()),
                    Some(BreakerOverride::Set { mode, until }) => write!(f, ", {mode} until {until}"),
                    Some(BreakerOverride::Cleared) => write!(f, ", without override"),
                }
            }
            Self::Rollback { to: Release::Previous } => write!(f, "roll back to the previous release"),
            Self::Rollback { to: Release::Newest } => write!(f, "go on to the newest release"),
            Self::Freeze { scope, until: Some(until) } => write!(f, "freeze {scope} until {until}"),
            Self::Freeze { scope, until: None } => write!(f, "lift the freeze of {scope}"),
            Self::SetMode { mode } => write!(f, "set mode to {mode}"),
            Self::SetCadence { interval: Some(interval), until: None } => {
                write!(f, "look every {} s", interval.as_secs_f64())
            }
            Self::SetCadence { interval: Some(interval), until: Some(until) } => {
                write!(f, "look every {} s until {until}", interval.as_secs_f64())
            }
            Self::SetCadence { interval: None, .. } => write!(f, "look as often as configured"),
            Self::Notify { urgency, resolved: false } => write!(f, "notify ({urgency})"),
            Self::Notify { urgency: _, resolved: true } => write!(f, "notify that it is over"),
        }
    }
}

/// A named number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Observation {
    /// For example `ready_replicas`.
    pub name: String,
    /// Finite.
    pub value: f64,
}

/// One promise about a signal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExpectedEffect {
    /// Whose signal, when it is not the directive's own resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceId>,
    /// Signal name.
    pub signal: String,
    /// Kept while `lower <= value <= upper`; may be infinite.
    pub lower: f64,
    /// Upper limit.
    pub upper: f64,
    /// Leaving the interval means harm, not just no effect.
    pub breach_is_harm: bool,
}

/// One moment of a counterfactual path.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CounterfactualPoint {
    /// After creation.
    #[serde(serialize_with = "millis", rename = "after_ms")]
    pub after: Duration,
    /// 10 % quantile.
    pub q10: f64,
    /// Median.
    pub q50: f64,
    /// 90 % quantile.
    pub q90: f64,
}

/// What a signal would do if nothing were done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Counterfactual {
    /// Whose signal, when it is not the directive's own resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceId>,
    /// Signal name.
    pub signal: String,
    /// Forecasting method.
    pub method: String,
    /// The path.
    pub points: Vec<CounterfactualPoint>,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evidence {
    /// Signal name.
    pub signal: String,
    /// `None` when unknown.
    pub value: Option<f64>,
    /// Lower limit, if there is one.
    pub lower: Option<f64>,
    /// Upper limit, if there is one.
    pub upper: Option<f64>,
    /// For people.
    pub text: String,
}

/// What a change is expected to cost; smaller is better, the first field first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ExpectedCost {
    /// Share of requests or calls that go unserved or keep hanging, 0 to 1.
    pub unserved_ratio: f64,
    /// Replicas beyond what the whole stabilisation window needs.
    pub idle_replicas: u32,
    /// Replicas, or edges, that are changed.
    pub changed: u32,
    /// Replicas and what is expected to be late, together in replicas; `None` without a forecast.
    pub replicas_worth: Option<f64>,
}

/// What was considered and not chosen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alternative {
    /// The change.
    pub action: String,
    /// Why not.
    pub reason: String,
    /// `None` where it was dropped before it was weighed.
    pub cost: Option<ExpectedCost>,
}

/// What one input asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InputAsk {
    /// For example `load to come`.
    pub input: String,
    /// Replicas, or what the text says; `None` when the input said nothing.
    pub asks: Option<f64>,
    /// For people.
    pub text: String,
}

/// A guardrail's verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GuardrailVerdict {
    /// Its name.
    pub guardrail: String,
    /// Whether it forbids the change.
    pub vetoed: bool,
    /// Why.
    pub reason: String,
}

/// Why this and not something else.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct Rationale {
    /// One sentence.
    pub text: String,
    /// What was seen.
    pub evidence: Vec<Evidence>,
    /// What was not chosen.
    pub rejected: Vec<Alternative>,
    /// What each guardrail said.
    pub guardrails: Vec<GuardrailVerdict>,
    /// Symptoms that it answers.
    pub symptom_ids: Vec<String>,
    /// What each input asked for.
    pub asked: Vec<InputAsk>,
    /// Of the change itself.
    pub cost: Option<ExpectedCost>,
}

/// What must still hold at delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Preconditions {
    /// Oldest assessment that it may still rest on.
    #[serde(serialize_with = "millis", rename = "max_evidence_age_ms")]
    pub max_evidence_age: Duration,
    /// Whether data must be known at delivery.
    pub requires_known_data: bool,
}

/// An immutable change request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Directive {
    /// Chosen by the planner.
    pub id: Uuid,
    /// What is changed.
    pub resource: ResourceId,
    /// The change.
    pub action: Action,
    /// What takes it back.
    pub undo: Action,
    /// Planned against this generation.
    pub parent_generation: Generation,
    /// Its own; 0 until accepted, and in advice.
    pub generation: Generation,
    /// Name of the policy.
    pub policy: String,
    /// Level under which it was made.
    pub autonomy: AutonomyLevel,
    /// When it was decided.
    pub created_at: Timestamp,
    /// Not delivered after this moment.
    pub expires_at: Timestamp,
    /// From delivery to report.
    #[serde(serialize_with = "millis", rename = "apply_timeout_ms")]
    pub apply_timeout: Duration,
    /// From application to verdict.
    #[serde(serialize_with = "millis", rename = "verify_window_ms")]
    pub verify_window: Duration,
    /// What must still hold at delivery.
    pub preconditions: Preconditions,
    /// What it promises.
    pub expected: Vec<ExpectedEffect>,
    /// What would happen otherwise.
    pub counterfactual: Vec<Counterfactual>,
    /// Why.
    pub rationale: Rationale,
    /// Share of the resource touched, 0 to 1.
    pub blast_radius_ratio: f64,
    /// Whether it reduces capacity or protection.
    pub reduces: bool,
    /// The directive that it takes back.
    pub undo_of: Option<Uuid>,
    /// For replicated kinds: share of instances that must apply it; above 0, at most 1.
    pub quorum_ratio: f64,
}

impl Directive {
    /// Its kind.
    pub fn kind(&self) -> DirectiveKind {
        self.action.kind()
    }
}

/// One step of a directive's life.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Transition {
    /// Which directive.
    pub directive_id: Uuid,
    /// State that it must be in.
    pub from: DirectiveState,
    /// State that it gets.
    pub to: DirectiveState,
    /// When.
    pub at: Timestamp,
    /// Who or what.
    pub actor: String,
    /// Why.
    pub detail: String,
    /// Delivery attempt; 0 where there was none.
    pub attempt: u32,
    /// Seen before the change.
    pub before: Vec<Observation>,
    /// Seen after it.
    pub after: Vec<Observation>,
}

/// A directive with its present state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DirectiveRecord {
    /// The immutable part.
    pub directive: Directive,
    /// Where it stands.
    pub state: DirectiveState,
    /// Ledger revision of its last change.
    pub revision: u64,
    /// When that was.
    pub changed_at: Timestamp,
    /// The last transition's detail.
    pub detail: String,
    /// Oldest first; empty in listings and watches.
    pub history: Vec<Transition>,
}

fn millis<S: serde::Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
}

#[expect(clippy::ref_option, reason = "serde's serialize_with passes the field by reference")]
fn option_millis<S: serde::Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => millis(value, serializer),
        None => serializer.serialize_none(),
    }
}
