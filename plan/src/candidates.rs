//! Possible changes: what might help, from what was seen. Nothing here decides; `score` ranks and `guardrails` veto.

pub mod breaker;
pub mod demand;
pub mod rest;
pub mod scale;

use crate::score::Cost;
use proto::model::{Action, Counterfactual, Evidence, ExpectedCost, ExpectedEffect, InputAsk, ResourceId};
use std::time::Duration;
use uuid::Uuid;

/// A possible change with all that a directive says about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// What would be changed.
    pub resource: ResourceId,
    /// The change.
    pub action: Action,
    /// What takes it back: the state before.
    pub undo: Action,
    /// Whether it reduces capacity or protection.
    pub reduces: bool,
    /// Share of the resource that it touches.
    pub blast_radius_ratio: f64,
    /// The age of the last good assessment, when the candidate rests on that and not on what is seen now.
    pub follows_last_good: Option<Duration>,
    /// Its rank.
    pub cost: Cost,
    /// One sentence: what and why.
    pub text: String,
    /// What was seen.
    pub evidence: Vec<Evidence>,
    /// Symptoms that it answers.
    pub symptom_ids: Vec<String>,
    /// What it promises.
    pub expected: Vec<ExpectedEffect>,
    /// What would happen otherwise.
    pub counterfactual: Vec<Counterfactual>,
    /// The scrape interval behind it.
    pub interval: Duration,
    /// The directive that it takes back.
    pub takes_back: Option<Uuid>,
}

impl Candidate {
    /// How many replicas it asks for, if it scales.
    pub fn replicas(&self) -> Option<u32> {
        match self.action {
            Action::Scale { replicas } => Some(replicas),
            _ => None,
        }
    }
}

/// What doing nothing costs, and why it may be right.
#[derive(Debug, Clone, PartialEq)]
pub struct Hold {
    /// Its rank.
    pub cost: Cost,
    /// How many replicas that leaves, where replicas are what it is about.
    pub replicas: Option<u32>,
    /// One sentence.
    pub text: String,
}

/// The candidates for one resource, doing nothing among them.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// Doing nothing.
    pub hold: Hold,
    /// Changes, in any order.
    pub candidates: Vec<Candidate>,
    /// What was thought of and dropped before it could be weighed: the change and the reason.
    pub dropped: Vec<(String, String)>,
    /// What each input asked for.
    pub asked: Vec<InputAsk>,
    /// Numbers of replicas to which a forecast gave a price, and what each costs in replicas.
    pub priced: Vec<(u32, f64)>,
}

impl Survey {
    /// Nothing to weigh, for this reason.
    pub fn nothing(text: impl Into<String>) -> Self {
        let cost = Cost { unmet_permille: 0, idle_replicas: 0, changed: 0, order: 0 };
        Self {
            hold: Hold { cost, replicas: None, text: text.into() },
            candidates: Vec::new(),
            dropped: Vec::new(),
            asked: Vec::new(),
            priced: Vec::new(),
        }
    }

    /// What it costs, in full.
    pub fn expected(&self, cost: Cost, replicas: Option<u32>) -> ExpectedCost {
        let priced = self.priced.iter().find(|(priced, _)| Some(*priced) == replicas);
        ExpectedCost { replicas_worth: priced.map(|(_, worth)| *worth), ..cost.into() }
    }
}
