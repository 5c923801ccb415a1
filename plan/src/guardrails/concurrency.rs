//! One directive at a time for each resource and kind, and no wish twice.

use super::{Pass, Situation, Verdict, Veto};
use crate::candidates::Candidate;

pub(super) fn check(candidate: &Candidate, situation: &Situation<'_>) -> Verdict {
    let line = situation.line;
    if line.proposing() {
        return Veto("a proposal is on its way to the ledger".to_owned());
    }
    if let Some(other) = line.under_way() {
        return Veto(format!("\"{}\" is under way ({}, directive {})", other.action, other.state, other.id));
    }
    if let Some(advice) = line.same_advice(&candidate.action, situation.now) {
        return Veto(format!("directive {} advises the same and still holds", advice.id));
    }
    Pass("nothing else is under way".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{Case, at, scale_record, scale_to};
    use proto::model::{DirectiveState, Generation};

    #[test]
    fn every_state_under_way_makes_the_next_one_wait() {
        for state in DirectiveState::ALL {
            let mut case = Case::replicas(4);
            case.plant.world.ledger.put(&scale_record(1, 3, 4, *state, 100));
            assert_eq!(case.vetoes("concurrency", &scale_to(4, 6)), state.under_way(), "{state}");
        }
    }

    #[test]
    fn same_advice_is_not_given_twice_while_it_holds() {
        let mut case = Case::replicas(4);
        let mut advice = scale_record(1, 4, 6, DirectiveState::Proposed, case.plant.second);
        advice.directive.generation = Generation(0);
        case.plant.world.ledger.put(&advice);
        assert!(case.vetoes("concurrency", &scale_to(4, 6)));
        assert!(!case.vetoes("concurrency", &scale_to(4, 7)));
        case.plant.second += 31;
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
