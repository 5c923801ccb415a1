//! Answers of a made-up Prometheus, against counts of what really happened.

use super::*;
use crate::slo::measure::{Comparison, LowTraffic, Statistic};
use crate::slo::simulate::Chance;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn promql(text: &str) -> Promql {
    Promql::new(None, text.to_owned())
}

fn events(counter: bool) -> Indicator {
    let query = |text: &str| Query::Prometheus(promql(text));
    Indicator::Events { part: query("bad"), part_is_bad: true, total: query("all"), counter }
}

fn number() -> Indicator {
    Indicator::Number {
        query: Query::Prometheus(promql("age")),
        statistic: Statistic::Latest,
        comparison: Comparison::AtMost,
        value: 60.0,
        events: None,
        low: LowTraffic::default(),
    }
}

fn sample(labels: &[(&str, &str)], value: f64) -> Sample {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Sample { labels: labels.iter().map(own).collect(), value }
}

/// A scraped series of a process.
fn scraped(process: &str, code: &str, value: f64) -> Sample {
    sample(&[("__name__", "requests_total"), ("instance", process), ("code", code)], value)
}

fn answers(of: &[(&str, Answer)]) -> BTreeMap<Promql, Answer> {
    of.iter().map(|(text, answer)| (promql(text), answer.clone())).collect()
}

fn value(read: &Read, text: &str) -> Option<f64> {
    let name = promql(text).signal().to_owned();
    read.glances.iter().find(|glance| glance.name == name)?.value
}

fn problem(read: &Read, text: &str) -> String {
    read.readings.iter().find(|reading| reading.query == text).unwrap().problem.clone()
}

#[test]
fn growth_over_a_lost_answer_is_told_whole() {
    let mut queried = Queried::new(&events(true), Vec::new());
    let mut take = |second, bad: f64, all: f64| {
        queried.take(
            at(second),
            &answers(&[
                ("bad", Ok(vec![scraped("a", "500", bad)])),
                ("all", Ok(vec![scraped("a", "200", all)])),
            ]),
        )
    };
    assert!(take(0, 5.0, 100.0).glances.is_empty(), "the first reading tells of no time");
    let later = take(45, 8.0, 190.0);
    assert_eq!((value(&later, "bad"), value(&later, "all")), (Some(3.0 / 45.0), Some(2.0)));
    assert_eq!(later.since, Some(at(0)));
}

#[test]
fn one_query_without_answer_makes_none_of_them_known_and_loses_nothing() {
    let mut queried = Queried::new(&events(true), Vec::new());
    let good = |bad, all| {
        answers(&[("bad", Ok(vec![scraped("a", "500", bad)])), ("all", Ok(vec![scraped("a", "200", all)]))])
    };
    queried.take(at(0), &good(0.0, 0.0));
    let half = queried.take(
        at(10),
        &answers(&[("bad", Ok(vec![scraped("a", "500", 1.0)])), ("all", Err("timed out".to_owned()))]),
    );
    assert!(half.glances.is_empty());
    assert_eq!(problem(&half, "all"), "timed out");
    let whole = queried.take(at(20), &good(4.0, 40.0));
    assert_eq!((value(&whole, "bad"), value(&whole, "all")), (Some(0.2), Some(2.0)));
}

#[test]
fn restarts_and_replicas_that_come_and_go_make_up_no_events() {
    let mut queried = Queried::new(&events(true), Vec::new());
    let mut take = |second, all: Vec<Sample>| {
        let answers = answers(&[("bad", Ok(vec![scraped("a", "500", 0.0)])), ("all", Ok(all))]);
        value(&queried.take(at(second), &answers), "all").map(|rate| rate * 10.0)
    };
    take(0, vec![scraped("a", "200", 1_000.0), scraped("b", "200", 500.0)]);
    assert_eq!(
        take(10, vec![scraped("a", "200", 30.0), scraped("b", "200", 520.0)]),
        Some(50.0),
        "a restarted"
    );
    assert_eq!(take(20, vec![scraped("a", "200", 40.0)]), Some(10.0), "b went away");
    let old = vec![scraped("a", "200", 50.0), scraped("c", "200", 9_000.0)];
    assert_eq!(take(30, old), Some(10.0), "how old c's events are nobody knows");
    let back = vec![scraped("a", "200", 60.0), scraped("c", "200", 9_005.0), scraped("b", "200", 525.0)];
    assert_eq!(take(40, back), Some(20.0), "b came back with what it had");
}

#[test]
fn the_first_failure_of_a_known_process_counts() {
    let mut queried = Queried::new(&events(true), Vec::new());
    let zero = sample(&[], 0.0);
    queried.take(
        at(0),
        &answers(&[("bad", Ok(vec![zero.clone()])), ("all", Ok(vec![scraped("a", "200", 10.0)]))]),
    );
    let bad = vec![zero, scraped("a", "500", 3.0)];
    let all = vec![scraped("a", "200", 17.0), scraped("a", "500", 3.0)];
    let read = queried.take(at(10), &answers(&[("bad", Ok(bad)), ("all", Ok(all))]));
    assert_eq!((value(&read, "bad"), value(&read, "all")), (Some(0.3), Some(1.0)));
}

#[test]
fn a_sum_that_fell_is_unknown_and_says_what_to_do() {
    let mut queried = Queried::new(&events(true), Vec::new());
    let both = |value| answers(&[("bad", Ok(vec![sample(&[], 0.0)])), ("all", Ok(vec![sample(&[], value)]))]);
    queried.take(at(0), &both(1_000.0));
    let read = queried.take(at(10), &both(600.0));
    assert_eq!(value(&read, "all"), None);
    assert!(problem(&read, "all").contains("without sum()"));
    assert_eq!(value(&queried.take(at(20), &both(650.0)), "all"), Some(5.0));
}

#[test]
fn nothing_is_not_zero() {
    let mut queried = Queried::new(&events(true), Vec::new());
    for second in [0, 10] {
        let read = queried.take(
            at(second),
            &answers(&[("bad", Ok(Vec::new())), ("all", Ok(vec![scraped("a", "200", second as f64)]))]),
        );
        assert!(read.glances.is_empty());
        assert_eq!(problem(&read, "bad"), "it gives no series");
    }
    let mut age = Queried::new(&number(), Vec::new());
    for answer in [
        Ok(Vec::new()),
        Ok(vec![sample(&[], f64::NAN)]),
        Ok(vec![scraped("a", "1", 1.0), scraped("b", "1", 2.0)]),
        Err("refused".to_owned()),
    ] {
        let read = age.take(at(0), &answers(&[("age", answer)]));
        assert!(read.glances.is_empty() && !read.readings[0].problem.is_empty(), "{read:?}");
    }
    let read = age.take(at(1), &answers(&[("age", Ok(vec![sample(&[], 12.0)]))]));
    assert_eq!((value(&read, "age"), read.since), (Some(12.0), None));
}

#[test]
fn after_a_long_silence_counting_begins_anew() {
    let mut queried = Queried::new(&events(true), Vec::new());
    let both = |all| {
        answers(&[("bad", Ok(vec![scraped("a", "500", 0.0)])), ("all", Ok(vec![scraped("a", "200", all)]))])
    };
    queried.take(at(0), &both(0.0));
    assert!(queried.take(at(4_000), &both(1e6)).glances.is_empty());
    assert_eq!(value(&queried.take(at(4_010), &both(1e6 + 20.0)), "all"), Some(2.0));
}

#[test]
fn a_group_reads_its_own_series_only() {
    let mut queried = Queried::new(&events(false), vec![("code".to_owned(), "200".to_owned())]);
    let all = vec![scraped("a", "200", 3.0), scraped("a", "404", 8.0), scraped("b", "200", 4.0)];
    let read = queried.take(at(0), &answers(&[("bad", Ok(all.clone())), ("all", Ok(all))]));
    assert_eq!(value(&read, "all"), Some(7.0));
}

/// Counts what happened and what was told over one life of three processes.
fn life(chance: &mut Chance, restarts: bool) -> (f64, f64) {
    let mut queried = Queried::new(&events(true), Vec::new());
    let (mut counters, mut happened, mut told) = ([0.0_f64; 3], 0.0, 0.0);
    for tick in 0..50 {
        for counter in &mut counters {
            // A restart is somewhere among the forty events of a tick.
            let restart = (restarts && chance.draw().is_multiple_of(20)).then(|| chance.draw() % 40);
            for event in 0..40 {
                *counter = if restart == Some(event) { 1.0 } else { *counter + 1.0 };
            }
            happened += if tick > 0 { 40.0 } else { 0.0 };
        }
        let series = |index: usize| scraped(["a", "b", "c"][index], "200", counters[index]);
        let is_lost = (1..49).contains(&tick) && chance.draw().is_multiple_of(5);
        let all = if is_lost { Err("lost".to_owned()) } else { Ok((0..3).map(series).collect()) };
        let answers = answers(&[("bad", Ok(vec![scraped("a", "500", 0.0)])), ("all", all)]);
        let read = queried.take(at(tick * 10), &answers);
        if let (Some(rate), Some(since)) = (value(&read, "all"), read.since) {
            told += rate * at(tick * 10).duration_since(since).as_secs_f64();
        }
    }
    (happened, told)
}

#[test]
fn lost_answers_lose_no_event_and_restarts_hardly_any() {
    let mut chance = Chance::new(7);
    let mut sums = (0.0, 0.0);
    for _ in 0..200 {
        let (happened, told) = life(&mut chance, false);
        assert!((told - happened).abs() < 1e-6, "{told} of {happened}");
        let (happened, told) = life(&mut chance, true);
        assert!((told / happened - 1.0).abs() < 0.1, "{told} of {happened}");
        sums = (sums.0 + happened, sums.1 + told);
    }
    // What restarts hide is made up for on the mean; left out, a fortieth would be missing.
    assert!((sums.1 / sums.0 - 1.0).abs() < 0.01, "{sums:?}");
}

/// Two a second, a restart at the 15th second, and no answer until then since the 10th.
fn restarted(answer_at: i64, shows: f64) -> Option<f64> {
    let mut queried = Queried::new(&events(true), Vec::new());
    let mut take = |second, all: f64| {
        let bad = Ok(vec![scraped("a", "500", 0.0)]);
        let read =
            queried.take(at(second), &answers(&[("bad", bad), ("all", Ok(vec![scraped("a", "200", all)]))]));
        Some(value(&read, "all")? * at(second).duration_since(read.since?).as_secs_f64())
    };
    take(0, 100.0);
    take(10, 120.0);
    take(answer_at, shows)
}

#[test]
fn what_a_restart_hides_is_made_up_for_by_the_pace_and_not_over_a_long_silence() {
    let told = restarted(20, 10.0).unwrap();
    assert!((told - 20.0).abs() < 1e-9, "{told}");
    // It shows more than its pace allows for: nothing is hidden.
    assert_eq!(restarted(20, 30.0), Some(30.0));
    assert_eq!(restarted(140, 10.0), Some(10.0), "it may have been away");
}
