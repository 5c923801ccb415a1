//! The kill switch: while paused, nothing is proposed that could be delivered. Advice goes on.

use super::{Pass, Situation, Verdict, Veto};
use crate::candidates::Candidate;
use proto::model::AutonomyLevel;

pub(super) fn check(_: &Candidate, situation: &Situation<'_>) -> Verdict {
    match paused(situation) {
        Some(reason) => Veto(reason),
        None if situation.input.pause.paused => Pass("acting is paused; this is advice".to_owned()),
        None => Pass("acting is not paused".to_owned()),
    }
}

/// Why nothing may be done now, if the switch says so and the level would do something.
pub fn paused(situation: &Situation<'_>) -> Option<String> {
    let pause = situation.input.pause;
    let acts = matches!(situation.autonomy, AutonomyLevel::Approve | AutonomyLevel::Act);
    (pause.paused && acts).then(|| format!("acting is paused by {}: {}", pause.actor, pause.reason))
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{Case, scale_to};
    use proto::model::AutonomyLevel::{Act, Approve, Observe, Recommend};

    #[test]
    fn pause_stops_acting_and_not_advice() {
        for (level, paused, vetoed) in [
            (Act, false, false),
            (Act, true, true),
            (Approve, true, true),
            (Recommend, true, false),
            (Observe, true, false),
        ] {
            let mut case = Case::replicas(4).level(level);
            case.plant.world.pause.paused = paused;
            assert_eq!(case.vetoes("pause", &scale_to(4, 5)), vetoed, "{level} {paused}");
        }
    }
}
