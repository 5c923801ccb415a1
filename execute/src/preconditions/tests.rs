//! The last check before sending, one condition at a time.

use std::time::Duration;

use proto::model::{DataQuality, Preconditions};

use super::*;
use crate::testing::{assessment, at, cart, id, scale};

fn good(directive: &Directive) -> Checked<'_> {
    let newest_generation = directive.generation;
    Checked {
        directive,
        paused: false,
        lease_held: true,
        supports_undo: true,
        newest_generation,
        assessment: None,
    }
}

fn seen(millis: u64, quality: Quality) -> Assessment {
    let seen = assessment(&cart(), millis, &[]);
    Assessment {
        data: DataQuality { quality, reason: "1 of 2 targets".to_owned(), ..seen.data.clone() },
        ..seen
    }
}

fn refused(verdict: Verdict, reason: &str) {
    let Verdict::Refuse(found) = verdict else { panic!("{verdict:?}, not refused for {reason}") };
    assert!(found.contains(reason), "{found}");
}

fn waits(verdict: Verdict, reason: &str) {
    let Verdict::Wait(found) = verdict else { panic!("{verdict:?}, does not wait for {reason}") };
    assert!(found.contains(reason), "{found}");
}

#[test]
fn fresh_directive_is_sent_without_further_data() {
    assert_eq!(check(&good(&scale(1, 2)), at(0)), Verdict::Deliver);
    assert_eq!(check(&good(&scale(1, 2)), at(29_999)), Verdict::Deliver);
}

#[test]
fn nothing_is_sent_while_paused_or_without_a_lease_or_after_expiry() {
    let directive = scale(1, 2);
    waits(check(&Checked { paused: true, ..good(&directive) }, at(0)), "paused");
    waits(check(&Checked { lease_held: false, ..good(&directive) }, at(0)), "lease");
    assert_eq!(check(&good(&directive), at(60_000)), Verdict::Expire);
}

#[test]
fn newer_generation_supersedes() {
    let directive = scale(1, 2);
    let checked = Checked { newest_generation: Generation(2), ..good(&directive) };
    refused(check(&checked, at(0)), "superseded by generation 2");
}

#[test]
fn advice_is_never_sent() {
    for autonomy in [AutonomyLevel::Observe, AutonomyLevel::Recommend] {
        refused(check(&good(&Directive { autonomy, ..scale(1, 2) }), at(0)), "advice");
    }
    refused(check(&good(&Directive { generation: Generation(0), ..scale(1, 2) }), at(0)), "advice");
}

#[test]
fn undo_needs_an_actuator_that_can() {
    let undo = Directive { undo_of: Some(id(9)), ..scale(1, 2) };
    assert_eq!(check(&good(&undo), at(0)), Verdict::Deliver);
    refused(check(&Checked { supports_undo: false, ..good(&undo) }, at(0)), "cannot take changes back");
}

#[test]
fn old_evidence_is_refused_unless_data_has_come_since() {
    let directive = scale(1, 2);
    refused(check(&good(&directive), at(30_001)), "30.0 s old");
    let (fresh, stale) = (seen(25_000, Quality::Partial), seen(25_000, Quality::Unknown));
    assert_eq!(
        check(&Checked { assessment: Some(&fresh), ..good(&directive) }, at(40_000)),
        Verdict::Deliver
    );
    let unknown = Checked { assessment: Some(&stale), ..good(&directive) };
    refused(check(&unknown, at(40_000)), "evidence");
    let none = Directive {
        preconditions: Preconditions { max_evidence_age: Duration::ZERO, ..directive.preconditions },
        ..directive
    };
    refused(check(&good(&none), at(1)), "at most 0.0 s");
}

#[test]
fn reduction_needs_whole_and_fresh_data_even_if_it_does_not_say_so() {
    let said = Directive {
        preconditions: Preconditions { requires_known_data: true, ..scale(1, 2).preconditions },
        ..scale(1, 2)
    };
    for directive in [said, scale(2, 1)] {
        waits(check(&good(&directive), at(1_000)), "nothing is known");
        let with = |quality, millis| {
            let seen = seen(900, quality);
            check(&Checked { assessment: Some(&seen), ..good(&directive) }, at(millis))
        };
        assert_eq!(with(Quality::Good, 1_000), Verdict::Deliver);
        refused(with(Quality::Partial, 1_000), "partial: 1 of 2 targets");
        refused(with(Quality::Unknown, 1_000), "unknown");
        refused(with(Quality::Good, 31_000), "30.1 s old");
    }
}

#[test]
fn too_little_error_budget_refuses_what_takes_away_and_nothing_else() {
    let low = |left| proto::model::BudgetPolicyState {
        objective: "shop/orders".to_owned(),
        consumed_ratio: Some(1.0 - left),
        remaining_ratio: Some(left),
        refuse_risk_below: 0.2,
        measures: Vec::new(),
        known: true,
        waiting_for: Vec::new(),
        autonomy: None,
    };
    let (inward, outward) = (scale(5, 3), scale(3, 5));
    let undo = Directive { undo_of: Some(id(9)), ..inward.clone() };
    let short = Assessment { budget_policies: vec![low(0.1)], ..seen(0, Quality::Good) };
    let enough = Assessment { budget_policies: vec![low(0.3)], ..seen(0, Quality::Good) };
    let with = |directive, seen| check(&Checked { assessment: Some(seen), ..good(directive) }, at(1));
    refused(with(&inward, &short), "shop/orders has 10.0 % of its error budget left");
    assert_eq!(with(&inward, &enough), Verdict::Deliver);
    assert_eq!(with(&outward, &short), Verdict::Deliver);
    assert_eq!(with(&undo, &short), Verdict::Deliver, "taking something back is no new risk");
}
