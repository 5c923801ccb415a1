//! When to wake somebody: burn rates over two windows at once (Google's SRE Workbook, chapter 5), held back while a handful of
//! failures would be chance, and sequential tests (Page 1954, Lorden 1971) that need not wait for the windows to fill.
//!
//! At a request a minute one failure is a burn rate of hundreds, so the two windows alone page a few times a month for
//! nothing. Here they fire only when so many failures would be next to impossible for a service that burns at half its
//! budget. A rule fires before its windows are exceeded when the evidence for its burn rate is 20 to 1 and the failures of both
//! windows are short of it by no more than chance; so never before about the share of the budget is spent that the rule stands
//! for, and a blip that spends less fires nothing. An outage pages for three failures in a row where these are that share.

use std::time::Duration;

use jiff::Timestamp;
use statrs::function::beta::checked_beta_reg;

use self::evidence::{Evidence, reaches, step};
use super::events::{EventHistory, Sums};
use super::indicator::Tick;
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

mod evidence;

/// A service that burns at this share of its budget is well, and must not page.
const WELL: f64 = 0.5;
/// Most probability with which a service that is well may show so many failures in a window that pages. With the number of windows
/// of 30 days that do not overlap (720 hours) 1 false page in 11 years.
const CHANCE_MAX: f64 = 1e-5;
/// The same for a ticket, which wakes nobody.
const CHANCE_TICKET_MAX: f64 = 1e-4;
/// False alarms of the sequential test in 30 days, at most, for a service that just keeps its objective.
const FALSE_PER_MONTH: f64 = 0.01;
const MONTH_S: f64 = 30.0 * 86_400.0;
/// Shares of failures that the sequential test looks for, besides those that the objective allows anyway.
const OUTAGES: [f64; 2] = [0.5, 0.1];
/// It looks for such a share only where it is a burn rate of at least this.
const OUTAGE_BURN_MIN: f64 = 4.0;
/// An outage is over when that is e⁵ = 150 times as likely as that it lasts.
const OVER: f64 = 5.0;
/// Events of a month assumed before there are any: one an hour.
const EVENTS_LEAST: f64 = 720.0;

/// How urgent an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    /// For the record.
    Info,
    /// Somebody looks at it in working hours.
    Ticket,
    /// Somebody is woken.
    Page,
}

impl Urgency {
    /// The word in rules and reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Ticket => "ticket",
            Self::Page => "page",
        }
    }
}

/// One burn-rate rule.
#[derive(Debug, Clone, PartialEq)]
pub struct BurnRule {
    /// Names it within its objective.
    pub name: String,
    /// How urgent.
    pub urgency: Urgency,
    /// The window that shows that it matters.
    pub long: Duration,
    /// The window that shows that it lasts; `None`: OpenSLO's single window.
    pub short: Option<Duration>,
    /// Burn rate that both must exceed.
    pub factor: f64,
    /// How long they must.
    pub after: Duration,
}

/// Urgency, long window in hours of a period of 30 days, and share of the budget that is used up in it.
const WORKBOOK: [(&str, Urgency, f64, f64); 4] = [
    ("fast", Urgency::Page, 1.0, 0.02),
    ("slow", Urgency::Page, 6.0, 0.05),
    ("day", Urgency::Ticket, 24.0, 0.10),
    ("trend", Urgency::Ticket, 72.0, 0.10),
];

/// The Workbook's four rules for an objective over `period`: burn rate = share of the budget × period ÷ window. Windows scale
/// with the period, but the short one, a twelfth of the long, is never shorter than `short_min`.
#[must_use]
pub fn workbook_rules(period: Duration, short_min: Duration) -> Vec<BurnRule> {
    let rule = |(name, urgency, hours, share): (&str, Urgency, f64, f64)| {
        let scaled = period.mul_f64(hours / 720.0);
        let long = Duration::from_secs(scaled.as_secs().max(short_min.as_secs() * 12)).min(period);
        let short = (long / 12).max(short_min);
        let factor = share * period.as_secs_f64() / long.as_secs_f64();
        BurnRule { name: name.to_owned(), urgency, long, short: Some(short), factor, after: Duration::ZERO }
    };
    WORKBOOK.into_iter().map(rule).collect()
}

/// An alert that opened or closed.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct AlertChange {
    /// The rule's name, or `outage`.
    pub rule: String,
    /// How urgent.
    pub urgency: Urgency,
    /// Whether it opened; else it closed.
    pub opened: bool,
    /// When.
    pub at: Timestamp,
    /// Burn rate over the long window then.
    pub burn_rate: Option<f64>,
}

impl BurnRule {
    /// Whether evidence may fire it before its windows are exceeded: a rule with one window, or one that waits, means what it says.
    fn is_sequential(&self) -> bool {
        self.short.is_some() && self.after.is_zero()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct State {
    /// Since when it is exceeded.
    since: Option<Timestamp>,
    firing: bool,
    evidence: Evidence,
}

/// What a rule is judged by.
struct Seen<'a> {
    now: Timestamp,
    tick: Tick,
    history: &'a EventHistory,
    allowed: f64,
}

/// The alerts of one objective.
#[derive(Debug, Clone, PartialEq)]
pub struct Alerting {
    rules: Vec<BurnRule>,
    states: Vec<State>,
    allowed: f64,
    /// Log likelihood ratio that each kind of outage has against the objective just being kept.
    outages: [f64; 2],
    outage: bool,
}

impl Alerting {
    /// Nothing seen yet; `allowed` is the share of events that may be bad.
    #[must_use]
    pub fn new(rules: Vec<BurnRule>, allowed: f64) -> Self {
        let states = vec![State::default(); rules.len()];
        Self { rules, states, allowed, outages: [0.0; 2], outage: false }
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &[BurnRule] {
        &self.rules
    }

    /// The most urgent alert that is open.
    #[must_use]
    pub fn firing(&self) -> Option<Urgency> {
        let rules = self.rules.iter().zip(&self.states).filter(|(_, state)| state.firing);
        let outage = self.outage.then_some(Urgency::Page);
        rules.map(|(rule, _)| rule.urgency).chain(outage).max()
    }

    /// Takes in the tick that `history` has just got, which ends at `now`, with all the events that it got.
    pub fn observe(&mut self, now: Timestamp, tick: Tick, history: &EventHistory) -> Vec<AlertChange> {
        let seen = Seen { now, tick, history, allowed: self.allowed };
        let mut changes = Vec::new();
        for (rule, state) in self.rules.iter().zip(&mut self.states) {
            let long = history.window(now, rule.long);
            let verdict = state.judged(rule, &long, &seen);
            state.turn(rule, verdict, now);
            let due = state.since.is_some_and(|since| now.duration_since(since).unsigned_abs() >= rule.after);
            let firing = due && (state.firing || verdict == Some(true));
            if firing != state.firing {
                // What was fired for is told: the next alert needs evidence of its own.
                (state.firing, state.evidence) = (firing, Evidence::default());
                let burn_rate = long.bad_ratio().map(|ratio| ratio / self.allowed);
                let (rule, urgency) = (rule.name.clone(), rule.urgency);
                changes.push(AlertChange { rule, urgency, opened: firing, at: now, burn_rate });
            }
        }
        let outage = self.is_outage(&seen);
        if outage != self.outage {
            self.outage = outage;
            let long = self.fastest().map_or(Duration::from_secs(3_600), |rule| rule.long);
            let burn_rate = history.window(now, long).bad_ratio().map(|ratio| ratio / self.allowed);
            let (rule, urgency) = ("outage".to_owned(), Urgency::Page);
            changes.push(AlertChange { rule, urgency, opened: outage, at: now, burn_rate });
        }
        changes
    }

    /// The rule with the shortest long window.
    fn fastest(&self) -> Option<&BurnRule> {
        self.rules.iter().min_by_key(|rule| rule.long)
    }

    fn is_outage(&mut self, seen: &Seen<'_>) -> bool {
        let Tick::Known { total, bad } = seen.tick else { return self.outage };
        if bad <= 0.0 && self.outages == [0.0; 2] {
            return false;
        }
        let kinds = OUTAGES.into_iter().zip(&mut self.outages);
        let mut firing = false;
        let limit = limit(seen.now, seen.history);
        for (share, level) in kinds.filter(|(share, _)| *share >= OUTAGE_BURN_MIN * seen.allowed) {
            let step = step(total, bad, share, seen.allowed);
            *level = (*level + step).clamp(0.0, limit + OVER);
            let threshold = if self.outage { limit - OVER } else { limit };
            firing |= *level >= threshold;
        }
        if self.outage && !firing {
            self.outages = [0.0; 2];
        }
        // It is urgent when it has spent what the fastest rule stands for.
        firing
            && (self.outage
                || self.fastest().is_none_or(|rule| {
                    let long = seen.history.window(seen.now, rule.long);
                    reaches(long.bad, rule.factor * seen.allowed * long.total, seen.tick)
                }))
    }
}

/// The level at which the sequential test fires: by Lorden's bound a false alarm takes eʰ events on average.
fn limit(now: Timestamp, history: &EventHistory) -> f64 {
    let seen_s =
        history.began().map_or(0.0, |began| now.duration_since(began).as_secs_f64()).clamp(3_600.0, MONTH_S);
    let seen = history.window(now, Duration::from_secs_f64(seen_s)).total;
    let events = (seen * MONTH_S / seen_s).max(EVENTS_LEAST);
    (events * OUTAGES.len() as f64 / FALSE_PER_MONTH).ln()
}

impl State {
    /// Whether the rule is to fire; `None` when nothing can be said.
    fn judged(&mut self, rule: &BurnRule, long: &Sums, seen: &Seen<'_>) -> Option<bool> {
        if !rule.is_sequential() {
            return burning(rule, long, seen);
        }
        let ratio = rule.factor * seen.allowed;
        if self.firing {
            return lasts(rule, long, seen);
        }
        self.evidence.observe(seen.tick, ratio, seen.allowed, ratio * long.total);
        let is_early = self.evidence.is_enough()
            && lasts(rule, long, seen) == Some(true)
            && reaches(long.bad, spends(rule, long, seen), seen.tick)
            && is_beyond_chance(rule, long, seen.allowed);
        if is_early { Some(true) } else { burning(rule, long, seen) }
    }
}

/// Whether an alert goes on: both windows reach the rule's rate, or stay below it by no more than chance. The standard rules end
/// with the first window that is not above it, and open again with the next failure.
fn lasts(rule: &BurnRule, long: &Sums, seen: &Seen<'_>) -> Option<bool> {
    if long.known_s <= 0.0 {
        return None;
    }
    let still = |sums: &Sums| reaches(sums.bad, rule.factor * seen.allowed * sums.total, seen.tick);
    if !still(long) {
        return Some(false);
    }
    let short = rule.short.map_or(*long, |short| seen.history.window(seen.now, short));
    (short.total > 0.0).then(|| still(&short))
}

/// Whether the rule's windows exceed it; `None` when nothing can be said.
fn burning(rule: &BurnRule, long: &Sums, seen: &Seen<'_>) -> Option<bool> {
    let exceeds = |sums: &Sums| sums.bad_ratio().map(|ratio| ratio > rule.factor * seen.allowed);
    if long.known_s <= 0.0 {
        return None;
    }
    if exceeds(long) != Some(true) {
        return Some(false);
    }
    match rule.short {
        None => {}
        Some(short) => match exceeds(&seen.history.window(seen.now, short)) {
            Some(true) => {}
            other => return other,
        },
    }
    let is_young = rule.is_sequential() && !reaches(long.bad, spends(rule, long, seen), seen.tick);
    Some(!is_young && is_beyond_chance(rule, long, seen.allowed))
}

/// How many failures spend the share of the budget that the rule stands for, at the traffic seen in its long window: before there
/// is as much history as that, at the traffic seen so far.
fn spends(rule: &BurnRule, long: &Sums, seen: &Seen<'_>) -> f64 {
    let began = seen.history.began().map_or(seen.now, |began| began.min(seen.now));
    let seen_s = seen.now.duration_since(began).as_secs_f64().max(f64::MIN_POSITIVE);
    let whole = (rule.long.as_secs_f64() / seen_s).max(1.0);
    rule.factor * seen.allowed * long.total * whole
}

/// Whether a service that is well next to never shows so many failures.
fn is_beyond_chance(rule: &BurnRule, long: &Sums, allowed: f64) -> bool {
    let most = if rule.urgency == Urgency::Page { CHANCE_MAX } else { CHANCE_TICKET_MAX };
    chance(long, WELL * allowed) <= most
}

/// Probability that so many of the events or more are bad when each is with probability `p`: the binomial's upper tail, as the
/// incomplete beta function, which also takes the fractions of events that windows have at their ends.
fn chance(sums: &Sums, p: f64) -> f64 {
    let good = sums.total - sums.bad;
    if sums.bad <= 0.0 {
        return 1.0;
    }
    checked_beta_reg(sums.bad, good + 1.0, p.clamp(0.0, 1.0)).unwrap_or(1.0)
}

impl State {
    fn turn(&mut self, rule: &BurnRule, verdict: Option<bool>, now: Timestamp) {
        match verdict {
            Some(true) => self.since = self.since.or(Some(now)),
            Some(false) => self.since = None,
            // Silence does not end an alert, until it has lasted as long as the long window and there is nothing left to say.
            None if self
                .since
                .is_some_and(|since| now.duration_since(since).unsigned_abs() > rule.long * 2) =>
            {
                self.since = None;
            }
            None => {}
        }
    }
}

impl Stored for State {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.since).put(&self.firing).put(&self.evidence.0);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { since: reader.get()?, firing: reader.get()?, evidence: Evidence(reader.get()?) })
    }
}

impl Alerting {
    /// Writes what it has seen; the rules come from the objective again.
    pub(crate) fn save(&self, writer: &mut Writer) {
        writer.list(&self.states).put(&self.outages[0]).put(&self.outages[1]).put(&self.outage);
    }

    /// Takes over what was seen under the same number of rules.
    pub(crate) fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        let states = reader.list::<State>()?;
        let (outages, outage) = ([reader.get()?, reader.get()?], reader.get()?);
        if states.len() == self.states.len() {
            (self.states, self.outages, self.outage) = (states, outages, outage);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "alert/tests.rs"]
mod tests;
