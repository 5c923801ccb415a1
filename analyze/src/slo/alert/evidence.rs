//! What the events say for and against a burn rate: a cumulative sum of likelihood ratios (Page 1954), which gathers evidence over
//! as long as it takes, and how far a count may be below its limit by chance.

use crate::slo::indicator::Tick;

/// Standard deviations of a count that are given to safety: failures that come at random stay below their mean by more in one
/// hour of 40.
const SLACK: f64 = 2.0;
/// Evidence for a rule's burn rate that lets it fire before its windows are exceeded: odds of 20 to 1.
const ODDS: f64 = 20.0;
/// A service that burns at less than this share of a rule's rate does not burn at it, however few events there are to tell.
const OTHER_MIN: f64 = 0.75;

/// Evidence that a service burns at a rule's rate rather than at less.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Evidence(pub(super) f64);

impl Evidence {
    /// Takes in a tick. `ratio` is the share of failures that the rule's rate is; `allowed` that of the objective; `expected` how
    /// many failures the rule's rate brings in its long window. What is held against the rule's rate is the highest one that a
    /// service burning at the rule's rate can be told from within its long window: at much traffic hardly less, at little that
    /// of a service that keeps its objective with a quarter to spare.
    pub(super) fn observe(&mut self, tick: Tick, ratio: f64, allowed: f64, expected: f64) {
        let Tick::Known { total, bad } = tick else { return };
        // A burn rate of more failures than there are events cannot be.
        if !(ratio > 0.0 && ratio < 1.0) || (bad <= 0.0 && self.0 <= 0.0) {
            return;
        }
        let other = (ratio * told(expected)).max(OTHER_MIN * allowed.min(ratio));
        let step = step(total, bad, ratio, other);
        self.0 = if step.is_finite() { (self.0 + step).max(0.0) } else { self.0 };
    }

    /// Whether it is enough.
    pub(super) fn is_enough(self) -> bool {
        self.0 >= ODDS.ln()
    }
}

/// The share of a rate from which the rate itself can be told with the odds by the time it has brought so many failures: where the
/// evidence that is to be expected, `expected` × (share − 1 − ln share), is enough. By the series of its inverse; the error is
/// below a tenth from 3 failures on.
fn told(expected: f64) -> f64 {
    let each = ODDS.ln() / expected.max(f64::MIN_POSITIVE);
    (-((2.0 * each).sqrt() + each / 3.0)).exp()
}

/// By how much the events are likelier with this share of failures than with the other: the logarithm of the quotient.
pub(super) fn step(total: f64, bad: f64, share: f64, other: f64) -> f64 {
    bad * (share / other).ln() + (total - bad) * ((1.0 - share) / (1.0 - other)).ln()
}

/// Whether so many failures reach a limit, or stay below it by no more than chance or one more tick with as many failures as this
/// one explains: by then it would be passed unseen.
pub(super) fn reaches(bad: f64, limit: f64, tick: Tick) -> bool {
    let next = match tick {
        Tick::Known { bad, .. } => bad,
        Tick::Unknown => 0.0,
    };
    bad > 0.0 && bad + (SLACK * bad.sqrt()).max(next) >= limit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(total: f64, bad: f64) -> Tick {
        Tick::Known { total, bad }
    }

    #[test]
    fn evidence_grows_with_failures_and_fades_with_good_events() {
        let mut evidence = Evidence::default();
        evidence.observe(tick(1_000.0, 0.0), 0.001, 0.001, 72.0);
        assert_eq!(evidence, Evidence::default());
        (0..40).for_each(|_| evidence.observe(tick(500.0, 1.0), 0.001, 0.001, 72.0));
        assert!(evidence.is_enough(), "{evidence:?}");
        (0..100).for_each(|_| evidence.observe(tick(500.0, 0.0), 0.001, 0.001, 72.0));
        assert_eq!(evidence, Evidence::default());
    }

    #[test]
    fn what_is_held_against_a_rate_can_just_be_told_from_it_in_time() {
        for expected in [14.4, 36.0, 72.0, 720.0, 7_200.0] {
            let share = told(expected);
            let evidence = expected * (share - 1.0 - share.ln());
            assert!((evidence / ODDS.ln() - 1.0).abs() < 0.05, "{expected}: {evidence}");
        }
    }

    #[test]
    fn what_cannot_be_is_no_evidence() {
        for ratio in [0.0, 1.0, 1.4, f64::NAN] {
            let mut evidence = Evidence::default();
            evidence.observe(tick(10.0, 10.0), ratio, 0.1, 5.0);
            assert_eq!(evidence, Evidence::default(), "{ratio}");
        }
        let mut evidence = Evidence(1.0);
        evidence.observe(Tick::Unknown, 0.5, 0.1, 5.0);
        evidence.observe(tick(f64::NAN, 1.0), 0.5, 0.1, f64::NAN);
        assert_eq!(evidence, Evidence(1.0));
    }

    #[test]
    fn many_failures_may_miss_their_limit_by_little() {
        let none = Tick::Unknown;
        assert!(reaches(9.0, 14.4, none) && !reaches(8.0, 14.4, none));
        assert!(reaches(1_370.0, 1_440.0, none) && !reaches(1_360.0, 1_440.0, none));
        assert!(reaches(1_250.0, 1_440.0, tick(417.0, 417.0)), "the next tick passes it");
        assert!(!reaches(0.0, 0.0, none), "no failure reaches nothing");
    }
}
