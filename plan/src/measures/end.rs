//! Measures that stand, and that their policy no longer wants.

use super::{Scene, Wish, kind_of};
use crate::{candidates::Candidate, candidates::breaker, data::interval, ledger::Entry, score::Cost};
use proto::model::{
    Action, BudgetPolicyState, DirectiveKind, Evidence, ExpectedEffect, ResourceId, ServiceMode,
};

/// Kinds that measures are made of, on the service itself.
const ON_SERVICE: [DirectiveKind; 6] = [
    DirectiveKind::Freeze,
    DirectiveKind::Rollback,
    DirectiveKind::Scale,
    DirectiveKind::SetMode,
    DirectiveKind::SetCadence,
    DirectiveKind::Notify,
];

pub(super) fn wishes<'a>(scene: &Scene<'a>) -> Vec<Wish<'a>> {
    let service = scene.input.service;
    let own = ON_SERVICE.into_iter().map(|kind| (service, kind));
    let edges = scene.input.outgoing.iter().map(|called| (called.edge, DirectiveKind::SetBreaker));
    own.chain(edges).filter_map(|(resource, kind)| wish(scene, resource, kind)).collect()
}

/// Only a policy that is known to want nothing of the kind has it taken back: while nothing is known, what stands stays.
fn wish<'a>(scene: &Scene<'a>, resource: &ResourceId, kind: DirectiveKind) -> Option<Wish<'a>> {
    let standing = scene.line(resource, kind).measure_in_effect()?;
    let policies = &scene.seen.budget_policies;
    let policy = policies.iter().find(|policy| policy.objective == standing.policy && policy.known)?;
    let wanted =
        |policy: &BudgetPolicyState| policy.measures.iter().any(|measure| kind_of(measure.measure) == kind);
    if policies.iter().any(wanted) {
        return None;
    }
    // A release that came meanwhile is no longer the one that was taken back.
    if kind == DirectiveKind::Rollback {
        return None;
    }
    Some(Wish { policy, candidate: candidate(scene, resource, policy, standing), is_first: false })
}

fn candidate(
    scene: &Scene<'_>,
    resource: &ResourceId,
    policy: &BudgetPolicyState,
    standing: &Entry,
) -> Candidate {
    let left = policy.remaining_ratio.map_or_else(
        || "how much budget is left is unknown".to_owned(),
        |left| format!("{} of the budget is left", crate::data::percent(left)),
    );
    Candidate {
        resource: resource.clone(),
        action: standing.undo,
        undo: standing.action,
        reduces: reduces(&standing.action, &standing.undo),
        blast_radius_ratio: 1.0,
        follows_last_good: None,
        cost: Cost { unmet_permille: 0, idle_replicas: 0, changed: 1, order: 0 },
        text: format!(
            "\"{}\" is taken back: the error-budget policy of {} no longer wants it; {left}",
            standing.action, policy.objective
        ),
        evidence: vec![Evidence {
            signal: "error_budget_consumed".to_owned(),
            value: policy.consumed_ratio,
            lower: None,
            upper: None,
            text: format!("directive {} stood since {}", standing.id, standing.created_at),
        }],
        symptom_ids: Vec::new(),
        expected: promises(&standing.undo),
        counterfactual: Vec::new(),
        interval: interval(scene.seen),
        takes_back: Some(standing.id),
    }
}

/// What is taken back promises only that things are as before.
fn promises(undo: &Action) -> Vec<ExpectedEffect> {
    match *undo {
        Action::Scale { replicas } => vec![crate::effects::exactly_ready(replicas)],
        _ => Vec::new(),
    }
}

/// Whether it leaves less capacity or protection than there is.
fn reduces(from: &Action, to: &Action) -> bool {
    match (from, to) {
        (Action::Scale { replicas: from }, Action::Scale { replicas: to }) => to < from,
        (Action::SetBreaker(from), Action::SetBreaker(to)) => breaker::reduces_protection(Some(from), to),
        (Action::Freeze { .. } | Action::SetCadence { .. }, _) => true,
        (Action::SetMode { .. }, Action::SetMode { mode }) => *mode == ServiceMode::Normal,
        _ => false,
    }
}
