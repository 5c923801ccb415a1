//! A directive that nobody would take is not proposed. Advice needs no actuator.

use super::{Pass, Situation, Verdict, Veto};
use crate::candidates::Candidate;
use proto::model::AutonomyLevel;

pub(super) fn check(candidate: &Candidate, situation: &Situation<'_>) -> Verdict {
    let kind = candidate.action.kind();
    if matches!(situation.autonomy, AutonomyLevel::Observe | AutonomyLevel::Recommend) {
        return Pass("advice needs no actuator".to_owned());
    }
    match situation.input.actuators.iter().find(|actuator| actuator.serves(&candidate.resource, kind)) {
        Some(actuator) => Pass(format!("{}/{} takes it", actuator.name, actuator.instance)),
        None => Veto(format!("no actuator registered for {kind} on {}", candidate.resource)),
    }
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{Case, scale_to};
    use proto::model::{
        AutonomyLevel::{Act, Approve, Observe, Recommend},
        DirectiveKind,
    };

    #[test]
    fn levels_that_act_need_an_actuator_of_the_kind() {
        for (level, needs) in [(Act, true), (Approve, true), (Recommend, false), (Observe, false)] {
            let mut case = Case::replicas(4).level(level);
            assert!(!case.vetoes("actuator", &scale_to(4, 5)), "{level}");
            case.plant.world.actuators[0].kinds = vec![DirectiveKind::SetBreaker];
            assert_eq!(case.vetoes("actuator", &scale_to(4, 5)), needs, "{level}");
            case.plant.world.actuators.clear();
            assert_eq!(case.vetoes("actuator", &scale_to(4, 5)), needs, "{level}");
        }
    }
}
