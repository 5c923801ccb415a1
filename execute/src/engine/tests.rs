//! The whole core: single stories here, random schedules in `schedules`.

mod schedules;
mod world;

use proto::model::{BreakerMode, ExpectedEffect, OutcomeResult};

use super::*;
use crate::lifecycle::Reported;
use crate::testing::{assessment, at, breaker, cart, edge, id, scale};
use world::World;

fn harm(directive: Directive) -> Directive {
    let effect = |signal: &str, upper, breach_is_harm| ExpectedEffect {
        resource: None,
        signal: signal.to_owned(),
        lower: 0.0,
        upper,
        breach_is_harm,
    };
    Directive { expected: vec![effect("bad_ratio", 0.01, true)], ..directive }
}

fn bad(world: &mut World, resource: &ResourceId, ratio: f64) {
    world.advance(1_000);
    let seen =
        assessment(resource, world.millis, &[("bad_ratio", Some(ratio)), ("ready_replicas", Some(1.0))]);
    world.engine.assess(seen, world.now().wall);
    world.settle();
}

#[test]
fn delivery_follows_the_ledger_without_waiting_for_it() {
    let mut world = World::new(1);
    world.propose(scale(1, 2));
    world.watch();
    let delivery = world.poll(0).unwrap();
    assert_eq!((delivery.attempt, delivery.deadline), (1, at(5_000)));
    assert_eq!(world.ledger(1), DirectiveState::Issued, "the ledger does not know yet");
    world.settle();
    assert_eq!(world.ledger(1), DirectiveState::Delivered);
    assert_eq!(world.poll(0), None, "it is sent once");
}

#[test]
fn what_a_person_approved_is_delivered() {
    let mut world = World::new(1);
    world.propose(Directive { autonomy: proto::model::AutonomyLevel::Approve, ..scale(1, 2) });
    world.watch();
    assert_eq!(world.poll(0), None, "nobody has approved it yet");
    let approved = Transition {
        directive_id: id(1),
        from: DirectiveState::AwaitingApproval,
        to: DirectiveState::Issued,
        at: at(1_000),
        actor: "me".to_owned(),
        detail: String::new(),
        attempt: 0,
        before: Vec::new(),
        after: Vec::new(),
    };
    assert!(world.store.step(approved).0);
    world.watch();
    assert!(world.poll(0).is_some());
}

#[test]
fn paused_means_at_once_and_resumed_goes_on() {
    let mut world = World::new(1);
    world.pause(true);
    world.propose(scale(1, 2));
    world.watch();
    assert_eq!(world.poll(0), None);
    world.pause(false);
    assert!(world.poll(0).is_some());
}

#[test]
fn subscribing_again_delivers_again_and_counts_up() {
    let mut world = World::new(1);
    world.propose(scale(1, 2));
    world.watch();
    assert_eq!(world.poll(0).unwrap().attempt, 1);
    world.subscribe(0, 0);
    assert_eq!(world.poll(0).unwrap().attempt, 2);
    assert_eq!(world.report(0, 1, 2, Reported::Applied), Disposition::Recorded);
    world.subscribe(0, 0);
    assert_eq!(world.poll(0), None, "what is answered is not sent again");
}

#[test]
fn crash_between_delivery_and_report_loses_nothing() {
    let mut world = World::new(1);
    world.propose(scale(1, 2));
    world.watch();
    world.poll(0).unwrap();
    world.settle();
    world.crash();
    let again = world.poll(0).unwrap();
    assert_eq!(again.attempt, 2);
    world.report(0, 1, 2, Reported::Applied);
    world.settle();
    assert_eq!(world.ledger(1), DirectiveState::Verifying);
}

#[test]
fn harm_is_taken_back_and_the_original_is_undone() {
    let mut world = World::new(1);
    world.propose(harm(scale(1, 2)));
    world.apply(0, 1);
    for _ in 0..2 {
        bad(&mut world, &cart(), 0.5);
    }
    assert_eq!(world.ledger(1), DirectiveState::Harmful);
    assert_eq!(world.outcomes[0].result, OutcomeResult::Harmful);
    assert!(!world.feedback.is_empty());
    world.watch();
    let undo = world.poll(0).unwrap().directive;
    assert_eq!((undo.undo_of, undo.generation), (Some(id(1)), Generation(2)));
    assert_eq!(undo.action, scale(1, 2).undo);
    world.report_on(0, undo.id, undo.generation, 1, Reported::Applied);
    for _ in 0..2 {
        bad(&mut world, &cart(), 0.5);
    }
    world.settle();
    assert_eq!(world.state(undo.id), DirectiveState::Verified);
    assert_eq!(world.ledger(1), DirectiveState::Undone);
}

#[test]
fn crash_after_the_harmful_verdict_still_takes_it_back_once() {
    let mut world = World::new(1);
    world.propose(harm(scale(1, 2)));
    world.apply(0, 1);
    world.forget_proposals = true;
    for _ in 0..2 {
        bad(&mut world, &cart(), 0.5);
    }
    assert_eq!(world.ledger(1), DirectiveState::Harmful);
    world.forget_proposals = false;
    for _ in 0..3 {
        world.crash();
        world.settle();
    }
    let undos =
        world.store.directives.values().filter(|record| record.directive.undo_of == Some(id(1))).count();
    assert_eq!(undos, 1);
}

#[test]
fn verified_undo_settles_an_original_that_is_no_longer_in_memory() {
    let mut world = World::new(1);
    world.propose(harm(scale(1, 2)));
    world.apply(0, 1);
    for _ in 0..2 {
        bad(&mut world, &cart(), 0.5);
    }
    world.watch();
    let undo = world.poll(0).unwrap().directive;
    world.report_on(0, undo.id, undo.generation, 1, Reported::Applied);
    world.settle();
    world.crash();
    assert_eq!(world.engine.state(id(1)), None, "the snapshot holds the undo only");
    for _ in 0..2 {
        bad(&mut world, &cart(), 0.5);
    }
    assert_eq!(world.ledger(1), DirectiveState::Undone);
}

#[test]
fn ineffective_capacity_stays() {
    let mut world = World::new(1);
    let effect = ExpectedEffect {
        resource: None,
        signal: "ready_replicas".to_owned(),
        lower: 2.0,
        upper: 2.0,
        breach_is_harm: false,
    };
    world.propose(Directive { expected: vec![effect], ..scale(1, 2) });
    world.apply(0, 1);
    for _ in 0..11 {
        bad(&mut world, &cart(), 0.0);
    }
    assert_eq!(world.ledger(1), DirectiveState::Ineffective);
    world.watch();
    assert_eq!(world.poll(0), None, "nothing is taken back");
}

#[test]
fn late_joiner_gets_the_breaker_setting_in_effect_and_no_older_one() {
    let mut world = World::new(2);
    world.propose(breaker(BreakerMode::Enforce));
    world.apply_by_all(1);
    world.advance(120_000);
    world.settle();
    assert_eq!(world.ledger(1), DirectiveState::Unknown, "nothing was promised");
    let next = Directive {
        id: id(2),
        parent_generation: Generation(1),
        ..world.dated(breaker(BreakerMode::ForcedOpen))
    };
    world.propose(next);
    world.apply_by_all(2);
    world.register(2);
    world.subscribe(2, 0);
    let delivery = world.poll(2).unwrap();
    assert_eq!((delivery.directive.id, delivery.directive.generation), (id(2), Generation(2)));
    assert_eq!(world.poll(2), None);
    assert_eq!(world.report(2, 2, delivery.attempt, Reported::Applied), Disposition::Recorded);
    let cursor = delivery.revision;
    world.subscribe(2, cursor);
    assert_eq!(world.poll(2), None, "it has it, and its cursor says so");
    world.register(2);
    world.subscribe(2, 0);
    assert!(world.poll(2).is_some(), "a process that began anew has lost it");
}

#[test]
fn breaker_waits_for_its_quorum_and_takes_what_is_there_when_one_leaves() {
    let mut world = World::new(3);
    world.propose(breaker(BreakerMode::Enforce));
    world.watch();
    for number in 0..3 {
        assert!(world.poll(number).is_some());
    }
    world.report(0, 1, 1, Reported::Applied);
    world.report(1, 1, 2, Reported::Applied);
    assert_eq!(world.engine.state(id(1)), Some(DirectiveState::Delivered));
    world.end_lease(2);
    assert_eq!(world.engine.state(id(1)), Some(DirectiveState::Verifying));
}

#[test]
fn older_setting_never_follows_a_newer_one_on_the_same_registration() {
    let mut world = World::new(2);
    world.propose(breaker(BreakerMode::Enforce));
    world.apply_by_all(1);
    world.advance(20_000);
    world.settle();
    let seen = assessment(&edge(), world.millis, &[]);
    world.engine.assess(seen, world.now().wall);
    let verified = Directive {
        id: id(2),
        parent_generation: Generation(1),
        ..world.dated(harm(breaker(BreakerMode::Enforce)))
    };
    world.propose(verified);
    world.apply_by_all(2);
    for _ in 0..12 {
        bad(&mut world, &edge(), 0.0);
    }
    assert_eq!(world.ledger(2), DirectiveState::Verified);
    let failing = Directive {
        id: id(3),
        parent_generation: Generation(2),
        ..world.dated(breaker(BreakerMode::Enforce))
    };
    world.propose(failing);
    world.watch();
    assert_eq!(world.poll(0).unwrap().directive.id, id(3));
    assert_eq!(world.poll(1).unwrap().directive.id, id(3));
    world.report(0, 3, 1, Reported::Failed);
    world.settle();
    assert_eq!(world.ledger(3), DirectiveState::Failed);
    world.subscribe(0, 0);
    assert_eq!(world.poll(0), None, "it may hold generation 3, whatever it said");
    world.register(0);
    world.subscribe(0, 0);
    assert_eq!(
        world.poll(0).unwrap().directive.id,
        id(2),
        "a process that began anew gets what is in effect"
    );
}

#[test]
fn older_generation_is_refused_even_if_the_ledger_lets_two_through() {
    let mut world = World::new(1);
    let newer = Directive { id: id(2), generation: Generation(2), ..scale(1, 3) };
    let now = world.now().wall;
    world.propose(scale(1, 2));
    world.engine.ledger(crate::testing::record(&newer, DirectiveState::Issued, 9), now);
    world.watch();
    let subscription = world.subscription(0);
    let Next::Delivery(sent) = world.engine.next_delivery(&World::key(0), subscription, world.now()) else {
        panic!("nothing is sent")
    };
    assert_eq!(sent.directive.id, id(2));
    assert_eq!(world.engine.state(id(1)), Some(DirectiveState::Refused));
}

#[test]
fn original_is_given_up_when_its_undo_failed_to_convince_and_a_crash_came_between() {
    let mut world = World::new(1);
    let now = world.now().wall;
    let undo = Directive { id: id(2), generation: Generation(2), undo_of: Some(id(1)), ..scale(2, 1) };
    world.store.propose(scale(1, 2), now);
    world.engine.ledger(crate::testing::record(&undo, DirectiveState::Ineffective, 5), now);
    world.engine.ledger(crate::testing::record(&scale(1, 2), DirectiveState::Verifying, 4), now);
    assert_eq!(world.engine.state(id(1)), Some(DirectiveState::Unknown), "it must not wait forever");
}

#[test]
fn echo_of_an_earlier_step_does_not_take_back_a_report() {
    let mut world = World::new(1);
    world.propose(scale(1, 2));
    world.watch();
    world.poll(0).unwrap();
    world.record(usize::MAX);
    world.report(0, 1, 1, Reported::Applied);
    world.watch();
    assert_eq!(world.engine.state(id(1)), Some(DirectiveState::Verifying));
    world.settle();
    assert_eq!(world.ledger(1), DirectiveState::Verifying);
}

#[test]
fn original_is_not_judged_while_it_is_being_taken_back() {
    let mut world = World::new(1);
    world.propose(harm(scale(1, 2)));
    world.apply(0, 1);
    let undo = Directive {
        id: id(2),
        parent_generation: Generation(1),
        undo_of: Some(id(1)),
        ..world.dated(scale(1, 2))
    };
    world.propose(undo);
    world.watch();
    let delivery = world.poll(0).unwrap();
    world.report(0, 2, delivery.attempt, Reported::Accepted);
    bad(&mut world, &cart(), 0.5);
    assert_eq!(world.ledger(1), DirectiveState::Verifying);
    world.report(0, 2, delivery.attempt, Reported::Applied);
    world.settle();
    assert_eq!((world.ledger(2), world.ledger(1)), (DirectiveState::Verified, DirectiveState::Undone));
    bad(&mut world, &cart(), 0.5);
    assert_eq!(world.outcomes.len(), 1, "only the undo was judged");
}

#[test]
fn undo_that_is_being_verified_keeps_the_original_from_being_judged() {
    let mut world = World::new(1);
    world.propose(harm(scale(1, 2)));
    world.apply(0, 1);
    let undo = Directive {
        id: id(2),
        parent_generation: Generation(1),
        undo_of: Some(id(1)),
        ..harm(world.dated(scale(1, 2)))
    };
    world.propose(undo);
    world.apply(0, 2);
    world.advance(20_000);
    world.settle();
    assert_eq!(world.ledger(2), DirectiveState::Unknown, "no data came");
    assert_eq!(world.ledger(1), DirectiveState::Unknown, "and so nobody knows about the original");
    assert_eq!(world.outcomes.len(), 1, "{:?}", world.outcomes);
}

#[test]
fn answer_makes_room_for_the_next_delivery() {
    let mut world = World::new(1);
    for number in 1..=3 {
        let resource = ResourceId::service("shop", &format!("s{number}")).unwrap();
        world.propose(Directive { id: id(number), resource, ..scale(1, 2) });
    }
    world.watch();
    assert!(world.poll(0).is_some() && world.poll(0).is_some());
    assert_eq!(world.poll(0), None, "it takes two at once");
    world.report(0, 1, 1, Reported::Accepted);
    assert_eq!(world.poll(0), None, "begun is not done");
    world.report(0, 1, 1, Reported::Applied);
    assert!(world.poll(0).is_some());
}

#[test]
fn reduction_goes_out_once_whole_data_is_there() {
    let mut world = World::new(1);
    world.propose(scale(2, 1));
    world.watch();
    assert_eq!(world.poll(0), None, "nothing is known yet");
    world.engine.assess(assessment(&cart(), 0, &[]), world.now().wall);
    assert!(world.poll(0).is_some());
}

#[test]
fn reduction_waits_for_data_and_is_refused_on_bad_data() {
    let mut world = World::new(1);
    world.propose(scale(2, 1));
    world.watch();
    assert_eq!(world.poll(0), None, "nothing is known yet");
    let seen = assessment(&cart(), 0, &[]);
    let data = proto::model::DataQuality { quality: proto::model::Quality::Partial, ..seen.data.clone() };
    world.engine.assess(Assessment { data, ..seen }, world.now().wall);
    assert_eq!(world.poll(0), None);
    world.settle();
    assert_eq!(world.ledger(1), DirectiveState::Refused);
}

#[test]
fn lost_compare_and_set_gives_way_to_the_ledger() {
    let mut world = World::new(1);
    world.propose(scale(1, 2));
    world.watch();
    world.poll(0).unwrap();
    world.store.directives.get_mut(&id(1)).unwrap().state = DirectiveState::Expired;
    world.settle();
    assert_eq!(world.engine.state(id(1)), Some(DirectiveState::Expired));
    assert_eq!(world.report(0, 1, 1, Reported::Applied), Disposition::TooLate);
}

#[test]
fn late_word_on_a_superseded_directive_changes_nothing() {
    let mut world = World::new(1);
    world.propose(scale(1, 2));
    world.watch();
    world.poll(0).unwrap();
    world.advance(5_000);
    world.settle();
    assert_eq!(world.ledger(1), DirectiveState::Unknown);
    world.propose(Directive { id: id(2), parent_generation: Generation(1), ..world.dated(scale(1, 3)) });
    world.watch();
    assert_eq!(world.report(0, 1, 1, Reported::Applied), Disposition::TooLate);
    assert!(world.poll(0).is_some());
}

#[test]
fn report_by_someone_who_does_not_serve_the_resource_is_refused() {
    let mut world = World::new(1);
    let other = ResourceId::service("elsewhere", "cart").unwrap();
    world.propose(Directive { resource: other, ..scale(1, 2) });
    world.watch();
    let refused = world.try_report(0, id(1), Generation(1), 1, Reported::Applied);
    assert_eq!(refused.unwrap_err(), ReportError::NotServed);
    let unknown = world.try_report(0, id(9), Generation(1), 1, Reported::Applied);
    assert_eq!(unknown.unwrap_err(), ReportError::NotHere);
}

#[test]
fn deliveries_stop_while_the_ledger_falls_behind() {
    let mut world = World::new(1);
    world.propose(scale(1, 2));
    world.watch();
    world.engine.unrecorded = RECORDS_MAX / 2;
    assert_eq!(world.poll(0), None);
    world.engine.unrecorded = 0;
    assert!(world.poll(0).is_some());
    world.engine.unrecorded = RECORDS_MAX;
    let refused = world.try_report(0, id(1), Generation(1), 1, Reported::Applied);
    assert_eq!(refused.unwrap_err(), ReportError::Busy);
}

#[test]
fn memory_of_what_is_over_is_bounded_and_keeps_the_breaker_setting() {
    let mut world = World::new(1);
    let kept = breaker(BreakerMode::Enforce);
    world.engine.ledger(crate::testing::record(&kept, DirectiveState::Verified, 1), world.now().wall);
    for number in 2..=(SETTLED_MAX as u64 + 500) {
        let resource = ResourceId::service("shop", &format!("s{number}")).unwrap();
        let over = Directive { id: id(number), resource, ..scale(1, 2) };
        world
            .engine
            .ledger(crate::testing::record(&over, DirectiveState::Verified, number), world.now().wall);
    }
    assert_eq!(world.engine.directives().0, SETTLED_MAX);
    assert_eq!(world.engine.state(id(1)), Some(DirectiveState::Verified));
    assert_eq!(world.engine.current(&edge(), DirectiveKind::SetBreaker), Some(id(1)));
}
