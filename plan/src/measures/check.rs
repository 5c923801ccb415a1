//! A second opinion on a measure: what must hold of it whatever led to it.

use super::Scene;
use crate::input::PolicyView;
use jiff::{SignedDuration, Timestamp};
use proto::model::{
    Action, BreakerMode, BudgetPolicyState, Directive, DirectiveKind, Generation, Quality, ResourceKind,
};

/// No directive may be delivered later than this after its creation.
const EXPIRY_MAX: SignedDuration = SignedDuration::from_mins(10);
/// No freeze and no cadence reaches further: it is renewed.
const HELD_MAX: SignedDuration = SignedDuration::from_hours(25);

/// Everything that is wrong with the measure, in words; empty when it may be proposed.
pub(super) fn faults(directive: &Directive, policy: &BudgetPolicyState, scene: &Scene<'_>) -> Vec<String> {
    let now = scene.now;
    let line = scene.line(&directive.resource, directive.kind());
    let lives = directive.expires_at.duration_since(directive.created_at);
    let under_way = line
        .under_way_all()
        .any(|entry| directive.undo_of.is_none() && (directive.reduces || !entry.state.settling()));
    let is_own = match directive.resource.kind() {
        ResourceKind::Service => directive.resource == *scene.input.service,
        ResourceKind::Edge => scene.outgoing(&directive.resource).is_some(),
        ResourceKind::Host => false,
    };
    let rules = [
        (directive.policy == policy.objective, "its policy differs"),
        (is_own, "its resource is not the service's to change"),
        (directive.created_at == now, "it was not created now"),
        (lives > SignedDuration::ZERO && lives <= EXPIRY_MAX, "it expires at a wrong time"),
        (directive.parent_generation == line.generation(), "its parent is not the current generation"),
        (directive.generation == Generation(0), "it has a generation before it was accepted"),
        (!under_way && !line.proposing(), "another directive is under way"),
        (directive.action.kind() == directive.undo.kind(), "its undo is of another kind"),
        (directive.action != directive.undo, "it changes nothing"),
        (!directive.rationale.text.is_empty(), "it does not say why"),
        (directive.rationale.guardrails.iter().all(|verdict| !verdict.vetoed), "a guardrail vetoed it"),
        (!directive.rationale.guardrails.is_empty(), "no guardrail was asked"),
        (!directive.reduces || is_whole(directive, scene), "it reduces on data that is not whole"),
        (
            !directive.reduces || directive.preconditions.requires_known_data,
            "it reduces without asking for known data",
        ),
        (within_bounds(directive, scene), "it leaves the policy's bounds"),
        (is_measured(directive, now), "it does more than a measure may"),
        (takes_back(directive, scene), "it does not take back what stands"),
    ];
    rules.into_iter().filter(|(holds, _)| !holds).map(|(_, fault)| fault.to_owned()).collect()
}

fn is_whole(directive: &Directive, scene: &Scene<'_>) -> bool {
    let seen = match scene.outgoing(&directive.resource) {
        Some(called) => called.assessment,
        None => scene.input.assessment,
    };
    seen.is_some_and(|seen| seen.data.quality == Quality::Good)
}

fn within_bounds(directive: &Directive, scene: &Scene<'_>) -> bool {
    let Action::Scale { replicas } = directive.action else { return true };
    let PolicyView::One(policy) = scene.input.policy else { return false };
    let Some(scale) = &policy.spec.scale else { return false };
    let asked = super::begin::asked_for(scene);
    let upward = directive.undo_of.is_some() || asked.is_none_or(|asked| replicas >= asked);
    (scale.minimum_replicas..=scale.maximum_replicas).contains(&replicas) && upward
}

/// A measure adds protection; only what takes one back takes it away.
fn is_measured(directive: &Directive, now: Timestamp) -> bool {
    let taking_back = directive.undo_of.is_some();
    match directive.action {
        Action::Freeze { until: Some(until), .. } | Action::SetCadence { until: Some(until), .. } => {
            until > now && until.duration_since(now) <= HELD_MAX
        }
        Action::SetBreaker(setting) => taking_back || setting.mode == BreakerMode::Enforce,
        _ => taking_back || !directive.reduces,
    }
}

fn takes_back(directive: &Directive, scene: &Scene<'_>) -> bool {
    let Some(original) = directive.undo_of else { return true };
    let kind: DirectiveKind = directive.kind();
    let standing = scene.line(&directive.resource, kind).measure_in_effect();
    standing.is_some_and(|entry| entry.id == original && entry.undo == directive.action)
}
