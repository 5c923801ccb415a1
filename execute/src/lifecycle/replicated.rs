//! Replicated kinds: every live instance gets the directive, and it counts as applied at the stated quorum of them.

use jiff::Timestamp;
use proto::model::{DirectiveState, Transition};

use super::{ACTOR, Disposition, Effect, Handled, Life, Report, Reported};
use crate::registry::ActuatorKey;

impl Life {
    /// A report of one instance on a replicated kind.
    pub(super) fn reported_by_one(mut self, now: Timestamp, report: Report, live: &[ActuatorKey]) -> Handled {
        let Report { by, attempt, reported, detail, before, after } = report;
        if self.remembers(&by, attempt, reported) {
            return Ok((self, vec![Effect::Answer(Disposition::Duplicate)]));
        }
        let resolves = self.state == DirectiveState::Unknown && self.applied_at.is_none();
        if !(self.state.deliverable() || self.state.in_effect() || resolves) {
            return Ok((self, vec![Effect::Answer(Disposition::TooLate)]));
        }
        self.take_in(&by, attempt, reported);
        let mut effects = Vec::new();
        let first_begins = reported == Reported::Accepted
            && matches!(self.state, DirectiveState::Issued | DirectiveState::Delivered);
        if first_begins {
            let transition = self.transition(now, DirectiveState::Accepted, &by.to_string(), detail)?;
            self.state = transition.to;
            effects.push(Effect::Record(Transition { attempt, before, after, ..transition }));
        } else if let Some((to, text)) = self.quorum(live) {
            let text = if detail.is_empty() { text } else { format!("{text}; {by}: {detail}") };
            let transition = self.transition(now, to, &by.to_string(), text)?;
            self.state = to;
            effects.push(Effect::Record(Transition { attempt, before, after, ..transition }));
            if to == DirectiveState::Applied {
                effects.extend(self.applied(now)?);
            }
        }
        effects.push(Effect::Answer(Disposition::Recorded));
        Ok((self, effects))
    }

    /// Instances came or went: what was reported may now be enough, or can never be.
    pub(super) fn instances_changed(mut self, now: Timestamp, live: &[ActuatorKey]) -> Handled {
        let outstanding = matches!(self.state, DirectiveState::Delivered | DirectiveState::Accepted);
        if self.directive.kind().exclusive() || !outstanding {
            return Ok((self, Vec::new()));
        }
        let Some((to, text)) = self.quorum(live) else { return Ok((self, Vec::new())) };
        let mut effects = vec![self.step(now, to, ACTOR, text)?];
        if to == DirectiveState::Applied {
            effects.extend(self.applied(now)?);
        }
        Ok((self, effects))
    }

    /// The state that the reports of the live instances amount to, if they amount to one.
    fn quorum(&self, live: &[ActuatorKey]) -> Option<(DirectiveState, String)> {
        let undecided = self.state.deliverable() || self.state == DirectiveState::Unknown;
        if !undecided || live.is_empty() {
            return None;
        }
        let said = |wanted: Reported| {
            live.iter().filter(|instance| self.last_words.get(*instance) == Some(&wanted)).count()
        };
        let applied = said(Reported::Applied);
        let answered = live.iter().filter(|instance| self.last_words.contains_key(*instance)).count();
        let needed = needed(self.directive.quorum_ratio, live.len());
        let text = format!("{applied} of {} instances applied it, {needed} were needed", live.len());
        if applied >= needed {
            return Some((DirectiveState::Applied, text));
        }
        if self.state == DirectiveState::Unknown || live.len() - (answered - applied) >= needed {
            return None;
        }
        let refused = said(Reported::Refused);
        let to = if refused == answered { DirectiveState::Refused } else { DirectiveState::Failed };
        Some((to, text))
    }
}

/// How many of `live` instances make the quorum: at least one.
fn needed(quorum_ratio: f64, live: usize) -> usize {
    // At most 2^32 instances, so the product is exact enough and the cast loses nothing.
    let share = (quorum_ratio * live as f64 - 1e-9).ceil().max(1.0);
    (share as usize).min(live.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quorum_is_rounded_up_and_at_least_one() {
        for (ratio, live, expect) in
            [(0.5, 2, 1), (0.5, 3, 2), (1.0, 7, 7), (0.01, 10, 1), (0.3, 10, 3), (0.67, 3, 3)]
        {
            assert_eq!(needed(ratio, live), expect, "{ratio} of {live}");
        }
    }
}
