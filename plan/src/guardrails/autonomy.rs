//! What becomes of a proposal at the policy's level. It never vetoes: what may not be done is recorded as advice.

use super::{Pass, Situation, Verdict};
use crate::candidates::Candidate;
use proto::model::AutonomyLevel;

pub(super) fn check(_: &Candidate, situation: &Situation<'_>) -> Verdict {
    let level = situation.autonomy;
    let outcome = match level {
        AutonomyLevel::Observe => "recorded, never delivered",
        AutonomyLevel::Recommend => "given as advice, never delivered",
        AutonomyLevel::Approve => "waits until a person approves it",
        AutonomyLevel::Act => "issued",
    };
    Pass(format!("{level}: {outcome}"))
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{Case, scale_to};
    use proto::model::AutonomyLevel;

    #[test]
    fn each_level_says_what_becomes_of_it() {
        for (level, text) in [
            (AutonomyLevel::Observe, "observe: recorded, never delivered"),
            (AutonomyLevel::Recommend, "recommend: given as advice, never delivered"),
            (AutonomyLevel::Approve, "approve: waits until a person approves it"),
            (AutonomyLevel::Act, "act: issued"),
        ] {
            let case = Case::replicas(4).level(level);
            assert_eq!(case.reason("autonomy", &scale_to(4, 5)), text);
        }
    }
}
