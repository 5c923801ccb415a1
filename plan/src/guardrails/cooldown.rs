//! The plant gets time to settle: after a change, after failures in a row, and after a change that had to be taken back.

use super::{Pass, Situation, Verdict, Veto};
use crate::{
    candidates::Candidate,
    data::seconds,
    ledger::{Entry, Line},
};
use jiff::Timestamp;
use proto::model::{Action, AutonomyLevel, ScalePolicy};
use std::time::Duration;

/// A change that did harm is not tried again before this: five verification windows, by which time the world differs.
const AFTER_UNDO: Duration = Duration::from_secs(5 * 60);
/// One piece of advice per line in this time, however the need changes.
const AFTER_ADVICE: Duration = Duration::from_secs(30);
/// First wait after a directive that came to nothing; doubled for each further one in a row.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// 5 s doubled six times; later tries come every five minutes, and a person has been shown the failures.
const AFTER_FAILURES_MAX: Duration = Duration::from_secs(5 * 60);

pub(super) fn check(candidate: &Candidate, situation: &Situation<'_>) -> Verdict {
    let (line, now) = (situation.line, situation.now);
    let waits = [
        after_change(candidate, situation),
        after_advice(situation),
        after_failures(line),
        after_undo(candidate, line),
    ];
    let longest = waits.into_iter().flatten().max_by_key(|(since, wait, _)| left(*since, *wait, now));
    match longest.map(|(since, wait, reason)| (left(since, wait, now), reason)) {
        Some((left, reason)) if left > Duration::ZERO => {
            Veto(format!("waits {} s more {reason}", seconds(left)))
        }
        _ => Pass("no wait is left".to_owned()),
    }
}

type Wait = (Timestamp, Duration, String);

fn left(since: Timestamp, wait: Duration, now: Timestamp) -> Duration {
    // A clock that was set back must not stretch the wait beyond its full length.
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    wait.saturating_sub(passed)
}

fn after_change(candidate: &Candidate, situation: &Situation<'_>) -> Option<Wait> {
    let spec = situation.policy.spec;
    match candidate.action {
        Action::Scale { .. } => after_scaling(candidate.reduces, spec.scale.as_ref()?, situation.line),
        Action::SetBreaker(_) => {
            let (_, at) = situation.line.last_applied(|_| true)?;
            Some((at, spec.breaker.as_ref()?.cooldown, "after the last change of this breaker".to_owned()))
        }
        _ => None,
    }
}

fn after_scaling(reduces: bool, policy: &ScalePolicy, line: &Line) -> Option<Wait> {
    if reduces {
        let (last, at) = line.last_applied(|_| true)?;
        Some((at, policy.cooldown_down, format!("after \"{}\"", last.action)))
    } else {
        let (last, at) = line.last_applied(Entry::scales_out)?;
        Some((at, policy.cooldown_up, format!("after \"{}\"", last.action)))
    }
}

/// Advice changes nothing, so what it says may change with every scrape; nobody can read it as fast.
fn after_advice(situation: &Situation<'_>) -> Option<Wait> {
    let advises = matches!(situation.autonomy, AutonomyLevel::Observe | AutonomyLevel::Recommend);
    let last = situation.line.advice(situation.now).next().filter(|_| advises)?;
    Some((last.created_at, AFTER_ADVICE, format!("after the advice \"{}\"", last.action)))
}

fn after_failures(line: &Line) -> Option<Wait> {
    let (count, last) = line.failures()?;
    let doublings = count.saturating_sub(1).min(16);
    let wait = AFTER_FAILURE.saturating_mul(1 << doublings).min(AFTER_FAILURES_MAX);
    Some((last, wait, format!("after {count} directives in a row that came to nothing")))
}

fn after_undo(candidate: &Candidate, line: &Line) -> Option<Wait> {
    let alike = |entry: &Entry| match (candidate.action, entry.action) {
        (Action::Scale { .. }, Action::Scale { .. }) => entry.scales_out() != candidate.reduces,
        (Action::SetBreaker(new), Action::SetBreaker(old)) => new.mode == old.mode,
        _ => false,
    };
    // A measure that a budget's reset took back did no harm.
    let (undone, at) = line.last_undone(|entry| !entry.is_measure() && alike(entry))?;
    Some((at, AFTER_UNDO, format!("after \"{}\" did harm or was taken back", undone.action)))
}

#[cfg(test)]
mod tests {
    use crate::fixtures::{Case, at, scale_record, scale_to};
    use proto::model::{
        AutonomyLevel,
        DirectiveState::{self, Failed, Harmful, Refused, Undone, Verified},
        Generation,
    };

    /// Whether a change from 4 replicas is held back at second 1000 after these directives.
    fn waits(records: &[(u32, u32, DirectiveState, i64)], replicas: u32) -> bool {
        let mut case = Case::replicas(4);
        case.plant.second = 1000;
        for (generation, (before, after, state, second)) in (1..).zip(records) {
            case.plant.world.ledger.put(&scale_record(generation, *before, *after, *state, *second));
        }
        case.vetoes("cooldown", &scale_to(4, replicas))
    }

    #[test]
    fn nothing_waits_when_nothing_was_done() {
        assert!(!waits(&[], 5) && !waits(&[], 3));
    }

    #[test]
    fn scale_out_waits_after_a_scale_out_only() {
        // The policy of the fixtures cools down for 10 s up and 60 s down.
        assert!(waits(&[(2, 4, Verified, 991)], 5));
        assert!(!waits(&[(2, 4, Verified, 990)], 5));
        assert!(!waits(&[(5, 4, Verified, 999)], 5));
    }

    #[test]
    fn scale_in_waits_after_any_scaling() {
        assert!(waits(&[(2, 4, Verified, 941)], 3));
        assert!(waits(&[(5, 4, Verified, 941)], 3));
        assert!(!waits(&[(2, 4, Verified, 940)], 3));
    }

    #[test]
    fn failures_in_a_row_wait_longer_each_time() {
        assert!(waits(&[(2, 4, Failed, 996)], 5));
        assert!(!waits(&[(2, 4, Failed, 995)], 5));
        let three = [(2, 4, Failed, 900), (2, 4, Refused, 940), (2, 4, Failed, 985)];
        assert!(waits(&three, 5));
        let three = [(2, 4, Failed, 900), (2, 4, Refused, 940), (2, 4, Failed, 980)];
        assert!(!waits(&three, 5));
        let many = |last: i64| (0..20).map(|n| (2, 4, Failed, last - 19 + n)).collect::<Vec<_>>();
        assert!(waits(&many(701), 5));
        assert!(!waits(&many(700), 5), "at most five minutes");
    }

    #[test]
    fn advice_is_given_at_most_every_half_minute() {
        let mut case = Case::replicas(4).level(AutonomyLevel::Recommend);
        let mut advice = scale_record(1, 4, 6, DirectiveState::Proposed, case.plant.second);
        advice.directive.generation = Generation(0);
        advice.directive.expires_at = at(case.plant.second + 300);
        case.plant.world.ledger.put(&advice);
        case.plant.second += 29;
        assert!(case.vetoes("cooldown", &scale_to(4, 7)));
        case.plant.second += 1;
        assert!(!case.vetoes("cooldown", &scale_to(4, 7)));
    }

    #[test]
    fn what_did_harm_is_not_tried_again_soon_but_its_opposite_may_be() {
        for state in [Harmful, Undone] {
            assert!(waits(&[(5, 4, state, 701)], 3), "{state}");
            assert!(!waits(&[(5, 4, state, 700)], 3), "{state}");
            assert!(!waits(&[(5, 4, state, 701)], 5), "{state}");
        }
    }
}
