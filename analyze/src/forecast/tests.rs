//! Claims about forecasts, on generated series and, where the data directory is there, on M4.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

use super::*;
use crate::testing::Noise;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_006_400 + second).unwrap()
}

fn every(seconds: u64, horizon: usize) -> Forecaster {
    Forecaster::new(ForecastSettings {
        step: Duration::from_secs(seconds),
        horizon,
        ..ForecastSettings::default()
    })
}

/// A day with a morning, of requests per second.
fn load(second: i64) -> f64 {
    600.0 + 400.0 * (std::f64::consts::TAU * second as f64 / 86_400.0).sin()
}

fn fed(
    mut forecaster: Forecaster,
    step: i64,
    steps: std::ops::Range<i64>,
    value: impl FnMut(i64) -> f64,
) -> Forecaster {
    let mut value = value;
    for i in steps {
        assert!(forecaster.observe(at(i * step), value(i * step)));
    }
    forecaster
}

#[test]
fn before_the_first_value_nothing_is_said_and_after_it_little() {
    let mut forecaster = every(60, 30);
    assert!(forecaster.quantiles(30, &[0.5]).is_empty() && forecaster.origin().is_none());
    assert!(forecaster.observe(at(0), 100.0));
    let quantiles = forecaster.quantiles(50, &[0.05, 0.5, 0.95]);
    assert_eq!(quantiles.len(), 30, "at most the horizon");
    for step in quantiles {
        assert!(step[0] < 60.0 && (90.0..110.0).contains(&step[1]) && step[2] > 150.0, "{step:?}");
    }
}

#[test]
fn a_day_is_foreseen() {
    let mut noise = Noise(1);
    let forecaster = fed(every(300, 144), 300, 0..6 * 288, |second| load(second) + 10.0 * noise.normal());
    for (i, step) in forecaster.quantiles(144, &[0.05, 0.5, 0.95]).iter().enumerate() {
        let truth = load((6 * 288 + i as i64) * 300);
        assert!((step[1] - truth).abs() < 25.0, "step {i}: {step:?} for {truth}");
        assert!(step[0] < step[1] && step[1] < step[2] && step[2] - step[0] < 150.0, "step {i}: {step:?}");
    }
}

#[test]
fn a_burst_at_the_same_minute_of_each_hour_is_foreseen_to_the_minute() {
    let mut noise = Noise(2);
    let value = |second: i64| if second / 60 % 60 == 0 { 900.0 } else { 300.0 };
    let forecaster = fed(every(60, 60), 60, 0..2 * 1_440 - 30, |second| value(second) + 5.0 * noise.normal());
    let medians: Vec<f64> = forecaster.quantiles(60, &[0.5]).into_iter().map(|step| step[0]).collect();
    for (i, median) in medians.iter().enumerate() {
        let truth = value((2 * 1_440 - 30 + i as i64) * 60);
        assert!((median / truth - 1.0).abs() < 0.15, "minute {i}: {median} for {truth}");
    }
}

#[test]
fn intervals_cover_what_they_promise() {
    let mut noise = Noise(3);
    let forecaster =
        fed(every(300, 48), 300, 0..21 * 288, |second| load(second) * (1.0 + 0.1 * noise.normal()));
    for lead in forecaster.score().leads {
        assert!((0.84..0.94).contains(&lead.interval_coverage()), "{lead:?}");
        assert!((lead.coverage[3] - 0.95).abs() < 0.03, "{lead:?}");
    }
}

#[test]
fn an_outage_does_not_drag_the_forecast_down_but_a_lasting_drop_is_believed() {
    let mut noise = Noise(4);
    let mut forecaster = fed(every(60, 60), 60, 0..3 * 1_440, |second| load(second) + 10.0 * noise.normal());
    let low = |forecaster: &mut Forecaster, minutes: std::ops::Range<i64>| {
        for minute in minutes {
            assert!(forecaster.observe(at((3 * 1_440 + minute) * 60), 5.0));
        }
    };
    low(&mut forecaster, 0..30);
    assert!(forecaster.is_suspect());
    let median = forecaster.quantiles(15, &[0.5])[14][0];
    let truth = load((3 * 1_440 + 45) * 60);
    assert!((median - truth).abs() < 60.0, "{median} for {truth}");
    low(&mut forecaster, 30..90);
    assert!(!forecaster.is_suspect());
    let median = forecaster.quantiles(15, &[0.5])[0][0];
    assert!(median < 100.0, "{median}");
}

#[test]
fn more_load_than_ever_is_believed_at_once() {
    let mut noise = Noise(5);
    let forecaster = fed(every(60, 30), 60, 0..3 * 1_440 + 5, |second| {
        load(second) * if second >= 3 * 86_400 { 2.0 } else { 1.0 } + 10.0 * noise.normal()
    });
    let upper = forecaster.quantiles(10, &[0.95])[9][0];
    assert!(upper > 1.8 * load(3 * 86_400 + 900), "{upper}");
}

#[test]
fn nine_on_the_wall_stays_nine_when_the_clocks_change() {
    let settings = ForecastSettings {
        step: Duration::from_secs(900),
        horizon: 96,
        zone: TimeZone::get("Europe/Berlin").ok(),
        ..ForecastSettings::default()
    };
    let mut forecaster = Forecaster::new(settings);
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let busy = |at: Timestamp| if (9..17).contains(&zone.to_datetime(at).hour()) { 400.0 } else { 100.0 };
    let start = "2024-03-16T00:00:00+01:00".parse::<Timestamp>().unwrap();
    let end = "2024-03-31T23:45:00+02:00".parse::<Timestamp>().unwrap();
    let mut now = start;
    while now <= end {
        forecaster.observe(now, busy(now));
        now += Duration::from_secs(900);
    }
    for (i, step) in forecaster.quantiles(96, &[0.5]).iter().enumerate() {
        let truth = busy(end + Duration::from_secs(900 * (i as u64 + 1)));
        assert!((step[0] / truth - 1.0).abs() < 0.1, "quarter {i}: {step:?} for {truth}");
    }
}

#[test]
fn gaps_and_refused_values_leave_the_forecast_sound() {
    let mut noise = Noise(6);
    let mut forecaster = every(60, 60);
    for minute in 0..5 * 1_440_i64 {
        let is_lost = minute % 97 < 20 || (2_000..2_600).contains(&minute);
        if !is_lost {
            assert!(forecaster.observe(at(minute * 60), load(minute * 60) + 10.0 * noise.normal()));
        }
        assert!(!forecaster.observe(at(minute * 60 + 30), f64::NAN));
        assert!(!forecaster.observe(at(minute * 60 + 30), f64::NEG_INFINITY));
        assert!(minute == 0 || is_lost || !forecaster.observe(at(minute * 60 - 61), 1.0));
    }
    let median = forecaster.quantiles(30, &[0.5])[29][0];
    let truth = load((5 * 1_440 + 29) * 60);
    assert!((median - truth).abs() < 40.0, "{median} for {truth}");
    // A year of silence, and a value.
    assert!(forecaster.observe(at(400 * 86_400), 500.0));
    assert!(forecaster.quantiles(60, &[0.01, 0.99]).iter().flatten().all(|value| value.is_finite()));
}

#[test]
fn hostile_values_are_bounded() {
    let (mut forecaster, mut noise) = (every(1, 300), Noise(7));
    for i in 0..5_000_i64 {
        let value = [1e30, -1e30, 0.0, 1e-300, f64::MAX, 3.0][(noise.uniform() * 6.0) as usize];
        forecaster.observe(at(i * 7 - (i % 5) * 20), value);
    }
    for step in forecaster.quantiles(300, &[0.0, 0.05, 0.5, 0.95, 1.0, f64::NAN]) {
        assert!(step[..5].iter().all(|value| value.is_finite()), "{step:?}");
        assert!(step[..5].windows(2).all(|pair| pair[0] <= pair[1]), "{step:?}");
    }
}

#[test]
fn what_may_be_negative_is_forecast_below_zero() {
    let mut noise = Noise(8);
    let forecaster =
        fed(every(300, 12), 300, 0..3 * 288, |second| load(second) - 600.0 + 10.0 * noise.normal());
    let second = (3 * 288 + 11) * 300;
    let median = forecaster.quantiles(12, &[0.5])[11][0];
    assert!((median - (load(second) - 600.0)).abs() < 30.0, "{median} for {}", load(second) - 600.0);
}

#[test]
fn later_values_do_not_change_earlier_forecasts() {
    let series = |second: i64| load(second) + (second % 700) as f64;
    let part = fed(every(60, 30), 60, 0..2_000, series);
    let mut whole = every(60, 30);
    for minute in 0..3_000 {
        whole.observe(at(minute * 60), series(minute * 60));
        if minute == 1_999 {
            assert_eq!(whole.quantiles(30, &[0.1, 0.9]), part.quantiles(30, &[0.1, 0.9]));
        }
    }
}

#[test]
fn restored_it_goes_on_as_if_nothing_had_happened() {
    let mut noise = Noise(9);
    let mut values = |second: i64| load(second) + 10.0 * noise.normal();
    let mut forecaster = fed(every(60, 30), 60, 0..3_000, &mut values);
    let bytes = forecaster.to_bytes();
    let settings = |horizon| ForecastSettings { horizon, ..ForecastSettings::default() };
    let mut restored = Forecaster::from_bytes(settings(30), &bytes).unwrap();
    for minute in 3_000..3_500 {
        let value = values(minute * 60);
        forecaster.observe(at(minute * 60), value);
        restored.observe(at(minute * 60), value);
    }
    assert_eq!(forecaster.quantiles(30, &[0.05, 0.5, 0.95]), restored.quantiles(30, &[0.05, 0.5, 0.95]));
    assert_eq!(forecaster.score(), restored.score());
    assert!(Forecaster::from_bytes(settings(31), &bytes).is_err(), "another horizon");
    assert!(Forecaster::from_bytes(settings(30), &bytes[..bytes.len() - 9]).is_err(), "a part");
}

#[test]
fn a_week_of_minutes_takes_at_most_128_kib() {
    assert!(fed(every(60, 60), 60, 0..10_080, load).to_bytes().len() < 128 * 1_024);
}

#[test]
fn a_limit_that_the_day_will_cross_is_foretold_with_its_lead_time() {
    let mut noise = Noise(10);
    let forecaster = fed(every(300, 144), 300, 0..8 * 288, |second| load(second) + 10.0 * noise.normal());
    // 600 + 400 sin = 900 at 0.135 of a day: 39 steps of 5 minutes.
    let violation = forecaster.violation(900.0, 0.5, 144).unwrap();
    assert!((36..=42).contains(&violation.steps), "{violation:?}");
    assert_eq!(violation.at, forecaster.origin().unwrap() + violation.lead);
    assert!(forecaster.violation(900.0, 0.05, 144).unwrap().steps < violation.steps);
    assert_eq!(forecaster.violation(1_500.0, 0.05, 144), None);
    let chances = forecaster.chances_above(900.0, 72);
    assert!(chances[0] < 0.01 && chances[71] > 0.95, "{} {}", chances[0], chances[71]);
}

/// Scores of one M4 series: sMAPE, MASE, share covered by the 90 % interval.
fn m4_scores(train: &[f64], test: &[f64]) -> [f64; 3] {
    let forecaster =
        fed(every(3_600, 48), 3_600, 0..train.len() as i64, |second| train[(second / 3_600) as usize]);
    let forecasts = forecaster.quantiles(48, &[0.05, 0.5, 0.95]);
    let naive = train.windows(25).map(|window| (window[24] - window[0]).abs()).sum::<f64>()
        / (train.len() - 24) as f64;
    let mut scores = [0.0; 3];
    for (value, step) in test.iter().zip(&forecasts) {
        let error = (value - step[1]).abs() / 48.0;
        scores[0] += 200.0 * error / (value.abs() + step[1].abs());
        scores[1] += error / naive;
        scores[2] += f64::from(u8::from((step[0]..=step[2]).contains(value))) / 48.0;
    }
    scores
}

#[test]
fn m4_hours_are_forecast_better_than_by_peers_where_the_data_are_there() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/detection/m4/hourly-");
    let read = |part: &str| std::fs::read_to_string(format!("{folder}{part}.csv"));
    let (Ok(train), Ok(test)) = (read("train"), read("test")) else { return };
    let numbers = |line: &str| -> Vec<f64> {
        line.split(',').skip(1).filter_map(|cell| cell.trim_matches('"').parse().ok()).collect()
    };
    let pairs = train.lines().zip(test.lines()).skip(1);
    let scores: Vec<[f64; 3]> =
        pairs.map(|(train, test)| m4_scores(&numbers(train), &numbers(test))).collect();
    let mean = |i: usize| scores.iter().map(|score| score[i]).sum::<f64>() / scores.len() as f64;
    let [smape, mase, covered] = [0, 1, 2].map(mean);
    assert!(smape <= 11.8 && mase <= 1.05 && (0.85..=0.95).contains(&covered), "{smape} {mase} {covered}");
}
