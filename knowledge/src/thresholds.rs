//! Which version of a threshold is in force: recording what was learned, and what people decide about it. Pure.
//!
//! Versions are added, never edited: only a version's state moves. At most one version of a signal is in force (active or
//! pinned) and at most one waits (proposed).

use jiff::Timestamp;
use proto::model::{ReviewRule, Threshold, ThresholdReview, ThresholdState};

use ThresholdState::{Active, Pinned, Proposed, Rejected, Superseded};

/// How a version made by a person names its method.
const PINNED_METHOD: &str = "pinned";
/// Marks a proposal that nobody judged: unpinning must not put it in force.
const REPLACED: &str = "replaced by a newer proposal before it was reviewed";

/// What to store: each version is new or has a new state. Versions that leave force or waiting come first, so that no moment
/// has two of a kind.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Changes {
    /// Stored in this order.
    pub versions: Vec<Threshold>,
}

/// A review that cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such version.
    #[error("there is no {0}")]
    Missing(&'static str),
    /// It does not stand where the review needs it.
    #[error("{0}")]
    State(String),
    /// The limits make no sense.
    #[error("pinned limits must be finite numbers, lower at most upper, and given both or neither")]
    Limits,
}

/// Records one learned version beside `versions` (of the same signal, in order of generation; at least those in force and
/// waiting, and the newest). Returns it as stored, and what to write.
pub fn record(versions: &[Threshold], learned: Threshold, rule: ReviewRule) -> (Threshold, Changes) {
    if let Some(stored) = versions.iter().find(|version| version.generation == learned.generation) {
        return (stored.clone(), Changes::default());
    }
    let held = versions.iter().find(|version| version.in_force());
    let state = match (held, rule) {
        (None, _) => Active,
        (Some(_), ReviewRule::Required) => Proposed,
        (Some(held), ReviewRule::Automatic) if held.state == Pinned => Superseded,
        (Some(_), ReviewRule::Automatic) => Active,
    };
    let stored = Threshold { generation: next_generation(versions), state, ..learned };
    let mut changes = Changes::default();
    if matches!(state, Proposed | Active) {
        changes.supersede(versions, Proposed);
    }
    if state == Active {
        changes.supersede(versions, Active);
    }
    changes.versions.push(stored.clone());
    (stored, changes)
}

/// One person's decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What to do.
    pub review: ThresholdReview,
    /// For approve and reject; 0: the newest proposal.
    pub generation: u64,
    /// For pin.
    pub lower: Option<f64>,
    /// For pin.
    pub upper: Option<f64>,
    /// Who.
    pub reviewer: String,
    /// Why.
    pub reason: String,
}

/// Carries out a decision over all `versions` of one signal, in order of generation. Returns the version that it was about.
///
/// # Errors
/// When there is nothing to review, or it does not stand where the review needs it.
pub fn review(
    versions: &[Threshold],
    decision: &Decision,
    now: Timestamp,
) -> Result<(Threshold, Changes), Refusal> {
    match decision.review {
        ThresholdReview::Approve => approve(versions, decision),
        ThresholdReview::Reject => reject(versions, decision),
        ThresholdReview::Pin => pin(versions, decision, now),
        ThresholdReview::Unpin => unpin(versions, decision),
    }
}

fn approve(versions: &[Threshold], decision: &Decision) -> Result<(Threshold, Changes), Refusal> {
    let proposal = proposal(versions, decision.generation)?;
    if versions.iter().any(|version| version.state == Pinned) {
        return Err(Refusal::State("the signal is pinned: unpin it first".to_owned()));
    }
    let mut changes = Changes::default();
    changes.supersede(versions, Active);
    Ok(changes.finish(decided(proposal, Active, decision)))
}

fn reject(versions: &[Threshold], decision: &Decision) -> Result<(Threshold, Changes), Refusal> {
    let proposal = proposal(versions, decision.generation)?;
    Ok(Changes::default().finish(decided(proposal, Rejected, decision)))
}

/// Holds the limits given, or those in force.
fn pin(versions: &[Threshold], decision: &Decision, now: Timestamp) -> Result<(Threshold, Changes), Refusal> {
    let newest =
        versions.last().ok_or(Refusal::Missing("threshold of this signal: nothing was learned yet"))?;
    let held = versions.iter().find(|version| version.in_force());
    let base = match (held, decision.lower, decision.upper) {
        (_, Some(lower), Some(upper)) if lower.is_finite() && upper.is_finite() && lower <= upper => {
            Threshold {
                pinned_lower: Some(lower),
                pinned_upper: Some(upper),
                ..held.unwrap_or(newest).clone()
            }
        }
        (Some(held), None, None) => held.clone(),
        (None, None, None) => {
            return Err(Refusal::Missing("threshold in force to pin: give lower and upper"));
        }
        _ => return Err(Refusal::Limits),
    };
    let pinned = Threshold {
        generation: next_generation(versions),
        method: PINNED_METHOD.to_owned(),
        created_at: now,
        ..decided(&base, Pinned, decision)
    };
    let mut changes = Changes::default();
    changes.supersede(versions, Active);
    changes.supersede(versions, Pinned);
    Ok(changes.finish(pinned))
}

/// Goes back to the newest learned version that was not refused and does not wait for review; the answer is that version, or
/// the one that was pinned when there is none.
fn unpin(versions: &[Threshold], decision: &Decision) -> Result<(Threshold, Changes), Refusal> {
    let pinned = versions
        .iter()
        .find(|version| version.state == Pinned)
        .ok_or(Refusal::Missing("pinned threshold"))?;
    let released = decided(pinned, Superseded, decision);
    let learned = |version: &&Threshold| {
        version.method != PINNED_METHOD && version.state == Superseded && version.reason != REPLACED
    };
    match versions.iter().rev().find(learned) {
        None => Ok(Changes::default().finish(released)),
        Some(back) => {
            let mut changes = Changes::default();
            changes.versions.push(released);
            Ok(changes.finish(decided(back, Active, decision)))
        }
    }
}

impl Changes {
    fn supersede(&mut self, versions: &[Threshold], state: ThresholdState) {
        for version in versions.iter().filter(|version| version.state == state) {
            let reason = if state == Proposed { REPLACED.to_owned() } else { version.reason.clone() };
            self.versions.push(Threshold { state: Superseded, reason, ..version.clone() });
        }
    }

    fn finish(mut self, last: Threshold) -> (Threshold, Self) {
        self.versions.push(last.clone());
        (last, self)
    }
}

fn proposal(versions: &[Threshold], generation: u64) -> Result<&Threshold, Refusal> {
    let asked = |version: &&Threshold| match generation {
        0 => version.state == Proposed,
        generation => version.generation == generation,
    };
    let found = versions.iter().rev().find(asked).ok_or(Refusal::Missing("proposal to review"))?;
    if found.state == Proposed {
        return Ok(found);
    }
    Err(Refusal::State(format!("generation {} is {}, not proposed", found.generation, found.state)))
}

fn decided(version: &Threshold, state: ThresholdState, decision: &Decision) -> Threshold {
    Threshold {
        state,
        reviewed_by: decision.reviewer.clone(),
        reason: decision.reason.clone(),
        ..version.clone()
    }
}

/// Counts versions from 1, whatever number the learner gave: a pin may have taken it meanwhile.
fn next_generation(versions: &[Threshold]) -> u64 {
    versions.last().map_or(1, |newest| newest.generation.saturating_add(1))
}

#[cfg(test)]
mod tests;
