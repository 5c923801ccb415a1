//! Alerting tried on made-up services: false alerts while one is well, how soon a failing one is seen, what a blip brings; beside
//! the standard two-window rules on the same events and the times published for them. Deterministic: a seed gives the same events.

use std::time::Duration;

use jiff::Timestamp;

use super::alert::{Alerting, BurnRule, Urgency, workbook_rules};
use super::events::EventHistory;
use super::indicator::Tick;

pub mod budget;

/// Ticks as Monitor's usual interval has them.
const TICK_S: i64 = 15;
/// Silent ticks that are told together: a quarter of an hour.
const SILENT_MAX: i64 = 60;
const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 86_400;
const PERIOD: Duration = Duration::from_secs(30 * DAY_S as u64);
const MONTH_S: i64 = 30 * DAY_S;
/// What fills the longest window of the rules before anything is counted.
const BEFORE_S: i64 = 3 * DAY_S;
/// Shortest window of the rules: the Workbook's five minutes.
const SHORT_MIN: Duration = Duration::from_secs(300);
/// From this mean on a Poisson distribution is drawn as a normal one: its skew is an eighth.
const MANY: f64 = 64.0;

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

    /// How many of a Poisson distribution with this mean; by inversion, large means as twelve even draws that add up to a normal one.
    pub fn poisson(&mut self, mean: f64) -> f64 {
        if mean > MANY {
            let normal = (0..12).map(|_| self.share()).sum::<f64>() - 6.0;
            return (mean + normal * mean.sqrt()).round().max(0.0);
        }
        let (mut count, limit) = (0.0, (-mean.max(0.0)).exp());
        let mut product = self.share();
        while product > limit {
            count += 1.0;
            product *= self.share();
        }
        count
    }
}

/// How the requests of a service are spread over the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// The same at any hour.
    Even,
    /// Twenty times as many at noon as at midnight.
    Daily,
}

/// A service of which requests arrive at random.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Service {
    /// Share of good events promised over 30 days.
    pub target: f64,
    /// Requests per hour on average.
    pub per_hour: f64,
    /// How they are spread.
    pub load: Load,
}

/// Alerts in 30 days, each counted once from opening to closing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Alerts {
    /// Of somebody being woken.
    pub pages: f64,
    /// Of a ticket or a page.
    pub any: f64,
}

/// When a failing service was seen, in minutes from the break.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Seen {
    /// The first page.
    pub page: Option<f64>,
    /// The first page or ticket.
    pub any: Option<f64>,
    /// Failures before the tick of the first page.
    pub failures_before: f64,
}

/// The product's alerting and the standard rules on the same events.
struct Pair {
    service: Service,
    chance: Chance,
    history: EventHistory,
    ours: Alerting,
    standard: Vec<BurnRule>,
    /// End of what was told.
    told_s: i64,
}

/// What both say after a tick.
type Verdicts = (Option<Urgency>, Option<Urgency>);

impl Pair {
    fn new(service: Service, seed: u64) -> Self {
        let allowed = 1.0 - service.target;
        let rules = workbook_rules(PERIOD, SHORT_MIN);
        Self {
            service,
            chance: Chance::new(seed),
            history: EventHistory::new(PERIOD, allowed),
            ours: Alerting::new(rules.clone(), allowed),
            standard: rules,
            told_s: 0,
        }
    }

    /// Days without a failure fill all windows.
    fn after_quiet_days(service: Service, seed: u64) -> Self {
        let mut pair = Self::new(service, seed);
        for hour in 0..BEFORE_S / HOUR_S {
            let (from, to) = (at(hour * HOUR_S), at((hour + 1) * HOUR_S));
            let total = service.per_hour * pair.load(hour * HOUR_S);
            pair.history.add(from, to, total, 0.0);
            pair.ours.observe(to, Tick::Known { total, bad: 0.0 }, &pair.history);
        }
        pair.told_s = BEFORE_S;
        pair
    }

    /// How many times the average the load is then.
    fn load(&self, second: i64) -> f64 {
        match self.service.load {
            Load::Even => 1.0,
            Load::Daily => {
                let phase = (second % DAY_S) as f64 / DAY_S as f64 * std::f64::consts::TAU;
                1.0 - 19.0 / 21.0 * phase.cos()
            }
        }
    }

    /// Events of the tick that ends then: all and bad ones.
    fn events(&mut self, end_s: i64, error_ratio: f64) -> (f64, f64) {
        let mean = self.service.per_hour * TICK_S as f64 / HOUR_S as f64 * self.load(end_s);
        let bad = self.chance.poisson(mean * error_ratio);
        (bad + self.chance.poisson(mean * (1.0 - error_ratio)), bad)
    }

    /// Tells the tick that ends then; `None`: it is silent, and is told with a later one.
    fn tell(&mut self, end_s: i64, (total, bad): (f64, f64)) -> Option<Verdicts> {
        let silent = (end_s - self.told_s) / TICK_S;
        if total == 0.0 && silent < SILENT_MAX {
            return None;
        }
        let now = at(end_s);
        self.history.add(at(self.told_s), now, total, bad);
        self.told_s = end_s;
        self.ours.observe(now, Tick::Known { total, bad }, &self.history);
        Some((self.ours.firing(), self.standard(now)))
    }

    /// The standard rules: the same windows and factors, nothing else.
    fn standard(&self, now: Timestamp) -> Option<Urgency> {
        let allowed = 1.0 - self.service.target;
        let fires = |rule: &&BurnRule| {
            [rule.short, Some(rule.long)].into_iter().flatten().all(|window| {
                let ratio = self.history.window(now, window).bad_ratio();
                ratio.is_some_and(|ratio| ratio > rule.factor * allowed)
            })
        };
        self.standard.iter().filter(fires).map(|rule| rule.urgency).max()
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

/// Counts alerts as they open.
#[derive(Default)]
struct Count {
    last: Option<Urgency>,
    pages: u32,
    any: u32,
}

impl Count {
    fn take(&mut self, now: Option<Urgency>, counts: bool) {
        let opens = |least: Urgency| u32::from(counts && now >= Some(least) && self.last < Some(least));
        self.pages += opens(Urgency::Page);
        self.any += opens(Urgency::Ticket);
        self.last = now;
    }

    fn alerts(&self, seconds: i64) -> Alerts {
        let per_month = MONTH_S as f64 / seconds as f64;
        Alerts { pages: f64::from(self.pages) * per_month, any: f64::from(self.any) * per_month }
    }
}

/// False alerts of a service that burns its budget at this rate all the time: ours from its first event on, those of the standard
/// rules once their windows are full.
#[must_use]
pub fn well(service: Service, burn_rate: f64, seed: u64) -> (Alerts, Alerts) {
    let error_ratio = burn_rate * (1.0 - service.target);
    let mut pair = Pair::new(service, seed);
    let (mut ours, mut standard) = (Count::default(), Count::default());
    let last = BEFORE_S + MONTH_S;
    for end_s in (TICK_S..=last).step_by(TICK_S as usize) {
        let events = pair.events(end_s, error_ratio);
        if let Some((our, other)) = pair.tell(end_s, events) {
            ours.take(our, true);
            standard.take(other, end_s > BEFORE_S);
        }
    }
    (ours.alerts(last), standard.alerts(MONTH_S))
}

/// How a service is seen that fails from some moment on, after quiet days.
#[must_use]
pub fn broken(service: Service, error_ratio: f64, seed: u64) -> (Seen, Seen) {
    /// Then it counts as never seen.
    const PLAYED_S: i64 = 12 * DAY_S;
    let mut pair = Pair::after_quiet_days(service, seed);
    let (mut ours, mut standard) = (Seen::default(), Seen::default());
    let is_page = published_page(1.0 - service.target, error_ratio).is_some();
    let done = |seen: &Seen| seen.any.is_some() && (seen.page.is_some() || !is_page);
    for end_s in (BEFORE_S + TICK_S..=BEFORE_S + PLAYED_S).step_by(TICK_S as usize) {
        let events = pair.events(end_s, error_ratio);
        let minutes = (end_s - BEFORE_S) as f64 / 60.0;
        if let Some((our, other)) = pair.tell(end_s, events) {
            ours.take(our, minutes);
            standard.take(other, minutes);
        }
        for seen in [&mut ours, &mut standard] {
            seen.failures_before += if seen.page.is_none() { events.1 } else { 0.0 };
        }
        if done(&ours) && done(&standard) {
            break;
        }
    }
    (ours, standard)
}

impl Seen {
    fn take(&mut self, urgency: Option<Urgency>, minutes: f64) {
        if urgency == Some(Urgency::Page) {
            self.page = self.page.or(Some(minutes));
        }
        if urgency >= Some(Urgency::Ticket) {
            self.any = self.any.or(Some(minutes));
        }
    }
}

/// Whether a total outage that spends this share of the budget of 30 days and is over then pages: ours and the standard rules.
#[must_use]
pub fn blip(service: Service, spends: f64, seed: u64) -> (bool, bool) {
    let mut pair = Pair::after_quiet_days(service, seed);
    let month = service.per_hour * MONTH_S as f64 / HOUR_S as f64;
    let mut left = spends * (1.0 - service.target) * month;
    let mut paged = (false, false);
    for end_s in (BEFORE_S + TICK_S..=BEFORE_S + HOUR_S).step_by(TICK_S as usize) {
        let (total, _) = pair.events(end_s, 0.0);
        let bad = total.min(left.floor());
        left -= bad;
        if let Some((our, other)) = pair.tell(end_s, (total, bad)) {
            paged.0 |= our == Some(Urgency::Page);
            paged.1 |= other == Some(Urgency::Page);
        }
    }
    paged
}

/// Minutes from the break to the first page of the standard rules by their arithmetic, without chance: the share of the budget
/// that a rule stands for over the rate at which it is spent. `None`: none pages.
#[must_use]
pub fn published_page(allowed: f64, error_ratio: f64) -> Option<f64> {
    published(allowed, error_ratio, Urgency::Page)
}

/// The same to the first page, or where there is none the first ticket.
#[must_use]
pub fn published_alert(allowed: f64, error_ratio: f64) -> Option<f64> {
    published_page(allowed, error_ratio).or_else(|| published(allowed, error_ratio, Urgency::Ticket))
}

fn published(allowed: f64, error_ratio: f64, urgency: Urgency) -> Option<f64> {
    workbook_rules(PERIOD, SHORT_MIN)
        .iter()
        .filter(|rule| rule.urgency == urgency)
        // A share that is the limit itself counts as reaching it, as in the table.
        .filter(|rule| error_ratio >= rule.factor * allowed * (1.0 - 1e-9))
        .map(|rule| rule.long.as_secs_f64() / 60.0 * rule.factor * allowed / error_ratio)
        .min_by(f64::total_cmp)
}
