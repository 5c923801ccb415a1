//! The model against its record, and our own policy against what it promises: no look-ahead, no trace of scale, safe when blind.

use super::{
    bounds::LowerBound,
    hpa::{Hpa, Keda},
    load::{Load, Scaling},
    ours::{Ours, Settings, default_policy},
    replay::{Plant, Policy, Record, replay},
    seasonal::{Season, Seasonal},
    trace::Trace,
};
use proto::model::Objective;
use std::{fs, path::Path, time::Duration};

/// Recorded traces, where they are at hand; nothing is tested without.
const TRACES: &str = "../../shared/data/traces";
const BOUNDS: (u32, u32) = (2, 500);

fn traces() -> Option<&'static Path> {
    Some(Path::new(TRACES)).filter(|folder| folder.is_dir())
}

fn load(folder: &Path, name: &str) -> Load {
    let text = fs::read_to_string(folder.join(format!("{name}.csv"))).unwrap();
    Load::of(&Trace::parse(&text).unwrap(), Scaling::Model(1.0))
}

fn settings() -> Settings {
    let latency_bound = Some(Duration::from_millis(400));
    let objective =
        Objective { target_ratio: 0.999, latency_bound, window: Duration::from_secs(28 * 86_400) };
    let (policy, name) = (default_policy(), "homeostat".to_owned());
    Settings { name, policy, objective, sheds: true, holds_when_blind: false, reports: true }
}

fn ours(load: &Load, plant: &Plant, change: impl FnOnce(&mut Settings)) -> (Record, Ours) {
    let mut settings = settings();
    change(&mut settings);
    let mut ours = Ours::new(settings).unwrap();
    (replay(load, plant, &mut ours), ours)
}

/// Four days of a daily wave with a burst each day and noise that repeats nowhere.
fn made_up(minutes: usize) -> Load {
    let rate = |minute: usize| {
        let day = (minute as f64 / 1_440.0 * std::f64::consts::TAU).sin();
        let burst = if (600..605).contains(&(minute % 1_440)) { 2.0 } else { 1.0 };
        let noise = 1.0 + 0.03 * ((minute * minute % 1_009) as f64 / 504.5 - 1.0);
        (1_500.0 + 800.0 * day) * burst * noise
    };
    let rates = (0..minutes).map(rate).collect();
    let trace = Trace { bin_s: 60, rates, missing: Vec::new(), notes: Vec::new() };
    Load::of(&trace, Scaling::Own(1.0))
}

#[test]
fn every_recorded_decision_is_reproduced() {
    let Some(folder) = traces() else { return };
    let golden: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(folder.join("golden.json")).unwrap()).unwrap();
    let mut checked = 0;
    for (key, expected) in golden.as_object().unwrap() {
        let Some((trace, name)) = key.split_once('/') else { continue };
        let (load, plant) = (load(folder, trace), Plant::default());
        let mut policy: Box<dyn Policy> = match name {
            "hpa_cpu_70" => Box::new(Hpa::new(String::new(), 70, BOUNDS)),
            "keda_rps_70" => Box::new(Keda::new(String::new(), 70.0, BOUNDS)),
            _ => Box::new(Seasonal::new(String::new(), Season::Day, 70.0, BOUNDS)),
        };
        let record = replay(&load, &plant, policy.as_mut());
        let score = record.score(&load);
        let decisions = expected["decisions"].as_array().unwrap();
        // Either every decision was recorded, or the first changes.
        let all = decisions.len() == record.decisions.len();
        let made: Vec<_> = record.decisions.iter().filter(|d| all || d.wanted != d.total).collect();
        for (made, wanted) in made.iter().zip(decisions) {
            let wanted: Vec<u32> = serde_json::from_value(wanted.clone()).unwrap();
            assert_eq!([made.at_s, made.ready, made.total, made.wanted], wanted[..], "{key}");
        }
        assert!(made.len() >= decisions.len(), "{key}");
        let figure = |name: &str| expected["result"][name].as_f64().unwrap();
        assert!((score.violation_ratio / figure("viol") - 1.0).abs() < 1e-9, "{key}: {score:?}");
        assert!((score.replica_hours - figure("replica_hours")).abs() < 1e-6, "{key}: {score:?}");
        assert!((score.bad_minutes_ratio / figure("bad_min") - 1.0).abs() < 1e-9, "{key}: {score:?}");
        let bound = LowerBound::new(&load, plant.service, 1).replica_hours(score.violation_ratio);
        assert!(
            (bound / expected["lb_replica_hours"].as_f64().unwrap() - 1.0).abs() < 0.01,
            "{key}: {bound}"
        );
        checked += 1;
    }
    assert_eq!(checked, 5);
}

#[test]
fn what_comes_later_changes_no_earlier_decision() {
    let (long, short) = (made_up(4_320), made_up(3_000));
    let decide = |load: &Load| {
        let (record, ours) = ours(load, &Plant::default(), |_| {});
        (record.decisions, ours.reports)
    };
    let (long, short) = (decide(&long), decide(&short));
    // The last bin is held where the trace ends, so the two loads part half a bin before.
    let same = short.0.iter().filter(|d| d.at_s < 2_999 * 60).count();
    assert!(same > 10_000 && short.0[..same] == long.0[..same]);
    assert!(short.1[..same - 10] == long.1[..same - 10], "reports differ");
}

#[test]
fn plan_knows_nothing_of_size() {
    let load = |factor: f64| {
        let mut load = made_up(2 * 1_440);
        load.rates.iter_mut().for_each(|rate| *rate *= factor);
        load.evaluated_from_s = 86_400;
        load
    };
    let ratio = |load: &Load| {
        let plant = Plant::default();
        let hpa = replay(load, &plant, &mut Hpa::new(String::new(), 70, BOUNDS)).score(load);
        ours(load, &plant, |_| {}).0.score(load).replica_hours / hpa.replica_hours
    };
    let whole = ratio(&load(1.0));
    for factor in [0.3, 3.0] {
        let found = ratio(&load(factor));
        assert!((found / whole - 1.0).abs() < 0.15, "{factor}: {found} against {whole}");
    }
}

#[test]
fn recorded_loads_cut_short_leave_every_earlier_decision() {
    let Some(folder) = traces() else { return };
    for name in ["swim_wc_day53", "autothrottle_bursty", "autothrottle_noisy"] {
        let whole = load(folder, name);
        let (all, _) = ours(&whole, &Plant::default(), |_| {});
        for share in [0.4, 0.75] {
            let mut cut = whole.clone();
            cut.rates.truncate((whole.rates.len() as f64 * share) as usize);
            let (some, _) = ours(&cut, &Plant::default(), |_| {});
            assert!(some.decisions.len() > 80, "{name}");
            assert_eq!(some.decisions[..], all.decisions[..some.decisions.len()], "{name} to {share}");
        }
    }
}

#[test]
fn recorded_loads_of_other_sizes_cost_as_much_beside_hpa() {
    let Some(folder) = traces() else { return };
    for name in ["swim_wc_day53", "autothrottle_bursty", "autothrottle_noisy"] {
        let ratio = |factor: f64| {
            let mut load = load(folder, name);
            load.rates.iter_mut().for_each(|rate| *rate *= factor);
            let plant = Plant::default();
            let hpa = replay(&load, &plant, &mut Hpa::new(String::new(), 70, BOUNDS)).score(&load);
            let own = ours(&load, &plant, |_| {}).0.score(&load);
            // The bar of a full-size load holds at every size.
            assert!(
                own.violation_ratio <= (0.35 * hpa.violation_ratio).max(0.001),
                "{name} {factor}: {own:?}"
            );
            own.replica_hours / hpa.replica_hours
        };
        let whole = ratio(1.0);
        for factor in [0.3, 3.0] {
            let found = ratio(factor);
            assert!((found / whole - 1.0).abs() < 0.15, "{name} {factor}: {found} against {whole}");
        }
    }
}

/// Geometric means of late requests and of cost over HPA's, where HPA misses the objective at full size.
fn means_beside_hpa(folder: &Path, factor: f64) -> [f64; 2] {
    const MISSED: [&str; 6] = [
        "ms_mongo_app01",
        "ms_mongo_machine01",
        "nab_elb_8c0756",
        "nab_tweets_amzn",
        "swim_wc_day53",
        "autothrottle_bursty",
    ];
    let ratios = MISSED.map(|name| {
        let mut load = load(folder, name);
        load.rates.iter_mut().for_each(|rate| *rate *= factor);
        let plant = Plant::default();
        let hpa = replay(&load, &plant, &mut Hpa::new(String::new(), 70, BOUNDS)).score(&load);
        let own = ours(&load, &plant, |settings| settings.reports = false).0.score(&load);
        [own.violation_ratio / hpa.violation_ratio, own.replica_hours / hpa.replica_hours]
    });
    let mean = |of: usize| ratios.map(|ratio| ratio[of].ln()).iter().sum::<f64>() / MISSED.len() as f64;
    [mean(0).exp(), mean(1).exp()]
}

#[test]
fn recorded_loads_of_other_sizes_fare_as_well_beside_hpa_on_the_mean() {
    let Some(folder) = traces() else { return };
    let whole = means_beside_hpa(folder, 1.0);
    for factor in [0.3, 3.0] {
        let found = means_beside_hpa(folder, factor);
        let moved = [0, 1].map(|of| found[of] / whole[of] - 1.0);
        assert!(moved.iter().all(|moved| moved.abs() <= 0.15), "{factor}: {found:?} against {whole:?}");
    }
}

#[test]
fn nothing_is_taken_away_while_blind() {
    let load = made_up(2_160);
    let blind = (118_000, 119_200);
    let plant = Plant { blind: Some(blind), ..Plant::default() };
    let (record, _) = ours(&load, &plant, |_| {});
    let dark = record.decisions.iter().filter(|d| (blind.0 + 15..blind.1 + 15).contains(&d.at_s));
    let dark: Vec<_> = dark.collect();
    assert!(dark.len() >= 79 && dark.iter().all(|d| d.wanted >= d.total));
    let (held, _) = ours(&load, &plant, |settings| settings.holds_when_blind = true);
    let held = held.decisions.iter().filter(|d| (blind.0 + 15..blind.1 + 15).contains(&d.at_s));
    assert!(held.into_iter().all(|d| d.wanted == d.total));
}

#[test]
fn longer_start_is_learned_and_planned_for() {
    let load = made_up(3 * 1_440);
    let plant = Plant { start_up_s: 180, ..Plant::default() };
    let slow = ours(&load, &plant, |_| {}).0.score(&load);
    let reactive = replay(&load, &plant, &mut Hpa::new(String::new(), 70, BOUNDS)).score(&load);
    assert!(slow.violation_ratio < 0.5 * reactive.violation_ratio, "{slow:?} against {reactive:?}");
    assert!(slow.replica_hours < reactive.replica_hours, "{slow:?} against {reactive:?}");
}

#[test]
fn one_step_in_the_first_hour_is_followed_and_not_hoarded_against() {
    // An hour of noise that repeats nowhere; the load goes up at once, to nearly three times what it was.
    let noise = |second: usize| 1.0 + 0.03 * ((second * second % 1_009) as f64 / 504.5 - 1.0);
    let rate = |second: usize| noise(second) * if second < 1_500 { 950.0 } else { 2_700.0 };
    let rates = (0..3_600).map(rate).collect();
    let trace = Trace { bin_s: 1, rates, missing: Vec::new(), notes: Vec::new() };
    let load = Load::of(&trace, Scaling::Own(1.0));
    let (record, _) = ours(&load, &Plant::default(), |_| {});
    let after: Vec<_> = record.decisions.iter().filter(|d| d.at_s >= 1_560).map(|d| d.wanted).collect();
    // 39 replicas are 70 % busy then.
    assert!(after.iter().all(|wanted| (30..=48).contains(wanted)), "{after:?}");
}

#[test]
fn every_decision_says_why() {
    let load = made_up(1_440);
    let (_, ours) = ours(&load, &Plant::default(), |_| {});
    assert!(ours.reports.iter().all(|(_, report)| !report.text.is_empty()));
    let acted = ours.reports.iter().filter(|(_, report)| report.directive_id.is_some());
    let told = acted.filter(|(_, report)| report.text.contains("replicas leave"));
    assert!(told.count() > 5);
}
