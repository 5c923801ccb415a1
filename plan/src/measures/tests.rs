//! Error-budget policies over catalog, which calls inventory.

use super::*;
use crate::fixtures::{Plant, at, budget_policy, service};
use proto::model::{Action, BudgetMeasure::*, DirectiveRecord, DirectiveState, ResourceKind};

const EVERY_KIND: [DirectiveKind; 7] = [
    DirectiveKind::Scale,
    DirectiveKind::SetBreaker,
    DirectiveKind::Rollback,
    DirectiveKind::Freeze,
    DirectiveKind::SetMode,
    DirectiveKind::SetCadence,
    DirectiveKind::Notify,
];

/// Catalog with so much budget left, these measures in force, and an actuator for everything.
fn plant(left: Option<f64>, measures: &[BudgetMeasure]) -> Plant {
    let mut plant = Plant::new();
    plant.run(30, 100.0, 4);
    plant.world.actuators[0].kinds = EVERY_KIND.to_vec();
    show(&mut plant, left, measures);
    plant
}

fn show(plant: &mut Plant, left: Option<f64>, measures: &[BudgetMeasure]) {
    plant.caller().budget_policies = vec![budget_policy(left, measures)];
    plant.settle();
}

fn planned(plant: &Plant) -> Vec<Decision> {
    let catalog = service("catalog");
    let input = plant.world.input(&catalog).unwrap();
    let decisions = plan(&input, at(plant.second), &mut IdGenerator::from_seed(1));
    for decision in &decisions {
        assert_eq!(decision.faults, Vec::<String>::new(), "{}", decision.report);
    }
    decisions
}

fn directives(plant: &Plant) -> Vec<Directive> {
    planned(plant).into_iter().filter_map(|decision| decision.directive).collect()
}

/// The ledger takes these and brings them to a state.
fn put(plant: &mut Plant, directives: &[Directive], state: DirectiveState) {
    for directive in directives {
        let mut directive = directive.clone();
        directive.generation = directive.parent_generation.next();
        let (revision, changed_at) = (u64::try_from(plant.second).unwrap(), at(plant.second));
        let (detail, history) = (String::new(), Vec::new());
        plant.world.ledger.put(&DirectiveRecord { directive, state, revision, changed_at, detail, history });
    }
}

#[test]
fn every_measure_becomes_a_directive_with_reason_expiry_and_undo() {
    let all = [FreezeDeployments, Rollback, ScaleUp, TightenBreakers, ReadOnly, RaiseCadence, Notify];
    let found = directives(&plant(Some(0.1), &all));
    let mut kinds: Vec<_> = found.iter().map(Directive::kind).collect();
    kinds.sort();
    let mut expect = EVERY_KIND.to_vec();
    expect.sort();
    assert_eq!(kinds, expect);
    for directive in &found {
        assert!(
            directive.rationale.text.contains("staging/catalog-requests"),
            "{}",
            directive.rationale.text
        );
        assert!(directive.rationale.text.contains("90 % is used up now"), "{}", directive.rationale.text);
        assert_eq!(directive.policy, "staging/catalog-requests");
        assert_ne!(directive.action, directive.undo);
        assert!(directive.expires_at > directive.created_at && !directive.reduces);
    }
    let scale = found.iter().find(|directive| directive.kind() == DirectiveKind::Scale).unwrap();
    assert_eq!((scale.action, scale.undo), (Action::Scale { replicas: 5 }, Action::Scale { replicas: 4 }));
    let breaker = found.iter().find(|directive| directive.kind() == DirectiveKind::SetBreaker).unwrap();
    assert_eq!(breaker.resource.kind(), ResourceKind::Edge);
    let Action::SetBreaker(setting) = breaker.action else { panic!("{}", breaker.action) };
    assert_eq!(setting.failure_ratio_to_open, 0.25, "half of what the Policy says");
}

#[test]
fn a_measure_is_made_once() {
    let mut plant = plant(Some(0.1), &[FreezeDeployments, Notify]);
    let first = directives(&plant);
    assert_eq!(first.len(), 2);
    for state in [DirectiveState::Issued, DirectiveState::Verified, DirectiveState::Undone] {
        put(&mut plant, &first, state);
        plant.settle();
        assert_eq!(directives(&plant), [], "{state}");
    }
}

#[test]
fn what_nobody_takes_is_on_record_once_and_tried_again_when_somebody_is_there() {
    let mut plant = plant(Some(0.1), &[FreezeDeployments]);
    plant.world.actuators[0].kinds = vec![DirectiveKind::Scale];
    let first = directives(&plant);
    assert_eq!(first.len(), 1, "the ledger shows that nobody took it");
    put(&mut plant, &first, DirectiveState::Expired);
    plant.second += 60;
    show(&mut plant, Some(0.1), &[FreezeDeployments]);
    let again = planned(&plant);
    assert!(again[0].directive.is_none() && again[0].report.considered[0].choice == Choice::Blocked);
    assert!(again[0].report.considered[0].reason.contains("no actuator registered for freeze"));
    plant.world.actuators[0].kinds = EVERY_KIND.to_vec();
    assert_eq!(directives(&plant).len(), 1);
}

#[test]
fn measures_are_taken_back_when_their_policy_no_longer_wants_them() {
    let mut plant = plant(Some(0.1), &[FreezeDeployments, ScaleUp, TightenBreakers]);
    let made = directives(&plant);
    assert_eq!(made.len(), 3);
    put(&mut plant, &made, DirectiveState::Verified);
    plant.run(120, 100.0, 5);
    show(&mut plant, Some(0.9), &[]);
    let back = directives(&plant);
    assert_eq!(
        back.len(),
        3,
        "{:?}",
        planned(&plant).iter().map(|d| d.report.to_string()).collect::<Vec<_>>()
    );
    for directive in &back {
        let original = made.iter().find(|made| Some(made.id) == directive.undo_of).unwrap();
        assert_eq!((directive.action, directive.undo), (original.undo, original.action));
        assert!(directive.reduces && directive.preconditions.requires_known_data);
    }
}

#[test]
fn a_cadence_that_has_ended_by_itself_is_raised_again_and_not_further() {
    let mut plant = plant(Some(0.1), &[RaiseCadence]);
    let made = directives(&plant);
    let Action::SetCadence { interval: Some(often), until: Some(until) } = made[0].action else {
        panic!("{}", made[0].action)
    };
    assert_eq!(until, at(plant.second + 86_400), "a day at most, should nobody be there to end it");
    put(&mut plant, &made, DirectiveState::Verified);
    plant.caller().interval = often;
    plant.settle();
    assert_eq!(directives(&plant), [], "it stands");
    plant.second += 86_401;
    show(&mut plant, Some(0.1), &[RaiseCadence]);
    let again = directives(&plant);
    let Action::SetCadence { interval, .. } = again[0].action else { panic!("{}", again[0].action) };
    assert_eq!(interval, Some(often));
}

#[test]
fn while_the_budget_is_unknown_nothing_is_taken_back() {
    let mut plant = plant(Some(0.1), &[FreezeDeployments]);
    let made = directives(&plant);
    put(&mut plant, &made, DirectiveState::Verified);
    plant.run(120, 100.0, 4);
    show(&mut plant, None, &[]);
    assert_eq!(directives(&plant), []);
}

#[test]
fn without_a_policy_of_the_service_measures_are_advice() {
    let mut plant = plant(Some(0.1), &[FreezeDeployments]);
    plant.world.delete(proto::model::DeclaredKind::Policy, "staging", "catalog-policy");
    assert_eq!(directives(&plant)[0].autonomy, AutonomyLevel::Recommend);
    plant.caller().budget_policies[0].autonomy = Some(AutonomyLevel::Act);
    plant.settle();
    assert_eq!(directives(&plant)[0].autonomy, AutonomyLevel::Act, "the policy says so itself");
}

#[test]
fn a_policy_of_the_service_bounds_how_far_measures_go() {
    let mut plant = plant(Some(0.1), &[FreezeDeployments]);
    plant.set_policy(|policy| policy.autonomy = AutonomyLevel::Approve);
    plant.caller().budget_policies[0].autonomy = Some(AutonomyLevel::Act);
    plant.settle();
    assert_eq!(directives(&plant)[0].autonomy, AutonomyLevel::Approve);
}

#[test]
fn the_most_that_the_policy_allows_is_not_exceeded() {
    let mut plant = plant(Some(0.1), &[]);
    plant.run(30, 100.0, 10);
    show(&mut plant, Some(0.1), &[ScaleUp]);
    assert_eq!(directives(&plant), []);
}

#[test]
fn a_measure_goes_before_what_load_asks_for_on_the_same_line() {
    let plant = plant(Some(0.1), &[ScaleUp]);
    let catalog = service("catalog");
    let input = plant.world.input(&catalog).unwrap();
    let all = crate::planner::plan(&input, at(plant.second), &mut IdGenerator::from_seed(1));
    let scales = all.iter().filter_map(|decision| decision.directive.as_ref());
    let scales: Vec<_> = scales.filter(|directive| directive.kind() == DirectiveKind::Scale).collect();
    assert_eq!(scales.len(), 1);
    assert_eq!(scales[0].policy, "staging/catalog-requests");
    assert!(all.iter().all(|decision| decision.report.resource != catalog
        || decision.report.considered.iter().any(|one| one.action.contains("staging/catalog-requests"))));
}
