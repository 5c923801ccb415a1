//! Promises against assessments, and against what would have happened anyway.

use proto::model::{Counterfactual, CounterfactualPoint};

use super::*;
use crate::testing::{assessment, at, cart, edge, id, scale, start};

fn promise(signal: &str, lower: f64, upper: f64, breach_is_harm: bool) -> ExpectedEffect {
    ExpectedEffect { resource: None, signal: signal.to_owned(), lower, upper, breach_is_harm }
}

fn point(after_s: u64, q10: f64, q90: f64) -> CounterfactualPoint {
    CounterfactualPoint { after: Duration::from_secs(after_s), q10, q50: f64::midpoint(q10, q90), q90 }
}

/// Applied 1 s after its creation; judged 10 s later.
fn verification(expected: Vec<ExpectedEffect>, path: Vec<CounterfactualPoint>) -> Verification {
    let counterfactual = match path.is_empty() {
        true => Vec::new(),
        false => vec![Counterfactual {
            resource: None,
            signal: "bad_ratio".to_owned(),
            method: "persistence".to_owned(),
            points: path,
        }],
    };
    Verification::new(Arc::new(Directive { expected, counterfactual, ..scale(1, 2) }), at(1_000))
}

/// One assessment a second, from the second after the application; the verdict and when it came.
fn play(verification: &mut Verification, signal: &str, values: &[Option<f64>]) -> Option<(u64, Judgement)> {
    for (index, value) in values.iter().enumerate() {
        let millis = 2_000 + index as u64 * 1_000;
        if let Some(judgement) = verification.observe(&assessment(&cart(), millis, &[(signal, *value)])) {
            return Some((millis, judgement));
        }
    }
    None
}

fn end(verification: &Verification) -> OutcomeResult {
    assert_eq!(verification.tick(at(10_999)), None, "not before the end of the window");
    verification.tick(at(11_000)).unwrap().result
}

const GOOD: Option<f64> = Some(5.0);
const BAD: Option<f64> = Some(50.0);

#[test]
fn verified_as_soon_as_the_promise_holds_twice_in_a_row() {
    let mut one = verification(vec![promise("load", 0.0, 10.0, false)], vec![]);
    let (millis, judgement) = play(&mut one, "load", &[BAD, GOOD, BAD, GOOD, GOOD]).unwrap();
    assert_eq!((millis, judgement.result), (6_000, OutcomeResult::Verified));
    assert_eq!(judgement.effect_at, Some(at(5_000)), "from when it has held");
    assert_eq!((judgement.effects[0].measured, judgement.effects[0].kept), (GOOD, true));
}

#[test]
fn unknown_between_two_good_ones_breaks_the_row() {
    let mut one = verification(vec![promise("load", 0.0, 10.0, false)], vec![]);
    assert_eq!(play(&mut one, "load", &[GOOD, None, GOOD]), None);
}

#[test]
fn what_was_measured_before_the_application_does_not_count() {
    let mut one = verification(vec![promise("load", 0.0, 10.0, false)], vec![]);
    for millis in [500, 1_000] {
        assert_eq!(one.observe(&assessment(&cart(), millis, &[("load", GOOD)])), None);
    }
    assert_eq!(one.observe(&assessment(&cart(), 1_500, &[("load", GOOD)])), None);
    assert_eq!(
        one.observe(&assessment(&cart(), 1_500, &[("load", GOOD)])),
        None,
        "the same one twice is one"
    );
    assert!(one.observe(&assessment(&cart(), 2_500, &[("load", GOOD)])).is_some());
}

#[test]
fn all_promises_must_hold() {
    let expected = vec![promise("load", 0.0, 10.0, false), promise("latency_p99_seconds", 0.0, 1.0, false)];
    let mut one = verification(expected, vec![]);
    let both = |latency| [("load", GOOD), ("latency_p99_seconds", latency)];
    for millis in [2_000, 3_000, 4_000] {
        assert_eq!(one.observe(&assessment(&cart(), millis, &both(Some(2.0)))), None);
    }
    assert_eq!(one.observe(&assessment(&cart(), 5_000, &both(Some(0.5)))), None);
    assert!(one.observe(&assessment(&cart(), 6_000, &both(Some(0.5)))).is_some());
}

#[test]
fn promise_against_harm_is_watched_to_the_end() {
    let mut one = verification(vec![promise("bad_ratio", 0.0, 0.01, true)], vec![]);
    let values: Vec<_> = (0..9).map(|_| Some(0.0)).collect();
    assert_eq!(play(&mut one, "bad_ratio", &values), None);
    assert_eq!(end(&one), OutcomeResult::Verified);
}

#[test]
fn harm_is_worse_than_doing_nothing_would_have_been() {
    let harm = || vec![promise("bad_ratio", 0.0, 0.01, true)];
    // Without the change: from 10 % rising to 30 % within 20 s.
    let path = || vec![point(0, 0.05, 0.10), point(20, 0.10, 0.30)];
    let mut one = verification(harm(), path());
    assert_eq!(
        play(&mut one, "bad_ratio", &[Some(0.05); 5]),
        None,
        "broken, but it would have been so anyway"
    );
    assert_eq!(end(&one), OutcomeResult::Unknown, "and then nothing was heard");
    let mut one = verification(harm(), path());
    let (millis, judgement) = play(&mut one, "bad_ratio", &[Some(0.5), None, Some(0.5), Some(0.5)]).unwrap();
    assert_eq!((millis, judgement.result), (5_000, OutcomeResult::Harmful), "twice in a row");
    let effect = &judgement.effects[0];
    assert_eq!((effect.measured, effect.kept), (Some(0.5), false));
    assert!((effect.otherwise_upper.unwrap() - 0.15).abs() < 1e-9, "5 s of 20 s: {effect:?}");
    let mut one = verification(harm(), vec![]);
    let judgement = play(&mut one, "bad_ratio", &[Some(0.02), Some(0.02)]).unwrap().1;
    assert_eq!(judgement.result, OutcomeResult::Harmful, "without a counterfactual the promise is the limit");
}

#[test]
fn trouble_while_the_replicas_have_room_is_not_laid_at_a_scale_in() {
    let harm = vec![promise("bad_ratio", 0.0, 0.01, true)];
    let directive = |from, to| Arc::new(Directive { expected: harm.clone(), ..scale(from, to) });
    let verdict = |directive: Arc<Directive>, load: f64, ready: Option<f64>| {
        let mut one = Verification::new(directive, at(1_000));
        let seen = |second: u64| {
            let signals = [("bad_ratio", Some(0.9)), ("load", Some(load)), ("ready_replicas", ready)];
            let mut seen = assessment(&cart(), second * 1_000, &signals);
            seen.capacity.lower = Some(100.0);
            seen
        };
        let early = (2..=11).find_map(|second| one.observe(&seen(second)));
        early.or_else(|| one.tick(at(11_000))).map(|judgement| (judgement.result, judgement.text))
    };
    let (result, text) = verdict(directive(4, 2), 80.0, Some(2.0)).unwrap();
    assert_eq!(result, OutcomeResult::Ineffective, "80 of 200 requests/s: {text}");
    assert!(text.contains("the cause lies elsewhere"), "{text}");
    for (load, ready) in [(170.0, Some(2.0)), (80.0, None)] {
        let (result, _) = verdict(directive(4, 2), load, ready).unwrap();
        assert_eq!(result, OutcomeResult::Harmful, "{load} on {ready:?}: it may be for want of replicas");
    }
    assert_eq!(verdict(directive(1, 2), 80.0, Some(2.0)).unwrap().0, OutcomeResult::Harmful);
}

#[test]
fn trouble_of_a_caller_is_not_laid_at_a_scale_in_with_room_either() {
    let of_caller = ExpectedEffect { resource: Some(edge()), ..promise("bad_ratio", 0.0, 0.01, true) };
    let expected = vec![of_caller, promise("ready_replicas", 2.0, 2.0, false)];
    let mut one = Verification::new(Arc::new(Directive { expected, ..scale(4, 2) }), at(1_000));
    for second in 2..=10 {
        let signals = [("load", Some(80.0)), ("ready_replicas", Some(2.0))];
        let mut own = assessment(&cart(), second * 1_000, &signals);
        own.capacity.lower = Some(100.0);
        assert_eq!(one.observe(&own), None);
        assert_eq!(one.observe(&assessment(&edge(), second * 1_000, &[("bad_ratio", Some(1.0))])), None);
    }
    assert_eq!(end(&one), OutcomeResult::Ineffective);
}

#[test]
fn harm_below_the_promise_is_held_against_the_lower_quantile() {
    let expected = vec![promise("bad_ratio", 0.5, 1.0, true)];
    let mut one = verification(expected.clone(), vec![point(0, 0.2, 0.3)]);
    assert_eq!(play(&mut one, "bad_ratio", &[Some(0.25); 3]), None);
    assert_eq!(play(&mut one.clone(), "bad_ratio", &[]), None);
    let mut one = verification(expected, vec![point(0, 0.2, 0.3)]);
    assert_eq!(play(&mut one, "bad_ratio", &[Some(0.1); 2]).unwrap().1.result, OutcomeResult::Harmful);
}

#[test]
fn broken_promise_is_ineffective_at_the_end_and_no_data_is_never_success() {
    let without_harm = || verification(vec![promise("load", 0.0, 10.0, false)], vec![]);
    let mut broken = without_harm();
    assert_eq!(play(&mut broken, "load", &[BAD; 9]), None);
    assert_eq!(end(&broken), OutcomeResult::Ineffective);
    assert_eq!(end(&without_harm()), OutcomeResult::Unknown, "nothing was heard");
    let mut missing = without_harm();
    assert_eq!(play(&mut missing, "load", &[None; 9]), None);
    assert_eq!(end(&missing), OutcomeResult::Unknown);
    let mut absent = without_harm();
    assert_eq!(play(&mut absent, "another", &[GOOD; 9]), None);
    assert_eq!(end(&absent), OutcomeResult::Unknown, "a signal that is not assessed at all");
}

#[test]
fn data_that_stopped_long_before_the_end_is_missing() {
    let harm = vec![promise("bad_ratio", 0.0, 0.01, true)];
    let mut one = verification(harm.clone(), vec![]);
    assert_eq!(play(&mut one, "bad_ratio", &[Some(0.0); 5]), None);
    assert_eq!(end(&one), OutcomeResult::Unknown, "the last one came 5 s before the end");
    let mut one = verification(harm, vec![]);
    assert_eq!(play(&mut one, "bad_ratio", &[Some(0.0); 7]), None);
    assert_eq!(end(&one), OutcomeResult::Verified, "3 s before the end");
}

#[test]
fn one_broken_promise_outweighs_an_unknown_one() {
    let expected = vec![promise("load", 0.0, 10.0, false), promise("another", 0.0, 10.0, false)];
    let mut one = verification(expected, vec![]);
    assert_eq!(play(&mut one, "load", &[BAD; 9]), None);
    assert_eq!(end(&one), OutcomeResult::Ineffective);
}

#[test]
fn promises_about_other_resources_are_held_against_their_assessments() {
    let stock = ResourceId::service("shop", "stock").unwrap();
    let effect = ExpectedEffect { resource: Some(stock.clone()), ..promise("load", 0.0, 10.0, false) };
    let mut one = verification(vec![effect], vec![]);
    assert_eq!(one.resources().into_iter().collect::<Vec<_>>(), [&stock]);
    for millis in [2_000, 3_000, 4_000] {
        assert_eq!(one.observe(&assessment(&cart(), millis, &[("load", GOOD)])), None);
    }
    assert_eq!(one.observe(&assessment(&stock, 5_000, &[("load", GOOD)])), None);
    assert!(one.observe(&assessment(&stock, 6_000, &[("load", GOOD)])).is_some());
}

#[test]
fn without_promises_only_an_undo_is_verified() {
    let nothing = verification(vec![], vec![]);
    assert_eq!(end(&nothing), OutcomeResult::Unknown);
    let undo = Arc::new(Directive { undo_of: Some(id(9)), ..scale(1, 2) });
    let judgement = Verification::new(undo, start()).tick(start()).unwrap();
    assert_eq!(judgement.result, OutcomeResult::Verified);
}

#[test]
fn what_no_signal_tells_is_verified_by_its_actuators_word() {
    let freeze =
        |until| proto::model::Action::Freeze { scope: proto::model::FreezeScope::Deployments, until };
    let directive = Directive {
        action: freeze(Some(at(60_000))),
        undo: freeze(None),
        expected: Vec::new(),
        ..scale(3, 5)
    };
    let verification = Verification::new(Arc::new(directive), at(0));
    assert_eq!(verification.tick(at(0)).unwrap().result, OutcomeResult::Verified);
}
