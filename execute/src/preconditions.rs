//! What is checked again right before a directive is sent, whatever Plan found when it decided.

use std::time::Duration;

use jiff::Timestamp;
use proto::model::{Assessment, AutonomyLevel, Directive, Generation, Quality};

use crate::moment::between;

/// What the check rests on.
#[derive(Debug, Clone, Copy)]
pub struct Checked<'a> {
    /// What is to be sent.
    pub directive: &'a Directive,
    /// Whether acting is paused.
    pub paused: bool,
    /// Whether the actuator holds its lease.
    pub lease_held: bool,
    /// Whether the actuator can take changes back.
    pub supports_undo: bool,
    /// The newest generation of (resource, kind) that is known.
    pub newest_generation: Generation,
    /// The newest assessment of the resource, if there was one.
    pub assessment: Option<&'a Assessment>,
}

/// What becomes of the delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Send it.
    Deliver,
    /// Not now; the reason may pass, and expiry bounds the wait.
    Wait(String),
    /// Its time is over.
    Expire,
    /// Never.
    Refuse(String),
}

/// Whether a directive that is not yet in effect may be sent at `now`.
pub fn check(checked: &Checked<'_>, now: Timestamp) -> Verdict {
    let Checked { directive, paused, lease_held, supports_undo, newest_generation, assessment } = *checked;
    if paused {
        return Verdict::Wait("acting is paused".to_owned());
    }
    if now >= directive.expires_at {
        return Verdict::Expire;
    }
    if !lease_held {
        return Verdict::Wait("the actuator holds no lease".to_owned());
    }
    let advice = matches!(directive.autonomy, AutonomyLevel::Observe | AutonomyLevel::Recommend);
    if advice || directive.generation == Generation(0) {
        return Verdict::Refuse("advice is never delivered".to_owned());
    }
    if newest_generation > directive.generation {
        return Verdict::Refuse(format!("superseded by generation {newest_generation}"));
    }
    if directive.undo_of.is_some() && !supports_undo {
        return Verdict::Refuse("the actuator cannot take changes back".to_owned());
    }
    if let Some(reason) = assessment.and_then(|seen| short_of_budget(directive, seen)) {
        return Verdict::Refuse(reason);
    }
    evidence(directive, assessment, now)
}

/// Plan's guardrail again, on what is known by now. What takes a directive back is no risk that somebody wants to run.
fn short_of_budget(directive: &Directive, seen: &Assessment) -> Option<String> {
    let is_risk = directive.reduces && directive.undo_of.is_none();
    seen.budget_policies.iter().filter(|_| is_risk).find_map(|policy| policy.refusal())
}

/// The directive rests on what was known when it was made, or on what is known by now; one of them must be fresh. What
/// reduces capacity or protection needs whole data at this very moment.
fn evidence(directive: &Directive, assessment: Option<&Assessment>, now: Timestamp) -> Verdict {
    let age_max = directive.preconditions.max_evidence_age;
    if directive.preconditions.requires_known_data || directive.reduces {
        let Some(assessment) = assessment else {
            return Verdict::Wait("needs known data, and nothing is known of the resource yet".to_owned());
        };
        let age = between(assessment.at, now);
        if age > age_max {
            return Verdict::Refuse(stale(age, age_max));
        }
        if assessment.data.quality != Quality::Good {
            let (quality, reason) = (assessment.data.quality, &assessment.data.reason);
            return Verdict::Refuse(format!("needs known data, which is {quality}: {reason}"));
        }
        return Verdict::Deliver;
    }
    let known = assessment.filter(|one| one.data.quality != Quality::Unknown).map(|one| one.at);
    let newest = known.map_or(directive.created_at, |at| at.max(directive.created_at));
    let age = between(newest, now);
    if age > age_max { Verdict::Refuse(stale(age, age_max)) } else { Verdict::Deliver }
}

fn stale(age: Duration, age_max: Duration) -> String {
    format!(
        "its evidence is {:.1} s old, at most {:.1} s are allowed",
        age.as_secs_f64(),
        age_max.as_secs_f64()
    )
}

#[cfg(test)]
mod tests;
