//! What people declare: services, policies and objectives.

use super::{
    ids::{InvalidId, ResourceId},
    selector::Selector,
    text::words,
};
use jiff::Timestamp;
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

words! {
    /// Kinds of declared document.
    DeclaredKind {
        /// A service.
        Service = "Service",
        /// What may be done for a service.
        Policy = "Policy",
        /// An objective declared apart from its service.
        Slo = "SLO",
    }
}

words! {
    /// What Homeostat may do by itself under a policy.
    AutonomyLevel {
        /// Record what it would do.
        Observe = "observe",
        /// Advise.
        Recommend = "recommend",
        /// A person approves each directive.
        Approve = "approve",
        /// It acts.
        Act = "act",
    }
}

words! {
    /// Whether a learned threshold needs a person before it is used.
    ReviewRule {
        /// Promoted by itself.
        Automatic = "automatic",
        /// Waits for approval.
        Required = "required",
    }
}

/// A call from a service to another one, seen from the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EdgeSpec {
    /// The called service, in the same namespace.
    pub callee: String,
    /// Counter of calls that were sent.
    pub total: Selector,
    /// Counter of those that succeeded.
    pub good: Selector,
    /// Histogram of call latency in seconds.
    pub latency: Option<Selector>,
}

/// What a service promises.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Objective {
    /// Share of events that must be good; above 0, below 1.
    pub target_ratio: f64,
    /// A good event is answered within this time; `None`: latency does not matter.
    pub latency_bound: Option<Duration>,
    /// Rolling window of the error budget.
    pub window: Duration,
}

impl Objective {
    /// Checks the numbers.
    ///
    /// # Errors
    /// When the target or the window is out of range.
    pub fn validate(&self) -> Result<(), InvalidId> {
        if !(self.target_ratio > 0.0 && self.target_ratio < 1.0) {
            return Err(InvalidId::new("objective.target", self.target_ratio, "must be above 0 and below 1"));
        }
        if self.window < Duration::from_secs(60) || self.window > Duration::from_secs(90 * 86_400) {
            return Err(InvalidId::new(
                "objective.window",
                format!("{:?}", self.window),
                "must be 1m to 90d",
            ));
        }
        if self.latency_bound.is_some_and(|bound| bound.is_zero() || bound > Duration::from_secs(3_600)) {
            return Err(InvalidId::new(
                "objective.latency",
                format!("{:?}", self.latency_bound),
                "must be above 0, at most 1h",
            ));
        }
        Ok(())
    }
}

/// Which series play which role for a service, and what it calls and promises.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServiceSpec {
    /// Labels that a scrape target must have to belong to the service; never empty.
    pub instances: BTreeMap<String, String>,
    /// Counter of requests that arrived.
    pub total: Selector,
    /// Counter of requests answered without error.
    pub good: Option<Selector>,
    /// Classic histogram of latency in seconds.
    pub latency: Option<Selector>,
    /// Counter of busy worker-seconds; goes with `workers`.
    pub busy_seconds: Option<Selector>,
    /// Gauge of workers per replica.
    pub workers: Option<Selector>,
    /// Gauge, 1 when a replica can take requests.
    pub ready: Option<Selector>,
    /// Calls to other services.
    pub edges: Vec<EdgeSpec>,
    /// What it promises.
    pub objective: Option<Objective>,
}

impl ServiceSpec {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// Names the first field that breaks a rule.
    pub fn validate(&self) -> Result<(), InvalidId> {
        if self.instances.is_empty()
            || self.instances.iter().any(|(label, value)| label.is_empty() || value.is_empty())
        {
            return Err(InvalidId::new(
                "instances",
                "{}",
                "must name at least one label and value (empty would mean every target)",
            ));
        }
        if self.busy_seconds.is_some() != self.workers.is_some() {
            return Err(InvalidId::new("busy_seconds", "", "goes with workers: give both or neither"));
        }
        for (index, edge) in self.edges.iter().enumerate() {
            if self.edges[..index].iter().any(|other| other.callee == edge.callee) {
                return Err(InvalidId::new("edges.callee", &edge.callee, "must be named once"));
            }
        }
        if let Some(objective) = &self.objective {
            objective.validate()?;
            if objective.latency_bound.is_some() && self.latency.is_none() {
                return Err(InvalidId::new("objective.latency", "", "needs a latency histogram in signals"));
            }
            if objective.latency_bound.is_none() && self.good.is_none() {
                return Err(InvalidId::new(
                    "objective",
                    "",
                    "needs signals.good or a latency bound to tell good from bad",
                ));
            }
        }
        Ok(())
    }
}

/// How far a service may be scaled.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ScalePolicy {
    /// Never fewer.
    pub minimum_replicas: u32,
    /// Never more.
    pub maximum_replicas: u32,
    /// Most replicas added by one directive.
    pub step_up_replicas: u32,
    /// Most replicas removed by one directive.
    pub step_down_replicas: u32,
    /// Least time between two scale-outs.
    pub cooldown_up: Duration,
    /// Least time from any scaling to a scale-in.
    pub cooldown_down: Duration,
    /// Utilisation aimed at; above 0, at most 0.95.
    pub target_utilisation_ratio: f64,
}

impl ScalePolicy {
    fn validate(&self) -> Result<(), InvalidId> {
        /// More replicas than any one service has been seen with; a larger number is a slip of the pen.
        const REPLICAS_MAX: u32 = 100_000;
        if self.minimum_replicas == 0 || self.minimum_replicas > self.maximum_replicas {
            let value = format!("{}..{}", self.minimum_replicas, self.maximum_replicas);
            return Err(InvalidId::new("scale.minimum", value, "must be at least 1 and at most the maximum"));
        }
        if self.maximum_replicas > REPLICAS_MAX {
            return Err(InvalidId::new("scale.maximum", self.maximum_replicas, "must be at most 100000"));
        }
        if self.step_up_replicas == 0 || self.step_down_replicas == 0 {
            return Err(InvalidId::new("scale.step", 0, "must be at least 1"));
        }
        if !(self.target_utilisation_ratio > 0.0 && self.target_utilisation_ratio <= 0.95) {
            return Err(InvalidId::new(
                "scale.target_utilisation",
                self.target_utilisation_ratio,
                "must be above 0, at most 0.95",
            ));
        }
        Ok(())
    }
}

/// Whether breakers on outgoing edges may be set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BreakerRule {
    /// Called services whose edge may be protected; never empty.
    pub callees: Vec<String>,
    /// Failure ratio at which the pushed policy opens; above 0, at most 1.
    pub failure_ratio_to_open: f64,
    /// Least time between two directives on one edge.
    pub cooldown: Duration,
}

/// What people want done for one service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicySpec {
    /// The service, in the same namespace.
    pub service: String,
    /// How far Homeostat may go by itself.
    pub autonomy: AutonomyLevel,
    /// Scaling; `None`: never scaled.
    pub scale: Option<ScalePolicy>,
    /// Breakers; `None`: never set.
    pub breaker: Option<BreakerRule>,
    /// Largest share of ready replicas that one directive may remove; above 0, at most 1.
    pub blast_radius_ratio: f64,
    /// Review of learned thresholds.
    pub review: ReviewRule,
}

impl PolicySpec {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// Names the first field that breaks a rule.
    pub fn validate(&self) -> Result<(), InvalidId> {
        if !(self.blast_radius_ratio > 0.0 && self.blast_radius_ratio <= 1.0) {
            return Err(InvalidId::new(
                "blast_radius",
                self.blast_radius_ratio,
                "must be above 0, at most 1",
            ));
        }
        if let Some(scale) = &self.scale {
            scale.validate()?;
        }
        if let Some(rule) = &self.breaker {
            if rule.callees.is_empty() {
                return Err(InvalidId::new("breaker.callees", "[]", "must name at least one callee"));
            }
            if !(rule.failure_ratio_to_open > 0.0 && rule.failure_ratio_to_open <= 1.0) {
                return Err(InvalidId::new(
                    "breaker.failure_ratio",
                    rule.failure_ratio_to_open,
                    "must be above 0, at most 1",
                ));
            }
        }
        Ok(())
    }
}

/// An objective declared apart from its service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SloSpec {
    /// The service, in the same namespace.
    pub service: String,
    /// Replaces the service's own.
    pub objective: Objective,
}

/// The content of a declared document.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum DeclaredSpec {
    /// A service.
    Service(Box<ServiceSpec>),
    /// A policy.
    Policy(Box<PolicySpec>),
    /// An objective.
    Slo(SloSpec),
}

/// One declared document.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Declared {
    /// Where it lives.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its content.
    pub spec: DeclaredSpec,
    /// Set by Knowledge; 0 before.
    pub version: u64,
    /// Set by Knowledge.
    pub applied_at: Option<Timestamp>,
}

impl Declared {
    /// Which kind it is.
    pub fn kind(&self) -> DeclaredKind {
        match self.spec {
            DeclaredSpec::Service(_) => DeclaredKind::Service,
            DeclaredSpec::Policy(_) => DeclaredKind::Policy,
            DeclaredSpec::Slo(_) => DeclaredKind::Slo,
        }
    }

    /// The resource of the service that it is or is about.
    ///
    /// # Errors
    /// When namespace or name is not valid.
    pub fn service_id(&self) -> Result<ResourceId, InvalidId> {
        let name = match &self.spec {
            DeclaredSpec::Service(_) => &self.name,
            DeclaredSpec::Policy(policy) => &policy.service,
            DeclaredSpec::Slo(slo) => &slo.service,
        };
        ResourceId::service(&self.namespace, name)
    }

    /// Checks names and content.
    ///
    /// # Errors
    /// Names the first field that breaks a rule.
    pub fn validate(&self) -> Result<(), InvalidId> {
        ResourceId::service(&self.namespace, &self.name).map_err(|error| error.under("metadata"))?;
        self.service_id().map_err(|error| error.under("spec.service"))?;
        let checked = match &self.spec {
            DeclaredSpec::Service(service) => {
                for edge in &service.edges {
                    ResourceId::edge(&self.namespace, &self.name, &edge.callee)
                        .map_err(|error| error.under("spec.edges.callee"))?;
                }
                service.validate()
            }
            DeclaredSpec::Policy(policy) => policy.validate(),
            DeclaredSpec::Slo(slo) => slo.objective.validate(),
        };
        checked.map_err(|error| error.under("spec"))
    }
}
