//! Lanes: order, slots and fences.

use proto::model::BreakerMode;

use super::*;
use crate::testing::{at, breaker, id, scale};

fn on(name: &str, number: u64, generation: u64) -> Arc<Directive> {
    let resource = ResourceId::service("shop", name).unwrap();
    Arc::new(Directive { id: id(number), resource, generation: Generation(generation), ..scale(1, 2) })
}

fn take(lane: &mut Lane, millis: u64) -> Option<Uuid> {
    let (_, directive) = lane.take(at(millis))?;
    lane.sent(&directive, at(millis));
    Some(directive.id)
}

#[test]
fn order_is_that_of_the_ledger() {
    let mut lane = Lane::new(1, 1, 10);
    for (revision, name) in [(7, "c"), (3, "a"), (5, "b")] {
        lane.offer(revision, &on(name, revision, 1));
    }
    let order: Vec<_> = std::iter::from_fn(|| take(&mut lane, 0)).collect();
    assert_eq!(order, [id(3), id(5), id(7)]);
}

#[test]
fn one_resource_waits_for_the_answer_and_others_do_not() {
    let mut lane = Lane::new(1, 1, 10);
    let (first, breaker) = (on("a", 1, 1), Arc::new(breaker(BreakerMode::Enforce)));
    let second = Arc::new(Directive { resource: first.resource.clone(), id: id(2), ..(*breaker).clone() });
    lane.offer(1, &first);
    lane.offer(2, &second);
    lane.offer(3, &on("b", 3, 1));
    assert_eq!(take(&mut lane, 0), Some(id(1)));
    assert_eq!(take(&mut lane, 0), Some(id(3)), "another resource passes by");
    assert_eq!(take(&mut lane, 0), None);
    lane.answered(&second);
    assert_eq!(take(&mut lane, 0), None, "an answer to something else frees nothing");
    lane.answered(&first);
    assert_eq!(take(&mut lane, 0), Some(id(2)));
}

#[test]
fn newer_generation_does_not_wait_for_the_one_it_replaces() {
    let mut lane = Lane::new(1, 1, 10);
    lane.offer(1, &on("a", 1, 1));
    assert_eq!(take(&mut lane, 0), Some(id(1)));
    lane.offer(2, &on("a", 2, 2));
    assert_eq!(take(&mut lane, 0), Some(id(2)));
    assert!(lane.is_behind(&on("a", 1, 1)), "and the older one never comes after it");
    lane.answered(&on("a", 1, 1));
    assert!(lane.holds(&on("a", 2, 2)), "a late answer to the older one frees nothing");
}

#[test]
fn no_more_than_the_actuator_takes_and_silence_frees_the_slot() {
    let mut lane = Lane::new(1, 1, 2);
    for number in 1..=3 {
        lane.offer(number, &on(&format!("s{number}"), number, 1));
    }
    assert_eq!((take(&mut lane, 0), take(&mut lane, 0)), (Some(id(1)), Some(id(2))));
    assert_eq!((take(&mut lane, 4_999), lane.next_wake()), (None, Some(at(5_000))));
    assert_eq!(take(&mut lane, 5_000), Some(id(3)));
    assert_eq!(Lane::new(1, 1, u32::MAX).in_flight_max, IN_FLIGHT_MAX);
    assert_eq!(Lane::new(1, 1, 0).in_flight_max, 1);
}

#[test]
fn queue_is_bounded_and_says_when_to_look_again() {
    let mut lane = Lane::new(1, 1, 1);
    let directive = on("a", 1, 1);
    for revision in 0..=QUEUE_MAX as u64 {
        lane.offer(revision, &directive);
    }
    assert_eq!(lane.waiting(), QUEUE_MAX);
    assert!(!lane.has_room_again());
    while lane.waiting() >= QUEUE_MAX / 2 {
        lane.take(at(0)).unwrap();
    }
    assert!(lane.has_room_again());
    assert!(!lane.has_room_again(), "asking forgets it");
}

#[test]
fn subscribing_again_frees_slots_and_keeps_the_fence() {
    let mut lane = Lane::new(1, 1, 1);
    lane.offer(1, &on("a", 1, 5));
    take(&mut lane, 0).unwrap();
    let mut lane = lane.renewed(2);
    assert_eq!((lane.in_flight(), lane.subscription), (0, 2));
    assert!(lane.is_behind(&on("a", 9, 4)));
    lane.offer(1, &on("a", 1, 5));
    assert_eq!(take(&mut lane, 0), Some(id(1)));
}
