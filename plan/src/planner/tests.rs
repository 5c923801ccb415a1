//! Scenarios on the small plant: what is decided, and how the report reads.

use super::*;
use crate::fixtures::{Plant, at, breaker_record, edge, enforced, objective, scale_record, service, symptom};
use proto::model::{
    Action, BreakerMode, BreakerSetting, Capacity, DirectiveState, Quality, SymptomKind, SymptomState,
};
use std::time::Duration;

fn decisions(plant: &Plant, name: &str) -> Vec<Decision> {
    let input_of = service(name);
    let input = plant.world.input(&input_of).unwrap();
    plan(&input, at(plant.second), &mut IdGenerator::from_seed(7))
}

/// The decision about catalog's replicas.
fn scaling(plant: &Plant) -> Decision {
    decisions(plant, "catalog").swap_remove(0)
}

/// The decision about the edge from catalog to inventory.
fn breaking(plant: &Plant) -> Decision {
    decisions(plant, "catalog").swap_remove(1)
}

fn replicas(decision: &Decision) -> Option<u32> {
    match decision.directive.as_ref()?.action {
        Action::Scale { replicas } => Some(replicas),
        _ => None,
    }
}

/// A minute of 100 requests/s on 4 replicas, each good for 50.
fn calm() -> Plant {
    let mut plant = Plant::new();
    plant.run(60, 100.0, 4);
    plant
}

fn crowd(plant: &mut Plant, load: f64) {
    plant.set("load", load);
    plant.set("utilisation", (load / 200.0).min(1.0));
    // It has come whole: the second look shows no further step.
    plant.settle();
    plant.settle();
}

#[test]
fn crowd_that_is_still_arriving_is_planned_for_one_step_ahead() {
    let mut plant = calm();
    plant.caller().capacity = Capacity { per_replica: Some(50.0), lower: None, upper: None, samples: 100 };
    plant.set("load", 160.0);
    plant.settle();
    let directive = scaling(&plant);
    // 160, and 60 more by the next look, at 30 per replica.
    assert_eq!(replicas(&directive), Some(8), "{}", directive.report.text);
}

/// Calls to inventory fail, and catalog misses its objective because of it.
fn failing_calls() -> Plant {
    let mut plant = calm();
    plant.edge().symptoms.push(symptom(SymptomKind::Dependency, SymptomState::Open));
    plant.edge().signals[1].value = Some(0.8);
    plant.caller().symptoms.push(symptom(SymptomKind::Objective, SymptomState::Open));
    plant.set("utilisation", 1.0);
    plant.set("bad_ratio", 0.4);
    plant.settle();
    plant
}

/// Left and right of the comparison are shown line by line where they differ.
fn assert_text(report: &PlanReport, expect: &str) {
    let text = report.to_string();
    let trimmed: Vec<_> = expect.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let expect = trimmed.join("\n");
    assert!(text.trim_end() == expect, "got:\n{text}\nexpected:\n{expect}\n");
}

#[test]
fn flash_crowd_is_met_in_one_step() {
    let mut plant = calm();
    crowd(&mut plant, 200.0);
    let decision = scaling(&plant);
    assert_text(
        &decision.report,
        "
service:staging/catalog (policy catalog-policy, act)
  catalog is scaled out to 7: 4 are ready and 7 are needed: load is 200 requests/s, at 50 requests/s per replica (seen lately), aiming at 60 % utilisation
  chosen   scale to 7 replicas: catalog is scaled out to 7: 4 are ready and 7 are needed: load is 200 requests/s, at 50 requests/s per replica (seen lately), aiming at 60 % utilisation
    pass bounds: 7 is within 2 to 10
    pass step: adds 3, at most 4
    pass blast_radius: removes no replica
    pass data_quality: data is good
    pass freshness: assessed 0 s ago
    pass upstream: removes no replica
    pass trouble: removes no replica
    pass budget: takes no capacity or protection away
    pass cooldown: no wait is left
    pass concurrency: nothing else is under way
    pass pause: acting is not paused
    pass actuator: process/one takes it
    pass autonomy: act: issued
  rejected change nothing: catalog keeps 4 although 7 are needed: load is 200 requests/s, at 50 requests/s per replica (seen lately), aiming at 60 % utilisation
  directive 00000002-7cb8-7efb-a86a-e9e0c207865f",
    );
}

#[test]
fn larger_crowd_is_met_as_far_as_the_step_allows_and_the_rest_is_told() {
    let mut plant = calm();
    crowd(&mut plant, 290.0);
    let decision = scaling(&plant);
    assert_eq!(replicas(&decision), Some(8));
    let blocked = &decision.report.considered[0];
    assert_eq!((blocked.action.as_str(), blocked.choice), ("scale to 10 replicas", Choice::Blocked));
    assert_eq!(blocked.reason, "step (adds 6, at most 4 at once)");
    let directive = decision.directive.unwrap();
    assert_eq!(directive.undo, Action::Scale { replicas: 4 });
    assert!(!directive.reduces && !directive.preconditions.requires_known_data);
    assert!(directive.rationale.rejected.iter().any(|other| other.action == "scale to 10 replicas"));
}

#[test]
fn learned_capacity_is_used_before_anything_else() {
    let mut plant = calm();
    plant.caller().capacity =
        Capacity { per_replica: Some(25.0), lower: Some(20.0), upper: Some(30.0), samples: 100 };
    plant.settle();
    // 100 requests/s at 25 × 0.6 per replica need 6.7.
    assert_eq!(replicas(&scaling(&plant)), Some(7));
}

#[test]
fn need_within_the_tolerance_changes_nothing() {
    let mut plant = calm();
    crowd(&mut plant, 130.0);
    assert_eq!(replicas(&scaling(&plant)), None);
    crowd(&mut plant, 133.0);
    assert_eq!(replicas(&scaling(&plant)), Some(5));
}

#[test]
fn ramp_is_planned_for_before_it_arrives() {
    let mut plant = calm();
    for step in 1..=7 {
        plant.run(1, 40.0 + 12.0 * f64::from(step), 4);
    }
    // 124 now, and 12 more each second: 196 in 6 s, cut to half as much again, 186, need 6.2 replicas.
    let decision = scaling(&plant);
    assert_eq!(replicas(&decision), Some(7));
    assert!(decision.report.text.contains("rising to 186 before"), "{}", decision.report.text);
}

#[test]
fn saturated_service_that_misses_its_objective_gets_at_least_one_more() {
    let mut plant = Plant::new();
    plant.run(60, 100.0, 4);
    // The learned capacity says that all is well; the busy workers and the bad answers say otherwise.
    plant.caller().capacity.per_replica = Some(1_000.0);
    plant.set("utilisation", 0.97);
    plant.set("bad_ratio", 0.2);
    plant.settle();
    assert_eq!(replicas(&scaling(&plant)), Some(5));
    // One more was made already; whether it was enough is seen once it has settled.
    let mut settling = plant.clone();
    settling.world.ledger.put(&scale_record(1, 4, 5, DirectiveState::Verifying, plant.second - 20));
    assert_eq!(replicas(&scaling(&settling)), None);
    plant.set("bad_ratio", 0.0);
    plant.settle();
    assert_eq!(replicas(&scaling(&plant)), None);
}

#[test]
fn load_that_goes_on_rising_does_not_wait_for_a_verdict() {
    let mut plant = calm();
    plant.world.ledger.put(&scale_record(1, 4, 6, DirectiveState::Verifying, plant.second - 20));
    plant.run(1, 290.0, 6);
    assert_eq!(replicas(&scaling(&plant)), Some(10));
}

#[test]
fn at_the_maximum_the_report_says_that_more_is_needed() {
    let mut plant = Plant::new();
    plant.run(60, 300.0, 10);
    plant.set("load", 900.0);
    plant.set("utilisation", 1.0);
    plant.settle();
    plant.settle();
    let decision = scaling(&plant);
    assert_eq!(decision.directive, None);
    assert!(
        decision.report.text.starts_with("held back by bounds (30 is not within 2 to 10)"),
        "{}",
        decision.report.text
    );
}

#[test]
fn scale_in_goes_one_step_after_a_whole_calm_window() {
    let mut plant = Plant::new();
    plant.run(75, 60.0, 4);
    let decision = scaling(&plant);
    let directive = decision.directive.clone().unwrap_or_else(|| panic!("{}", decision.report));
    assert_eq!(directive.action, Action::Scale { replicas: 3 });
    assert!(directive.reduces && directive.preconditions.requires_known_data);
    assert_eq!(directive.blast_radius_ratio, 0.25);
    let harm: Vec<_> =
        directive.expected.iter().map(|effect| (effect.signal.as_str(), effect.breach_is_harm)).collect();
    assert_eq!(harm, [("ready_replicas", false), ("bad_ratio", true)]);
}

#[test]
fn peak_within_the_window_keeps_its_replicas() {
    let mut plant = Plant::new();
    plant.run(60, 60.0, 4);
    plant.run(1, 110.0, 4);
    plant.run(50, 60.0, 4);
    assert_eq!(replicas(&scaling(&plant)), None);
}

#[test]
fn after_a_restart_nothing_is_scaled_in_until_a_window_was_watched() {
    let mut plant = Plant::new();
    plant.run(50, 100.0, 8);
    let decision = scaling(&plant);
    assert_eq!(decision.directive, None);
    assert_eq!(
        decision.report.text,
        "catalog keeps 8: load has been watched for 50 s of the 60 s before a scale-in"
    );
}

#[test]
fn nothing_is_scaled_in_while_a_caller_is_blind() {
    let mut plant = Plant::new();
    // Inventory runs 4 and could run 2; catalog calls it.
    plant.run(75, 60.0, 4);
    let shrink = decisions(&plant, "inventory").swap_remove(0);
    assert_eq!(replicas(&shrink), Some(3), "{}", shrink.report);
    plant.caller().data.quality = Quality::Unknown;
    plant.settle();
    let held = decisions(&plant, "inventory").swap_remove(0);
    assert_eq!(held.directive, None);
    assert_eq!(
        held.report.reductions_forbidden.as_deref(),
        Some("load may be hidden: of catalog, data is unknown ()")
    );
}

#[test]
fn unknown_data_changes_nothing_and_says_so() {
    let mut plant = Plant::new();
    plant.run(75, 60.0, 4);
    plant.caller().data.quality = Quality::Unknown;
    plant.caller().data.reason = "no scrape target answers".to_owned();
    plant
        .caller()
        .signals
        .iter_mut()
        .for_each(|signal| (signal.value, signal.quality) = (None, Quality::Unknown));
    plant.settle();
    let decision = scaling(&plant);
    assert_eq!(decision.directive, None);
    let reason = "data is unknown (no scrape target answers)";
    assert_eq!(decision.report.reductions_forbidden.as_deref(), Some(reason));
}

#[test]
fn unknown_data_may_be_met_by_what_the_last_good_asked_for() {
    let mut plant = calm();
    crowd(&mut plant, 200.0);
    plant.caller().data.quality = Quality::Unknown;
    plant.settle();
    let decision = scaling(&plant);
    let directive = decision.directive.clone().unwrap_or_else(|| panic!("{}", decision.report));
    assert_eq!(directive.action, Action::Scale { replicas: 7 });
    assert!(
        directive
            .rationale
            .text
            .ends_with("(data is unknown; this follows the last good assessment, 1 s old)")
    );
    assert_eq!(directive.preconditions.max_evidence_age, Duration::from_secs(1_800));
}

#[test]
fn partial_view_never_scales_out_to_fewer_than_there_were() {
    let mut plant = Plant::new();
    plant.run(75, 200.0, 8);
    // Three of eight replicas are seen, and those are busier than they should be.
    plant.caller().data.quality = Quality::Partial;
    plant.set("ready_replicas", 3.0);
    plant.set("load", 140.0);
    plant.set("utilisation", 0.93);
    plant.settle();
    let decision = scaling(&plant);
    assert_eq!(replicas(&decision), None, "{}", decision.report);
    assert!(decision.report.text.starts_with("catalog keeps 8"), "{}", decision.report.text);
}

#[test]
fn silence_of_analyze_stops_everything() {
    let mut plant = calm();
    crowd(&mut plant, 290.0);
    plant.second += 6;
    let decision = scaling(&plant);
    assert_eq!(decision.directive, None);
    assert_eq!(decision.report.text, "nothing is changed: data is 6 s old, at most 5 s are trusted");
}

#[test]
fn without_an_actuator_only_advice_is_given() {
    let mut plant = calm();
    plant.world.actuators.clear();
    crowd(&mut plant, 200.0);
    let decision = scaling(&plant);
    assert_eq!(decision.directive, None);
    assert!(
        decision.report.text.starts_with("held back by actuator (no actuator registered"),
        "{}",
        decision.report.text
    );
    for level in [AutonomyLevel::Observe, AutonomyLevel::Recommend] {
        plant.set_policy(|policy| policy.autonomy = level);
        let directive = scaling(&plant).directive.expect("advice needs no actuator");
        assert_eq!((directive.autonomy, directive.expires_at), (level, at(plant.second + 300)));
    }
}

#[test]
fn pause_holds_a_scale_out_back() {
    let mut plant = calm();
    crowd(&mut plant, 200.0);
    plant.world.pause.paused = true;
    plant.world.pause.actor = "ada".to_owned();
    plant.world.pause.reason = "deploy".to_owned();
    assert!(scaling(&plant).report.text.starts_with("held back by pause (acting is paused by ada: deploy)"));
}

#[test]
fn what_is_under_way_is_waited_for_and_named() {
    let mut plant = calm();
    plant.world.ledger.put(&scale_record(1, 4, 6, DirectiveState::Delivered, plant.second));
    crowd(&mut plant, 290.0);
    let decision = scaling(&plant);
    assert_eq!(decision.directive, None);
    assert_eq!(decision.report.considered[1].choice, Choice::Waiting);
    assert_eq!(decision.report.directive_id.map(|id| id.as_u128()), Some(1));
}

#[test]
fn replicas_that_were_asked_for_count_as_running() {
    let mut plant = calm();
    plant.world.ledger.put(&scale_record(1, 4, 7, DirectiveState::Verified, plant.second - 20));
    crowd(&mut plant, 200.0);
    assert_eq!(replicas(&scaling(&plant)), None);
    crowd(&mut plant, 290.0);
    let directive = scaling(&plant).directive.unwrap();
    assert_eq!(
        (directive.action, directive.undo),
        (Action::Scale { replicas: 10 }, Action::Scale { replicas: 7 })
    );
    assert_eq!(directive.parent_generation, Generation(1));
}

#[test]
fn replicas_that_never_came_are_asked_for_again() {
    let mut plant = calm();
    plant.world.ledger.put(&scale_record(1, 4, 7, DirectiveState::Ineffective, plant.second));
    plant.run(29, 200.0, 4);
    assert_eq!(replicas(&scaling(&plant)), None);
    plant.run(1, 200.0, 4);
    let decision = scaling(&plant);
    assert_eq!(replicas(&decision), Some(7), "{}", decision.report);
    assert!(decision.report.text.contains("is told again to run 7"));
    // One that is missing for a moment, long after, is its supervisor's business.
    let mut plant = calm();
    plant.world.ledger.put(&scale_record(1, 6, 7, DirectiveState::Verified, plant.second));
    plant.run(60, 200.0, 7);
    plant.run(5, 200.0, 6);
    assert_eq!(replicas(&scaling(&plant)), None);
}

#[test]
fn failing_dependency_sets_the_breaker_and_scales_nobody() {
    let plant = failing_calls();
    let scale = scaling(&plant);
    assert_eq!(scale.directive, None);
    assert_eq!(
        scale.report.text,
        "catalog is in trouble because calls to inventory fail, and it is not short of capacity; more replicas of catalog cannot cure that"
    );
    let decision = breaking(&plant);
    let directive = decision.directive.clone().unwrap_or_else(|| panic!("{}", decision.report));
    let expect = BreakerSetting { slow_call: Some(Duration::from_millis(250)), ..enforced() };
    assert_eq!(directive.action, Action::SetBreaker(expect));
    assert_eq!(
        directive.undo,
        Action::SetBreaker(BreakerSetting { mode: BreakerMode::MetricsOnly, ..expect })
    );
    assert_eq!(directive.resource, edge("catalog", "inventory"));
    assert!(!directive.reduces);
    assert_eq!(directive.rationale.symptom_ids, ["symptom-dependency"]);
    let promised: Vec<_> = directive
        .expected
        .iter()
        .map(|e| (e.resource.clone(), e.signal.as_str(), e.breach_is_harm))
        .collect();
    let caller = Some(service("catalog"));
    assert_eq!(promised, [(caller.clone(), "bad_ratio", false), (caller, "bad_ratio", true)]);
}

#[test]
fn real_load_scales_the_caller_even_while_a_dependency_fails() {
    let mut plant = failing_calls();
    plant.caller().capacity =
        Capacity { per_replica: Some(50.0), lower: Some(45.0), upper: Some(55.0), samples: 100 };
    plant.set("load", 260.0);
    plant.settle();
    // 260 requests/s at the optimistic 55 × 0.6 per replica need 7.9.
    assert_eq!(replicas(&scaling(&plant)), Some(8));
}

#[test]
fn callee_short_of_capacity_is_left_to_its_scaling() {
    let mut plant = failing_calls();
    plant.callee().signals[1].value = Some(0.99);
    plant.settle();
    let decision = breaking(&plant);
    assert_eq!(decision.directive, None);
    assert_eq!(
        decision.report.text,
        "inventory is short of capacity and runs 4 of at most 10: scaling it out cures its callers"
    );
    // At its maximum nothing is left but to fail fast.
    plant.callee().signals[2].value = Some(10.0);
    plant.settle();
    assert!(breaking(&plant).directive.is_some());
}

#[test]
fn busy_callee_with_little_load_hangs_and_is_cut_off() {
    let mut plant = failing_calls();
    plant.callee().signals[1].value = Some(0.99);
    plant.callee().capacity.per_replica = Some(100.0);
    plant.settle();
    assert!(breaking(&plant).directive.is_some());
}

#[test]
fn callee_that_nothing_is_known_of_is_cut_off() {
    let mut plant = failing_calls();
    plant.callee().signals[1].value = Some(0.99);
    plant.callee().data.quality = Quality::Unknown;
    plant.settle();
    assert!(breaking(&plant).directive.is_some());
}

#[test]
fn enforced_breaker_is_not_set_again() {
    let mut plant = failing_calls();
    plant.world.ledger.put(&breaker_record(1, &edge("catalog", "inventory"), DirectiveState::Verified, 10));
    let decision = breaking(&plant);
    assert_eq!(decision.directive, None);
    assert_eq!(
        decision.report.text,
        "calls from catalog to inventory fail, and their breaker is enforced already"
    );
    plant.world.ledger.put(&breaker_record(1, &edge("catalog", "inventory"), DirectiveState::Undone, 11));
    let weighed = &breaking(&plant).report.considered[0];
    assert_eq!(
        (weighed.choice, weighed.action.as_str()),
        (Choice::Waiting, "set breaker to enforce at failure ratio 0.5")
    );
}

#[test]
fn setting_of_which_nobody_can_tell_is_made_again_after_a_minute() {
    let mut plant = failing_calls();
    let unknown = |second| breaker_record(1, &edge("catalog", "inventory"), DirectiveState::Unknown, second);
    plant.world.ledger.put(&unknown(plant.second - 59));
    assert_eq!(breaking(&plant).directive, None);
    plant.second += 1;
    assert!(breaking(&plant).directive.is_some(), "{}", breaking(&plant).report);
}

#[test]
fn slow_calls_are_judged_by_what_is_normal_and_by_the_callers_own_promise() {
    for (normal, expect) in [(None, 250), (Some(0.05), 100), (Some(0.123), 250), (Some(0.5), 250)] {
        let mut plant = failing_calls();
        plant.edge().signals[2].upper = normal;
        plant.settle();
        let Action::SetBreaker(setting) = breaking(&plant).directive.unwrap().action else {
            panic!("no breaker")
        };
        assert_eq!(setting.slow_call, Some(Duration::from_millis(expect)), "{normal:?}");
    }
}

#[test]
fn calm_edge_is_left_alone() {
    let decision = breaking(&calm());
    assert_eq!(decision.directive, None);
    assert_text(
        &decision.report,
        "
edge:staging/catalog->inventory (policy catalog-policy, act)
  calls from catalog to inventory need no protection beyond what is set",
    );
}

#[test]
fn service_without_a_policy_is_watched_only() {
    let mut plant = calm();
    plant.world.delete(proto::model::DeclaredKind::Policy, "staging", "catalog-policy");
    let decisions = decisions(&plant, "catalog");
    assert_eq!(decisions.len(), 1);
    assert_eq!(decisions[0].report.text, "no policy names it: it is watched, nothing is done");
}

#[test]
fn scale_out_that_meets_the_whole_need_promises_a_cure() {
    for (load, promised) in [(200.0, Some(0.15)), (290.0, None)] {
        let mut plant = calm();
        plant.set("bad_ratio", 0.3);
        crowd(&mut plant, load);
        let directive = scaling(&plant).directive.unwrap();
        let cure =
            directive.expected.iter().find(|effect| effect.signal == "bad_ratio" && !effect.breach_is_harm);
        assert_eq!(cure.map(|effect| effect.upper), promised, "{load}");
    }
}

#[test]
fn promise_of_a_scale_out_under_overload_cannot_be_called_harm() {
    let mut plant = calm();
    crowd(&mut plant, 290.0);
    let directive = scaling(&plant).directive.unwrap();
    let bad = directive.expected.iter().find(|effect| effect.signal == "bad_ratio").unwrap();
    assert_eq!((bad.upper, bad.breach_is_harm), (1.0, true));
    let path = directive.counterfactual.iter().find(|path| path.signal == "bad_ratio").unwrap();
    assert_eq!(path.method, "overload");
    // 200 of 290 can be served.
    assert!((path.points[0].q50 - 90.0 / 290.0).abs() < 1e-9);
    assert!(objective(0.99).validate().is_ok());
}
