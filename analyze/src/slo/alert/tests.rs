//! Criteria of alerting: the Workbook's table, false pages and outages at low traffic, never later than the standard rules.

use super::*;
use crate::slo::simulate::{Load, Service, blip, broken, published_alert, published_page, well};

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
    for (per_hour, runs) in [(1.0, 40), (10.0, 20), (100.0, 6)] {
        for load in [Load::Even, Load::Daily] {
            let service = Service { target: 0.999, per_hour, load };
            let (mut ours, mut standard) = (0.0, 0.0);
            for run in 0..runs {
                let (our, other) = well(service, 0.5, run);
                ours += our.any / runs as f64;
                standard += other.any / runs as f64;
            }
            assert!(
                ours <= 0.05 && ours <= standard,
                "{service:?}: {ours} of ours, {standard} of the standard"
            );
            for seed in 0..10 {
                let (seen, _) = broken(service, 1.0, seed);
                assert!(seen.page.is_some(), "{service:?}: {seen:?}");
                assert!(seen.failures_before < 3.0, "{service:?}: the third failure pages: {seen:?}");
            }
        }
    }
}

#[test]
fn with_traffic_it_is_never_later_than_the_standard_rules() {
    for per_hour in [1_000.0, 5_000.0] {
        let service = Service { target: 0.999, per_hour, load: Load::Even };
        for share in [1.0, 0.1, 0.02, 0.0144, 0.01, 0.006, 0.003, 0.001] {
            for seed in 0..4 {
                let (ours, standard) = broken(service, share, seed);
                let later = |ours: Option<f64>, standard: Option<f64>| match (ours, standard) {
                    (Some(ours), Some(standard)) => ours > standard,
                    (None, Some(_)) => true,
                    (_, None) => false,
                };
                let case = format!("{per_hour} {share} seed {seed}: {ours:?} {standard:?}");
                assert!(!later(ours.page, standard.page), "{case}");
                assert!(!later(ours.any, standard.any), "{case}");
            }
        }
    }
}

#[test]
fn with_traffic_it_is_as_soon_as_the_standard_rules_would_be_without_chance() {
    let service = Service { target: 0.999, per_hour: 1_000.0, load: Load::Even };
    for share in [1.0, 0.5, 0.05, 0.0144, 0.008, 0.006, 0.002, 0.001] {
        let mut minutes: Vec<f64> = (0..31)
            .filter_map(|seed| {
                let (seen, _) = broken(service, share, seed);
                if published_page(0.001, share).is_some() { seen.page } else { seen.any }
            })
            .collect();
        minutes.sort_by(f64::total_cmp);
        let published = published_alert(0.001, share).unwrap();
        assert!(minutes[15] <= published, "{share}: {} minutes, published {published}", minutes[15]);
    }
}

#[test]
fn the_published_times_are_those_of_the_table() {
    let times = [0.864, 8.64, 17.28, 43.2, 60.0, 216.0, 360.0, 1_440.0, 4_320.0];
    let shares = [1.0, 0.1, 0.05, 0.02, 0.0144, 0.01, 0.006, 0.003, 0.001];
    for (share, minutes) in shares.into_iter().zip(times) {
        assert!((published_alert(0.001, share).unwrap() - minutes).abs() < 1e-6, "{share}");
    }
    assert_eq!(published_page(0.001, 0.003), None);
    assert_eq!(published_alert(0.001, 0.0005), None);
}

#[test]
fn a_blip_that_spends_little_of_the_budget_pages_nobody() {
    for per_hour in [1_000.0, 10_000.0, 100_000.0] {
        let service = Service { target: 0.999, per_hour, load: Load::Even };
        for seed in 0..10 {
            assert_eq!(blip(service, 0.01, seed), (false, false), "{per_hour} seed {seed}");
            assert_eq!(blip(service, 0.03, seed), (true, true), "{per_hour} seed {seed}");
        }
    }
}

#[test]
fn a_restart_keeps_the_evidence() {
    let mut history = EventHistory::new(Duration::from_secs(30 * 86_400), 0.001);
    let mut alerting = Alerting::new(month(), 0.001);
    let tick = |alerting: &mut Alerting, history: &mut EventHistory, minute: i64, bad: f64| {
        history.add(at(minute), at(minute + 1), 17.0, bad);
        alerting.observe(at(minute + 1), Tick::Known { total: 17.0, bad }, history)
    };
    let (mut kept, mut lost) = (None, None);
    let mut forgetful = alerting.clone();
    for minute in 0..10 * 1_440 {
        // One failure in 500 events, twice the rate of the slowest rule.
        let bad = if minute >= 4_320 && minute % 29 == 0 { 1.0 } else { 0.0 };
        if minute % 60 == 0 {
            let mut writer = Writer::default();
            alerting.save(&mut writer);
            let bytes = writer.into_bytes();
            alerting = Alerting::new(month(), 0.001);
            alerting.restore(&mut Reader::new(&bytes)).unwrap();
            forgetful = Alerting::new(month(), 0.001);
        }
        let opened = |changes: Vec<AlertChange>| changes.iter().any(|change| change.opened).then_some(minute);
        lost = lost.or(opened(forgetful.observe(at(minute), Tick::Unknown, &history)));
        kept = kept.or(opened(tick(&mut alerting, &mut history, minute, bad)));
        lost = lost.or(opened(forgetful.observe(at(minute + 1), Tick::Known { total: 17.0, bad }, &history)));
    }
    assert!(kept.unwrap() < lost.unwrap(), "{kept:?} {lost:?}");
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
