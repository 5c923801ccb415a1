//! Alerting tried on made-up services: false pages of one that is well, and how soon a failing one is seen, beside the
//! standard two-window rules on the same events. Deterministic: a seed gives the same events.

use std::time::Duration;

use jiff::Timestamp;

use super::alert::{Alerting, BurnRule, Urgency, workbook_rules};
use super::events::EventHistory;
use super::indicator::Tick;

const MINUTE: Duration = Duration::from_secs(60);
const DAY_MINUTES: i64 = 1_440;
const PERIOD: Duration = Duration::from_secs(30 * 86_400);

/// A small generator with a seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Evenly in [0, 1).
    pub fn share(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// How many of a Poisson distribution with this mean; by inversion, large means in parts.
    pub fn poisson(&mut self, mean: f64) -> f64 {
        let mut left = mean.max(0.0);
        let mut count = 0.0;
        while left > 0.0 {
            let part = left.min(16.0);
            left -= part;
            let (mut product, limit) = (self.share(), (-part).exp());
            while product > limit {
                count += 1.0;
                product *= self.share();
            }
        }
        count
    }
}

/// One service of which requests arrive at random.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    /// Share of good events promised.
    pub target: f64,
    /// Requests per hour.
    pub per_hour: f64,
    /// Share of failures before something breaks.
    pub before: f64,
    /// Share of failures after.
    pub after: f64,
    /// Minute at which it breaks.
    pub breaks_at: i64,
    /// How many minutes are played.
    pub minutes: i64,
    /// Varies the events.
    pub seed: u64,
}

/// What came of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Played {
    /// Pages before it broke, each counted once from opening to closing.
    pub false_pages: u32,
    /// Minutes from breaking to the first page.
    pub page_minutes: Option<f64>,
    /// Minutes from breaking to the first page or ticket.
    pub alert_minutes: Option<f64>,
    /// Failures that came before the minute of the first page.
    pub failures_before: f64,
}

/// Plays one trial with the product's alerting.
#[must_use]
pub fn play(trial: &Trial) -> Played {
    let mut alerting = Alerting::new(workbook_rules(PERIOD, MINUTE * 5), 1.0 - trial.target);
    played(trial, |now, tick, history| {
        alerting.observe(now, tick, history);
        alerting.firing()
    })
}

/// Plays one trial with the standard rules: the same windows and factors, nothing else.
#[must_use]
pub fn play_standard(trial: &Trial) -> Played {
    let allowed = 1.0 - trial.target;
    let rules = workbook_rules(PERIOD, MINUTE * 5);
    played(trial, |now, _, history| {
        let fires = |rule: &&BurnRule| {
            [Some(rule.long), rule.short].into_iter().flatten().all(|window| {
                history.window(now, window).bad_ratio().is_some_and(|ratio| ratio > rule.factor * allowed)
            })
        };
        rules.iter().filter(fires).map(|rule| rule.urgency).max()
    })
}

fn played(trial: &Trial, mut judge: impl FnMut(Timestamp, Tick, &EventHistory) -> Option<Urgency>) -> Played {
    let mut chance = Chance::new(trial.seed);
    let mut history = EventHistory::new(PERIOD, 1.0 - trial.target);
    let mut out = Played::default();
    let mut paging = false;
    let mut told = 0_i64;
    let at = |minute: i64| Timestamp::from_second(minute * 60).unwrap_or(Timestamp::MAX);
    for minute in 0..trial.minutes {
        let total = chance.poisson(trial.per_hour / 60.0);
        let broken = minute >= trial.breaks_at;
        let share = if broken { trial.after } else { trial.before };
        let bad = (0..total as u64).filter(|_| chance.share() < share).count() as f64;
        // Minutes without events are told together: at most a quarter of an hour late, and never across the break.
        if total == 0.0 && minute % 15 != 14 && minute + 1 != trial.breaks_at && !paging {
            continue;
        }
        let (from, now) = (at(told), at(minute + 1));
        told = minute + 1;
        history.add(from, now, total, bad);
        let urgency = judge(now, Tick::Known { total, bad }, &history);
        let is_page = urgency == Some(Urgency::Page);
        out.false_pages += u32::from(is_page && !paging && !broken);
        paging = is_page;
        let since = (minute + 1 - trial.breaks_at) as f64;
        if broken && is_page && out.page_minutes.is_none() {
            out.page_minutes = Some(since);
        }
        if broken && urgency >= Some(Urgency::Ticket) && out.alert_minutes.is_none() {
            out.alert_minutes = Some(since);
        }
        if broken && out.page_minutes.is_some() {
            break;
        }
        out.failures_before += if broken { bad } else { 0.0 };
    }
    out
}

/// False pages in 30 days of a service that burns at half its budget: ours and those of the standard rules.
#[must_use]
pub fn false_pages(target: f64, per_hour: f64, runs: u64, seed: u64) -> (f64, f64) {
    let half = (1.0 - target) / 2.0;
    let (mut ours, mut standard) = (0, 0);
    for run in 0..runs {
        let minutes = 30 * DAY_MINUTES;
        let (before, after, breaks_at) = (half, half, minutes);
        let trial = Trial { target, per_hour, before, after, breaks_at, minutes, seed: seed + run };
        ours += play(&trial).false_pages;
        standard += play_standard(&trial).false_pages;
    }
    (f64::from(ours) / runs as f64, f64::from(standard) / runs as f64)
}

/// How an outage after three quiet days is seen, over so many runs.
#[must_use]
pub fn broken(target: f64, per_hour: f64, after: f64, runs: u64, seed: u64) -> Vec<(Played, Played)> {
    let breaks_at = 3 * DAY_MINUTES;
    let trial = |run| Trial {
        target,
        per_hour,
        before: 0.0,
        after,
        breaks_at,
        minutes: breaks_at + 4 * DAY_MINUTES,
        seed: seed + run,
    };
    (0..runs).map(|run| (play(&trial(run)), play_standard(&trial(run)))).collect()
}
