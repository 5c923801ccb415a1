//! The budget against the truth of every single event: a service whose load swings twentyfold over the day, scraped with losses,
//! restarted again and again, as is what counts its events.

use std::time::Duration;

use jiff::Timestamp;

use super::Chance;
use crate::slo::counter::{Counter, Reading};
use crate::slo::events::EventHistory;
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
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worst {
    /// At every quarter of an hour.
    pub aligned: f64,
    /// At any second.
    pub anywhere: f64,
}

/// Two months scraped every 15 s with 5 % of the scrapes lost, a restart of the service every few hours, and one of what counts its
/// events every day, judged against every single event.
#[must_use]
pub fn worst(seed: u64, incidents: Vec<Incident>) -> Worst {
    let mut service = Service::new(seed, incidents);
    let mut chance = Chance::new(seed ^ 0xABCD);
    let fresh = || EventHistory::new(Duration::from_secs(WINDOW_S.unsigned_abs()), ALLOWED);
    let mut history = fresh();
    let mut counter = Counter::default();
    // Sums of all events up to each second of the last window.
    let mut truth = std::collections::VecDeque::from([(0.0, 0.0)]);
    let (mut all, mut read) = ((0.0, 0.0), Reading { total: 0.0, bad: 0.0 });
    let mut worst = Worst { aligned: 0.0, anywhere: 0.0 };
    counter.read(at(0), read);
    for now in 1..=DAYS * DAY_S {
        let (total, bad) = service.second(now - 1);
        all = (all.0 + total, all.1 + bad);
        truth.push_back(all);
        if truth.len() as i64 > WINDOW_S + 1 {
            truth.pop_front();
        }
        read = Reading { total: read.total + total, bad: read.bad + bad };
        if chance.draw().is_multiple_of(RESTART_S) {
            read = Reading { total: 0.0, bad: 0.0 };
        }
        if now % SCRAPE_S == 0
            && chance.share() >= LOST
            && let Some(growth) = counter.read(at(now), read)
        {
            history.add(growth.from, growth.to, growth.total, growth.bad);
        }
        if now % DAY_S == DAY_S / 2 {
            (history, counter) =
                restarted(&history, &counter).unwrap_or_else(|| (fresh(), Counter::default()));
        }
        let is_aligned = now % 900 == 0;
        if now > WINDOW_S && (is_aligned || chance.draw().is_multiple_of(LOOK_S)) {
            let sums = history.window(at(now), Duration::from_secs(WINDOW_S.unsigned_abs()));
            let begin = truth.front().copied().unwrap_or_default();
            let consumed = (all.1 - begin.1) / (ALLOWED * (all.0 - begin.0));
            let error = (sums.bad / (ALLOWED * sums.total) - consumed).abs();
            if is_aligned {
                worst.aligned = worst.aligned.max(error);
            }
            worst.anywhere = worst.anywhere.max(error);
        }
    }
    worst
}

/// What a snapshot gives back.
fn restarted(history: &EventHistory, counter: &Counter) -> Option<(EventHistory, Counter)> {
    let mut writer = Writer::default();
    writer.put(history).put(counter);
    let bytes = writer.into_bytes();
    let mut reader = Reader::new(&bytes);
    Some((reader.get().ok()?, reader.get().ok()?))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}
