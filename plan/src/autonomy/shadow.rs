//! Advice against what happened: what a directive at `observe` or `recommend` would have been good for, told by what was measured
//! while nobody followed it.
//!
//! - Advice to add is right when more was busy, by the policy's own target, than what ran could take; or when more than the
//!   objective allows went bad.
//! - Advice to take away is right when all that was busy would have fitted what it would have left.
//! - Advice to cut calls off is right when at least half of what was seen of them failed as often as the policy tolerates.

use crate::data::{is_whole, ready_replicas, value};
use jiff::Timestamp;
use proto::model::{
    Action, Assessment, Directive, EvidenceSource, EvidenceVerdict, ResourceId, StandingEvidence,
};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Pieces of advice that are watched at one resource; each lives for five minutes, and one at a time is usual.
const PER_RESOURCE_MAX: usize = 8;
/// A need within this share is noise, as for the planner's own tolerance.
const TOLERANCE: f64 = 0.1;
/// Of what should have been seen, at least so much must have been: else nobody can tell.
const COVERAGE_MIN: f64 = 0.5;

/// What people have said, as far as judging needs it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// Utilisation to aim at.
    pub target: f64,
    /// Share of events that may be bad.
    pub allowed: f64,
    /// Share of failing calls at which a breaker opens.
    pub failing: f64,
}

/// One piece of advice and what was seen since.
#[derive(Debug, Clone, PartialEq)]
struct Watch {
    id: Uuid,
    policy: String,
    action: Action,
    undo: Action,
    terms: Terms,
    from: Timestamp,
    until: Timestamp,
    seen: u32,
    /// Replicas that were fully busy, at most.
    busy: f64,
    load: f64,
    bad: f64,
    failing: u32,
    interval_s: f64,
}

/// All advice that is being watched.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shadows {
    by_resource: BTreeMap<ResourceId, Vec<Watch>>,
}

impl Shadows {
    /// Begins to watch advice; what is watched already goes on.
    pub fn begin(&mut self, directive: &Directive, terms: Terms) {
        let judged = matches!(directive.action, Action::Scale { .. } | Action::SetBreaker(_));
        let watches = self.by_resource.entry(directive.resource.clone()).or_default();
        let full = watches.len() >= PER_RESOURCE_MAX;
        if !judged || full || watches.iter().any(|watch| watch.id == directive.id) {
            return;
        }
        watches.push(Watch {
            id: directive.id,
            policy: directive.policy.clone(),
            action: directive.action,
            undo: directive.undo,
            terms,
            from: directive.created_at,
            until: directive.expires_at,
            seen: 0,
            busy: 0.0,
            load: 0.0,
            bad: 0.0,
            failing: 0,
            interval_s: 1.0,
        });
    }

    /// Advice that was followed after all is judged by its outcome.
    pub fn forget(&mut self, directive: &Directive) {
        if let Some(watches) = self.by_resource.get_mut(&directive.resource) {
            watches.retain(|watch| watch.id != directive.id);
        }
    }

    /// Takes in what is seen of a resource.
    pub fn observe(&mut self, seen: &Assessment) {
        if let Some(watches) = self.by_resource.get_mut(&seen.resource) {
            watches.iter_mut().for_each(|watch| watch.observe(seen));
        }
    }

    /// Judges what has run out.
    pub fn due(&mut self, now: Timestamp) -> Vec<StandingEvidence> {
        let mut found = Vec::new();
        for (resource, watches) in &mut self.by_resource {
            let (over, going): (Vec<_>, Vec<_>) =
                std::mem::take(watches).into_iter().partition(|watch| watch.until <= now);
            *watches = going;
            found.extend(over.iter().map(|watch| watch.evidence(resource, now)));
        }
        self.by_resource.retain(|_, watches| !watches.is_empty());
        found
    }
}

impl Watch {
    fn observe(&mut self, seen: &Assessment) {
        if seen.at <= self.from || seen.at > self.until || !is_whole(seen) {
            return;
        }
        self.seen += 1;
        self.interval_s = seen.interval.as_secs_f64().max(0.001);
        if let (Some(used), Some(ready)) = (value(seen, "utilisation"), ready_replicas(seen)) {
            self.busy = self.busy.max(used * f64::from(ready));
        }
        let load = value(seen, "load").unwrap_or(0.0);
        let bad = value(seen, "bad_ratio").or_else(|| value(seen, "error_ratio")).unwrap_or(0.0).min(1.0);
        self.load += load;
        self.bad += load * bad;
        self.failing += u32::from(bad >= self.terms.failing);
    }

    fn evidence(&self, resource: &ResourceId, now: Timestamp) -> StandingEvidence {
        let expected = self.until.duration_since(self.from).as_secs_f64() / self.interval_s;
        let known = f64::from(self.seen) >= (COVERAGE_MIN * expected).max(1.0);
        let (right, text) = self.judge();
        let verdict = match (known, right) {
            (false, _) => EvidenceVerdict::Unknown,
            (true, true) => EvidenceVerdict::For,
            (true, false) => EvidenceVerdict::Against,
        };
        let text = if known {
            text
        } else {
            format!("{}: seen {} times, which is too little to tell", self.action, self.seen)
        };
        StandingEvidence {
            policy: self.policy.clone(),
            resource: resource.clone(),
            source: EvidenceSource::Shadow,
            subject: self.id.to_string(),
            verdict,
            text,
            at: now,
        }
    }

    fn judge(&self) -> (bool, String) {
        let Terms { target, allowed, .. } = self.terms;
        let need = self.busy / target.max(0.01);
        match (self.action, self.undo) {
            (Action::Scale { replicas }, Action::Scale { replicas: before }) if replicas >= before => {
                let bad = if self.load > 0.0 { self.bad / self.load } else { 0.0 };
                let right = need > f64::from(before) || bad > allowed;
                let text = format!(
                    "{}: without it {before} ran, {need:.1} were needed and {:.2} % went bad",
                    self.action,
                    100.0 * bad
                );
                (right, text)
            }
            (Action::Scale { replicas }, _) => {
                let right = need <= f64::from(replicas) * (1.0 + TOLERANCE);
                (right, format!("{}: {need:.1} were needed at most", self.action))
            }
            _ => {
                let right = 2 * self.failing >= self.seen;
                let (failing, seen) = (self.failing, self.seen);
                (right, format!("{}: calls failed in {failing} of {seen} looks", self.action))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, breaker_record, edge, scale_record, service, service_assessment};
    use proto::model::{DirectiveState, Quality};

    const TERMS: Terms = Terms { target: 0.5, allowed: 0.001, failing: 0.5 };

    /// The verdict on advice to go from `before` to `after` replicas, when `used` of `ready` were busy and `bad` went bad.
    fn verdict(before: u32, after: u32, used: f64, bad: f64, looks: i64) -> EvidenceVerdict {
        let mut shadows = Shadows::default();
        let advice = scale_record(1, before, after, DirectiveState::Proposed, 0).directive;
        shadows.begin(&advice, TERMS);
        shadows.begin(&advice, TERMS);
        for second in 1..=looks {
            let ready = f64::from(before);
            let signals =
                [("load", 10.0), ("utilisation", used), ("ready_replicas", ready), ("bad_ratio", bad)];
            shadows.observe(&service_assessment("catalog", second, &signals));
        }
        assert!(shadows.due(at(29)).is_empty(), "it has its time");
        let found = shadows.due(at(30));
        assert_eq!(found.len(), 1);
        found[0].verdict
    }

    #[test]
    fn advice_to_add_is_right_when_more_was_needed_or_too_much_went_bad() {
        assert_eq!(verdict(2, 4, 0.9, 0.0, 30), EvidenceVerdict::For);
        assert_eq!(verdict(2, 4, 0.4, 0.0, 30), EvidenceVerdict::Against);
        assert_eq!(verdict(2, 4, 0.4, 0.01, 30), EvidenceVerdict::For);
    }

    #[test]
    fn advice_to_take_away_is_right_when_the_rest_would_have_sufficed() {
        assert_eq!(verdict(4, 2, 0.25, 0.0, 30), EvidenceVerdict::For);
        assert_eq!(verdict(4, 2, 0.4, 0.0, 30), EvidenceVerdict::Against);
    }

    #[test]
    fn nobody_can_tell_without_half_of_the_looks() {
        assert_eq!(verdict(2, 4, 0.9, 0.0, 14), EvidenceVerdict::Unknown);
        assert_eq!(verdict(2, 4, 0.9, 0.0, 0), EvidenceVerdict::Unknown);
    }

    #[test]
    fn what_was_followed_is_not_judged_here_and_what_is_unknown_is_not_looked_at() {
        let mut shadows = Shadows::default();
        let advice = scale_record(1, 2, 4, DirectiveState::Proposed, 0).directive;
        shadows.begin(&advice, TERMS);
        shadows.forget(&advice);
        assert!(shadows.due(at(1_000)).is_empty());
        shadows.begin(&advice, TERMS);
        for second in 1..=30 {
            let mut seen = service_assessment("catalog", second, &[("load", 1.0), ("utilisation", 1.0)]);
            seen.data.quality = Quality::Partial;
            shadows.observe(&seen);
        }
        assert_eq!(shadows.due(at(30))[0].verdict, EvidenceVerdict::Unknown);
    }

    #[test]
    fn advice_to_cut_off_is_right_while_calls_go_on_failing() {
        for (errors, right) in [(0.9, EvidenceVerdict::For), (0.1, EvidenceVerdict::Against)] {
            let mut shadows = Shadows::default();
            let called = edge("catalog", "inventory");
            let advice = breaker_record(1, &called, DirectiveState::Proposed, 0).directive;
            shadows.begin(&advice, TERMS);
            for second in 1..=30 {
                let mut seen =
                    service_assessment("catalog", second, &[("load", 1.0), ("error_ratio", errors)]);
                seen.resource = called.clone();
                shadows.observe(&seen);
            }
            let found = shadows.due(at(1_000));
            assert_eq!((found[0].verdict, &found[0].resource), (right, &called));
            assert_ne!(found[0].resource, service("catalog"));
        }
    }
}
