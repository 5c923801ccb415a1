//! The life of a directive, event by event.

use proto::model::BreakerMode;

use super::*;
use crate::testing::{actuator, at, breaker, record, scale, start};

fn key(instance: &str) -> ActuatorKey {
    ActuatorKey::of(&actuator("plant", instance))
}

fn live(instances: &[&str]) -> Arc<[ActuatorKey]> {
    instances.iter().map(|instance| key(instance)).collect()
}

fn scaled(state: DirectiveState) -> Life {
    Life::from_record(record(&scale(1, 2), state, 1))
}

fn set_breaker(quorum_ratio: f64) -> Life {
    let directive = Directive { quorum_ratio, ..breaker(BreakerMode::Enforce) };
    Life::from_record(record(&directive, DirectiveState::Issued, 1))
}

fn report(instance: &str, attempt: u32, reported: Reported) -> Report {
    let detail = "why".to_owned();
    Report { by: key(instance), attempt, reported, detail, before: Vec::new(), after: Vec::new() }
}

fn reported(
    life: Life,
    millis: u64,
    report: Report,
    instances: &[&str],
) -> (Life, Vec<DirectiveState>, Disposition) {
    let (life, effects) = life.handle(at(millis), Event::Reported(report, live(instances))).unwrap();
    let answers: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Answer(disposition) => Some(*disposition),
            _ => None,
        })
        .collect();
    assert_eq!(answers.len(), 1, "each report has one answer");
    (life, steps(&effects), answers[0])
}

fn steps(effects: &[Effect]) -> Vec<DirectiveState> {
    let step = |effect: &Effect| match effect {
        Effect::Record(transition) => Some(transition.to),
        _ => None,
    };
    effects.iter().filter_map(step).collect()
}

fn delivered(life: Life, millis: u64, instance: &str) -> Life {
    life.handle(at(millis), Event::Delivered { to: key(instance) }).unwrap().0
}

fn tick(life: Life, millis: u64) -> (Life, Vec<DirectiveState>) {
    let (life, effects) = life.handle(at(millis), Event::Tick).unwrap();
    (life, steps(&effects))
}

use DirectiveState::{
    Accepted, Applied, AwaitingApproval, Delivered, Expired, Failed, Issued, Proposed, Refused, Undone,
    Unknown, Verified, Verifying,
};

#[test]
fn the_straight_life() {
    let life = scaled(Issued);
    let (life, effects) = life.handle(at(10), Event::Delivered { to: key("1") }).unwrap();
    assert_eq!((steps(&effects), life.attempt()), (vec![Delivered], 1));
    assert_eq!(life.next_wake(), Some(at(5_010)), "the actuator has its apply timeout");
    let (life, steps, _) = reported(life, 20, report("1", 1, Reported::Accepted), &["1"]);
    assert_eq!(steps, [Accepted]);
    let (life, effects) =
        life.handle(at(30), Event::Reported(report("1", 1, Reported::Applied), live(&["1"]))).unwrap();
    assert_eq!(self::steps(&effects), [Applied, Verifying]);
    assert!(effects.contains(&Effect::Verify(at(30))));
    let verdict = Event::Judged { result: OutcomeResult::Verified, text: String::new() };
    let (life, _) = life.handle(at(40), verdict).unwrap();
    assert_eq!((life.state(), life.next_wake()), (Verified, None));
}

#[test]
fn every_last_word_leads_to_its_state_and_simulated_is_a_failure() {
    for (word, expect) in [
        (Reported::Refused, Refused),
        (Reported::Failed, Failed),
        (Reported::Simulated, Failed),
        (Reported::Unknown, Unknown),
    ] {
        let (life, steps, answer) =
            reported(delivered(scaled(Issued), 0, "1"), 1, report("1", 1, word), &["1"]);
        assert_eq!((life.state(), steps, answer), (expect, vec![expect], Disposition::Recorded), "{word:?}");
    }
}

#[test]
fn report_may_come_before_the_delivery_is_known() {
    let (life, steps, _) = reported(scaled(Issued), 1, report("1", 1, Reported::Applied), &["1"]);
    assert_eq!((life.state(), steps), (Verifying, vec![Applied, Verifying]));
}

#[test]
fn repeated_report_changes_nothing() {
    let life = delivered(scaled(Issued), 0, "1");
    let (life, ..) = reported(life, 1, report("1", 1, Reported::Accepted), &["1"]);
    let (life, steps, answer) = reported(life, 2, report("1", 1, Reported::Accepted), &["1"]);
    assert_eq!((steps, answer), (vec![], Disposition::Duplicate));
    let (life, ..) = reported(life, 3, report("1", 1, Reported::Applied), &["1"]);
    let before = life.clone();
    for attempt in [1, 2] {
        let (life, steps, answer) =
            reported(before.clone(), 4, report("1", attempt, Reported::Applied), &["1"]);
        assert_eq!((steps, answer, life), (vec![], Disposition::Duplicate, before.clone()));
    }
    let (_, steps, answer) = reported(before, 4, report("1", 1, Reported::Failed), &["1"]);
    assert_eq!((steps, answer), (vec![], Disposition::TooLate), "what is applied cannot have failed");
}

#[test]
fn silence_is_unknown_and_a_late_word_resolves_it() {
    let life = delivered(scaled(Issued), 0, "1");
    let (life, steps) = tick(life, 4_999);
    assert_eq!((life.state(), steps), (Delivered, vec![]));
    let (life, steps) = tick(life, 5_000);
    assert_eq!((life.state(), steps), (Unknown, vec![Unknown]));
    let (late, steps, _) = reported(life.clone(), 9_000, report("1", 1, Reported::Failed), &["1"]);
    assert_eq!((late.state(), steps), (Unknown, vec![]), "only that it was made resolves it");
    let (life, steps, answer) = reported(life, 9_000, report("1", 1, Reported::Applied), &["1"]);
    assert_eq!(
        (life.applied_at(), steps, answer),
        (Some(at(9_000)), vec![Applied, Verifying], Disposition::Recorded)
    );
}

#[test]
fn unknown_verdict_is_not_resolved_by_a_repeated_report() {
    let (life, ..) =
        reported(delivered(scaled(Issued), 0, "1"), 1, report("1", 1, Reported::Applied), &["1"]);
    let verdict = Event::Judged { result: OutcomeResult::Unknown, text: String::new() };
    let (life, _) = life.handle(at(2), verdict).unwrap();
    let (life, steps, answer) = reported(life, 3, report("1", 2, Reported::Applied), &["1"]);
    assert_eq!((life.state(), steps, answer), (Unknown, vec![], Disposition::Duplicate));
}

#[test]
fn second_attempt_counts_up_and_has_its_own_time() {
    let life = delivered(delivered(scaled(Issued), 0, "1"), 4_000, "1");
    assert_eq!((life.attempt(), life.deadline()), (2, at(9_000)));
    let (life, steps, _) = reported(life, 4_100, report("1", 1, Reported::Applied), &["1"]);
    assert_eq!(
        (life.state(), steps),
        (Verifying, vec![Applied, Verifying]),
        "the first attempt counts as well"
    );
}

#[test]
fn what_is_not_sent_in_time_expires_with_the_reason() {
    for state in [Proposed, AwaitingApproval, Issued] {
        let (life, steps) = tick(scaled(state), 59_999);
        assert_eq!(steps, []);
        assert_eq!(tick(life, 60_000).1, [Expired], "{state}");
    }
    let (life, _) = scaled(Issued).handle(at(1), Event::Held { reason: "no data".to_owned() }).unwrap();
    let (_, effects) = life.handle(at(60_000), Event::Tick).unwrap();
    let Effect::Record(step) = &effects[0] else { panic!("{effects:?}") };
    assert_eq!(step.detail, "not delivered in time: no data");
}

#[test]
fn life_goes_on_from_the_history_after_a_crash() {
    let step = |from, to, millis, attempt| Transition {
        directive_id: scale(1, 2).id,
        from,
        to,
        at: at(millis),
        actor: String::new(),
        detail: String::new(),
        attempt,
        before: Vec::new(),
        after: Vec::new(),
    };
    let history = vec![step(Issued, Delivered, 100, 1), step(Delivered, Accepted, 200, 1)];
    let accepted = DirectiveRecord { history: history.clone(), ..record(&scale(1, 2), Accepted, 3) };
    let life = Life::from_record(accepted);
    assert_eq!((life.attempt(), life.deadline()), (1, at(5_100)));
    let history = [history, vec![step(Accepted, Applied, 300, 2), step(Applied, Verifying, 300, 2)]].concat();
    let life = Life::from_record(DirectiveRecord { history, ..record(&scale(1, 2), Verifying, 5) });
    let (life, effects) = life.handle(at(900), Event::Watched).unwrap();
    assert_eq!(effects, [Effect::Verify(at(300))], "from when it was applied, not from now");
    assert_eq!(life.attempt(), 2);
    let (life, effects) = scaled(Applied).handle(at(900), Event::Watched).unwrap();
    assert_eq!((life.state(), steps(&effects)), (Verifying, vec![Verifying]));
    assert!(effects.contains(&Effect::Verify(start())), "without a history, the last change stands for it");
}

#[test]
fn events_out_of_place_are_errors_and_change_nothing() {
    for state in [Verified, Expired, Failed, Undone] {
        assert!(scaled(state).handle(at(1), Event::Delivered { to: key("1") }).is_err(), "{state}");
        let refused = Event::Refused { reason: String::new() };
        assert!(scaled(state).handle(at(1), refused).is_err(), "{state}");
    }
    let verdict = Event::Judged { result: OutcomeResult::Verified, text: String::new() };
    assert!(scaled(Delivered).handle(at(1), verdict).is_err(), "nothing is verified before it is applied");
}

#[test]
fn breaker_is_applied_at_its_quorum() {
    let everyone = ["1", "2", "3"];
    let mut life = set_breaker(0.6);
    for instance in everyone {
        life = delivered(life, 0, instance);
    }
    let (life, steps, answer) = reported(life, 1, report("1", 1, Reported::Applied), &everyone);
    assert_eq!((steps, answer), (vec![], Disposition::Recorded));
    let (life, steps, _) = reported(life, 2, report("2", 2, Reported::Applied), &everyone);
    assert_eq!((life.state(), steps), (Verifying, vec![Applied, Verifying]), "2 of 3");
    let (life, steps, answer) = reported(life, 3, report("3", 3, Reported::Applied), &everyone);
    assert_eq!((life.state(), steps, answer), (Verifying, vec![], Disposition::Recorded));
    assert!(life.applied_by(&key("3")));
    let joined = delivered(life, 90_000, "4");
    assert_eq!(joined.state(), Verifying, "a late joiner moves nothing");
}

#[test]
fn breaker_that_cannot_reach_its_quorum_has_failed() {
    let everyone = ["1", "2", "3"];
    let life = delivered(set_breaker(0.6), 0, "1");
    let (life, steps, _) = reported(life, 1, report("1", 1, Reported::Failed), &everyone);
    assert_eq!(steps, []);
    let (life, steps, _) = reported(life, 2, report("2", 1, Reported::Refused), &everyone);
    assert_eq!((life.state(), steps), (Failed, vec![Failed]));
    let life = delivered(set_breaker(1.0), 0, "1");
    let (life, ..) = reported(life, 1, report("1", 1, Reported::Refused), &["1"]);
    assert_eq!(life.state(), Refused, "everyone refused");
}

#[test]
fn quorum_follows_the_instances_that_are_there() {
    let life = delivered(set_breaker(1.0), 0, "1");
    let (life, steps, _) = reported(life, 1, report("1", 1, Reported::Applied), &["1", "2"]);
    assert_eq!(steps, []);
    let (life, effects) = life.handle(at(2), Event::InstancesChanged(live(&["1"]))).unwrap();
    assert_eq!((life.state(), self::steps(&effects)), (Verifying, vec![Applied, Verifying]));
    let life = delivered(set_breaker(0.1), 0, "1");
    let (life, effects) = life.handle(at(2), Event::InstancesChanged(live(&[]))).unwrap();
    assert_eq!((life.state(), effects), (Delivered, vec![]), "nobody is no quorum");
    assert_eq!(tick(life, 5_000).1, [Unknown]);
}
