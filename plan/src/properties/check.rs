//! What must hold of every decision, whatever led to it.

use super::Random;
use crate::{
    fixtures::at,
    input::{PlanInput, PolicyView},
    planner::Decision,
};
use proto::{
    model::{
        Action, AutonomyLevel, Directive, DirectiveKind, DirectiveRecord, DirectiveState, Generation,
        Quality, ResourceKind,
    },
    wire,
};
use std::time::Duration;

/// More replicas than any plant has: such a number is none, and says nothing of what runs.
const COUNT_MAX: f64 = 1e6;

pub(super) fn data_that_is_not_whole_and_fresh_never_reduces(
    seed: u64,
    random: &Random,
    input: &PlanInput<'_>,
    directive: &Directive,
) {
    let seen = match directive.resource.kind() {
        ResourceKind::Edge => input.outgoing[0].assessment,
        ResourceKind::Service | ResourceKind::Host => input.assessment,
    };
    let seen = seen.unwrap();
    let age = (at(random.plant.second) - seen.at).total(jiff::Unit::Second).unwrap().abs();
    let limit =
        (3.0 * seen.interval.as_secs_f64()).max(5.0).max(if seen.interval.is_zero() { 3.0 } else { 0.0 });
    assert!(age <= limit, "seed {seed}: {age} s old");
    let doubtful = ["load", "ready_replicas"]
        .iter()
        .any(|name| seen.signal(name).is_some_and(|s| s.quality != Quality::Good));
    if directive.reduces {
        assert!(
            seen.data.quality == Quality::Good && (!doubtful || directive.kind() != DirectiveKind::Scale),
            "seed {seed}"
        );
        assert!(directive.preconditions.requires_known_data, "seed {seed}");
    }
}

pub(super) fn bounds_steps_and_blast_radius_hold(
    seed: u64,
    _: &Random,
    input: &PlanInput<'_>,
    directive: &Directive,
) {
    let Action::Scale { replicas } = directive.action else { return };
    let Action::Scale { replicas: before } = directive.undo else {
        panic!("seed {seed}: undo of another kind")
    };
    let PolicyView::One(policy) = input.policy else { panic!("seed {seed}: no policy") };
    let scale = policy.spec.scale.unwrap();
    // From none at all the undo still has to name one.
    let towards = (before <= replicas && replicas < scale.minimum_replicas)
        || (scale.maximum_replicas < replicas && replicas < before);
    assert!(
        (scale.minimum_replicas..=scale.maximum_replicas).contains(&replicas) || towards,
        "seed {seed}: {before} to {replicas}"
    );
    assert!(
        replicas <= before + scale.step_up_replicas && before <= replicas + scale.step_down_replicas,
        "seed {seed}"
    );
    assert_eq!(directive.reduces, replicas < before, "seed {seed}");
    if directive.reduces {
        let ready = input.assessment.unwrap().value("ready_replicas").unwrap().round();
        assert!(f64::from(before - replicas) <= policy.spec.blast_radius_ratio * ready + 1e-9, "seed {seed}");
    }
}

pub(super) fn what_adds_never_names_fewer_than_run_or_were_asked_for(
    seed: u64,
    random: &Random,
    input: &PlanInput<'_>,
    directive: &Directive,
) {
    let Action::Scale { replicas } = directive.action else { return };
    let stands = |record: &&DirectiveRecord| {
        record.directive.resource == directive.resource
            && (record.state.in_effect() || record.state == DirectiveState::Unknown)
    };
    let newest = random.records.iter().filter(stands).max_by_key(|record| record.directive.generation);
    let asked = match newest.map(|record| record.directive.action) {
        Some(Action::Scale { replicas }) => replicas,
        _ => 0,
    };
    let ready =
        input.assessment.and_then(|seen| seen.value("ready_replicas")).filter(|value| *value <= COUNT_MAX);
    let running = f64::from(asked).max(ready.unwrap_or(0.0).round());
    assert!(directive.reduces || f64::from(replicas) >= running, "seed {seed}: {replicas} of {running}");
}

pub(super) fn nothing_acts_while_paused_or_unserved_or_while_another_is_under_way(
    seed: u64,
    random: &Random,
    input: &PlanInput<'_>,
    directive: &Directive,
) {
    let acts = matches!(directive.autonomy, AutonomyLevel::Approve | AutonomyLevel::Act);
    assert!(!acts || !input.pause.paused, "seed {seed}: paused");
    assert!(!acts || !input.actuators.is_empty(), "seed {seed}: unserved");
    let line = random.records.iter().filter(|record| record.directive.resource == directive.resource);
    let waits = |record: &DirectiveRecord| {
        let made = matches!(record.state, DirectiveState::Applied | DirectiveState::Verifying);
        record.state.under_way() && (directive.reduces || !made)
    };
    assert!(!line.clone().any(waits), "seed {seed}: under way");
    let newest = line.map(|record| record.directive.generation).max().unwrap_or(Generation(0));
    assert_eq!(directive.parent_generation, newest, "seed {seed}");
}

pub(super) fn cooldowns_hold(seed: u64, random: &Random, input: &PlanInput<'_>, directive: &Directive) {
    let PolicyView::One(policy) = input.policy else { panic!("seed {seed}: no policy") };
    let (now, line) = (
        at(random.plant.second),
        random.records.iter().filter(|r| r.directive.resource == directive.resource),
    );
    for record in line.filter(|record| record.state.in_effect()) {
        let rose = match (record.directive.action, record.directive.undo) {
            (Action::Scale { replicas }, Action::Scale { replicas: before }) => replicas >= before,
            _ => false,
        };
        let wait = match directive.kind() {
            DirectiveKind::SetBreaker => policy.spec.breaker.as_ref().unwrap().cooldown,
            DirectiveKind::Scale if directive.reduces => policy.spec.scale.unwrap().cooldown_down,
            DirectiveKind::Scale if rose => policy.spec.scale.unwrap().cooldown_up,
            _ => Duration::ZERO,
        };
        let passed = now.duration_since(record.changed_at);
        assert!(
            wait.is_zero() || passed >= jiff::SignedDuration::try_from(wait).unwrap(),
            "seed {seed}: {passed:?} of {wait:?}"
        );
    }
}

pub(super) fn no_fault_and_no_veto(seed: u64, decision: &Decision) {
    assert_eq!(decision.faults, Vec::<String>::new(), "seed {seed}: {}", decision.report);
    if let Some(directive) = &decision.directive {
        assert!(directive.rationale.guardrails.iter().all(|verdict| !verdict.vetoed), "seed {seed}");
        assert_eq!(directive.rationale.guardrails.len(), 13, "seed {seed}");
    }
}

pub(super) fn numbers(seed: u64, decision: &Decision) {
    let report = decision.report.to_string();
    assert!(!report.contains("NaN") && !report.contains(" inf"), "seed {seed}: {report}");
    let Some(directive) = decision.directive.clone() else { return };
    // The wire's own checks refuse whatever is no number, and what comes back is what was sent.
    let read = Directive::try_from(wire::Directive::from(directive.clone()));
    assert_eq!(read.as_ref(), Ok(&directive), "seed {seed}");
    let finite = |limit: Option<f64>| limit.is_none_or(f64::is_finite);
    assert!(directive.rationale.evidence.iter().all(|e| finite(e.lower) && finite(e.upper)), "seed {seed}");
    assert!(directive.expected.iter().all(|e| e.lower.is_finite() && e.upper.is_finite()), "seed {seed}");
}

/// No more than is declared, earned and allowed by a person.
pub(super) fn level(seed: u64, input: &PlanInput<'_>, directive: &Directive) {
    let PolicyView::One(policy) = input.policy else { panic!("seed {seed}: no policy") };
    let level = input.level(policy, &directive.resource);
    assert!(directive.autonomy == level && level <= policy.spec.autonomy, "seed {seed}");
}
