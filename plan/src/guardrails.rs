//! Checks that may veto a candidate, each with a reason. All are asked about every candidate, so that a report shows all that
//! stands in its way.

mod actuator;
mod autonomy;
mod blast_radius;
mod bounds;
mod budget;
mod concurrency;
mod cooldown;
mod data_quality;
mod freshness;
mod pause;
mod step;
mod trouble;
mod upstream;

pub use freshness::evidence_age;
pub use pause::paused;
pub use upstream::hidden_load;

use crate::{
    candidates::{Candidate, scale::Replicas},
    data::Data,
    input::{NamedPolicy, PlanInput},
    ledger::Line,
};
use jiff::Timestamp;
use proto::model::{AutonomyLevel, GuardrailVerdict};

/// What a guardrail looks at besides the candidate.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The moment.
    pub now: Timestamp,
    /// The service and its neighbours.
    pub input: &'a PlanInput<'a>,
    /// What people want.
    pub policy: NamedPolicy<'a>,
    /// The level in force: what is declared, unless less was earned or is allowed.
    pub autonomy: AutonomyLevel,
    /// The data about the candidate's resource.
    pub data: &'a Data<'a>,
    /// Directives of the candidate's resource and kind.
    pub line: &'a Line,
    /// Replicas of the service, where they are known.
    pub replicas: Option<Replicas>,
}

/// What one guardrail says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing against it, and why.
    Pass(String),
    /// Not now, and why.
    Veto(String),
}

use Verdict::{Pass, Veto};

type Guardrail = (&'static str, fn(&Candidate, &Situation<'_>) -> Verdict);

/// Every guardrail, in the order in which reports show them.
const ALL: [Guardrail; 13] = [
    ("bounds", bounds::check),
    ("step", step::check),
    ("blast_radius", blast_radius::check),
    ("data_quality", data_quality::check),
    ("freshness", freshness::check),
    ("upstream", upstream::check),
    ("trouble", trouble::check),
    ("budget", budget::check),
    ("cooldown", cooldown::check),
    ("concurrency", concurrency::check),
    ("pause", pause::check),
    ("actuator", actuator::check),
    ("autonomy", autonomy::check),
];

/// Guardrails that only ask to wait: time alone, or the end of what is under way, lifts their veto.
const WAITING: [&str; 2] = ["cooldown", "concurrency"];

/// Asks them all.
pub fn judge(candidate: &Candidate, situation: &Situation<'_>) -> Vec<GuardrailVerdict> {
    let verdict = |(name, check): &Guardrail| {
        let (vetoed, reason) = match check(candidate, situation) {
            Pass(reason) => (false, reason),
            Veto(reason) => (true, reason),
        };
        GuardrailVerdict { guardrail: (*name).to_owned(), vetoed, reason }
    };
    ALL.iter().map(verdict).collect()
}

/// Whether all that stands in the way is a wait.
pub fn is_waiting(verdicts: &[GuardrailVerdict]) -> bool {
    verdicts
        .iter()
        .filter(|verdict| verdict.vetoed)
        .all(|verdict| WAITING.contains(&verdict.guardrail.as_str()))
}
