//! The reliability criteria at length, one by name: `cargo run --release -p breaker --features sim --example criteria -- a1`.
//! Each line states what was played, what came out, and the bound.

use breaker::sim::{
    Drill, Errors, Noise, OverloadRun, ShadowRun, Until, causality, drill, false_openings, fleet, overload,
    overload_on_a_busy_machine, poisoning, run, scenarios, seasonal_detection, shadow, shadow_of_overload,
    wilson,
};

fn main() {
    for name in std::env::args().skip(1) {
        match name.as_str() {
            "a1" => trips(),
            "a2" => season(),
            "a3" => bursts(),
            "a4" => suite(),
            "a5" => overloads(),
            "busy" => busy(),
            "a6" => causes(),
            "a7" => poison(),
            "a9" => fleets(),
            "a12" => shadows(),
            "false" => openings(),
            other => eprintln!("no criterion is called {other}: a1 a2 a3 a4 a5 busy a6 a7 a9 a12 false"),
        }
    }
}

fn quantiles(found: &mut [Option<u64>]) -> (Option<u64>, Option<u64>, usize) {
    found.sort_by_key(|requests| requests.unwrap_or(u64::MAX));
    let missed = found.iter().filter(|requests| requests.is_none()).count();
    (found[found.len() / 2], found[(found.len() - 1) * 99 / 100], missed)
}

fn trips() {
    for (baseline, bounds) in [(0.01, [6, 28, 110]), (0.05, [9, 51, 270])] {
        for rate in [0.2, 1.0, 10.0, 100.0] {
            let faults = [(1.0, Until::Opened), (0.5, Until::Warned), (0.2, Until::Warned)];
            for ((fault, until), bound) in faults.into_iter().zip(bounds) {
                let (errors, warm_up) = (Errors::Independent, 20_000f64.max(3_600.0 * rate) as u64);
                let played =
                    Drill { rate, baseline, fault, errors, warm_up, longest: 600f64.max(1_000.0 / rate) };
                let (p50, p99, missed) = quantiles(&mut drill("homeostat", &played, until, 0..400));
                println!(
                    "{fault} over {baseline} at {rate}/s: p50 {p50:?} p99 {p99:?} (bound {bound}) missed {missed}/400"
                );
            }
        }
    }
}

fn bursts() {
    for (rate, bound) in [(0.2, 40), (1.0, 50), (10.0, 60), (100.0, 75)] {
        // A fortnight of learning, or as many calls as say the same.
        let warm_up = 3e6f64.min(14.0 * 86_400.0 * rate) as u64;
        let errors = Errors::Bursts(5.0);
        let played = Drill { rate, baseline: 0.01, fault: 1.0, errors, warm_up, longest: 600.0 };
        let (p50, p99, missed) = quantiles(&mut drill("homeostat", &played, Until::Opened, 0..100));
        println!(
            "outage after bursts at {rate}/s: p50 {p50:?} p99 {p99:?} (bound {bound}) missed {missed}/100"
        );
    }
}

fn openings() {
    for (errors, swing) in
        [(Errors::Independent, false), (Errors::Independent, true), (Errors::Bursts(5.0), false)]
    {
        for (rate, runs) in [(0.2, 40), (1.0, 20), (10.0, 3), (100.0, 1)] {
            let baseline = if swing { 0.005 } else { 0.01 };
            let played = (0..runs).map(|seed| false_openings(rate, baseline, errors, swing, 30.0, seed));
            let (openings, told) =
                played.fold((0, 0), |sum, run| (sum.0 + run.openings, sum.1 + run.degradations));
            let (low, high) = wilson(openings.min(runs), runs);
            println!(
                "{errors:?} season {swing} {rate}/s: {openings} openings, {told} degradations in {runs} x 30 d; a run with one: {low:.2}..{high:.2} (bound 1 per 30 d)"
            );
        }
    }
}

fn season() {
    let mut after: Vec<_> =
        (0..20).map(|seed| seasonal_detection(10.0, seed).unwrap_or(f64::INFINITY)).collect();
    after.sort_by(f64::total_cmp);
    println!(
        "0.5 to 5 % in the trough at 10/s: median {} s, worst {} s of 20 (bound 60)",
        after[10], after[19]
    );
}

fn suite() {
    for scenario in scenarios() {
        for policy in ["homeostat", "semian-classic", "semian-adaptive"] {
            for seed in 1..=3 {
                let Some(played) = run(&scenario, policy, seed) else { continue };
                println!(
                    "{} {policy} seed {seed}: answered {:.2} %, in the fault {:.2} %, rejected while healthy {:.2} %, reached the callee in the fault {:.2} %, admitted after {:.0} s",
                    scenario.name,
                    100.0 * played.total.success(),
                    100.0 * played.degraded.success(),
                    100.0 * played.healthy.rejection(),
                    100.0 * (1.0 - played.degraded.rejection()),
                    played.admitted_after
                );
            }
        }
    }
}

fn overloads() {
    for factor in [2.0, 4.0, 10.0] {
        for seed in 0..5 {
            println!(
                "{factor} x seed {seed}: {:?}; without limit {:?}",
                overload(factor, true, seed),
                overload(factor, false, seed)
            );
        }
    }
}

fn busy() {
    for (delay, stall, gone) in [
        (0.0, 0.0, 0.0),
        (0.001, 0.0, 0.0),
        (0.005, 0.0, 0.0),
        (0.02, 0.0, 0.0),
        (0.005, 0.05, 0.0),
        (0.02, 0.2, 0.0),
        (0.0, 0.0, 0.02),
        (0.005, 0.05, 0.2),
        (0.005, 0.0, 0.5),
    ] {
        let noise = Noise { delay, stall, gone };
        let runs: Vec<_> = (0..10).map(|seed| overload_on_a_busy_machine(3.6, noise, seed)).collect();
        let least = |of: fn(&(OverloadRun, f64, f64)) -> f64| runs.iter().map(of).fold(f64::MAX, f64::min);
        let mean = runs.iter().map(|run| run.1).sum::<f64>() / runs.len() as f64;
        let highest = runs.iter().map(|run| run.2).fold(0.0, f64::max);
        println!(
            "busy machine, {noise:?}, 10 seeds: goodput at least {:.1} % (bound 95), critical at least {:.2} % (bound {:.1}); limit {mean:.1}, at most {highest:.1}, before four workers",
            100.0 * least(|run| run.0.goodput),
            100.0 * least(|run| run.0.critical),
            99.0 * (1.0 - gone),
        );
    }
}

fn causes() {
    let runs: Vec<_> = (0..200).map(|seed| (causality(false, seed), causality(true, seed))).collect();
    let left_alone = runs.iter().filter(|(regardless, _)| regardless.sheds_after.is_none()).count();
    let most = runs.iter().map(|(regardless, _)| regardless.left_out).fold(0.0, f64::max);
    let shed = runs.iter().filter(|(_, load)| load.sheds_after.is_some_and(|after| after <= 10.0)).count();
    println!(
        "load has no part: right in {left_alone}/200, at most {:.1} % left out by trials; load is the cause: right in {shed}/200 (bound 190)",
        most * 100.0
    );
}

fn poison() {
    for degraded in [0.05, 0.2, 0.5] {
        let (hours, adopted) = poisoning(2.0, degraded, 1);
        println!(
            "a day at {degraded}: told for {hours:.2} h (bound 24); a drift of 14 days adopted: {adopted}"
        );
    }
}

fn fleets() {
    for instances in [3, 10, 30, 100, 300, 1_000] {
        let seeds = if instances > 100 { 20 } else { 200 };
        let runs: Vec<_> = (1..=seeds).map(|seed| fleet(instances, true, seed)).collect();
        let probes = runs.iter().map(|run| run.probes_at_once).max().unwrap_or(0);
        let spread = |of: fn(&breaker::sim::FleetRun) -> f64| {
            let mut values: Vec<_> = runs.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            (values[0], values[values.len() / 2], values[values.len() - 1])
        };
        let (open, admitted) = (spread(|run| run.open_for), spread(|run| run.admitted));
        let after = spread(|run| run.admitted_after);
        let late = runs.iter().filter(|run| run.open_for > 10.0).count();
        let alone = fleet(instances, false, 1);
        println!(
            "{instances} instances, {seeds} seeds: at most {probes} probes at once (bound 10); nothing open after {:.1} s, at worst {:.1} s (bound 10, {late} above); admitted from 10 s on: {:.2} %, at worst {:.2} %; 99 % of each second after {} s, at worst {} s; left alone {alone:?}",
            open.1,
            open.2,
            100.0 * admitted.1,
            100.0 * admitted.0,
            after.1,
            after.2,
        );
    }
}

fn shadows() {
    for ill in [0.01, 0.1, 0.3, 0.6] {
        for rate in [1.0, 10.0, 100.0] {
            told(&format!("{rate}/s, outages and {ill} failing"), |seed| shadow(rate, ill, seed));
        }
    }
    for share in [0.3, 0.6] {
        for rate in [10.0, 100.0] {
            let what =
                format!("no replay: {rate}/s, a callee that works on {share} of them and refuses the rest");
            told(&what, |seed| shadow_of_overload(rate, share, seed));
        }
    }
}

fn told(what: &str, run: impl Fn(u64) -> ShadowRun) {
    let runs: Vec<_> = (0..20).map(run).collect();
    let sum = |of: fn(&ShadowRun) -> u64| runs.iter().map(of).sum::<u64>();
    let worst = |of: fn(&ShadowRun) -> (u64, u64)| {
        let off = runs.iter().map(of).map(|(deed, word)| word.abs_diff(deed) as f64 / deed.max(1) as f64);
        100.0 * off.fold(0.0, f64::max)
    };
    println!(
        "{what}: {} rejected, {} predicted; off by at most {:.2} % of the rejected, {:.2} % of the spared failures in 20 seeds (bound 5 for replays)",
        sum(|run| run.enforced.0),
        sum(|run| run.predicted.0),
        worst(|run| (run.enforced.0, run.predicted.0)),
        worst(|run| (run.enforced.1, run.predicted.1)),
    );
}
