//! The history against brute force, and the budget against the truth of every single event.

use super::*;
use crate::slo::counter::{Counter, Reading};
use crate::slo::simulate::Chance;

const SECOND: Duration = Duration::from_secs(1);
const DAY: i64 = 86_400;

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

/// A service under a load that swings 20:1 over the day, second by second, with incidents.
struct Service {
    chance: Chance,
    /// Begin, end and share of bad events, in seconds.
    incidents: Vec<(i64, i64, f64)>,
    /// Owed fractions of events: the rates are exact in the long run without drawing each event.
    owed: (f64, f64),
}

impl Service {
    fn second(&mut self, second: i64) -> (f64, f64) {
        let phase = (second % DAY) as f64 / DAY as f64 * std::f64::consts::TAU;
        let rate = 10.5 - 9.5 * phase.cos();
        let rate = rate * (0.8 + 0.4 * self.chance.share());
        let bad_ratio = self
            .incidents
            .iter()
            .find(|(begin, end, _)| (*begin..*end).contains(&second))
            .map_or(0.0003, |incident| incident.2);
        self.owed.0 += rate;
        let total = self.owed.0.floor();
        self.owed.0 -= total;
        self.owed.1 += total * bad_ratio * 2.0 * self.chance.share();
        let bad = self.owed.1.floor().min(total);
        self.owed.1 -= bad;
        (total, bad)
    }
}

struct Worst {
    aligned: f64,
    anywhere: f64,
}

/// Sixty days scraped every 15 s with 5 % of the scrapes lost, a restart of the service every few hours, and one of Homeostat
/// every day; gives the largest error of the budget consumed, in shares of the budget.
fn played(seed: u64, incidents: Vec<(i64, i64, f64)>) -> Worst {
    const WINDOW: i64 = 30 * DAY;
    const ALLOWED: f64 = 0.001;
    let mut service = Service { chance: Chance::new(seed), incidents, owed: (0.0, 0.0) };
    let mut chance = Chance::new(seed ^ 0xABCD);
    let mut history = EventHistory::new(days(30), ALLOWED);
    let mut counter = Counter::default();
    let mut truth = vec![(0.0, 0.0)];
    let mut read = Reading { total: 0.0, bad: 0.0 };
    let mut worst = Worst { aligned: 0.0, anywhere: 0.0 };
    counter.read(at(0), read);
    for second in 0..60 * DAY {
        let (total, bad) = service.second(second);
        let last = truth[truth.len() - 1];
        truth.push((last.0 + total, last.1 + bad));
        read = Reading { total: read.total + total, bad: read.bad + bad };
        let now = second + 1;
        if chance.draw().is_multiple_of(6 * 3_600) {
            read = Reading { total: 0.0, bad: 0.0 };
        }
        if now % 15 == 0
            && chance.share() >= 0.05
            && let Some(growth) = counter.read(at(now), read)
        {
            history.add(growth.from, growth.to, growth.total, growth.bad);
        }
        if now % DAY == 43_200 {
            let mut writer = Writer::default();
            writer.put(&history).put(&counter);
            let bytes = writer.into_bytes();
            let mut reader = Reader::new(&bytes);
            (history, counter) = (reader.get().unwrap(), reader.get().unwrap());
        }
        let is_aligned = now % 900 == 0;
        if now > WINDOW && (is_aligned || chance.draw().is_multiple_of(300)) {
            let sums = history.window(at(now), days(30));
            let (end, begin) = (truth[now as usize], truth[(now - WINDOW) as usize]);
            let consumed = (end.1 - begin.1) / (ALLOWED * (end.0 - begin.0));
            let error = (sums.bad / (ALLOWED * sums.total) - consumed).abs();
            if is_aligned {
                worst.aligned = worst.aligned.max(error);
            }
            worst.anywhere = worst.anywhere.max(error);
        }
    }
    worst
}

#[test]
fn the_budget_is_that_of_every_single_event() {
    // The same hour at 30 % at the peak and in the trough: means of ratios cannot tell them apart.
    let peak = 10 * DAY + 12 * 3_600;
    let trough = 10 * DAY + 417;
    for (seed, incidents) in [
        (1, vec![(peak, peak + 3_600, 0.3)]),
        (2, vec![(trough, trough + 3_600, 0.3)]),
        (3, vec![(3 * DAY, 3 * DAY + 7_200, 0.05), (25 * DAY + 100, 25 * DAY + 1_000, 0.8)]),
        (4, vec![(8 * DAY, 22 * DAY, 0.002)]),
    ] {
        let worst = played(seed, incidents);
        println!(
            "seed {seed}: worst error {:.5} % of the budget each quarter, {:.5} % at any second",
            worst.aligned * 100.0,
            worst.anywhere * 100.0
        );
        assert!(worst.aligned.max(worst.anywhere) <= 0.001, "seed {seed}");
    }
}

#[test]
fn the_mean_of_ratios_would_fail_this_test() {
    // What the oracle is for: one hour at 30 % in the trough, judged by averaging five-minute ratios.
    let mut service =
        Service { chance: Chance::new(2), incidents: vec![(417, 4_017, 0.3)], owed: (0.0, 0.0) };
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
