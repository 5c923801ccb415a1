//! One imported objective, tracked from assessments: its window and budget, its alerts, its error-budget policy.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use proto::model::{
    Assessment, BudgetPolicyState, ExhaustionForecast, ObjectiveStanding, ObjectiveState, QueryReading,
    ResourceId, TrackedObjective,
};

use super::alert::{AlertChange, Alerting, BurnRule, Urgency, workbook_rules};
use super::events::{EventHistory, Sums};
use super::exhaustion;
use super::indicator::Tick;
use super::objective::{Budgeting, ObjectiveSpec};
use super::observed;
use super::policy::{Effect, Event, Policy, Standing};
use super::slices::{self, Slice, Slicer};
use crate::snapshot::codec::{Damaged, Reader, Writer};

/// Ticks of the shortest window that alerts look at.
const SHORT_TICKS: u32 = 5;
/// The shortest window that `objective` gives to alerts which nobody wrote.
const SHORT_DEFAULT: Duration = Duration::from_secs(300);
/// Time between ticks that is not yet a gap, in intervals; as for the objectives of services.
const GAP_INTERVALS: f64 = 3.5;
/// The long burn rate looks at this share of the window: an hour of 28 days.
const LONG_SHARE: u32 = 672;

/// Share of the budget that a crash may lose from memory: a budget's whole life is a few dozen rows written.
const SAVED_STEP: f64 = 0.05;

/// A closed span of the budget's history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LiveSpan {
    /// Its begin.
    pub from: Timestamp,
    /// How long.
    pub width: Duration,
    /// What happened.
    pub sums: Sums,
    /// Whether there was more than that.
    pub incomplete: bool,
}

/// What followed from a tick.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Happened {
    /// Spans that closed.
    pub spans: Vec<LiveSpan>,
    /// Alerts that opened or closed.
    pub alerts: Vec<AlertChange>,
    /// Measures that begin or end.
    pub effects: Vec<Effect>,
}

/// A tracked objective.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    spec: ObjectiveSpec,
    about: ResourceId,
    interval: Duration,
    history: EventHistory,
    alerting: Alerting,
    /// None: events count; several: one for each part.
    slicers: Vec<Slicer>,
    standing: Standing,
    last: Tick,
    last_at: Option<Timestamp>,
    told_upto: Option<Timestamp>,
    /// Numbers of coarse buckets in which something was not counted.
    incomplete: BTreeSet<i64>,
    /// It had a policy before: what that had begun is to end.
    withdrawn: bool,
    /// What its queries last gave.
    readings: Vec<QueryReading>,
    /// What was used up of the budget when it was last worth saving; begins anew with each start.
    saved_at: f64,
}

fn slicers(spec: &ObjectiveSpec) -> Vec<Slicer> {
    match spec.budgeting {
        Budgeting::Events => Vec::new(),
        Budgeting::Slices { width, rule, empty } if spec.part_rules.is_empty() => {
            vec![Slicer::new(width, rule, empty)]
        }
        Budgeting::Slices { width, empty, .. } => {
            spec.part_rules.iter().map(|rule| Slicer::new(width, *rule, empty)).collect()
        }
    }
}

/// Alerts that nobody wrote fit their windows to the interval, as those of services do.
fn rules(spec: &ObjectiveSpec, interval: Duration) -> Vec<BurnRule> {
    let span = spec.period.span();
    let own = spec.rules != workbook_rules(span, SHORT_DEFAULT);
    if own { spec.rules.clone() } else { workbook_rules(span, interval * SHORT_TICKS) }
}

impl Live {
    /// Nothing seen yet. `about` is the resource whose assessments tell its indicator.
    #[must_use]
    pub fn new(spec: ObjectiveSpec, about: ResourceId, interval: Duration) -> Self {
        let history = EventHistory::new(spec.period.longest(), spec.allowed());
        let alerting = Alerting::new(rules(&spec, interval), spec.allowed());
        Self {
            slicers: slicers(&spec),
            spec,
            about,
            interval,
            history,
            alerting,
            standing: Standing::default(),
            last: Tick::Unknown,
            last_at: None,
            told_upto: None,
            incomplete: BTreeSet::new(),
            withdrawn: false,
            readings: Vec::new(),
            saved_at: 0.0,
        }
    }

    /// What it tracks.
    #[must_use]
    pub fn spec(&self) -> &ObjectiveSpec {
        &self.spec
    }

    /// When it last saw anything.
    #[must_use]
    pub fn seen_at(&self) -> Option<Timestamp> {
        self.last_at
    }

    /// The resource whose assessments tell its indicator.
    #[must_use]
    pub fn about(&self) -> &ResourceId {
        &self.about
    }

    /// Another version of the same objective is judged on the same events, as far as they are known. With another indicator they
    /// are other events: then it begins anew.
    #[must_use]
    pub fn followed(self, spec: ObjectiveSpec) -> Self {
        if self.spec == spec {
            return self;
        }
        let same = self.spec.indicator == spec.indicator
            && self.spec.budgeting == spec.budgeting
            && self.spec.part_rules == spec.part_rules;
        let withdrawn = spec.policy.is_none() && (self.withdrawn || self.spec.policy.is_some());
        let fresh = Self { withdrawn, ..Self::new(spec, self.about.clone(), self.interval) };
        let standing = Standing { approvals: Default::default(), ..self.standing };
        // Steps are told by their places: other steps are another policy, and what the old one had begun ends with it.
        let policy = |spec: &ObjectiveSpec| spec.policy.as_ref().map(|policy| policy.steps.clone());
        let standing = if policy(&fresh.spec) == policy(&self.spec) { standing } else { Standing::default() };
        if !same {
            return Self { standing, ..fresh };
        }
        let history = self.history.reshaped(fresh.spec.period.longest(), fresh.spec.allowed());
        Self {
            history,
            standing,
            slicers: self.slicers,
            last: self.last,
            last_at: self.last_at,
            told_upto: self.told_upto,
            ..fresh
        }
    }

    /// Adds what was recorded of an earlier life; what is known already is not counted again.
    pub fn remember(&mut self, spans: &[LiveSpan]) {
        if self.history.began().is_some() {
            return;
        }
        for span in spans {
            let known = Duration::try_from_secs_f64(span.sums.known_s).unwrap_or_default().min(span.width);
            if let Ok(end) = span.from.checked_add(known) {
                self.history.add(span.from, end, span.sums.total, span.sums.bad);
                self.told_upto = span.from.checked_add(span.width).ok().max(self.told_upto);
                if span.incomplete {
                    self.incomplete.insert(self.bucket(span.from));
                }
            }
        }
    }

    /// Takes in an assessment of the resource that it is about.
    pub fn observe(&mut self, seen: &Assessment) -> Happened {
        self.observe_since(seen, None)
    }

    /// Takes in what its queries gave, beside the assessment that holds their values. Counters tell of all the time since
    /// `since`, however long that is.
    pub fn answered(
        &mut self,
        seen: &Assessment,
        since: Option<Timestamp>,
        readings: Vec<QueryReading>,
    ) -> Happened {
        self.readings = readings;
        self.observe_since(seen, since)
    }

    fn observe_since(&mut self, seen: &Assessment, since: Option<Timestamp>) -> Happened {
        let at = seen.at;
        if self.last_at.is_some_and(|last| at <= last) {
            return Happened::default();
        }
        if seen.interval != self.interval {
            self.interval = seen.interval;
            let wanted = rules(&self.spec, self.interval);
            if wanted != self.alerting.rules() {
                self.alerting = Alerting::new(wanted, self.spec.allowed());
            }
        }
        let observed = observed::observe(&self.spec.indicator, seen);
        let from = since.filter(|since| *since < at).unwrap_or_else(|| self.begin_of(at));
        if observed.incomplete {
            self.incomplete.insert(self.bucket(at));
        }
        let alerts = match self.slicers.is_empty() {
            true => self.count(from, at, observed.tick),
            false => self.slice(from, at, seen, observed.tick),
        };
        (self.last, self.last_at) = (observed.tick, Some(at));
        let (oldest, _) = self.spec.period.bounds(at);
        let oldest = self.bucket(oldest);
        self.incomplete = self.incomplete.split_off(&oldest);
        let urgent = self.alerting.firing() == Some(Urgency::Page);
        let effects = self.settle(at, Event::Budget { consumed: self.consumed(), urgent });
        Happened { spans: self.take_closed(at), alerts, effects }
    }

    /// What a tick says of events is a rate: after a lost scrape it speaks of all the time since the last one.
    fn begin_of(&self, at: Timestamp) -> Timestamp {
        let own = at.checked_sub(self.interval).unwrap_or(at);
        let is_near = |last: &Timestamp| {
            at.duration_since(*last).as_secs_f64() <= self.interval.as_secs_f64() * GAP_INTERVALS
        };
        self.last_at.filter(|last| self.last != Tick::Unknown && is_near(last)).unwrap_or(own)
    }

    fn count(&mut self, from: Timestamp, at: Timestamp, tick: Tick) -> Vec<AlertChange> {
        let scale =
            at.duration_since(from).as_secs_f64() / self.interval.as_secs_f64().max(f64::MIN_POSITIVE);
        let tick = tick.scaled(scale);
        if let Tick::Known { total, bad } = tick {
            self.history.add(from, at, total, bad);
        }
        self.alerting.observe(at, tick, &self.history)
    }

    fn slice(&mut self, from: Timestamp, at: Timestamp, seen: &Assessment, whole: Tick) -> Vec<AlertChange> {
        let ticks: Vec<Tick> = match self.slicers.len() {
            1 => vec![whole],
            _ => observed::observe_parts(&self.spec.indicator, seen).iter().map(|part| part.tick).collect(),
        };
        let closed: Vec<Vec<Slice>> =
            self.slicers.iter_mut().zip(ticks).map(|(slicer, tick)| slicer.observe(from, at, tick)).collect();
        let mut changes = Vec::new();
        for slice in slices::any_bad(&closed) {
            let event = match slice.bad {
                Some(bad) => Tick::Known { total: 1.0, bad },
                None if slice.unknown => Tick::Unknown,
                None => Tick::Known { total: 0.0, bad: 0.0 },
            };
            if let Tick::Known { total, bad } = event {
                self.history.add(slice.from, slice.to, total, bad);
            }
            changes.extend(self.alerting.observe(slice.to, event, &self.history));
        }
        changes
    }

    /// Somebody approved or reviewed.
    pub fn told(&mut self, now: Timestamp, event: Event) -> Vec<Effect> {
        self.settle(self.last_at.map_or(now, |last| last.max(now)), event)
    }

    fn settle(&mut self, now: Timestamp, event: Event) -> Vec<Effect> {
        let Some(policy) = &self.spec.policy else { return Vec::new() };
        let (standing, effects) = std::mem::take(&mut self.standing).handle(policy, now, event);
        self.standing = standing;
        effects
    }

    /// Whether approvals or a review are waited for.
    #[must_use]
    pub fn waits_for_people(&self) -> bool {
        let asks = |policy: &Policy| policy.reset.approvals > 0 || policy.reset.review;
        !self.standing.engaged.is_empty() && self.spec.policy.as_ref().is_some_and(asks)
    }

    /// Since when the policy has measures in force.
    #[must_use]
    pub fn engaged_since(&self) -> Option<Timestamp> {
        self.standing.engaged.iter().map(|engaged| engaged.since).min()
    }

    /// What is in force and approved: when it differs from before, it is worth saving.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Share of the budget used up, of the budget that the whole window has at the traffic seen in it. `None`: unknown now.
    #[must_use]
    pub fn consumed(&self) -> Option<f64> {
        if self.slicers.is_empty() && self.last == Tick::Unknown {
            return None;
        }
        let (sums, share) = self.window()?;
        let allowed = self.spec.allowed() * sums.total / share;
        Some(if sums.bad <= 0.0 { 0.0 } else { sums.bad / allowed })
    }

    /// Whether so much of the budget was used up or came back since the last call that said so, that a crash must not lose it:
    /// after one, what may do harm is refused by what was saved.
    pub fn is_worth_saving(&mut self) -> bool {
        let Some(consumed) = self.consumed() else { return false };
        let moved = (consumed - self.saved_at).abs() >= SAVED_STEP;
        if moved {
            self.saved_at = consumed;
        }
        moved
    }

    /// What happened in the window so far, and which share of the window is known.
    fn window(&self) -> Option<(Sums, f64)> {
        let now = self.last_at?;
        let (begin, _) = self.spec.period.bounds(now);
        let sums = self.history.between(begin, now);
        let share = (sums.known_s / self.spec.period.span().as_secs_f64()).min(1.0);
        (share > 0.0).then_some((sums, share))
    }

    fn take_closed(&mut self, now: Timestamp) -> Vec<LiveSpan> {
        let width = self.history.bucket_width();
        // Events may come a gap late, so a span is given out when the next one has closed too.
        let end = now.checked_sub(width).unwrap_or(now);
        let first = || self.history.began().and_then(|began| began.checked_sub(width).ok());
        let Some(begin) = self.told_upto.or_else(first).filter(|begin| *begin < end) else {
            return Vec::new();
        };
        let span = |(from, sums)| LiveSpan {
            from,
            width,
            sums,
            incomplete: self.incomplete.contains(&self.bucket(from)),
        };
        let spans: Vec<_> = self.history.buckets(begin, end).map(span).collect();
        if let Some(newest) = spans.last() {
            self.told_upto = newest.from.checked_add(width).ok();
        }
        spans
    }

    fn bucket(&self, at: Timestamp) -> i64 {
        let width = i64::try_from(self.history.bucket_width().as_millis()).unwrap_or(i64::MAX).max(1);
        at.as_millisecond().div_euclid(width)
    }

    /// Where its policy stands; `None`: it has none.
    #[must_use]
    pub fn policy_state(&self) -> Option<BudgetPolicyState> {
        let (id, now) = (&self.spec.id, self.last_at?);
        match &self.spec.policy {
            Some(policy) => Some(self.standing.shown(policy, id, self.consumed(), now)),
            // Nothing is wanted any more, and nothing refused.
            None if self.withdrawn => Some(Standing::default().shown(&Policy::nothing(), id, Some(0.0), now)),
            None => None,
        }
    }

    /// Everything that there is to see of it.
    #[must_use]
    pub fn tracked(&self, now: Timestamp) -> TrackedObjective {
        let at = self.last_at.unwrap_or(now);
        let (from, to) = self.spec.period.bounds(at);
        let allowed = self.spec.allowed();
        let exhaustion = exhaustion::forecast(&self.history, &self.spec.period, allowed, at);
        TrackedObjective {
            objective: self.spec.id.clone(),
            title: self.spec.title.clone(),
            resource: self.about.clone(),
            untracked: String::new(),
            state: self.state(),
            from,
            to,
            incomplete: !self.incomplete.is_empty(),
            exhaustion: exhaustion.map(|seen| ExhaustionForecast {
                early: seen.early,
                likely: seen.likely,
                late: seen.late,
            }),
            policy: self.policy_state(),
            alert: self.alerting.firing().map_or_else(String::new, |urgency| urgency.as_str().to_owned()),
            readings: self.readings.clone(),
        }
    }

    fn state(&self) -> ObjectiveState {
        let span = self.spec.period.span();
        let burn = |width: Duration| {
            let now = self.last_at?;
            let ratio = self.history.window(now, width).bad_ratio()?;
            Some(ratio / self.spec.allowed())
        };
        let consumed = self.consumed();
        let (long, firing) = (burn((span / LONG_SHARE).max(self.interval * 60)), self.alerting.firing());
        let standing = match consumed {
            None => ObjectiveStanding::Unknown,
            Some(consumed) if consumed >= 1.0 => ObjectiveStanding::Exhausted,
            Some(_) if long.is_some_and(|burn| burn > 1.0) || firing == Some(Urgency::Page) => {
                ObjectiveStanding::Burning
            }
            // What was not counted cannot have been good: the target may be missed unseen.
            Some(_) if !self.incomplete.is_empty() => ObjectiveStanding::Unknown,
            Some(_) => ObjectiveStanding::Met,
        };
        let sums = self.window().map_or_else(Sums::default, |(sums, _)| sums);
        let seen_s = self.last_at.zip(self.history.began()).map_or(0.0, |(now, began)| {
            let (begin, _) = self.spec.period.bounds(now);
            now.duration_since(began.max(begin)).as_secs_f64()
        });
        let unknown = if seen_s > 0.0 { (1.0 - sums.known_s / seen_s).clamp(0.0, 1.0) } else { 1.0 };
        ObjectiveState {
            standing,
            target_ratio: self.spec.target,
            good_ratio: self.last.good_ratio(),
            burn_rate_short: burn(self.interval * SHORT_TICKS),
            burn_rate_long: long,
            budget_remaining_ratio: consumed.map(|consumed| 1.0 - consumed),
            total_events: sums.total,
            unknown_time_ratio: unknown,
        }
    }

    /// Writes what it has seen; what it promises stands in its document.
    pub(crate) fn save(&self, writer: &mut Writer) {
        let standing = serde_json::to_string(&self.standing).unwrap_or_default();
        let incomplete: Vec<i64> = self.incomplete.iter().copied().collect();
        let [events, steps] = self.marks();
        writer.text(&events).text(&steps).put(&self.interval).put(&self.history).list(&self.slicers);
        self.alerting.save(writer);
        writer.put(&self.last).put(&self.last_at).put(&self.told_upto).text(&standing).list(&incomplete);
    }

    /// What its events and its policy's steps are, to tell after a restart whether they still are.
    fn marks(&self) -> [String; 2] {
        let spec = &self.spec;
        let steps = spec.policy.as_ref().map(|policy| &policy.steps);
        let events = format!("{:?} {:?} {:?}", spec.indicator, spec.budgeting, spec.part_rules);
        [events, format!("{steps:?}")]
    }

    /// As it was saved. The objective may have been edited since: what it does not share with the saved one begins anew.
    pub(crate) fn load(
        spec: ObjectiveSpec,
        about: ResourceId,
        reader: &mut Reader<'_>,
    ) -> Result<Self, Damaged> {
        let saved = [reader.text()?.to_owned(), reader.text()?.to_owned()];
        let mut live = Self::new(spec, about, reader.get()?);
        let same = live.marks();
        live.withdrawn = live.spec.policy.is_none() && saved[1] != same[1];
        if same[0] != saved[0] {
            return Ok(live);
        }
        live.history = reader.get()?;
        let slicers: Vec<Slicer> = reader.list()?;
        if slicers.len() == live.slicers.len() {
            live.slicers = slicers;
        }
        let (longest, allowed) = (live.spec.period.longest(), live.spec.allowed());
        if !live.history.fits(longest, allowed) {
            live.history = live.history.reshaped(longest, allowed);
        }
        live.alerting.restore(reader)?;
        (live.last, live.last_at, live.told_upto) = (reader.get()?, reader.get()?, reader.get()?);
        let damaged = reader.damaged();
        let standing = serde_json::from_str(reader.text()?).map_err(|_| damaged)?;
        if same[1] == saved[1] {
            live.standing = standing;
        }
        live.incomplete = reader.list::<i64>()?.into_iter().collect();
        Ok(live)
    }
}

#[cfg(test)]
#[path = "live/tests.rs"]
mod tests;
