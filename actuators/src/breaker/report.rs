//! What one breaker tells the fleet.

use std::collections::BTreeMap;
use std::time::Duration;

use breaker::{Mode, Outcome, PhaseKind, Policy, Rejection, Verdict};
use jiff::Timestamp;
use proto::model::{
    BreakerBaseline, BreakerKey, BreakerMode, BreakerPhase, BreakerReport, BreakerSetting, BreakerVerdict,
    Generation,
};

use super::Guarded;

/// How the crate `breaker` exports what it learned.
pub(super) const BASELINE_FORMAT: u32 = 1;
/// What is normal changes slowly.
const BASELINE_INTERVAL: Duration = Duration::from_secs(60);

/// The report of now.
pub(super) fn of(key: &BreakerKey, guarded: &Guarded, now: Duration, wall: Timestamp) -> BreakerReport {
    let breaker = &guarded.breaker;
    let (seen, witness, (policy, generation)) =
        (breaker.snapshot(now), breaker.witness(now), breaker.policy());
    let word = guarded.word();
    let due = seen.baseline_known && word.baseline_at.is_none_or(|at| now >= at + BASELINE_INTERVAL);
    let baseline = due.then(|| BreakerBaseline {
        format: BASELINE_FORMAT,
        numbers: breaker.export_baseline(now),
        failure_ratio: ratio(seen.baseline_ratio),
    });
    if due {
        guarded.change(|word| word.baseline_at = Some(now));
    }
    let told = word.told.map(|(told, _)| told).filter(|told| told.stands(wall) && seen.told.is_some());
    let counted = |names: &[&str], counts: &[u64]| -> BTreeMap<String, u64> {
        names.iter().map(|name| (*name).to_owned()).zip(counts.iter().copied()).collect()
    };
    BreakerReport {
        key: key.clone(),
        phase: match witness.phase {
            PhaseKind::Closed => BreakerPhase::Closed,
            PhaseKind::Open => BreakerPhase::Open,
            PhaseKind::HalfOpen => BreakerPhase::HalfOpen,
        },
        verdict: match seen.verdict {
            Verdict::Nominal => BreakerVerdict::Nominal,
            Verdict::Degraded => BreakerVerdict::Degraded,
            Verdict::Outage => BreakerVerdict::Outage,
        },
        outage_score: at_least_zero(witness.score),
        outage_threshold: at_least_zero(witness.threshold),
        probes_answered: witness.answered,
        policy: BreakerSetting { told, ..setting(&policy) },
        generation: Generation(generation),
        override_generation: guarded.told_generation(),
        failure_baseline_ratio: ratio(seen.baseline_ratio),
        rate_per_second: at_least_zero(seen.rate_per_second),
        admitted_ratio: ratio(seen.admitted_share),
        opened_total: seen.opened_total,
        would_reject_total: seen.would_reject_total,
        rejected_total: counted(&Rejection::REASONS, &seen.rejected),
        results_total: counted(&Outcome::NAMES, &seen.results),
        probes_in_flight: seen.probes_in_flight,
        probe_permits: seen.probe_stage,
        baseline_known: seen.baseline_known,
        baseline,
    }
}

/// The part of a policy that directives set.
fn setting(policy: &Policy) -> BreakerSetting {
    BreakerSetting {
        mode: match policy.mode {
            Mode::MetricsOnly => BreakerMode::MetricsOnly,
            Mode::Enforce => BreakerMode::Enforce,
            Mode::ForcedOpen => BreakerMode::ForcedOpen,
            Mode::Disabled => BreakerMode::Disabled,
        },
        failure_ratio_to_open: policy.failure_ratio_to_open,
        slow_call: policy.slow_call,
        open_wait: policy.open_wait,
        half_open_permits: policy.half_open_permits,
        told: None,
    }
}

/// A share, whatever rounding made of it.
fn ratio(value: f64) -> f64 {
    if value.is_finite() { value.clamp(0.0, 1.0) } else { 0.0 }
}

fn at_least_zero(value: f64) -> f64 {
    if value.is_finite() { value.max(0.0) } else { 0.0 }
}
