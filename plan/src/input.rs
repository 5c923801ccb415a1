//! What one service is planned from: borrowed views of everything that is known about it and its neighbours.

use crate::{
    autonomy::Standings,
    economy::Economy,
    history::History,
    ledger::{Ledger, Line},
    operating::Operating,
};
use proto::model::{
    ActuatorSpec, Assessment, AutonomyLevel, Objective, PauseState, PolicySpec, ResourceId, ScalePolicy,
};

/// Whose wishes hold for a service.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PolicyView<'a> {
    /// Nobody said what may be done.
    None,
    /// One policy names the service.
    One(NamedPolicy<'a>),
    /// Two policies name it; which one was meant is for people to say.
    Conflicting(&'a str, &'a str),
}

/// A policy with its name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NamedPolicy<'a> {
    /// Its name.
    pub name: &'a str,
    /// What people want.
    pub spec: &'a PolicySpec,
}

/// Everything that a decision about one service rests on.
#[derive(Debug, Clone)]
pub struct PlanInput<'a> {
    /// The service.
    pub service: &'a ResourceId,
    /// What may be done.
    pub policy: PolicyView<'a>,
    /// What it promises, from its SLO or its own declaration.
    pub objective: Option<Objective>,
    /// The newest assessment.
    pub assessment: Option<&'a Assessment>,
    /// The newest assessment on good data.
    pub last_good: Option<&'a Assessment>,
    /// Its recent load.
    pub history: &'a History,
    /// What risk and replicas are worth to it.
    pub economy: &'a Economy,
    /// How it fares, and how closely it is followed.
    pub operating: Operating,
    /// Whether what is too much for it can be turned away at once.
    pub sheds: bool,
    /// Directives that scale it.
    pub scale_line: &'a Line,
    /// Services that it calls.
    pub outgoing: Vec<Outgoing<'a>>,
    /// Services that call it.
    pub incoming: Vec<Incoming<'a>>,
    /// Every directive.
    pub ledger: &'a Ledger,
    /// What policies have earned.
    pub standings: &'a Standings,
    /// Live actuators.
    pub actuators: &'a [ActuatorSpec],
    /// The kill switch.
    pub pause: &'a PauseState,
}

impl PlanInput<'_> {
    /// The level in force of a policy at a resource.
    pub fn level(&self, policy: NamedPolicy<'_>, resource: &ResourceId) -> AutonomyLevel {
        self.standings.level(policy.name, resource, policy.spec.autonomy)
    }
}

/// A called service, and the edge to it.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// The edge.
    pub edge: &'a ResourceId,
    /// What is known of the calls.
    pub assessment: Option<&'a Assessment>,
    /// Directives that set the edge's breaker.
    pub line: &'a Line,
    /// The called service.
    pub callee: &'a ResourceId,
    /// What is known of it.
    pub callee_assessment: Option<&'a Assessment>,
    /// How it may be scaled.
    pub callee_scale: Option<(&'a ScalePolicy, AutonomyLevel)>,
    /// Directives that scale it.
    pub callee_line: &'a Line,
}

/// A calling service, and the edge from it.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// The edge.
    pub edge: &'a ResourceId,
    /// What is known of the calls.
    pub assessment: Option<&'a Assessment>,
    /// Directives that set the edge's breaker.
    pub line: &'a Line,
    /// The calling service.
    pub caller: &'a ResourceId,
    /// What is known of it.
    pub caller_assessment: Option<&'a Assessment>,
}
