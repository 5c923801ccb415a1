//! What Plan did about a resource and why: chosen, rejected, blocked or waiting, for people to read.

use crate::operating::Operating;
use jiff::Timestamp;
use proto::model::{AutonomyLevel, ExpectedCost, GuardrailVerdict, InputAsk, ResourceId};
use std::fmt;
use uuid::Uuid;

/// What became of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Choice {
    /// Proposed.
    Chosen,
    /// Something else is better.
    Rejected,
    /// A guardrail forbids it.
    Blocked,
    /// It is right, but must wait.
    Waiting,
}

impl Choice {
    /// The one text form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chosen => "chosen",
            Self::Rejected => "rejected",
            Self::Blocked => "blocked",
            Self::Waiting => "waiting",
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A candidate that was weighed.
#[derive(Debug, Clone, PartialEq)]
pub struct Considered {
    /// The change.
    pub action: String,
    /// What became of it.
    pub choice: Choice,
    /// Why.
    pub reason: String,
    /// What each guardrail said, where they were asked.
    pub guardrails: Vec<GuardrailVerdict>,
    /// What it is expected to cost; `None` where it was dropped before it was weighed.
    pub cost: Option<ExpectedCost>,
}

/// What Plan does about one resource and why.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "an unread report explains nothing"]
pub struct PlanReport {
    /// Which resource.
    pub resource: ResourceId,
    /// When.
    pub at: Timestamp,
    /// Name of the policy; empty when there is none.
    pub policy: String,
    /// How far Homeostat may go.
    pub autonomy: AutonomyLevel,
    /// One sentence.
    pub text: String,
    /// What was weighed.
    pub considered: Vec<Considered>,
    /// The directive that came of it, or that is still under way.
    pub directive_id: Option<Uuid>,
    /// Why nothing may be reduced now, if so.
    pub reductions_forbidden: Option<String>,
    /// What each input asked for.
    pub asked: Vec<InputAsk>,
    /// How the service fares; `None` for an edge.
    pub operating: Option<Operating>,
}

impl PlanReport {
    /// A report that says only why nothing is planned.
    pub fn idle(resource: &ResourceId, at: Timestamp, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            resource: resource.clone(),
            at,
            policy: String::new(),
            autonomy: AutonomyLevel::Observe,
            reductions_forbidden: Some(text.clone()),
            text,
            considered: Vec::new(),
            directive_id: None,
            asked: Vec::new(),
            operating: None,
        }
    }
}

impl fmt::Display for PlanReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            resource,
            at: _,
            policy,
            autonomy,
            text,
            considered,
            directive_id,
            reductions_forbidden,
            asked: _,
            operating: _,
        } = self;
        let policy = if policy.is_empty() { "none" } else { policy };
        writeln!(f, "{resource} (policy {policy}, {autonomy})")?;
        writeln!(f, "  {text}")?;
        for Considered { action, choice, reason, guardrails, cost: _ } in considered {
            writeln!(f, "  {choice:<8} {action}: {reason}")?;
            for GuardrailVerdict { guardrail, vetoed, reason } in guardrails {
                writeln!(f, "    {} {guardrail}: {reason}", if *vetoed { "veto" } else { "pass" })?;
            }
        }
        if let Some(reason) = reductions_forbidden {
            writeln!(f, "  nothing may be reduced: {reason}")?;
        }
        match directive_id {
            Some(id) => writeln!(f, "  directive {id}"),
            None => Ok(()),
        }
    }
}
