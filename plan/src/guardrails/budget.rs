//! What may do harm needs error budget: while an objective of the service, or of one that calls it, has too little left, or its
//! policy protects it, nothing is taken away.

use super::{Pass, Situation, Verdict, Veto};
use crate::candidates::Candidate;
use proto::model::{Action, Assessment, BudgetMeasure, DirectiveKind};

pub(super) fn check(candidate: &Candidate, situation: &Situation<'_>) -> Verdict {
    if candidate.takes_back.is_some() {
        return Pass("takes a measure back, as its policy says".to_owned());
    }
    if !is_risky(candidate) {
        return Pass("takes no capacity or protection away".to_owned());
    }
    let input = situation.input;
    let policies = input.assessment.map_or(&[][..], |seen| &seen.budget_policies);
    if !candidate.reduces && policies.iter().any(|policy| policy.objective == situation.policy.name) {
        return Pass("its policy asks for it".to_owned());
    }
    let callers = input.incoming.iter().filter_map(|from| from.caller_assessment);
    if let Some(reason) = input.assessment.into_iter().chain(callers).find_map(refusal) {
        return Veto(reason);
    }
    if let Some(reason) = protected(candidate, situation) {
        return Veto(reason);
    }
    Pass("no error-budget policy forbids it".to_owned())
}

/// What is taken away, and what a service may not come back from by itself.
fn is_risky(candidate: &Candidate) -> bool {
    let kind = candidate.action.kind();
    candidate.reduces || matches!(kind, DirectiveKind::Rollback | DirectiveKind::SetMode)
}

fn refusal(seen: &Assessment) -> Option<String> {
    seen.budget_policies.iter().find_map(|policy| policy.refusal())
}

/// A measure of the same kind is in force, or has not been taken back yet: its policy decides when it ends.
fn protected(candidate: &Candidate, situation: &Situation<'_>) -> Option<String> {
    let wanted = match candidate.action {
        Action::Scale { .. } => BudgetMeasure::ScaleUp,
        Action::SetBreaker(_) => BudgetMeasure::TightenBreakers,
        _ => return None,
    };
    let policies = situation.input.assessment.map_or(&[][..], |seen| &seen.budget_policies);
    if let Some(policy) = policies.iter().find(|policy| policy.wants(wanted).is_some()) {
        return Some(format!("the error-budget policy of {} holds {wanted} in force", policy.objective));
    }
    let standing = situation.line.measure_in_effect()?;
    let known = policies.iter().any(|policy| policy.objective == standing.policy);
    known.then(|| {
        format!("\"{}\", a measure of {}, is to be taken back first", standing.action, standing.policy)
    })
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{Case, budget_policy, scale_to};
    use proto::model::BudgetMeasure;

    #[test]
    fn low_budget_refuses_what_takes_away_and_nothing_else() {
        for (left, vetoed) in [(Some(0.5), false), (Some(0.19), true), (Some(-2.0), true), (None, true)] {
            let mut case = Case::replicas(4);
            case.plant.caller().budget_policies = vec![budget_policy(left, &[])];
            case.plant.settle();
            assert_eq!(case.vetoes("budget", &scale_to(4, 3)), vetoed, "{left:?}");
            assert!(!case.vetoes("budget", &scale_to(4, 5)), "{left:?}");
        }
    }

    #[test]
    fn the_reason_says_whose_budget_and_how_much_is_left() {
        let mut case = Case::replicas(4);
        case.plant.caller().budget_policies = vec![budget_policy(Some(0.05), &[])];
        case.plant.settle();
        let reason = case.reason("budget", &scale_to(4, 3));
        assert!(reason.contains("staging/catalog-requests") && reason.contains("5.0 %"), "{reason}");
    }

    #[test]
    fn a_measure_in_force_is_not_worked_against() {
        let mut case = Case::replicas(4);
        case.plant.caller().budget_policies = vec![budget_policy(Some(0.9), &[BudgetMeasure::ScaleUp])];
        case.plant.settle();
        assert!(case.vetoes("budget", &scale_to(4, 3)));
        case.plant.caller().budget_policies = vec![budget_policy(Some(0.9), &[BudgetMeasure::Notify])];
        case.plant.settle();
        assert!(!case.vetoes("budget", &scale_to(4, 3)));
    }

    #[test]
    fn without_a_policy_nothing_changes() {
        assert!(!Case::replicas(4).vetoes("budget", &scale_to(4, 3)));
    }
}
