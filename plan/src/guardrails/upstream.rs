//! Load that fell because a caller is blind, failing or cut off has not gone away: nothing is scaled in on it.

use super::{Pass, Situation, Verdict, Veto};
use crate::{
    candidates::{Candidate, breaker},
    data::Data,
    input::{Incoming, PlanInput},
};
use jiff::Timestamp;
use proto::model::{Action, Assessment, BreakerMode, SymptomKind, SymptomState};

pub(super) fn check(candidate: &Candidate, situation: &Situation<'_>) -> Verdict {
    if !matches!((candidate.action, candidate.reduces), (Action::Scale { .. }, true)) {
        return Pass("removes no replica".to_owned());
    }
    match hidden_load(situation.input, situation.now) {
        Some(reason) => Veto(reason),
        None => Pass("no caller hides its load".to_owned()),
    }
}

/// Why load that comes through callers may be hidden now.
pub fn hidden_load(input: &PlanInput<'_>, now: Timestamp) -> Option<String> {
    input.incoming.iter().find_map(|from| hidden_by(from, now))
}

fn hidden_by(from: &Incoming<'_>, now: Timestamp) -> Option<String> {
    let caller = from.caller.name();
    for (what, assessment) in [("", from.caller_assessment), ("calls from ", from.assessment)] {
        if let Some(fault) = Data::of(assessment, None, now).fault() {
            return Some(format!("load may be hidden: of {what}{caller}, {fault}"));
        }
    }
    let (calls, itself) = (from.assessment?, from.caller_assessment?);
    if lately(calls, SymptomKind::Dependency) {
        return Some(format!("load may be hidden: calls from {caller} failed within the last minute"));
    }
    let troubled = |kind| itself.open_symptom(kind).is_some();
    if troubled(SymptomKind::Objective) || troubled(SymptomKind::Saturation) {
        return Some(format!("load may be hidden: {caller} is in trouble itself"));
    }
    let enforced = matches!(
        from.line.in_effect().map(|entry| entry.action),
        Some(Action::SetBreaker(setting)) if !breaker::reduces_protection(None, &setting) && setting.mode != BreakerMode::MetricsOnly
    );
    let low = calls.signal("load").is_some_and(|load| load.deviating && load.value < load.lower);
    (enforced && low).then(|| format!("load may be hidden: the breaker at {caller} may hold it back"))
}

/// Open, or over for less than the minute that assessments remember.
fn lately(assessment: &Assessment, kind: SymptomKind) -> bool {
    let counts = |state| matches!(state, SymptomState::Open | SymptomState::Resolved);
    assessment.symptoms.iter().any(|symptom| symptom.kind == kind && counts(symptom.state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Plant, at, breaker_record, edge, service, symptom};
    use proto::model::{DirectiveState, Quality};

    /// Why nothing may be scaled in at inventory, which catalog calls, after this was done to the plant.
    fn hidden(change: impl FnOnce(&mut Plant)) -> Option<String> {
        let mut plant = Plant::new();
        change(&mut plant);
        plant.settle();
        hidden_load(&plant.world.input(&service("inventory")).unwrap(), at(plant.second))
    }

    #[test]
    fn healthy_callers_hide_nothing() {
        assert_eq!(hidden(|_| {}), None);
    }

    #[test]
    fn blind_caller_hides_its_load() {
        let reason = hidden(|plant| plant.caller().data.quality = Quality::Unknown);
        assert_eq!(reason.as_deref(), Some("load may be hidden: of catalog, data is unknown ()"));
        assert!(hidden(|plant| plant.edge().data.quality = Quality::Partial).is_some());
    }

    #[test]
    fn failing_calls_hide_load_until_a_minute_after() {
        assert!(
            hidden(|plant| plant.edge().symptoms.push(symptom(SymptomKind::Dependency, SymptomState::Open)))
                .is_some()
        );
        assert!(
            hidden(|plant| plant
                .edge()
                .symptoms
                .push(symptom(SymptomKind::Dependency, SymptomState::Resolved)))
            .is_some()
        );
        assert!(
            hidden(|plant| plant
                .edge()
                .symptoms
                .push(symptom(SymptomKind::Dependency, SymptomState::Dismissed)))
            .is_none()
        );
    }

    #[test]
    fn caller_in_trouble_hides_load() {
        assert!(
            hidden(|plant| plant
                .caller()
                .symptoms
                .push(symptom(SymptomKind::Saturation, SymptomState::Open)))
            .is_some()
        );
        assert!(
            hidden(|plant| plant.caller().symptoms.push(symptom(SymptomKind::Deviation, SymptomState::Open)))
                .is_none()
        );
    }

    #[test]
    fn breaker_that_may_be_open_hides_load_that_is_low() {
        let low = |plant: &mut Plant| {
            let load = plant.edge().signals.iter_mut().find(|signal| signal.name == "load").unwrap();
            (load.deviating, load.lower, load.value) = (true, Some(50.0), Some(1.0));
        };
        assert_eq!(hidden(low), None);
        let reason = hidden(|plant| {
            low(plant);
            plant.world.ledger.put(&breaker_record(
                1,
                &edge("catalog", "inventory"),
                DirectiveState::Verified,
                10,
            ));
        });
        assert_eq!(reason.as_deref(), Some("load may be hidden: the breaker at catalog may hold it back"));
    }
}
