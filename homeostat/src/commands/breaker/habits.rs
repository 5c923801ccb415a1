//! What is normal and yet looks ill: errors in bursts, a baseline that swings with the day, a bad day, a slow drift. Criteria
//! A2, A3 and A7.

use super::{OURS, Row, SimulateArgs, drilled};
use breaker::sim::{
    Drill, Errors, Until, false_openings, openings, poisoning, poisson, seasonal_detection, wilson,
};

/// Mean length of a burst, in calls.
const BURST: f64 = 5.0;
/// Long plays are repeated no more often than this.
const RUNS_MAX: u64 = 20;
/// A fortnight of learning, or as many calls as say the same.
const LEARNING_S: f64 = 14.0 * 86_400.0;
const LEARNING_CALLS: f64 = 300_000.0;
/// The baseline of the swinging days, at its lowest; at its highest it is ten times that.
const TROUGH: f64 = 0.005;

/// Errors in bursts, for any policy: how soon an outage opens, and how often nothing does.
pub(super) fn in_bursts(policy: &str, args: &SimulateArgs) -> Vec<Row> {
    let mut rows: Vec<_> =
        [0.2, 1.0, 10.0, 100.0].into_iter().map(|rate| outage(policy, rate, args)).collect();
    // The other rules learn nothing, so that one run of theirs says as much.
    if policy != OURS {
        rows.extend([0.2, 1.0, 10.0].into_iter().filter_map(|rate| normal(policy, rate, args)));
    }
    rows
}

fn outage(policy: &str, rate: f64, args: &SimulateArgs) -> Row {
    let drill = Drill {
        rate,
        baseline: args.baseline,
        fault: 1.0,
        errors: Errors::Bursts(BURST),
        warm_up: LEARNING_CALLS.min(LEARNING_S * rate) as u64,
        longest: 600.0,
    };
    let what = format!("100 % failing at {rate}/s over bursts of {BURST}, {} %", args.baseline * 100.0);
    drilled(policy, what, &drill, Until::Opened, args.seed, args.seeds.min(RUNS_MAX))
}

fn normal(policy: &str, rate: f64, args: &SimulateArgs) -> Option<Row> {
    let opened = openings(policy, rate, args.baseline, Errors::Bursts(BURST), args.days, args.seed)?;
    let what = format!("{} days at {rate}/s of bursts of {BURST}, {} %", args.days, args.baseline * 100.0);
    Some(false_row(policy, what, args.seed, 1, opened, args.days))
}

fn false_row(policy: &str, what: String, first_seed: u64, seeds: u64, opened: u64, days: f64) -> Row {
    let ((low, high), month) = (poisson(opened), 30.0 / (days * seeds as f64));
    Row {
        policy: policy.to_owned(),
        what,
        first_seed,
        seeds,
        openings: Some(opened),
        false_openings_30d: Some([opened as f64, low, high].map(|count| count * month)),
        ..Row::default()
    }
}

/// What ours learns: how errors come, and their ratio by the hour of the day. The other rules have no place to tell a degradation.
pub(super) fn learned(policy: &str, args: &SimulateArgs) -> Vec<Row> {
    let plays = [(0.2, RUNS_MAX), (1.0, 5), (10.0, 1)];
    let mut rows: Vec<_> = plays.map(|(rate, runs)| days(policy, rate, runs, false, args)).into();
    rows.extend(plays.map(|(rate, runs)| days(policy, rate, runs, true, args)));
    rows.push(in_the_trough(policy, args));
    rows.extend([0.05, 0.2, 0.5].map(|degraded| bad_day(policy, degraded, args)));
    rows
}

/// Normal days after a fortnight of learning, in bursts or with a baseline that swings.
fn days(policy: &str, rate: f64, runs: u64, swing: bool, args: &SimulateArgs) -> Row {
    let runs = runs.min(args.seeds);
    let (baseline, errors, kind) = match swing {
        true => (TROUGH, Errors::Independent, "0.5 to 5 % by the hour".to_owned()),
        false => {
            (args.baseline, Errors::Bursts(BURST), format!("bursts of {BURST}, {} %", args.baseline * 100.0))
        }
    };
    let opened = (args.seed..args.seed + runs)
        .map(|seed| false_openings(rate, baseline, errors, swing, args.days, seed).openings)
        .sum();
    let what = format!("{} days at {rate}/s, {kind}, after 14 of learning", args.days);
    false_row(policy, what, args.seed, runs, opened, args.days)
}

fn in_the_trough(policy: &str, args: &SimulateArgs) -> Row {
    const RATE: f64 = 10.0;
    let runs = args.seeds.min(RUNS_MAX);
    let found = (args.seed..args.seed + runs).map(|seed| seasonal_detection(RATE, seed));
    let mut seconds: Vec<_> = found.map(|found| found.unwrap_or(f64::INFINITY)).collect();
    seconds.sort_by(f64::total_cmp);
    let missed = seconds.iter().filter(|seconds| seconds.is_infinite()).count() as u64;
    let quantile = |share: f64| {
        let at = ((seconds.len().max(1) - 1) as f64 * share) as usize;
        seconds.get(at).copied().filter(|seconds| seconds.is_finite())
    };
    let (low, high) = wilson(missed, runs);
    Row {
        policy: policy.to_owned(),
        what: format!("5 % failing at {RATE}/s in the trough of 0.5 to 5 %"),
        first_seed: args.seed,
        seeds: runs,
        requests_p50: quantile(0.5).map(|seconds| (seconds * RATE) as u64),
        requests_p99: quantile(0.99).map(|seconds| (seconds * RATE) as u64),
        seconds_p50: quantile(0.5),
        seconds_p99: quantile(0.99),
        missed: Some(missed),
        missed_ratio: Some([missed as f64 / runs as f64, low.max(0.0), high]),
        ..Row::default()
    }
}

/// A day of failing, told how long; and a drift from 1 to 3 % over two weeks, adopted or not.
fn bad_day(policy: &str, degraded: f64, args: &SimulateArgs) -> Row {
    const RATE: f64 = 2.0;
    let runs = args.seeds.min(3);
    let played: Vec<_> = (args.seed..args.seed + runs).map(|seed| poisoning(RATE, degraded, seed)).collect();
    let hours = || played.iter().map(|(hours, _)| *hours);
    let mean = hours().sum::<f64>() / runs as f64;
    Row {
        policy: policy.to_owned(),
        what: format!("{} % failing at {RATE}/s for a day, then a drift", degraded * 100.0),
        first_seed: args.seed,
        seeds: runs,
        told_hours: Some([mean, hours().fold(f64::MAX, f64::min), hours().fold(0.0, f64::max)]),
        drift_adopted: Some(played.iter().filter(|(_, adopted)| *adopted).count() as u64),
        ..Row::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_opens_also_where_errors_come_in_bursts() {
        let args = SimulateArgs::of_seeds(2);
        let row = outage("homeostat", 1.0, &args);
        assert_eq!((row.missed, row.seeds), (Some(0), 2));
        assert!(row.requests_p99.is_some_and(|requests| requests <= 50), "{row:?}");
    }
}
