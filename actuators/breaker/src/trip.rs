//! The trip rule: when the counts of a window, or of a half-open phase, are bad enough. Nothing else judges.

use crate::{Counts, Policy};

/// Why a breaker opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TripReason {
    /// Too large a share of the calls failed.
    Failures,
    /// Too large a share of the calls was slow.
    SlowCalls,
    /// The probes of the half-open phase failed.
    Probes,
}

/// Judges the window of a closed breaker.
pub(crate) fn verdict(policy: &Policy, counts: &Counts) -> Option<TripReason> {
    if counts.calls < u64::from(policy.minimum_calls) {
        return None;
    }
    if counts.failure_ratio()? >= policy.failure_ratio_to_open {
        return Some(TripReason::Failures);
    }
    (counts.slow_ratio()? >= policy.slow_ratio_to_open).then_some(TripReason::SlowCalls)
}

/// What the probes of a half-open phase have shown so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProbeVerdict {
    Wait,
    Close,
    Reopen,
}

/// Judges the probes: as soon as the missing results can no longer turn the share of bad ones, it is decided.
pub(crate) fn probe_verdict(policy: &Policy, good: u32, bad: u32) -> ProbeVerdict {
    let permits = policy.half_open_permits;
    let bad_to_reopen = ((policy.failure_ratio_to_open * f64::from(permits)).ceil() as u32).clamp(1, permits);
    if bad >= bad_to_reopen {
        ProbeVerdict::Reopen
    } else if good > permits - bad_to_reopen {
        ProbeVerdict::Close
    } else {
        ProbeVerdict::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(calls: u64, failures: u64, slow: u64, expect: Option<TripReason>) {
        assert_eq!(verdict(&Policy::default(), &Counts { calls, failures, slow }), expect);
    }

    #[test]
    fn opens_on_the_stated_shares_and_not_below() {
        check(20, 10, 0, Some(TripReason::Failures));
        check(20, 9, 0, None);
        check(20, 0, 16, Some(TripReason::SlowCalls));
        check(20, 0, 15, None);
    }

    #[test]
    fn few_calls_are_no_evidence() {
        check(19, 19, 19, None);
        check(0, 0, 0, None);
    }

    #[test]
    fn any_full_set_of_probe_results_decides() {
        for permits in 1..=32 {
            for ratio in [0.01, 0.3, 0.5, 0.99, 1.0] {
                let policy =
                    Policy { half_open_permits: permits, failure_ratio_to_open: ratio, ..Policy::default() };
                for bad in 0..=permits {
                    assert_ne!(probe_verdict(&policy, permits - bad, bad), ProbeVerdict::Wait);
                }
            }
        }
    }
}
