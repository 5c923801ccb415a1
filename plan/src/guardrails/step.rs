//! One directive changes at most so many replicas.

use super::{Pass, Situation, Verdict, Veto};
use crate::candidates::Candidate;
use proto::model::Action;

pub(super) fn check(candidate: &Candidate, situation: &Situation<'_>) -> Verdict {
    let Action::Scale { replicas } = candidate.action else { return Pass("is one setting".to_owned()) };
    let (Some(policy), Some(now)) = (&situation.policy.spec.scale, situation.replicas) else {
        return Veto("how far it would step is unknown".to_owned());
    };
    let (verb, changed, limit) = if replicas >= now.current {
        ("adds", replicas - now.current, policy.step_up_replicas)
    } else {
        // What is ready and what was asked for may differ; the step is measured from the larger.
        ("removes", now.current - replicas, policy.step_down_replicas)
    };
    if changed <= limit {
        Pass(format!("{verb} {changed}, at most {limit}"))
    } else {
        Veto(format!("{verb} {changed}, at most {limit} at once"))
    }
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{Case, scale_to};

    #[test]
    fn steps_are_bounded_both_ways() {
        // The policy of the fixtures allows 4 up and 1 down.
        for (current, replicas, vetoed) in
            [(3, 7, false), (3, 8, true), (5, 4, false), (5, 3, true), (5, 5, false)]
        {
            assert_eq!(
                Case::replicas(current).vetoes("step", &scale_to(current, replicas)),
                vetoed,
                "{current} to {replicas}"
            );
        }
    }

    #[test]
    fn step_from_an_unknown_number_is_vetoed() {
        let mut case = Case::replicas(3);
        case.replicas = None;
        assert!(case.vetoes("step", &scale_to(3, 4)));
    }
}
