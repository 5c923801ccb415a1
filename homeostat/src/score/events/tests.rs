//! Hits, alarms and rates on days of minutes small enough to count by hand.

use super::*;

const RULES: Rules = Rules { grace: 300.0, merge: 1800.0 };

/// Two days of minutes; events at minutes 600..=620 and 2000..=2003.
fn times() -> Vec<f64> {
    (0..2880).map(|minute| 60.0 * f64::from(minute)).collect()
}

const EVENTS: [Event; 2] = [Event { first: 600, last: 620 }, Event { first: 2000, last: 2003 }];

fn found(alerts: &[usize]) -> Found {
    Case { times: &times(), events: &EVENTS, from: 0, rules: RULES }.found(alerts.iter().copied())
}

#[test]
fn an_event_is_hit_from_its_start_to_five_minutes_after_its_end() {
    for (alert, hit) in [(599, false), (600, true), (620, true), (625, true), (626, false)] {
        assert_eq!(found(&[alert]).hits[0], hit, "minute {alert}");
        assert_eq!(found(&[alert]).false_alarms, usize::from(!hit), "minute {alert}");
    }
    assert_eq!(found(&[610, 612]).delays, [Some(600.0), None]);
}

#[test]
fn alerts_within_half_an_hour_are_one_alarm() {
    assert_eq!(found(&[100, 110, 130]).false_alarms, 1);
    assert_eq!(found(&[100, 131]).false_alarms, 2);
    // One alarm that begins before the event and goes on into it is no false one.
    let early = found(&[590, 600]);
    assert_eq!((early.false_alarms, early.count()), (0, 1));
}

#[test]
fn who_never_falls_silent_pays_for_it() {
    let always: Vec<usize> = (0..2880).collect();
    let found = found(&always);
    assert_eq!(found.count(), 2);
    assert!(found.per_day > 40.0, "{}", found.per_day);
}

#[test]
fn the_best_threshold_keeps_to_the_rate() {
    let times = times();
    let case = Case { times: &times, events: &EVENTS, from: 0, rules: RULES };
    let mut scores = vec![0.0; times.len()];
    (scores[605], scores[2001], scores[100], scores[1000]) = (0.9, 0.5, 0.7, 0.6);
    let (threshold, found) = case.best(&scores, 0.1).unwrap();
    assert_eq!((threshold, found.count(), found.false_alarms), (0.9, 1, 0));
    let (threshold, found) = case.best(&scores, 1.1).unwrap();
    assert_eq!((threshold, found.count(), found.false_alarms), (0.5, 2, 2));
}

#[test]
fn what_lies_before_the_first_scored_row_counts_not_at_all() {
    let times = times();
    let case = Case { times: &times, events: &EVENTS, from: 1440, rules: RULES };
    let found = case.found([100, 605, 2001]);
    assert_eq!((found.hits, found.false_alarms), (vec![true], 0));
}

#[test]
fn blame_is_measured_among_as_many_as_are_guilty() {
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
    let blame = Blame { guilty: names(&["1", "2"]), ranked: names(&["2", "7", "1", "8"]) };
    assert_eq!(hit_rate(&blame, 1.0), Some(0.5));
    assert_eq!(hit_rate(&blame, 1.5), Some(1.0));
    assert_eq!(hit_rate(&Blame { guilty: Vec::new(), ranked: Vec::new() }, 1.0), None);
}

#[test]
fn label_files_are_read_or_their_bad_line_is_named() {
    assert_eq!(read_labels("0\n1\n1.0\n\n"), Ok(vec![false, true, true]));
    assert_eq!(read_labels("0\nx\n"), Err(2));
    let read = read_blame("3-5:1,9\n7-7:\n").unwrap();
    assert_eq!(read[0], (Event { first: 3, last: 5 }, vec![1, 9]));
    assert_eq!(read[1].1, Vec::<usize>::new());
    assert_eq!(read_blame("3-5\n"), Err(1));
}
