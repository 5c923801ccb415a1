//! Nothing rests on an assessment that is too old: when Analyze or Monitor is silent, nothing is planned.

use super::{Pass, Situation, Verdict, Veto};
use crate::{
    candidates::Candidate,
    data::{Data, STALE_INTERVALS, STALE_MIN, seconds},
};
use std::time::Duration;

pub(super) fn check(_: &Candidate, situation: &Situation<'_>) -> Verdict {
    match (situation.data, situation.data.fault()) {
        (Data::Stale { .. } | Data::Absent, Some(fault)) => Veto(fault),
        (Data::Good { age, .. } | Data::Partial { age, .. }, _) => {
            Pass(format!("assessed {} s ago", seconds(*age)))
        }
        _ => Pass("the newest assessment says that values are missing".to_owned()),
    }
}

/// How old the evidence may be when the directive is delivered.
pub fn evidence_age(candidate: &Candidate) -> Duration {
    let fresh = candidate.interval.saturating_mul(STALE_INTERVALS).max(STALE_MIN);
    candidate.follows_last_good.map_or(fresh, |_| crate::data::LAST_GOOD_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Case, scale_to};
    use proto::model::Quality;

    #[test]
    fn old_and_absent_assessments_stop_everything() {
        for (quality, age, vetoed) in [
            (Some(Quality::Good), 0, false),
            (Some(Quality::Good), 5, false),
            (Some(Quality::Good), 6, true),
            (Some(Quality::Unknown), 0, false),
            (None, 0, true),
        ] {
            let case = Case::replicas(4).data(quality, age);
            for candidate in [scale_to(4, 5), scale_to(4, 3)] {
                assert_eq!(case.vetoes("freshness", &candidate), vetoed, "{quality:?} {age}");
            }
        }
    }

    #[test]
    fn evidence_may_be_three_intervals_old_at_delivery() {
        let mut candidate = scale_to(4, 5);
        assert_eq!(evidence_age(&candidate), Duration::from_secs(5));
        candidate.interval = Duration::from_secs(15);
        assert_eq!(evidence_age(&candidate), Duration::from_secs(45));
    }
}
