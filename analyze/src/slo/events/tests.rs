//! The history against brute force, and the budget against the truth of every single event.

use super::*;
use crate::slo::simulate::Chance;
use crate::slo::simulate::budget::{Service, cases, worst};

const SECOND: Duration = Duration::from_secs(1);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

#[test]
fn any_window_equals_a_recount() {
    let mut chance = Chance::new(3);
    // A window of an hour: parts of a second, so that whole seconds are exact.
    let mut history = EventHistory::new(Duration::from_secs(3_600), 0.01);
    let mut truth = std::collections::BTreeMap::new();
    for second in 50_000..58_000_i64 {
        let (total, bad) = ((chance.draw() % 30) as f64, (chance.draw() % 100 / 97) as f64);
        history.add(at(second), at(second + 1), total, bad.min(total));
        truth.insert(second, (total, bad.min(total)));
    }
    for _ in 0..2_000 {
        let until = 58_000 - (chance.draw() % 1_000) as i64;
        let span = 1 + (chance.draw() % 2_500) as i64;
        let sums = history.window(at(until), SECOND * u32::try_from(span).unwrap());
        let expect = truth
            .range(until - span..until)
            .fold((0.0, 0.0), |sum, (_, events)| (sum.0 + events.0, sum.1 + events.1));
        let all: f64 = truth.values().map(|events| events.0).sum();
        assert!((sums.total - expect.0).abs() <= 2.0 * EVENNESS * all, "{sums:?} {expect:?}");
        assert!((sums.bad - expect.1).abs() <= 2.0 * EVENNESS * all * 0.01 + 1e-6, "{sums:?} {expect:?}");
        assert!((sums.known_s - span as f64).abs() < 1e-6);
    }
}

#[test]
fn what_nobody_told_about_is_unknown() {
    let mut history = EventHistory::new(Duration::from_secs(3_600), 0.01);
    history.add(at(0), at(60), 10.0, 0.0);
    history.add(at(120), at(180), 10.0, 1.0);
    let sums = history.window(at(180), SECOND * 180);
    assert!((sums.total - 20.0).abs() < 1e-9 && (sums.bad - 1.0).abs() < 1e-9, "{sums:?}");
    assert_eq!(sums.known_s, 120.0);
}

#[test]
fn late_events_find_their_place_also_in_a_bucket_that_was_evened_out() {
    let mut history = EventHistory::new(Duration::from_secs(3_600), 0.01);
    for second in 0..3_000 {
        history.add(at(second), at(second + 1), 10.0, 0.0);
    }
    assert!(history.detailed() < 10, "quiet buckets forget their parts");
    let before = history.window(at(3_000), SECOND * 2_000);
    history.add(at(600), at(601), 5.0, 5.0);
    assert_eq!(history.window(at(3_000), SECOND * 2_000), before, "it is older than this window");
    let sums = history.between(at(600), at(601));
    assert!((sums.bad - 5.0).abs() < 1e-9 && (sums.total - 15.0).abs() < 1e-9, "{sums:?}");
    assert!((history.window(at(3_000), SECOND * 3_000).total - 30_005.0).abs() < 1e-6);
    assert!((history.between(at(600), at(601)).known_s - 1.0).abs() < 1e-9, "time is known once");
}

#[test]
fn a_long_silence_empties_the_window() {
    let mut history = EventHistory::new(Duration::from_secs(3_600), 0.01);
    history.add(at(0), at(10), 100.0, 50.0);
    history.add(at(1_000_000), at(1_000_010), 1.0, 0.0);
    let sums = history.window(at(1_000_010), Duration::from_secs(3_600));
    assert!((sums.total - 1.0).abs() < 1e-9 && sums.bad == 0.0, "{sums:?}");
}

#[test]
fn numbers_that_are_no_counts_change_nothing() {
    let mut history = EventHistory::new(Duration::from_secs(3_600), 0.01);
    history.add(at(0), at(10), 10.0, 1.0);
    let before = history.clone();
    for (total, bad) in [(f64::NAN, 0.0), (f64::INFINITY, 0.0), (-1.0, 0.0), (1.0, f64::NAN)] {
        history.add(at(10), at(20), total, bad);
    }
    history.add(at(20), at(10), 1.0, 1.0);
    assert_eq!(history, before);
}

#[test]
fn a_snapshot_comes_back_as_it_was() {
    let mut history = EventHistory::new(days(7), 0.001);
    let mut chance = Chance::new(9);
    for minute in 0..5_000 {
        history.add(
            at(minute * 60),
            at(minute * 60 + 60),
            (chance.draw() % 100) as f64,
            (chance.draw() % 300 / 299) as f64,
        );
    }
    let mut writer = Writer::default();
    writer.put(&history);
    let bytes = writer.into_bytes();
    let mut reader = Reader::new(&bytes);
    let back: EventHistory = reader.get().unwrap();
    assert!(reader.is_at_end());
    let until = at(5_000 * 60);
    let (a, b) = (back.window(until, days(3)), history.window(until, days(3)));
    assert!((a.total - b.total).abs() < 1e-6 && (a.bad - b.bad).abs() < 1e-6);
    assert!(Reader::new(&bytes[..bytes.len() / 2]).get::<EventHistory>().is_err());
}

#[test]
fn what_looked_uneven_in_the_first_hours_is_evened_out_beside_weeks() {
    let mut history = EventHistory::new(days(28), 0.01);
    let mut chance = Chance::new(4);
    for minute in 0..14 * 1_440 {
        let total = 1_000.0 + (chance.draw() % 100) as f64;
        history.add(at(minute * 60), at(minute * 60 + 60), total, (chance.draw() % 5) as f64);
    }
    assert!(history.detailed() <= 6, "{} hours keep their minutes", history.detailed());
}

#[test]
fn the_budget_is_that_of_every_single_event() {
    for (seed, what, incidents) in cases() {
        let worst = worst(seed, incidents);
        assert!(worst.known <= 0.001, "{what}, seed {seed}: {worst:?}");
        assert!(worst.known > 0.0, "{what}: an error of nothing is measured by nothing");
    }
}

#[test]
fn the_mean_of_ratios_would_fail_this_test() {
    // What the oracle is for: one hour at 30 % in the trough, judged by averaging five-minute ratios.
    let mut service = Service::new(2, vec![(417, 4_017, 0.3)]);
    let (mut total, mut bad, mut ratios) = (0.0, 0.0, Vec::new());
    for _ in 0..30 * 288 {
        let start = ratios.len() as i64 * 300;
        let five = (start..start + 300)
            .map(|second| service.second(second))
            .fold((0.0, 0.0), |sum, events| (sum.0 + events.0, sum.1 + events.1));
        (total, bad) = (total + five.0, bad + five.1);
        ratios.push(five.1 / five.0);
    }
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    assert!(mean / (bad / total) > 1.4, "{} against {}", mean, bad / total);
}
