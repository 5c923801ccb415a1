//! Criteria of alerting: the Workbook's table, false pages and outages at low traffic, never later than the standard rules.

use super::*;
use crate::slo::simulate::{broken, false_pages};

const MINUTE: Duration = Duration::from_secs(60);

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(minute * 60).unwrap()
}

fn month() -> Vec<BurnRule> {
    workbook_rules(Duration::from_secs(30 * 86_400), MINUTE * 5)
}

#[test]
fn the_workbook_table_comes_out() {
    let rules = month();
    let row = |rule: &BurnRule| {
        (rule.long.as_secs() / 60, rule.short.unwrap().as_secs() / 60, (rule.factor * 10.0).round() / 10.0)
    };
    let rows: Vec<_> = rules.iter().map(row).collect();
    assert_eq!(rows, [(60, 5, 14.4), (360, 30, 6.0), (1_440, 120, 3.0), (4_320, 360, 1.0)]);
}

#[test]
fn windows_scale_with_the_period_and_keep_the_share_of_the_budget() {
    for days in [1, 7, 28, 30, 90] {
        let period = Duration::from_secs(days * 86_400);
        for (rule, share) in workbook_rules(period, MINUTE * 5).iter().zip([0.02, 0.05, 0.1, 0.1]) {
            let consumed = rule.factor * rule.long.as_secs_f64() / period.as_secs_f64();
            assert!((consumed - share).abs() < 1e-9, "{days} {rule:?}");
            assert!(rule.short.unwrap() >= MINUTE * 5 && rule.long >= rule.short.unwrap());
        }
    }
}

#[test]
fn low_traffic_pages_neither_falsely_nor_late() {
    for (per_hour, runs) in [(1.0, 200), (10.0, 100), (100.0, 40)] {
        let (ours, standard) = false_pages(0.999, per_hour, runs, 1);
        println!("{per_hour} requests an hour: {ours:.3} false pages in 30 days, standard {standard:.2}");
        assert!(ours <= 0.05, "{per_hour}: {ours}");
        for (played, _) in broken(0.999, per_hour, 1.0, 50, 77) {
            assert!(played.page_minutes.is_some(), "{per_hour}: {played:?}");
            assert!(played.failures_before < 3.0, "{per_hour}: the third failure pages: {played:?}");
        }
    }
}

#[test]
fn with_traffic_it_is_never_later_than_the_standard_rules() {
    for per_hour in [1_000.0, 5_000.0] {
        for share in [1.0, 0.1, 0.02, 0.0144, 0.01, 0.006, 0.003, 0.001] {
            for (seed, (ours, standard)) in broken(0.999, per_hour, share, 4, 5).iter().enumerate() {
                let later = |ours: Option<f64>, standard: Option<f64>| match (ours, standard) {
                    (Some(ours), Some(standard)) => ours > standard,
                    (None, Some(_)) => true,
                    (_, None) => false,
                };
                let case = format!("{per_hour} {share} seed {seed}: {ours:?} {standard:?}");
                assert!(!later(ours.page_minutes, standard.page_minutes), "{case}");
                assert!(!later(ours.alert_minutes, standard.alert_minutes), "{case}");
            }
        }
    }
}

#[test]
fn an_alert_lasts_while_there_is_no_data_and_ends_with_good_data() {
    let mut history = EventHistory::new(Duration::from_secs(30 * 86_400), 0.001);
    let mut alerting = Alerting::new(month(), 0.001);
    for minute in 0..120 {
        let bad = if minute >= 60 { 100.0 } else { 0.0 };
        history.add(at(minute), at(minute + 1), 100.0, bad);
        alerting.observe(at(minute + 1), Tick::Known { total: 100.0, bad }, &history);
    }
    assert_eq!(alerting.firing(), Some(Urgency::Page));
    for minute in 120..180 {
        alerting.observe(at(minute + 1), Tick::Unknown, &history);
        assert_eq!(alerting.firing(), Some(Urgency::Page), "minute {minute}: nobody knows that it is over");
    }
    for minute in 180..600 {
        history.add(at(minute), at(minute + 1), 100.0, 0.0);
        alerting.observe(at(minute + 1), Tick::Known { total: 100.0, bad: 0.0 }, &history);
    }
    assert_ne!(alerting.firing(), Some(Urgency::Page));
}

#[test]
fn each_alert_opens_once_and_closes_once() {
    let mut history = EventHistory::new(Duration::from_secs(30 * 86_400), 0.001);
    let mut alerting = Alerting::new(month(), 0.001);
    let mut changes = Vec::new();
    for minute in 0..10 * 1_440 {
        let bad = if (1_000..1_060).contains(&minute) { 30.0 } else { 0.0 };
        history.add(at(minute), at(minute + 1), 100.0, bad);
        changes.extend(alerting.observe(at(minute + 1), Tick::Known { total: 100.0, bad }, &history));
    }
    for rule in ["fast", "slow", "day", "trend", "outage"] {
        let of: Vec<bool> =
            changes.iter().filter(|change| change.rule == rule).map(|change| change.opened).collect();
        assert_eq!(of, [true, false], "{rule}");
    }
}

#[test]
fn a_single_window_waits_as_long_as_it_is_told() {
    let rule = BurnRule {
        name: "breach".to_owned(),
        urgency: Urgency::Page,
        long: MINUTE * 60,
        short: None,
        factor: 2.0,
        after: MINUTE * 5,
    };
    let mut alerting = Alerting::new(vec![rule], 0.01);
    let mut history = EventHistory::new(Duration::from_secs(86_400), 0.01);
    let mut opened = None;
    for minute in 0..120 {
        let bad = if minute >= 60 { 5.0 } else { 0.0 };
        history.add(at(minute), at(minute + 1), 100.0, bad);
        for change in alerting.observe(at(minute + 1), Tick::Known { total: 100.0, bad }, &history) {
            opened = opened.or((change.rule == "breach" && change.opened).then_some(minute + 1));
        }
    }
    // 2 × 1 % of an hour of 6,000 events is passed with the 25th minute of 5 bad ones.
    assert_eq!(opened, Some(60 + 25 + 5));
}
