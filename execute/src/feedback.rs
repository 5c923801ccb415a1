//! Outcome → feedback signals. Each has an id that follows from the directive and its name, so that storing twice is once.

use jiff::Timestamp;
use proto::model::{Action, Assessment, Directive, FeedbackLoop, FeedbackSignal, Outcome, OutcomeResult};

use crate::undo::derived;

/// What a verdict teaches, and what it rests on.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// What was done.
    pub directive: &'a Directive,
    /// What came of it.
    pub outcome: &'a Outcome,
    /// When it was applied.
    pub applied_at: Timestamp,
    /// When the promises first held.
    pub effect_at: Option<Timestamp>,
    /// The resource at the verdict.
    pub assessment: Option<&'a Assessment>,
}

/// The feedback signals that follow from a verdict. An unknown verdict teaches the loop's speed, and nothing about quality.
pub fn signals(judged: &Judged<'_>) -> Vec<FeedbackSignal> {
    let Judged { directive, outcome, applied_at, effect_at, assessment } = *judged;
    let mut found: Vec<(FeedbackLoop, String, f64)> = Vec::new();
    let mut add = |which, name: &str, value: f64| found.push((which, name.to_owned(), value));

    let speed = FeedbackLoop::PerformanceAdaptation;
    add(speed, "decision_to_applied_seconds", outcome.decided_to_applied.as_secs_f64());
    if let Some(at) = effect_at {
        add(speed, "applied_to_effect_seconds", at.duration_since(applied_at).as_secs_f64());
    }
    if outcome.result != OutcomeResult::Unknown {
        quality(outcome, &mut add);
    }
    // That the change helped tells that the alarm was right; that it did not tells nothing about the alarm.
    let answered = !directive.rationale.symptom_ids.is_empty();
    if outcome.result == OutcomeResult::Verified && answered {
        add(FeedbackLoop::AnomalyFeedback, "symptom_confirmed_ratio", 1.0);
    }
    if let (Action::Scale { replicas }, Action::Scale { replicas: before }) =
        (directive.action, directive.undo)
    {
        let resources = FeedbackLoop::ResourceOptimisation;
        add(resources, "added_replicas", f64::from(replicas) - f64::from(before));
        if let Some(utilisation) = assessment.and_then(|one| one.value("utilisation")) {
            add(resources, "utilisation_after_ratio", utilisation);
        }
    }
    let signal = |(feedback_loop, name, value): (FeedbackLoop, String, f64)| FeedbackSignal {
        id: derived(directive.id, &name),
        feedback_loop,
        resource: directive.resource.clone(),
        directive_id: Some(directive.id),
        name,
        value,
        at: outcome.at,
    };
    found.into_iter().filter(|(.., value)| value.is_finite()).map(signal).collect()
}

/// Promises against measurements: was the whole kept, and by how much was each missed (0 inside the promised interval).
fn quality(outcome: &Outcome, add: &mut impl FnMut(FeedbackLoop, &str, f64)) {
    let which = FeedbackLoop::DecisionQuality;
    let kept = outcome.result == OutcomeResult::Verified;
    add(which, "promise_kept_ratio", if kept { 1.0 } else { 0.0 });
    for (number, effect) in outcome.effects.iter().enumerate() {
        let Some(measured) = effect.measured else { continue };
        // Two promises may be about the same signal of different resources; the number keeps them apart.
        let name = |what: &str| format!("promise_{number}_{}_{what}", effect.signal);
        add(which, &name("measured"), measured);
        let missed = (measured - effect.promised_upper).max(effect.promised_lower - measured).max(0.0);
        add(which, &name("missed_by"), missed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assessment, scale};
    use proto::model::MeasuredEffect;
    use std::time::Duration;

    fn judged(result: OutcomeResult) -> Vec<(FeedbackLoop, String, f64)> {
        let directive = scale(3, 5);
        let effect = MeasuredEffect {
            signal: "load".to_owned(),
            promised_lower: 10.0,
            promised_upper: 20.0,
            measured: Some(25.0),
            otherwise_lower: None,
            otherwise_upper: None,
            kept: false,
        };
        let outcome = Outcome {
            directive_id: directive.id,
            result,
            text: String::new(),
            effects: vec![effect],
            at: directive.created_at,
            decided_to_applied: Duration::from_millis(250),
            applied_to_verdict: Duration::from_secs(5),
        };
        let resource = assessment(&directive.resource, 0, &[("utilisation", Some(0.5))]);
        let effect_at = Some(crate::moment::later(directive.created_at, Duration::from_secs(3)));
        let judged = Judged {
            directive: &directive,
            outcome: &outcome,
            applied_at: directive.created_at,
            effect_at,
            assessment: Some(&resource),
        };
        let signals = signals(&judged);
        assert_eq!(signals, super::signals(&judged), "ids repeat");
        signals.into_iter().map(|one| (one.feedback_loop, one.name, one.value)).collect()
    }

    fn value(signals: &[(FeedbackLoop, String, f64)], name: &str) -> Option<f64> {
        signals.iter().find(|(_, found, _)| found == name).map(|(.., value)| *value)
    }

    #[test]
    fn measured_is_held_against_promised() {
        let signals = judged(OutcomeResult::Ineffective);
        assert_eq!(value(&signals, "promise_kept_ratio"), Some(0.0));
        assert_eq!(value(&signals, "promise_0_load_measured"), Some(25.0));
        assert_eq!(value(&signals, "promise_0_load_missed_by"), Some(5.0));
        assert_eq!(value(&signals, "decision_to_applied_seconds"), Some(0.25));
        assert_eq!(value(&signals, "applied_to_effect_seconds"), Some(3.0));
        assert_eq!(value(&signals, "added_replicas"), Some(2.0));
        assert_eq!(value(&signals, "utilisation_after_ratio"), Some(0.5));
        assert_eq!(value(&judged(OutcomeResult::Verified), "promise_kept_ratio"), Some(1.0));
    }

    #[test]
    fn unknown_verdict_says_nothing_about_quality() {
        let signals = judged(OutcomeResult::Unknown);
        assert!(signals.iter().all(|(which, ..)| *which != FeedbackLoop::DecisionQuality), "{signals:?}");
        assert_eq!(value(&signals, "decision_to_applied_seconds"), Some(0.25));
    }
}
