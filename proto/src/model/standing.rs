//! What a policy has earned at a resource, and the evidence for it.

use super::{declared::AutonomyLevel, ids::ResourceId, text::words};
use jiff::Timestamp;
use serde::Serialize;

words! {
    /// Why a level changed.
    StandingCause {
        /// Evidence was enough for the next level.
        Promoted = "promoted",
        /// Harm, or too few kept promises.
        Demoted = "demoted",
        /// A person said so.
        Set = "set",
    }
}

words! {
    /// Where evidence comes from.
    EvidenceSource {
        /// Replayed on recorded load.
        Backtest = "backtest",
        /// Advice against what happened without it.
        Shadow = "shadow",
        /// A directive's verified outcome.
        Outcome = "outcome",
    }
}

words! {
    /// What evidence says.
    EvidenceVerdict {
        /// In the policy's favour.
        For = "for",
        /// Against it.
        Against = "against",
        /// It did damage.
        Harm = "harm",
        /// Nobody can tell; never counted as success.
        Unknown = "unknown",
    }
}

/// One version of a policy's standing at a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Name of the policy, in the resource's namespace.
    pub policy: String,
    /// Where.
    pub resource: ResourceId,
    /// Counts the changes from 1.
    pub generation: u64,
    /// What evidence allows.
    pub earned: AutonomyLevel,
    /// What a person allows at most.
    pub cap: Option<AutonomyLevel>,
    /// Why it changed.
    pub cause: StandingCause,
    /// One sentence.
    pub reason: String,
    /// `plan`, or a person.
    pub actor: String,
    /// When.
    pub at: Timestamp,
}

impl Standing {
    /// The level in force where this much is declared: the lowest of what is declared, earned and allowed.
    #[must_use]
    pub fn level(&self, declared: AutonomyLevel) -> AutonomyLevel {
        declared.min(self.earned).min(self.cap.unwrap_or(declared))
    }
}

/// One piece of evidence about a policy at a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StandingEvidence {
    /// Name of the policy.
    pub policy: String,
    /// Where.
    pub resource: ResourceId,
    /// Where it comes from.
    pub source: EvidenceSource,
    /// What it is about: a directive's id, or a backtest's name.
    pub subject: String,
    /// What it says.
    pub verdict: EvidenceVerdict,
    /// For people.
    pub text: String,
    /// When it was found.
    pub at: Timestamp,
}

impl StandingEvidence {
    /// Longest subject in bytes: a file's name.
    pub const SUBJECT_MOST: usize = 200;
}
