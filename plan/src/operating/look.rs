//! What an assessment tells of how a service fares.

use super::{CRITICAL, DEGRADED};
use crate::{
    data::{is_whole, ready_replicas, value},
    effects::allowed_bad_ratio,
};
use proto::model::{Assessment, Objective, ObjectiveStanding, ScalePolicy, Severity, SymptomKind};

/// How many times faster than allowed things go bad: as measured in this look, and at least what Analyze says over its longer
/// windows. `None`: unknown.
pub fn pressure(seen: &Assessment, objective: Option<Objective>) -> Option<f64> {
    if !is_whole(seen) {
        return None;
    }
    let measured =
        allowed_bad_ratio(objective, seen).filter(|allowed| *allowed > 0.0).zip(value(seen, "bad_ratio"));
    let measured = measured.map_or(0.0, |(allowed, bad)| bad / allowed);
    let standing = match seen.objective.as_ref().map(|objective| objective.standing) {
        Some(ObjectiveStanding::Exhausted) => CRITICAL.0,
        Some(ObjectiveStanding::Burning) => DEGRADED.0,
        Some(ObjectiveStanding::Met | ObjectiveStanding::Unknown) | None => 0.0,
    };
    let telling = [SymptomKind::Objective, SymptomKind::Saturation, SymptomKind::Dependency];
    let open = telling.into_iter().filter_map(|kind| seen.open_symptom(kind));
    let symptoms = open.map(|symptom| match symptom.severity {
        Severity::Critical => CRITICAL.0,
        Severity::Low | Severity::Medium | Severity::High => DEGRADED.0,
    });
    Some(symptoms.fold(measured.max(standing), f64::max))
}

/// Whether one replica less would do, by the policy's own target.
pub fn spare(seen: &Assessment, policy: &ScalePolicy) -> bool {
    let (Some(used), Some(ready)) = (value(seen, "utilisation"), ready_replicas(seen)) else { return false };
    let need = f64::from(ready) * used / policy.target_utilisation_ratio;
    ready > policy.minimum_replicas && need <= f64::from(ready) - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{policy_spec, service_assessment, symptom};
    use proto::model::{Quality, SymptomState};
    use std::time::Duration;

    fn objective() -> Option<Objective> {
        Some(Objective { target_ratio: 0.99, latency_bound: None, window: Duration::from_secs(3_600) })
    }

    #[test]
    fn the_worst_of_what_is_measured_and_said_counts() {
        let mut seen = service_assessment("catalog", 1, &[("load", 1e9), ("bad_ratio", 0.03)]);
        let near =
            |found: Option<f64>, value: f64| assert!((found.unwrap() - value).abs() < 0.01, "{found:?}");
        near(pressure(&seen, objective()), 3.0);
        assert_eq!(pressure(&seen, None), Some(0.0), "nothing is promised");
        seen.symptoms.push(symptom(SymptomKind::Saturation, SymptomState::Open));
        near(pressure(&seen, None), 2.0);
        seen.objective = Some(proto::model::ObjectiveState {
            standing: ObjectiveStanding::Exhausted,
            target_ratio: 0.99,
            good_ratio: None,
            burn_rate_short: None,
            burn_rate_long: None,
            budget_remaining_ratio: None,
            total_events: 0.0,
            unknown_time_ratio: 0.0,
        });
        near(pressure(&seen, objective()), 10.0);
        seen.data.quality = Quality::Partial;
        assert_eq!(pressure(&seen, objective()), None);
    }

    #[test]
    fn spare_is_a_whole_replica_above_the_minimum() {
        let policy = policy_spec("catalog").scale.unwrap();
        let seen = |used: f64, ready: f64| {
            service_assessment("catalog", 1, &[("utilisation", used), ("ready_replicas", ready)])
        };
        let target = policy.target_utilisation_ratio;
        assert!(spare(&seen(target * 0.5, 4.0), &policy));
        assert!(!spare(&seen(target * 0.9, 4.0), &policy));
        let least = f64::from(policy.minimum_replicas);
        assert!(!spare(&seen(0.0, least), &policy));
        assert!(!spare(&service_assessment("catalog", 1, &[]), &policy));
    }
}
