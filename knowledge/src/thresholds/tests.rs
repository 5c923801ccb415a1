//! Tables of states, and decisions made at random.

use super::*;
use proptest::prelude::*;

use ReviewRule::{Automatic, Required};
use ThresholdReview::{Approve, Pin, Reject, Unpin};

fn version(generation: u64) -> Threshold {
    Threshold {
        signal: "service:staging/catalog#load".parse().unwrap(),
        generation,
        state: ThresholdState::Learning,
        method: "quantile".to_owned(),
        residual_lower: -(generation as f64),
        residual_upper: generation as f64,
        level: 10.0,
        scale: 1.0,
        samples: 100,
        coverage_ratio: 0.99,
        false_alarm_probability: 0.01,
        evidence_from: None,
        evidence_to: None,
        created_at: Timestamp::UNIX_EPOCH,
        pinned_lower: None,
        pinned_upper: None,
        reviewed_by: String::new(),
        reason: String::new(),
    }
}

fn decision(review: ThresholdReview) -> Decision {
    Decision {
        review,
        generation: 0,
        lower: None,
        upper: None,
        reviewer: "ada".to_owned(),
        reason: "because".to_owned(),
    }
}

/// The versions of one signal, as the store would keep them.
#[derive(Default)]
struct Kept(Vec<Threshold>);

impl Kept {
    fn apply(&mut self, changes: Changes) {
        for version in changes.versions {
            match self.0.iter_mut().find(|kept| kept.generation == version.generation) {
                Some(kept) => {
                    let same =
                        |t: &Threshold| (t.residual_lower, t.residual_upper, t.pinned_lower, t.pinned_upper);
                    assert_eq!(same(kept), same(&version), "limits are never edited");
                    *kept = version;
                }
                None => self.0.push(version),
            }
            let count =
                |state: fn(&Threshold) -> bool| self.0.iter().filter(|version| state(version)).count();
            assert!(count(Threshold::in_force) <= 1 && count(|version| version.state == Proposed) <= 1);
        }
    }

    fn learn(&mut self, rule: ReviewRule) -> Threshold {
        let (stored, changes) = record(&self.0, version(self.0.len() as u64 + 1), rule);
        self.apply(changes);
        stored
    }

    fn decide(&mut self, decision: &Decision) -> Result<Threshold, Refusal> {
        let (answer, changes) = review(&self.0, decision, Timestamp::UNIX_EPOCH)?;
        self.apply(changes);
        Ok(answer)
    }

    fn states(&self) -> Vec<ThresholdState> {
        self.0.iter().map(|version| version.state).collect()
    }
}

#[test]
fn first_version_is_active_and_later_ones_follow_the_rule() {
    let mut kept = Kept::default();
    kept.learn(Required);
    assert_eq!(kept.states(), [Active], "there is nothing else to judge by");
    kept.learn(Automatic);
    assert_eq!(kept.states(), [Superseded, Active]);
    kept.learn(Required);
    kept.learn(Required);
    assert_eq!(kept.states(), [Superseded, Active, Superseded, Proposed], "the newest proposal waits alone");
    kept.learn(Automatic);
    assert_eq!(kept.states(), [Superseded, Superseded, Superseded, Superseded, Active]);
}

#[test]
fn recording_a_generation_again_changes_nothing() {
    let mut kept = Kept::default();
    let first = kept.learn(Automatic);
    let (again, changes) = record(&kept.0, version(1), Automatic);
    assert_eq!((again, changes), (first, Changes::default()));
}

#[test]
fn generation_counts_on_whatever_number_the_learner_gave() {
    let mut kept = Kept::default();
    kept.learn(Automatic);
    let (stored, _) = record(&kept.0, version(40), Automatic);
    assert_eq!(stored.generation, 2);
}

#[test]
fn rejected_proposal_leaves_the_active_one() {
    let mut kept = Kept::default();
    kept.learn(Required);
    kept.learn(Required);
    assert_eq!(kept.decide(&decision(Reject)).unwrap().reviewed_by, "ada");
    assert_eq!(kept.states(), [Active, Rejected]);
    assert_eq!(kept.decide(&decision(Approve)), Err(Refusal::Missing("proposal to review")));
    let named = Decision { generation: 2, ..decision(Approve) };
    assert_eq!(kept.decide(&named), Err(Refusal::State("generation 2 is rejected, not proposed".to_owned())));
}

#[test]
fn pin_without_numbers_holds_the_band_in_force() {
    let mut kept = Kept::default();
    assert!(kept.decide(&decision(Pin)).is_err());
    kept.learn(Automatic);
    let pinned = kept.decide(&decision(Pin)).unwrap();
    assert_eq!((pinned.generation, pinned.band(10.0)), (2, kept.0[0].band(10.0)));
    assert_eq!((pinned.method.as_str(), pinned.state), ("pinned", Pinned));
    kept.learn(Automatic);
    kept.learn(Required);
    assert_eq!(kept.states(), [Superseded, Pinned, Superseded, Proposed], "what is learned does not unpin");
    assert!(matches!(kept.decide(&decision(Approve)), Err(Refusal::State(_))));
    let numbers = Decision { lower: Some(1.0), upper: Some(2.0), ..decision(Pin) };
    assert_eq!(kept.decide(&numbers).unwrap().band(10.0), (1.0, 2.0), "pinning again replaces the pin");
}

#[test]
fn unpinning_never_puts_in_force_what_nobody_approved() {
    let mut kept = Kept::default();
    kept.learn(Required);
    kept.learn(Required);
    kept.learn(Required);
    kept.decide(&decision(Pin)).unwrap();
    let back = kept.decide(&decision(Unpin)).unwrap();
    assert_eq!(back.generation, 1, "generation 2 was replaced unreviewed, and 3 still waits");
    assert_eq!(kept.states(), [Active, Superseded, Proposed, Superseded]);
    assert_eq!(kept.decide(&decision(Unpin)), Err(Refusal::Missing("pinned threshold")));
}

#[test]
fn senseless_limits_are_refused() {
    let mut kept = Kept::default();
    kept.learn(Automatic);
    for (lower, upper) in [
        (Some(1.0), None),
        (None, Some(1.0)),
        (Some(2.0), Some(1.0)),
        (Some(f64::NAN), Some(1.0)),
        (Some(0.0), Some(f64::INFINITY)),
    ] {
        let asked = Decision { lower, upper, ..decision(Pin) };
        assert_eq!(kept.decide(&asked), Err(Refusal::Limits), "{lower:?} {upper:?}");
    }
}

proptest! {
    /// The checks are in [`Kept::apply`].
    #[test]
    fn one_is_in_force_one_waits_and_limits_stay(steps in prop::collection::vec((0..6_u8, any::<bool>()), 0..40)) {
        let mut kept = Kept::default();
        for (step, numbers) in steps {
            let limits = numbers.then_some(1.0);
            let act = |review| Decision { lower: limits, upper: limits, ..decision(review) };
            let in_force = kept.0.iter().any(Threshold::in_force);
            match step {
                0 => drop(kept.learn(Automatic)),
                1 => drop(kept.learn(Required)),
                2 => drop(kept.decide(&act(Approve))),
                3 => drop(kept.decide(&act(Reject))),
                4 => drop(kept.decide(&act(Pin))),
                _ => drop(kept.decide(&act(Unpin))),
            }
            prop_assert!(!in_force || kept.0.iter().any(Threshold::in_force), "{:?}", kept.states());
            prop_assert!(kept.0.windows(2).all(|pair| pair[0].generation + 1 == pair[1].generation));
        }
    }
}
