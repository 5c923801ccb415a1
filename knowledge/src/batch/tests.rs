//! A group decides in order, each command seeing what those before it did.

use super::*;
use proto::model::{Action, AutonomyLevel, Preconditions, Rationale};
use proto::wire::ProposeVerdict;
use std::time::Duration;

use DirectiveState::{Applied, Delivered, Issued, Refused, Verified};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn directive(id: u128, resource: &str, parent: u64) -> Command {
    Command::Propose(Box::new(Directive {
        id: Uuid::from_u128(id),
        resource: resource.parse().unwrap(),
        action: Action::Scale { replicas: 2 },
        undo: Action::Scale { replicas: 1 },
        parent_generation: Generation(parent),
        generation: Generation(0),
        policy: String::new(),
        autonomy: AutonomyLevel::Act,
        created_at: NOW,
        expires_at: NOW,
        apply_timeout: Duration::ZERO,
        verify_window: Duration::ZERO,
        preconditions: Preconditions { max_evidence_age: Duration::ZERO, requires_known_data: false },
        expected: Vec::new(),
        counterfactual: Vec::new(),
        rationale: Rationale::default(),
        blast_radius_ratio: 0.0,
        reduces: false,
        undo_of: None,
        quorum_ratio: 1.0,
    }))
}

fn steps(id: u128, states: &[DirectiveState]) -> Command {
    let step = |pair: &[DirectiveState]| Transition {
        directive_id: Uuid::from_u128(id),
        from: pair[0],
        to: pair[1],
        at: NOW,
        actor: "execute".to_owned(),
        detail: pair[1].to_string(),
        attempt: 1,
        before: Vec::new(),
        after: Vec::new(),
    };
    Command::Transitions(states.windows(2).map(step).collect())
}

fn verdict(answer: &Answer) -> ProposeVerdict {
    match answer {
        Answer::Propose(proposed) => proposed.verdict,
        Answer::Transitions(_) | Answer::AboveLevel(_) => panic!("{answer:?}"),
    }
}

#[test]
fn two_proposals_of_one_group_are_decided_in_order() {
    let mut batch = Batch::new(Loaded::default(), 10, NOW);
    let answers = [
        batch.run(&directive(1, "service:a/x", 0)),
        batch.run(&directive(2, "service:a/x", 0)),
        batch.run(&directive(3, "service:a/x", 1)),
        batch.run(&directive(4, "service:a/y", 0)),
        batch.run(&directive(1, "service:a/x", 0)),
    ];
    use ProposeVerdict::{Accepted, AlreadyStored, StaleGeneration, UnderWay};
    assert_eq!(
        answers.each_ref().map(verdict),
        [Accepted, StaleGeneration, UnderWay, Accepted, AlreadyStored]
    );
    let writes = batch.finish();
    let inserted: Vec<_> =
        writes.inserted.iter().map(|(known, body)| (known.revision, body.generation)).collect();
    assert_eq!(inserted, [(11, 1), (12, 1)]);
    assert_eq!(writes.raised.len(), 2);
    assert_eq!(writes.emitted.len(), 2, "one revision each");
}

#[test]
fn whole_life_in_one_group_is_written_once_as_it_ended() {
    let mut batch = Batch::new(Loaded::default(), 0, NOW);
    batch.run(&directive(1, "service:a/x", 0));
    let answer = batch.run(&steps(1, &[Issued, Delivered, Applied, Verified]));
    let Answer::Transitions(moved) = &answer else { panic!("{answer:?}") };
    assert_eq!(moved.iter().map(|moved| moved.revision).collect::<Vec<_>>(), [2, 3, 4]);
    let next = batch.run(&directive(2, "service:a/x", 1));
    assert_eq!(verdict(&next), ProposeVerdict::Accepted, "the first has come to rest within the group");
    let writes = batch.finish();
    assert_eq!(writes.inserted[0].0.stored.state, Verified);
    assert!(writes.moved.is_empty(), "what is new is not also updated");
    assert_eq!(writes.raised.values().next().unwrap().0, Generation(2));
    assert_eq!(writes.transitions.len(), 3);
    let revisions: Vec<u64> = writes.transitions.iter().map(|(revision, _)| *revision).collect();
    assert_eq!(revisions, [2, 3, 4]);
}

#[test]
fn stored_directive_is_written_as_it_stands_at_the_end() {
    let key = Key { resource: "service:a/x".parse().unwrap(), kind: DirectiveKind::Scale };
    let stored = Stored { id: Uuid::from_u128(1), generation: Generation(3), state: Issued };
    let known = Known {
        stored,
        key,
        revision: 5,
        changed_at: NOW,
        actor: "plan".to_owned(),
        attempt: 0,
        detail: String::new(),
    };
    let mut loaded = Loaded::default();
    loaded.add(known, Generation(3));
    let mut batch = Batch::new(loaded, 9, NOW);
    batch.run(&steps(1, &[Issued, Delivered]));
    let lost = batch.run(&steps(1, &[Issued, Refused]));
    assert_eq!(
        lost,
        Answer::Transitions(vec![Moved { recorded: false, state: Some(Delivered), revision: 10 }])
    );
    batch.run(&steps(1, &[Delivered, Refused]));
    let writes = batch.finish();
    let moved = &writes.moved[&Uuid::from_u128(1)];
    assert_eq!((moved.stored.state, moved.revision, moved.detail.as_str()), (Refused, 11, "refused"));
    assert_eq!(writes.emitted.iter().map(|emitted| emitted.state).collect::<Vec<_>>(), [Delivered, Refused]);
}

#[test]
fn needed_rows_are_named_once() {
    let commands =
        [directive(2, "service:a/x", 0), directive(1, "service:a/x", 0), steps(2, &[Issued, Delivered])];
    let (ids, keys) = needed(commands.iter());
    assert_eq!(ids, [Uuid::from_u128(1), Uuid::from_u128(2)]);
    assert_eq!(keys.len(), 1);
    assert_eq!(commands.iter().map(Command::rows).sum::<usize>(), 3);
}
