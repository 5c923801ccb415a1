//! The budget against the truth of every single event: a service whose load swings twentyfold over the day, scraped with losses,
//! restarted again and again, as is what counts its events.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use super::Chance;
use crate::slo::events::EventHistory;
use crate::slo::objective::{Indicator, Promql, Query};
use crate::slo::queried::{Answer, Queried, Sample};
use crate::snapshot::codec::{Reader, Writer};

const DAY_S: i64 = 86_400;
const WINDOW_S: i64 = 30 * DAY_S;
const ALLOWED: f64 = 0.001;
/// Days that are played: two windows.
const DAYS: i64 = 60;
const SCRAPE_S: i64 = 15;
/// Share of the scrapes that is lost.
const LOST: f64 = 0.05;
/// The service begins anew, its counters at zero, every so many seconds on average.
const RESTART_S: u64 = 6 * 3_600;
/// Longest silence between two answers that is reckoned with: of forty lost ones in a row.
const SILENCE_S: i64 = 600;
/// Moments looked at besides every quarter of an hour: one in so many seconds.
const LOOK_S: u64 = 300;

/// From, to and share of failures, in seconds.
pub type Incident = (i64, i64, f64);

/// Incidents that tell weighing by events from weighing by time, each with its seed: the same hour at 30 % at the peak and in the
/// trough; a small and a short one; two weeks at twice the allowed rate.
#[must_use]
pub fn cases() -> [(u64, &'static str, Vec<Incident>); 4] {
    let (peak, trough) = (10 * DAY_S + 12 * 3_600, 10 * DAY_S + 417);
    [
        (1, "an hour at 30 % at the peak", vec![(peak, peak + 3_600, 0.3)]),
        (2, "an hour at 30 % in the trough", vec![(trough, trough + 3_600, 0.3)]),
        (
            3,
            "two hours at 5 %, 15 minutes at 80 %",
            vec![(3 * DAY_S, 3 * DAY_S + 7_200, 0.05), (25 * DAY_S + 100, 25 * DAY_S + 1_000, 0.8)],
        ),
        (4, "two weeks at 0.2 %", vec![(8 * DAY_S, 22 * DAY_S, 0.002)]),
    ]
}

/// A service second by second.
#[derive(Debug, Clone)]
pub struct Service {
    chance: Chance,
    incidents: Vec<Incident>,
    /// Owed fractions of events: the rates are exact in the long run without drawing each event.
    owed: (f64, f64),
}

impl Service {
    /// With these incidents.
    #[must_use]
    pub fn new(seed: u64, incidents: Vec<Incident>) -> Self {
        Self { chance: Chance::new(seed), incidents, owed: (0.0, 0.0) }
    }

    /// All events of a second and the bad ones: 1 to 20 a second over the day.
    pub fn second(&mut self, second: i64) -> (f64, f64) {
        let phase = (second % DAY_S) as f64 / DAY_S as f64 * std::f64::consts::TAU;
        let rate = 10.5 - 9.5 * phase.cos();
        let rate = rate * (0.8 + 0.4 * self.chance.share());
        let found = self.incidents.iter().find(|(begin, end, _)| (*begin..*end).contains(&second));
        let bad_ratio = found.map_or(0.0003, |incident| incident.2);
        self.owed.0 += rate;
        let total = self.owed.0.floor();
        self.owed.0 -= total;
        self.owed.1 += total * bad_ratio * 2.0 * self.chance.share();
        let bad = self.owed.1.floor().min(total);
        self.owed.1 -= bad;
        (total, bad)
    }
}

/// The largest errors of the budget consumed, in shares of the budget.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Worst {
    /// As far as it can be known: which of the events between two answers lie in the window that begins between them, nobody told.
    pub known: f64,
    /// Against what nobody told as well.
    pub whole: f64,
}

/// Two months scraped every 15 s with 5 % of the scrapes lost, a restart of the service every few hours, and one of what counts its
/// events every day, judged against every single event.
#[must_use]
pub fn worst(seed: u64, incidents: Vec<Incident>) -> Worst {
    let mut service = Service::new(seed, incidents);
    let mut chance = Chance::new(seed ^ 0xABCD);
    let fresh = || EventHistory::new(Duration::from_secs(WINDOW_S.unsigned_abs()), ALLOWED);
    let mut history = fresh();
    let mut scraper = Scraper::new();
    // Sums of all events up to each second of the last window.
    let mut truth = VecDeque::from([(0.0, 0.0)]);
    let (mut all, mut read) = ((0.0, 0.0), (0.0, 0.0));
    let mut worst = Worst::default();
    // When it was answered, as far as windows reach.
    let mut answered = VecDeque::from([0]);
    scraper.scrape(0, read, &mut history);
    for now in 1..=DAYS * DAY_S {
        let (total, bad) = service.second(now - 1);
        all = (all.0 + total, all.1 + bad);
        truth.push_back(all);
        if truth.len() as i64 > WINDOW_S + SILENCE_S + 1 {
            truth.pop_front();
        }
        read = (read.0 + total, read.1 + bad);
        if chance.draw().is_multiple_of(RESTART_S) {
            read = (0.0, 0.0);
        }
        if now % SCRAPE_S == 0 && chance.share() >= LOST {
            scraper.scrape(now, read, &mut history);
            answered.push_back(now);
        }
        while answered.get(1).is_some_and(|next| *next <= now - WINDOW_S) {
            answered.pop_front();
        }
        if now % DAY_S == DAY_S / 2 {
            history = restarted(&history).unwrap_or_else(fresh);
            scraper.restart();
        }
        if now > WINDOW_S && (now % 900 == 0 || chance.draw().is_multiple_of(LOOK_S)) {
            let sums = history.window(at(now), Duration::from_secs(WINDOW_S.unsigned_abs()));
            let told = sums.bad / (ALLOWED * sums.total);
            let consumed = |begin: i64| {
                let index = truth.len() as i64 - 1 - (now - begin);
                let begin = usize::try_from(index).ok().and_then(|index| truth.get(index)).copied();
                let begin = begin.unwrap_or_default();
                (all.1 - begin.1) / (ALLOWED * (all.0 - begin.0))
            };
            let error = (told - consumed(now - WINDOW_S)).abs();
            let [one, other] =
                [answered.front(), answered.get(1)].map(|at| consumed(at.copied().unwrap_or_default()));
            let known = (one.min(other) - told).max(told - one.max(other)).clamp(0.0, error);
            worst.whole = worst.whole.max(error);
            worst.known = worst.known.max(known);
        }
    }
    worst
}

/// The counters of one process, followed as those of an indicator are that is asked of Prometheus.
struct Scraper {
    indicator: Indicator,
    queried: Queried,
    queries: [Promql; 2],
    labels: BTreeMap<String, String>,
}

impl Scraper {
    fn new() -> Self {
        let queries = ["bad", "all"].map(|text| Promql::new(None, text.to_owned()));
        let [part, total] = queries.clone().map(Query::Prometheus);
        let indicator = Indicator::Events { part, part_is_bad: true, total, counter: true };
        let label = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let labels = [("__name__", "requests_total"), ("instance", "a")].map(label).into();
        Self { queried: Queried::new(&indicator, Vec::new()), indicator, queries, labels }
    }

    /// Reads all events and the bad ones, and adds what happened since the last reading.
    fn scrape(&mut self, second: i64, (total, bad): (f64, f64), history: &mut EventHistory) {
        let answer = |value| -> Answer { Ok(vec![Sample { labels: self.labels.clone(), value }]) };
        let [part, whole] = &self.queries;
        let answers = [(part.clone(), answer(bad)), (whole.clone(), answer(total))].into();
        let read = self.queried.take(at(second), &answers);
        let rate = |query: &Promql| read.glances.iter().find(|glance| glance.name == query.signal())?.value;
        if let (Some(from), Some(bad), Some(total)) = (read.since, rate(part), rate(whole)) {
            let elapsed_s = at(second).duration_since(from).as_secs_f64();
            history.add(from, at(second), total * elapsed_s, bad.min(total) * elapsed_s);
        }
    }

    /// What counts the events begins anew, from what it saved.
    fn restart(&mut self) {
        let saved = self.queried.saved();
        self.queried = Queried::new(&self.indicator, Vec::new());
        self.queried.restore(&saved);
    }
}

/// What a snapshot gives back.
fn restarted(history: &EventHistory) -> Option<EventHistory> {
    let mut writer = Writer::default();
    writer.put(history);
    let bytes = writer.into_bytes();
    Reader::new(&bytes).get().ok()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}
