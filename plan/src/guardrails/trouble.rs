//! Nothing is taken away while the service, or a service that it calls, is in open trouble.

use super::{Pass, Situation, Verdict, Veto};
use crate::{candidates::Candidate, data::number};
use proto::model::{Action, SymptomKind};

pub(super) fn check(candidate: &Candidate, situation: &Situation<'_>) -> Verdict {
    if !matches!((candidate.action, candidate.reduces), (Action::Scale { .. }, true)) {
        return Pass("removes no replica".to_owned());
    }
    let Some(seen) = situation.input.assessment else {
        return Veto("nothing is known of its trouble".to_owned());
    };
    for kind in [SymptomKind::Objective, SymptomKind::Saturation, SymptomKind::Dependency] {
        if let Some(symptom) = seen.open_symptom(kind) {
            return Veto(format!("{kind} symptom {} is open", symptom.id));
        }
    }
    let burn = seen.objective.as_ref().and_then(|objective| objective.burn_rate_short);
    if let Some(burn) = burn.filter(|burn| *burn > 1.0) {
        return Veto(format!("its error budget burns {} times as fast as it may", number(burn)));
    }
    for called in &situation.input.outgoing {
        if called.assessment.is_some_and(|calls| calls.open_symptom(SymptomKind::Dependency).is_some()) {
            return Veto(format!("calls to {} fail", called.callee.name()));
        }
    }
    Pass("no trouble is open".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Case, objective_state, scale_to, symptom};
    use proto::model::SymptomState;

    #[test]
    fn open_trouble_stops_reductions_and_nothing_else() {
        for (kind, state, vetoed) in [
            (SymptomKind::Objective, SymptomState::Open, true),
            (SymptomKind::Saturation, SymptomState::Open, true),
            (SymptomKind::Dependency, SymptomState::Open, true),
            (SymptomKind::Objective, SymptomState::Resolved, false),
            (SymptomKind::Deviation, SymptomState::Open, false),
        ] {
            let mut case = Case::replicas(4);
            case.plant.caller().symptoms.push(symptom(kind, state));
            case.plant.settle();
            assert_eq!(case.vetoes("trouble", &scale_to(4, 3)), vetoed, "{kind} {state}");
            assert!(!case.vetoes("trouble", &scale_to(4, 5)), "{kind} {state}");
        }
    }

    #[test]
    fn budget_that_burns_now_stops_reductions() {
        for (burn, vetoed) in [(Some(1.1), true), (Some(1.0), false), (None, false)] {
            let mut case = Case::replicas(4);
            case.plant.caller().objective = Some(objective_state(burn));
            case.plant.settle();
            assert_eq!(case.vetoes("trouble", &scale_to(4, 3)), vetoed, "{burn:?}");
        }
    }

    #[test]
    fn failing_callee_stops_reductions_of_its_caller() {
        let mut case = Case::replicas(4);
        case.plant.edge().symptoms.push(symptom(SymptomKind::Dependency, SymptomState::Open));
        case.plant.settle();
        assert!(case.vetoes("trouble", &scale_to(4, 3)));
    }
}
