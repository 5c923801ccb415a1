//! One directive at a time for each resource and kind, and no wish twice. A change that takes nothing away need not wait for
//! the verdict on one that was made.

use super::{Pass, Situation, Verdict, Veto};
use crate::candidates::{Candidate, breaker};
use proto::model::{Action, AutonomyLevel};

pub(super) fn check(candidate: &Candidate, situation: &Situation<'_>) -> Verdict {
    let line = situation.line;
    if line.proposing() {
        return Veto("a proposal is on its way to the ledger".to_owned());
    }
    if let Some(other) = line.holds_up(candidate.reduces) {
        return Veto(format!("\"{}\" is under way ({}, directive {})", other.action, other.state, other.id));
    }
    let advises = matches!(situation.autonomy, AutonomyLevel::Observe | AutonomyLevel::Recommend);
    let mut standing = line.advice(situation.now).filter(|_| advises);
    if let Some(advice) = standing.find(|advice| same_wish(&advice.action, &candidate.action)) {
        return Veto(format!("directive {} advises the same and still holds", advice.id));
    }
    Pass("nothing else is under way".to_owned())
}

fn same_wish(one: &Action, other: &Action) -> bool {
    match (one, other) {
        (Action::SetBreaker(one), Action::SetBreaker(other)) => breaker::same_wish(one, other),
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{Case, at, scale_record, scale_to};
    use proto::model::{AutonomyLevel, DirectiveState, Generation};

    #[test]
    fn every_state_under_way_makes_the_next_one_wait() {
        for state in DirectiveState::ALL {
            let mut case = Case::replicas(4);
            case.plant.world.ledger.put(&scale_record(1, 3, 4, *state, 100));
            let held_up = state.under_way() && !state.settling();
            assert_eq!(case.vetoes("concurrency", &scale_to(4, 6)), held_up, "{state} and more replicas");
            assert_eq!(
                case.vetoes("concurrency", &scale_to(4, 3)),
                state.under_way(),
                "{state} and fewer replicas"
            );
        }
    }

    #[test]
    fn same_advice_is_not_given_twice_while_it_holds() {
        let mut case = Case::replicas(4).level(AutonomyLevel::Recommend);
        let mut advice = scale_record(1, 4, 6, DirectiveState::Proposed, case.plant.second);
        advice.directive.generation = Generation(0);
        case.plant.world.ledger.put(&advice);
        assert!(case.vetoes("concurrency", &scale_to(4, 6)));
        assert!(!case.vetoes("concurrency", &scale_to(4, 7)));
        let mut acting = case.level(AutonomyLevel::Act);
        assert!(!acting.vetoes("concurrency", &scale_to(4, 6)), "old advice does not hold up acting");
        acting.plant.second += 31;
        let case = acting.level(AutonomyLevel::Recommend);
        assert!(advice.directive.expires_at < at(case.plant.second));
        assert!(!case.vetoes("concurrency", &scale_to(4, 6)));
    }

    #[test]
    fn proposal_on_its_way_makes_the_next_one_wait() {
        let mut case = Case::replicas(4);
        let record = scale_record(1, 3, 4, DirectiveState::Verified, 100);
        case.plant.world.ledger.set_proposing(&record.directive, true);
        assert!(case.vetoes("concurrency", &scale_to(4, 6)));
    }
}
