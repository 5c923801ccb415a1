//! Criteria of the reliability bar in short runs; `homeostat breaker simulate` and the README's commands run them at length.

use breaker::sim::{
    Drill, Errors, Noise, Until, causality, drill, false_openings, fleet, overload,
    overload_on_a_busy_machine, poisoning, run, scenarios, seasonal_detection, shadow, shadow_of_overload,
};

/// A debug build plays less.
const LONG: bool = !cfg!(debug_assertions);

fn p99(found: &mut [Option<u64>]) -> u64 {
    found.sort_by_key(|requests| requests.unwrap_or(u64::MAX));
    found[(found.len() - 1) * 99 / 100].unwrap_or(u64::MAX)
}

#[test]
fn an_outage_opens_within_the_stated_requests_with_a_learned_baseline() {
    for (baseline, bound) in [(0.01, 6), (0.05, 9)] {
        for rate in if LONG { vec![0.2, 1.0, 10.0, 100.0] } else { vec![0.2, 10.0] } {
            let warm_up = 10_000f64.max(900.0 * rate) as u64;
            let fault =
                Drill { rate, baseline, fault: 1.0, errors: Errors::Independent, warm_up, longest: 4_000.0 };
            let requests =
                p99(&mut drill("homeostat", &fault, Until::Opened, 0..if LONG { 200 } else { 20 }));
            assert!(requests <= bound, "{requests} over {baseline} at {rate}/s");
        }
    }
}

#[test]
fn what_others_need_or_miss_is_reproduced() {
    let fault = Drill {
        rate: 1.0,
        baseline: 0.01,
        fault: 1.0,
        errors: Errors::Independent,
        warm_up: 1_000,
        longest: 600.0,
    };
    let median = |name| {
        let mut found = drill(name, &fault, Until::Opened, 0..41);
        found.sort_by_key(|requests| requests.unwrap_or(u64::MAX));
        found[20]
    };
    assert!(median("resilience4j").is_some_and(|requests| (45..=55).contains(&requests)));
    assert_eq!(median("polly"), None, "30 calls in its window never make 100");
    assert_eq!(median("consecutive-5"), Some(5));
}

#[test]
fn normal_traffic_opens_nothing_even_in_bursts() {
    for errors in [Errors::Independent, Errors::Bursts(5.0)] {
        let openings: u64 = (0..if LONG { 40 } else { 1 })
            .map(|seed| false_openings(0.2, 0.01, errors, false, 30.0, seed).openings)
            .sum();
        assert!(openings <= if LONG { 40 } else { 1 }, "{openings}, {errors:?}");
    }
}

#[test]
fn a_regression_in_the_trough_of_a_learned_season_is_told_within_a_minute() {
    // 13 million calls: too many for a debug build.
    let after =
        if LONG { seasonal_detection(10.0, 1) } else { seasonal_detection(2.0, 1).map(|after| after / 5.0) };
    assert!(after.is_some_and(|seconds| seconds <= 60.0), "{after:?}");
}

#[test]
fn a_bad_day_does_not_become_normal_and_a_drift_does() {
    let (hours, adopted) = poisoning(if LONG { 2.0 } else { 0.5 }, 0.2, 1);
    assert!(hours >= 23.5 && adopted, "{hours} {adopted}");
}

#[test]
fn the_scenarios_of_semians_suite_are_won() {
    for scenario in scenarios() {
        let of = |policy| run(&scenario, policy, 1).expect("known");
        let (ours, classic, adaptive) = (of("homeostat"), of("semian-classic"), of("semian-adaptive"));
        let best = classic.total.success().max(adaptive.total.success());
        assert!(ours.total.success() >= best, "{}: {:?} below {best}", scenario.name, ours.total);
        assert!(ours.healthy.rejection() <= 0.005, "{}: {:?}", scenario.name, ours.healthy);
        match scenario.name {
            "sustained 20 %" => assert!(ours.degraded.success() >= 0.78),
            "spike 100 %" => {
                assert!(1.0 - ours.degraded.rejection() <= 0.02, "{:?}", ours.degraded);
                assert!(ours.admitted_after <= 5.0, "{}", ours.admitted_after);
            }
            _ => {}
        }
    }
}

#[test]
fn an_overloaded_callee_works_on_and_critical_calls_get_through() {
    for factor in [2.0, 4.0, 10.0] {
        let with = overload(factor, true, 1);
        assert!(with.goodput >= 0.95 && with.critical >= 0.99, "{factor}: {with:?}");
        assert!(overload(factor, false, 1).goodput < 0.6, "or there is nothing to show");
    }
}

#[test]
fn the_machine_being_busy_costs_no_goodput() {
    for (delay, stall) in [(0.0, 0.0), (0.001, 0.0), (0.005, 0.0), (0.02, 0.0), (0.005, 0.05)] {
        for seed in 0..5 {
            let noise = Noise { delay, stall, gone: 0.0 };
            let (run, mean, highest) = overload_on_a_busy_machine(3.6, noise, seed);
            assert!(run.goodput >= 0.95 && run.critical >= 0.99, "{noise:?}, {seed}: {run:?}");
            assert!(mean <= 32.0 && highest <= 40.0, "eight times four workers: {mean} {highest}, {noise:?}");
        }
    }
}

#[test]
fn sheds_where_load_is_the_cause_and_not_where_it_is_not() {
    let regardless = (0..10).filter(|&seed| causality(false, seed).sheds_after.is_none()).count();
    let by_load =
        (0..10).filter(|&seed| causality(true, seed).sheds_after.is_some_and(|after| after <= 10.0));
    assert!(regardless >= 9 && by_load.count() >= 9);
}

#[test]
fn a_fleet_of_any_size_probes_with_few_and_comes_back_soon() {
    for instances in if LONG { vec![3, 10, 30, 100, 300, 1_000] } else { vec![3, 100] } {
        for seed in 1..=if instances > 100 { 2 } else { 10 } {
            let run = fleet(instances, true, seed);
            assert!(run.probes_at_once <= 10 && run.open_for <= 10.0, "{instances}: {run:?}");
            // Of few, a single call that finds all probes of a stage in flight is more than one in a hundred.
            let least = if instances < 30 { 0.97 } else { 0.99 };
            assert!(run.admitted >= least, "{instances}: {run:?}");
            assert!(instances < 300 || run.admitted_after <= 10.0, "{instances}: {run:?}");
        }
    }
}

#[test]
fn counting_only_predicts_what_enforcing_does_to_outages_and_what_its_trials_leave_out() {
    let off = |deed: u64, word: u64| word.abs_diff(deed) as f64 / deed as f64;
    for ill in [0.01, 0.1, 0.3, 0.6] {
        for (rate, seeds) in [(1.0, 5), (10.0, 5), (100.0, if LONG { 5 } else { 1 })] {
            for seed in 0..seeds {
                let run = shadow(rate, ill, seed);
                assert!(run.enforced.0 > 100, "there is something to predict: {run:?}");
                assert!(off(run.enforced.0, run.predicted.0) <= 0.05, "{ill} at {rate}/s, {seed}: {run:?}");
                assert!(off(run.enforced.1, run.predicted.1) <= 0.05, "{ill} at {rate}/s, {seed}: {run:?}");
            }
        }
    }
}

#[test]
fn counting_only_estimates_what_is_shed_of_a_callee_that_says_that_it_is_overloaded() {
    for share in [0.3, 0.6] {
        for seed in 0..5 {
            let run = shadow_of_overload(100.0, share, seed);
            let off = run.predicted.0.abs_diff(run.enforced.0) as f64 / run.enforced.0 as f64;
            assert!(run.enforced.0 > 1_000 && off <= 0.1, "{share}, {seed}: {run:?}");
        }
    }
}
