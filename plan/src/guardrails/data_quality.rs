//! Data that is missing, partial or old forbids every reduction. Only what adds may follow what was last known for certain.

use super::{Pass, Situation, Verdict, Veto};
use crate::{
    candidates::Candidate,
    data::{Data, seconds},
};

pub(super) fn check(candidate: &Candidate, situation: &Situation<'_>) -> Verdict {
    let fault = situation.data.fault();
    match (situation.data, fault) {
        (Data::Good { .. }, _) | (_, None) => Pass("data is good".to_owned()),
        (_, Some(fault)) if candidate.reduces => Veto(format!("{fault}; that forbids every reduction")),
        (Data::Partial { .. }, Some(fault)) => Pass(format!("{fault}; it reduces nothing")),
        (Data::Unknown { last_good: Some(_), .. }, Some(fault)) if candidate.follows_last_good.is_some() => {
            let age = candidate.follows_last_good.map(|age| seconds(age).to_string()).unwrap_or_default();
            Pass(format!("{fault}; it reduces nothing and follows the last good assessment, {age} s old"))
        }
        (_, Some(fault)) => Veto(fault),
    }
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{Case, scale_to};
    use proto::model::Quality;
    use std::time::Duration;

    #[test]
    fn only_good_data_allows_a_reduction() {
        for (quality, age, allows_in, allows_out) in [
            (Some(Quality::Good), 0, true, true),
            (Some(Quality::Partial), 0, false, true),
            (Some(Quality::Unknown), 0, false, false),
            (Some(Quality::Good), 60, false, false),
            (None, 0, false, false),
        ] {
            let case = Case::replicas(4).data(quality, age);
            assert_eq!(!case.vetoes("data_quality", &scale_to(4, 3)), allows_in, "in on {quality:?} {age}");
            assert_eq!(!case.vetoes("data_quality", &scale_to(4, 5)), allows_out, "out on {quality:?} {age}");
        }
    }

    #[test]
    fn unknown_data_allows_what_follows_the_last_good() {
        let case = Case::replicas(4).data(Some(Quality::Unknown), 0).last_good(60);
        let mut candidate = scale_to(4, 5);
        assert!(case.vetoes("data_quality", &candidate));
        candidate.follows_last_good = Some(Duration::from_secs(60));
        assert!(!case.vetoes("data_quality", &candidate));
        let mut candidate = scale_to(4, 3);
        candidate.follows_last_good = Some(Duration::from_secs(60));
        assert!(case.vetoes("data_quality", &candidate));
    }
}
