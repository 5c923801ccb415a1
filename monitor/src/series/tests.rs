//! A target's answers in order, and what is remembered after each.

use super::*;
use crate::exposition::{Format, Limits, parse};
use crate::fixtures::{Scraped, at};
use crate::normalize::normalize;

impl Scraped {
    fn rate(&self, metric: &str, label: Option<(&str, &str)>) -> Result<f64, &'static str> {
        let mut fresh = self.store.fresh(metric).ok_or("absent")?;
        let wanted = |entry: &&Entry| label.is_none_or(|(name, value)| entry.label(name) == Some(value));
        match &fresh.find(wanted).ok_or("no entry")?.measured {
            Measured::Counter { growth, .. } => growth.map(|g| g.per_second()).map_err(Unknown::name),
            Measured::Gauge(value) => Ok(*value),
            Measured::Histogram { growth, .. } => {
                growth.as_ref().map(Observed::total).map_err(|reason| *reason)
            }
        }
    }
}

#[test]
fn a_counter_needs_two_scrapes_and_survives_a_restart() {
    let mut target = Scraped::default();
    target.scrape(0, "a_total 100\n");
    assert_eq!(target.rate("a_total", None), Err("first_sample"));
    target.scrape(10, "a_total 150\n");
    assert_eq!(target.rate("a_total", None), Ok(5.0));
    target.scrape(20, "a_total 20\n");
    assert_eq!(target.rate("a_total", None), Ok(2.0));
    assert_eq!(target.account.noticed.get("counter_reset"), 1);
}

#[test]
fn a_gap_and_a_clock_step_are_unknown_and_counted() {
    let mut target = Scraped::default();
    target.scrape(0, "a_total 100\n");
    target.scrape(31, "a_total 150\n");
    assert_eq!(target.rate("a_total", None), Err("gap"));
    target.scrape(25, "a_total 160\n");
    assert_eq!(target.rate("a_total", None), Err("time_not_advancing"));
    assert_eq!(target.account.noticed.get("time_not_advancing"), 1);
    target.scrape(35, "a_total 170\n");
    assert_eq!(target.rate("a_total", None), Ok(1.0));
}

#[test]
fn a_new_label_set_of_a_known_metric_counts_from_zero() {
    let mut target = Scraped::default();
    target.scrape(0, "a_total{code=\"200\"} 100\n");
    target.scrape(10, "a_total{code=\"200\"} 100\na_total{code=\"503\"} 30\nb_total 1000000\n");
    assert_eq!(target.rate("a_total", Some(("code", "503"))), Ok(3.0));
    assert_eq!(target.rate("b_total", None), Err("first_sample"), "a whole new metric may be old");
}

#[test]
fn after_a_partial_answer_a_new_label_set_may_be_old() {
    let mut target = Scraped::default();
    target.scrape(0, "a_total{code=\"200\"} 100\na_total{code=\"503\"} 3");
    assert!(!target.store.complete());
    target.scrape(10, "a_total{code=\"200\"} 100\na_total{code=\"503\"} 30\n");
    assert_eq!(target.rate("a_total", Some(("code", "503"))), Err("first_sample"));
}

#[test]
fn a_vanished_series_is_not_fresh_and_later_forgotten() {
    let mut target = Scraped::default();
    target.scrape(0, "a 1\nb 1\n");
    target.scrape(10, "b 1\n");
    assert_eq!(target.rate("a", None), Err("absent"));
    assert_eq!(target.store.len(), 2);
    target.scrape(31, "b 1\n");
    assert_eq!(target.store.len(), 1);
}

#[test]
fn buckets_are_one_histogram_per_label_set() {
    let body = |a: u32, b: u32| {
        format!(
            "# TYPE h histogram\nh_bucket{{le=\"1\",r=\"x\"}} {a}\nh_bucket{{le=\"+Inf\",r=\"x\"}} {a}\n\
             h_bucket{{le=\"+Inf\",r=\"y\"}} {b}\nh_bucket{{le=\"1\",r=\"y\"}} 0\nh_count{{r=\"x\"}} {a}\n"
        )
    };
    let mut target = Scraped::default();
    target.scrape(0, &body(10, 5));
    assert_eq!(target.store.len(), 3);
    target.scrape(10, &body(30, 6));
    assert_eq!(target.rate("h", Some(("r", "x"))), Ok(20.0));
    assert_eq!(target.rate("h", Some(("r", "y"))), Ok(1.0));
    assert_eq!(target.rate("h_count", None), Ok(2.0));
}

#[test]
fn the_targets_own_time_is_used_where_it_can_be_true() {
    let mut target = Scraped::default();
    let ms = |second: i64| at(second).as_millisecond();
    target.scrape(10, &format!("a_total 100 {}\nb 1 {}\n", ms(5), ms(-1000)));
    target.scrape(20, &format!("a_total 110 {}\n", ms(7)));
    assert_eq!(target.rate("a_total", None), Ok(5.0));
    assert_eq!(target.account.dropped.get("timestamp_out_of_range"), 1);
    target.scrape(30, &format!("a_total 110 {}\n", ms(7)));
    assert_eq!(
        target.rate("a_total", None),
        Err("time_not_advancing"),
        "an old sample repeated is no zero rate"
    );
}

#[test]
fn declared_and_known_series_stand_before_new_ones() {
    let mut target = Scraped::default();
    target.scrape(0, "known 1\n");
    let exposition = parse(b"new 1\nknown 2\nh_bucket{le=\"1\"} 2\n", Format::Text, &Limits::default());
    let readings = normalize(exposition, &mut Account::default().dropped);
    let standings = target.store.standings(&readings, |metric| metric == "h");
    assert_eq!(standings, [Standing::New, Standing::Known, Standing::Declared]);
}

#[test]
fn a_target_that_has_just_begun_counts_from_its_start() {
    let begun = |second: i64| {
        format!(
            "process_start_time_seconds {}\na_total 60\nh_bucket{{le=\"+Inf\"}} 40\n",
            1_700_000_000 + second
        )
    };
    let first = |started: i64| {
        let mut target = Scraped::default();
        target.scrape(100, &begun(started));
        target
    };
    assert_eq!(first(80).rate("a_total", None), Ok(3.0), "60 in 20 seconds of life");
    assert_eq!(first(80).rate("h", None), Ok(40.0));
    assert_eq!(first(97).rate("a_total", None), Ok(6.0), "60 in the interval in which it began");
    assert_eq!(first(60).rate("a_total", None), Err("first_sample"), "it may have been away for long");
    assert_eq!(first(101).rate("a_total", None), Err("first_sample"), "its clock is not ours");
}

#[test]
fn the_start_of_a_known_target_changes_nothing() {
    let mut target = Scraped::default();
    target.scrape(0, "a_total 100\n");
    target.scrape(10, "process_start_time_seconds 1700000009\na_total 120\nb_total 50\n");
    assert_eq!(target.rate("a_total", None), Ok(2.0));
    assert_eq!(target.rate("b_total", None), Err("first_sample"));
}
