//! One directive removes at most a share of what is ready.

use super::{Pass, Situation, Verdict, Veto};
use crate::{candidates::Candidate, data::percent};
use proto::model::Action;

pub(super) fn check(candidate: &Candidate, situation: &Situation<'_>) -> Verdict {
    let (Action::Scale { replicas }, true) = (candidate.action, candidate.reduces) else {
        return Pass("removes no replica".to_owned());
    };
    let Some(now) = situation.replicas else {
        return Veto("the share that it removes is unknown".to_owned());
    };
    if now.ready == 0 {
        return Veto("no replica is ready, of which a share could be removed".to_owned());
    }
    let (removed, allowed) = (now.current.saturating_sub(replicas), situation.policy.spec.blast_radius_ratio);
    let share = f64::from(removed) / f64::from(now.ready);
    let text = format!("removes {removed} of {} ready replicas, at most {}", now.ready, percent(allowed));
    if share <= allowed { Pass(text) } else { Veto(text) }
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{Case, scale_to};

    #[test]
    fn share_is_measured_against_what_is_ready() {
        // The policy of the fixtures allows a third.
        for (ready, current, replicas, vetoed) in [
            (3, 3, 2, false),
            (2, 2, 1, true),
            (6, 6, 4, false),
            (6, 6, 3, true),
            (2, 6, 5, true),
            (0, 6, 5, true),
            (2, 2, 4, false),
        ] {
            let mut case = Case::replicas(current);
            case.ready(ready);
            let vetoes = case.vetoes("blast_radius", &scale_to(current, replicas));
            assert_eq!(vetoes, vetoed, "{current} ({ready} ready) to {replicas}");
        }
    }
}
