//! Which directive may follow which: generations, compare-and-set, one change at a time. Pure.
//!
//! The generation counts the accepted intents of one (resource, kind). A directive is taken only if it was planned against
//! the current one and nothing else is under way, with two exceptions: the directive that takes back the one under way, and one
//! that reduces nothing while the one before is applied and only its verdict is awaited.

use proto::model::{AutonomyLevel, Directive, DirectiveState, Generation};
use uuid::Uuid;

/// A stored directive, as far as these rules care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Which.
    pub id: Uuid,
    /// Its generation; 0 for advice.
    pub generation: Generation,
    /// Where it stands.
    pub state: DirectiveState,
}

/// All that decides about a proposal.
#[derive(Debug)]
pub struct ProposeInput<'a> {
    /// What is proposed.
    pub directive: &'a Directive,
    /// Generation now current for its (resource, kind); 0 when nothing was ever accepted.
    pub current: Generation,
    /// Directives of the same (resource, kind) that are under way.
    pub under_way: &'a [Stored],
    /// What is stored under the same id.
    pub same_id: Option<Stored>,
    /// How far its policy may go at its resource now.
    pub level: AutonomyLevel,
    /// Whether it takes back one that is stored, of the same (resource, kind).
    pub takes_back_stored: bool,
}

/// What becomes of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Store it with this generation and state.
    Accepted {
        /// 0 for advice.
        generation: Generation,
        /// Where its life begins.
        state: DirectiveState,
    },
    /// It is stored already; nothing is to be done.
    AlreadyStored(Stored),
    /// It was planned against a generation that is not current.
    StaleGeneration {
        /// For people.
        detail: String,
    },
    /// Another one is under way.
    UnderWay {
        /// For people.
        detail: String,
    },
    /// Its policy has not earned so much, is not allowed it, or does not declare it.
    AboveLevel {
        /// For people.
        detail: String,
    },
}

/// Decides about one proposal.
pub fn decide(input: &ProposeInput<'_>) -> Verdict {
    let ProposeInput { directive, current, under_way, same_id, level, takes_back_stored } = *input;
    if let Some(stored) = same_id {
        return Verdict::AlreadyStored(stored);
    }
    let state = match directive.autonomy {
        // Advice is kept beside the life of the resource: it neither waits for it nor moves it.
        AutonomyLevel::Observe | AutonomyLevel::Recommend => {
            return Verdict::Accepted { generation: Generation(0), state: DirectiveState::Proposed };
        }
        AutonomyLevel::Approve => DirectiveState::AwaitingApproval,
        AutonomyLevel::Act => DirectiveState::Issued,
    };
    // What a policy did wrong is taken back also after it was demoted for it.
    if directive.autonomy > level && !takes_back_stored {
        let Directive { policy, resource, autonomy, .. } = directive;
        let detail = format!("policy {policy} may {level} at {resource} now, and this would {autonomy}");
        return Verdict::AboveLevel { detail };
    }
    if directive.parent_generation != current {
        let detail =
            format!("planned against generation {}, current is {current}", directive.parent_generation);
        return Verdict::StaleGeneration { detail };
    }
    let waits_for =
        |other: &&Stored| !takes_back(directive, other) && (directive.reduces || !other.state.settling());
    match under_way.iter().find(waits_for) {
        Some(other) => {
            let detail =
                format!("directive {} of generation {} is {}", other.id, other.generation, other.state);
            Verdict::UnderWay { detail }
        }
        None => Verdict::Accepted { generation: current.next(), state },
    }
}

/// Only what was applied can be taken back; before that the directive itself can still be stopped.
fn takes_back(directive: &Directive, other: &Stored) -> bool {
    directive.undo_of == Some(other.id)
        && matches!(other.state, DirectiveState::Applied | DirectiveState::Verifying)
}

/// Checks one step of a stored directive's life, beyond what [`DirectiveState::step`] says: advice is never delivered, and a
/// late report does not reopen a directive once a newer one was accepted. `current` is the generation of its (resource, kind).
pub fn may_step(stored: &Stored, to: DirectiveState, current: Generation) -> bool {
    let advice = stored.generation == Generation(0);
    let leaves_advice = matches!(to, DirectiveState::Expired | DirectiveState::Rejected);
    let reopens = !stored.state.under_way() && stored.state != DirectiveState::Proposed && to.under_way();
    stored.state.step(to).is_ok() && (!advice || leaves_advice) && (!reopens || stored.generation == current)
}

/// Proposed or under way: it may still move by itself.
pub fn open(state: DirectiveState) -> bool {
    state.under_way() || state == DirectiveState::Proposed
}

#[cfg(test)]
mod tests;
