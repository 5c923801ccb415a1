//! The number of replicas stays within the policy's bounds, or comes nearer to them.

use super::{Pass, Situation, Verdict, Veto};
use crate::candidates::Candidate;
use proto::model::Action;

pub(super) fn check(candidate: &Candidate, situation: &Situation<'_>) -> Verdict {
    let Action::Scale { replicas } = candidate.action else { return Pass("has no bounds".to_owned()) };
    let Some(policy) = &situation.policy.spec.scale else {
        return Veto("the policy does not scale this service".to_owned());
    };
    let (minimum, maximum) = (policy.minimum_replicas, policy.maximum_replicas);
    if (minimum..=maximum).contains(&replicas) {
        return Pass(format!("{replicas} is within {minimum} to {maximum}"));
    }
    match situation.replicas.map(|replicas| replicas.current) {
        Some(current) if current < replicas && replicas < minimum => {
            Pass(format!("{replicas} comes nearer to the minimum {minimum}"))
        }
        Some(current) if maximum < replicas && replicas < current => {
            Pass(format!("{replicas} comes nearer to the maximum {maximum}"))
        }
        _ => Veto(format!("{replicas} is not within {minimum} to {maximum}")),
    }
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{Case, scale_to};

    #[test]
    fn only_steps_within_or_towards_the_bounds_pass() {
        // The policy of the fixtures allows 2 to 10.
        for (current, replicas, vetoed) in [
            (4, 10, false),
            (4, 11, true),
            (4, 2, false),
            (4, 1, true),
            (0, 1, false),
            (13, 12, false),
            (13, 14, true),
            (1, 1, true),
        ] {
            let case = Case::replicas(current);
            assert_eq!(
                case.vetoes("bounds", &scale_to(current, replicas)),
                vetoed,
                "{current} to {replicas}"
            );
        }
    }
}
