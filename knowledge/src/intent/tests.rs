//! Tables of what is taken and refused, and lives made at random.

use super::*;
use jiff::Timestamp;
use proptest::prelude::*;
use proto::model::{Action, Preconditions, Rationale};
use std::collections::BTreeMap;
use std::time::Duration;

use DirectiveState::{
    Accepted, Applied, AwaitingApproval, Delivered, Expired, Failed, Issued, Proposed, Rejected, Unknown,
    Verified, Verifying,
};

fn directive(id: u128, parent: u64, autonomy: AutonomyLevel, undo_of: Option<u128>) -> Directive {
    let at = Timestamp::UNIX_EPOCH;
    Directive {
        id: Uuid::from_u128(id),
        resource: "service:staging/catalog".parse().unwrap(),
        action: Action::Scale { replicas: 2 },
        undo: Action::Scale { replicas: 1 },
        parent_generation: Generation(parent),
        generation: Generation(0),
        policy: String::new(),
        autonomy,
        created_at: at,
        expires_at: at,
        apply_timeout: Duration::ZERO,
        verify_window: Duration::ZERO,
        preconditions: Preconditions { max_evidence_age: Duration::ZERO, requires_known_data: false },
        expected: Vec::new(),
        counterfactual: Vec::new(),
        rationale: Rationale::default(),
        blast_radius_ratio: 0.0,
        reduces: false,
        undo_of: undo_of.map(Uuid::from_u128),
        quorum_ratio: 1.0,
    }
}

fn stored(id: u128, generation: u64, state: DirectiveState) -> Stored {
    Stored { id: Uuid::from_u128(id), generation: Generation(generation), state }
}

/// The verdict's name, and generation and state where it was accepted.
fn verdict(
    directive: &Directive,
    current: u64,
    under_way: &[Stored],
) -> (&'static str, u64, Option<DirectiveState>) {
    let input = ProposeInput { current: Generation(current), under_way, ..free(directive) };
    match decide(&input) {
        Verdict::Accepted { generation, state } => ("accepted", generation.0, Some(state)),
        Verdict::AlreadyStored(_) => ("stored", 0, None),
        Verdict::StaleGeneration { .. } => ("stale", 0, None),
        Verdict::UnderWay { .. } => ("under way", 0, None),
        Verdict::AboveLevel { .. } => ("above its level", 0, None),
    }
}

/// Nothing stands against it.
fn free(directive: &Directive) -> ProposeInput<'_> {
    let (current, level) = (Generation(0), AutonomyLevel::Act);
    ProposeInput { directive, current, under_way: &[], same_id: None, level, takes_back_stored: false }
}

#[test]
fn nobody_goes_beyond_the_level_in_force_but_to_take_back() {
    use AutonomyLevel::{Act, Approve, Observe, Recommend};
    for (level, autonomy, takes_back_stored, refused) in [
        (Act, Act, false, false),
        (Approve, Act, false, true),
        (Approve, Approve, false, false),
        (Recommend, Approve, false, true),
        (Observe, Act, false, true),
        (Observe, Act, true, false),
        // Advice is free: nothing comes of it.
        (Observe, Recommend, false, false),
    ] {
        let directive = directive(9, 0, autonomy, Some(1));
        let input = ProposeInput { level, takes_back_stored, ..free(&directive) };
        let above = matches!(decide(&input), Verdict::AboveLevel { .. });
        assert_eq!(above, refused, "{autonomy} at {level}, taking back: {takes_back_stored}");
    }
}

#[test]
fn proposals_are_taken_by_generation_autonomy_and_what_is_under_way() {
    use AutonomyLevel::{Act, Approve, Observe, Recommend};
    let busy = [stored(1, 4, Verifying)];
    let early = [stored(1, 4, Issued)];
    let two = [stored(1, 4, Verifying), stored(2, 5, Issued)];
    for (parent, autonomy, undo_of, current, under_way, expect) in [
        (0, Act, None, 0, &[][..], ("accepted", 1, Some(Issued))),
        (4, Act, None, 4, &[][..], ("accepted", 5, Some(Issued))),
        (4, Approve, None, 4, &[][..], ("accepted", 5, Some(AwaitingApproval))),
        (3, Act, None, 4, &[][..], ("stale", 0, None)),
        (5, Act, None, 4, &[][..], ("stale", 0, None)),
        // What only awaits its verdict holds up nothing that takes nothing away.
        (4, Act, None, 4, &busy[..], ("accepted", 5, Some(Issued))),
        (4, Act, None, 4, &early[..], ("under way", 0, None)),
        (3, Act, None, 4, &busy[..], ("stale", 0, None)),
        // Advice neither waits nor counts.
        (9, Observe, None, 4, &busy[..], ("accepted", 0, Some(Proposed))),
        (9, Recommend, None, 4, &busy[..], ("accepted", 0, Some(Proposed))),
        // What takes back the one under way need not wait for it, once it was applied.
        (4, Act, Some(1), 4, &busy[..], ("accepted", 5, Some(Issued))),
        (4, Act, Some(1), 4, &early[..], ("under way", 0, None)),
        (4, Act, Some(7), 4, &early[..], ("under way", 0, None)),
        (3, Act, Some(1), 4, &busy[..], ("stale", 0, None)),
        (5, Act, Some(1), 5, &two[..], ("under way", 0, None)),
        // What it takes back may also have come to rest.
        (4, Act, Some(1), 4, &[][..], ("accepted", 5, Some(Issued))),
    ] {
        let directive = directive(9, parent, autonomy, undo_of);
        assert_eq!(
            verdict(&directive, current, under_way),
            expect,
            "{autonomy} from {parent} on {current}, undo of {undo_of:?}, {under_way:?}"
        );
    }
}

#[test]
fn a_reduction_waits_for_the_verdict_on_the_change_before() {
    let reducing = |undo_of| Directive { reduces: true, ..directive(9, 4, AutonomyLevel::Act, undo_of) };
    for state in [Issued, Delivered, Accepted, Applied, Verifying] {
        assert_eq!(verdict(&reducing(None), 4, &[stored(1, 4, state)]).0, "under way", "{state}");
    }
    assert_eq!(verdict(&reducing(None), 4, &[]).0, "accepted");
    assert_eq!(verdict(&reducing(Some(1)), 4, &[stored(1, 4, Verifying)]).0, "accepted", "its undo may come");
}

#[test]
fn same_id_is_told_what_is_stored_whatever_else_holds() {
    let same_id = Some(stored(9, 2, Failed));
    let directive = directive(9, 0, AutonomyLevel::Act, None);
    let level = AutonomyLevel::Observe;
    let input = ProposeInput { current: Generation(5), same_id, level, ..free(&directive) };
    assert_eq!(decide(&input), Verdict::AlreadyStored(stored(9, 2, Failed)));
}

#[test]
fn advice_only_ends_and_the_replaced_stays_closed() {
    for (generation, state, to, current, expect) in [
        (0, Proposed, Expired, 3, true),
        (0, Proposed, Rejected, 3, true),
        (0, Proposed, Issued, 3, false),
        (0, Proposed, AwaitingApproval, 3, false),
        (3, AwaitingApproval, Issued, 3, true),
        (3, Unknown, Applied, 3, true),
        (3, Unknown, Applied, 4, false),
        (3, Applied, Verifying, 4, true),
        (3, Verifying, Verified, 4, true),
        (3, Issued, Verified, 3, false),
    ] {
        let allowed = may_step(&stored(1, generation, state), to, Generation(current));
        assert_eq!(allowed, expect, "{state} to {to} at generation {generation} of {current}");
    }
}

/// What one key of the ledger would hold, driven by the rules alone.
#[derive(Default)]
struct Model {
    current: Generation,
    directives: BTreeMap<Uuid, Stored>,
}

impl Model {
    fn under_way(&self) -> Vec<Stored> {
        self.directives.values().filter(|stored| stored.state.under_way()).copied().collect()
    }
}

#[derive(Debug, Clone)]
enum Event {
    Propose { id: u128, ahead: i64, autonomy: AutonomyLevel, undo_of: Option<u128> },
    Step { id: u128, to: usize },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let autonomy = prop::sample::select(AutonomyLevel::ALL.to_vec());
    let propose = (0..12_u128, -1..=1_i64, autonomy, prop::option::of(0..12_u128))
        .prop_map(|(id, ahead, autonomy, undo_of)| Event::Propose { id, ahead, autonomy, undo_of });
    let step = (0..12_u128, 0..DirectiveState::ALL.len()).prop_map(|(id, to)| Event::Step { id, to });
    prop::collection::vec(prop_oneof![1 => propose, 3 => step], 0..200)
}

proptest! {
    #[test]
    fn generations_never_fall_and_only_the_newest_is_yet_to_be_made(events in events()) {
        let mut model = Model::default();
        for event in events {
            let before = model.current;
            match event {
                Event::Propose { id, ahead, autonomy, undo_of } => {
                    let parent = before.0.saturating_add_signed(ahead);
                    let directive = directive(id, parent, autonomy, undo_of);
                    let same_id = model.directives.get(&directive.id).copied();
                    let under_way = model.under_way();
                    let input = ProposeInput { current: before, under_way: &under_way, same_id, ..free(&directive) };
                    if let Verdict::Accepted { generation, state } = decide(&input) {
                        prop_assert!(same_id.is_none());
                        if generation > Generation(0) {
                            prop_assert_eq!(generation, before.next());
                            prop_assert_eq!(parent, before.0);
                            model.current = generation;
                        }
                        model.directives.insert(directive.id, Stored { id: directive.id, generation, state });
                    }
                }
                Event::Step { id, to } => {
                    let (id, to) = (Uuid::from_u128(id), DirectiveState::ALL[to]);
                    if let Some(stored) = model.directives.get_mut(&id)
                        && may_step(stored, to, before)
                    {
                        prop_assert!(stored.generation > Generation(0) || !to.under_way(), "advice was issued");
                        stored.state = to;
                    }
                }
            }
            prop_assert!(model.current >= before);
            let under_way = model.under_way();
            let newest = under_way.iter().map(|stored| stored.generation).max();
            for waiting in under_way.iter().filter(|stored| !stored.state.settling()) {
                prop_assert_eq!(Some(waiting.generation), newest, "{:?}", under_way);
            }
        }
    }
}
