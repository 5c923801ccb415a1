//! What risk is worth: replicas are chosen to minimise what they cost plus what late requests cost, over the load's forecast at
//! the moment at which they could be ready.
//!
//! Nobody can say in replicas what a late request costs. So a ladder of prices is followed in the shadow: what each would have
//! run, what that would have cost, and what would have been late, on the load that really came (`shadows`). In force is the
//! cheapest price at which the shadow keeps to its share of the error budget, and never a dearer one than people pay for their
//! declared target utilisation (`reference`). Both limits are the policy's own words: the objective says how much risk is
//! allowed, the target utilisation what may be spent.

mod curve;
mod delay;
mod reference;
mod shadows;

pub use curve::Curve;
pub use delay::Delay;
pub use reference::Reference;
pub use shadows::Shadows;

use crate::{
    data::{interval, is_whole, ready_replicas, value},
    few::Few,
    ledger::Line,
};
use jiff::Timestamp;
use proto::model::{Assessment, LatePoint, Objective, Outlook, OutlookPoint, ScalePolicy};
use std::{cell::Cell, collections::VecDeque, time::Duration};

/// Budgets and costs are remembered for so long: every day of a working week counts, and last week's crowd does not.
const MEMORY_MAX: Duration = Duration::from_secs(4 * 86_400);
/// Where no budget has a window.
const WINDOW_DEFAULT: Duration = Duration::from_secs(86_400);
/// The price moves by at most 5 % with each assessment, so that it never jumps with one sample.
const PRICE_STEP: f64 = 0.05;
/// A change must gain so large a share of what runs: services of all sizes are to be as calm, and half a replica is little to one
/// that runs fifty and much to one that runs four.
const CHANGE_SHARE: f64 = 0.045;
/// What a scale-in gives back is whole replicas, half of one too many by rounding alone.
const GIVE_BACK_MIN: f64 = 0.5;
/// Against the few large errors that a forecast has made so far one could run any number. While little is known no more is run
/// than the declared target would for a load as high as this quantile, ...
const USUAL: f64 = 0.775;
/// ... and as much more again with each day of evidence at 15 s.
const USUAL_SAMPLES: f64 = 5_760.0;
/// Changes per change of the reference that are aimed at: clearly below twice as many.
const CHURN_AIM: f64 = 1.6;
/// Changes before their rate counts.
const CHURN_PRIOR: f64 = 5.0;
/// How fast and how far the worth of calm follows.
const CALM_GAIN: f64 = 0.002;
const CALM: (f64, f64) = (0.5, 4.0);
/// The worth of calm before changes were counted: while little is known, forecasts move most and mean least.
const CALM_FIRST: f64 = 2.0;
/// Quantiles of an outlook that are looked at; one with more is not followed. Analyze gives 14.
const LEVELS_MAX: usize = 32;
/// Numbers of replicas of which it is remembered what would be late: the ladder's rungs lie within so many of each other.
const REMEMBERED: usize = 32;
/// Largest number that is looked at, whatever the forecast says.
const REPLICAS_MAX: u32 = 100_000;

/// What people have said about a service.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Its scaling.
    pub policy: &'a ScalePolicy,
    /// Share of events that may be bad; `None`: nothing is promised.
    pub allowed: Option<f64>,
    /// The budget's window.
    pub window: Duration,
    /// Whether what is too much can be turned away at once, so that it does not queue.
    pub sheds: bool,
    /// Directives that scale it.
    pub line: &'a Line,
}

impl<'a> Terms<'a> {
    /// As declared; without an objective the default share is allowed, over a day.
    #[must_use]
    pub fn of(policy: &'a ScalePolicy, objective: Option<Objective>, sheds: bool, line: &'a Line) -> Self {
        let allowed = objective.map(|objective| 1.0 - objective.target_ratio);
        let window = objective.map_or(WINDOW_DEFAULT, |objective| objective.window);
        Self { policy, allowed, window, sheds, line }
    }
}

/// What the forecast asks for now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Advice {
    /// The cheapest number for the moment at which replicas asked for now are ready.
    pub replicas: u32,
    /// The largest that is needed until replicas asked for next time are ready, over the stabilisation window.
    pub lasting: u32,
    /// What `replicas` costs, in replicas: themselves and what is expected to be late.
    pub cost: f64,
    /// What staying as it is costs.
    pub cost_now: f64,
    /// A scale-out must gain so much, and a scale-in give back at least so many.
    pub gain_min: f64,
    /// See `gain_min`.
    pub give_back_min: f64,
    /// Requests per second that are expected to be late with `replicas`, and as it is.
    pub late: f64,
    /// See `late`.
    pub late_now: f64,
    /// Replicas that one late request per second is worth.
    pub price: f64,
    /// Median and 0.99 quantile of the load then.
    pub load: (f64, f64),
    /// How far that is away.
    pub ahead: Duration,
}

/// What is known of one service's risk and cost.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Economy {
    delay: Delay,
    curve: Curve,
    reference: Reference,
    shadows: Shadows,
    price: Option<f64>,
    calm: Option<f64>,
    asked: Option<u32>,
    changes: f64,
    lately: VecDeque<(Timestamp, u32)>,
    per_replica: Option<f64>,
    admission: Option<f64>,
    last: Option<Timestamp>,
}

impl Economy {
    /// Takes in one assessment. Without an outlook nothing happens; without whole data nothing is learned.
    pub fn observe(&mut self, seen: &Assessment, terms: &Terms<'_>) {
        let Some(outlook) = seen.outlook.as_deref().filter(|outlook| is_sound(outlook)) else { return };
        if self.last.is_some_and(|last| seen.at <= last) {
            return;
        }
        self.last = Some(seen.at);
        self.delay.observe(seen, terms.line);
        self.note_change(terms.line);
        if is_whole(seen) {
            self.learn(seen, outlook, terms);
        }
        let Some(per_replica) = self.per_replica else { return };
        let lasting = self.longest_need(seen, outlook, terms, per_replica);
        while self.lately.front().is_some_and(|(at, _)| older(*at, seen.at, terms.policy.cooldown_down)) {
            self.lately.pop_front();
        }
        self.lately.push_back((seen.at, lasting));
    }

    fn learn(&mut self, seen: &Assessment, outlook: &Outlook, terms: &Terms<'_>) {
        let (Some(load), Some(ready)) = (value(seen, "load"), ready_replicas(seen)) else { return };
        let Some(per_replica) =
            seen.capacity.per_replica.filter(|rate| rate.is_finite() && *rate > 0.0).or(self.per_replica)
        else {
            return;
        };
        self.per_replica = Some(per_replica);
        let allowed = terms.allowed.unwrap_or(shadows::ALLOWED_DEFAULT);
        if self.curve.learn(&outlook.late, terms.policy.target_utilisation_ratio, allowed)
            || self.admission.is_none()
        {
            self.admission = Some(self.curve.best_admission());
        }
        let memory = terms.window.min(MEMORY_MAX).as_secs_f64().max(1.0);
        let keep = (-interval(seen).as_secs_f64() / memory).exp();
        self.changes *= keep;
        let reference = self.reference.observe(seen.at, load, per_replica, terms.policy, keep);
        let seen_now = shadows::Seen {
            at: seen.at,
            load,
            late_ratio: value(seen, "bad_ratio").unwrap_or(0.0).min(1.0),
            replicas: f64::from(self.asked.unwrap_or(ready).max(ready)),
            reference,
            keep,
        };
        let asked = Asked { curve: &self.curve, per_replica, sheds: terms.sheds };
        self.shadows.settle(&seen_now, &asked);
        let (ahead, calm, most) = (self.ahead(seen), self.calm(), terms.policy.maximum_replicas);
        if let Some(load) = Spread::at(outlook, ahead) {
            let due = seen.at.checked_add(ahead).unwrap_or(seen.at);
            let when = shadows::Ask { at: seen.at, due, window: terms.policy.cooldown_down };
            self.shadows.ask(
                &when,
                |runs| Worth::of(calm, runs),
                |price, from, runs| {
                    let (best, cost) = asked.best(&load, price, from);
                    shadows::Offer { best: best.min(most), gain: asked.cost(&load, price, runs) - cost }
                },
            );
        }
        let aim = self.shadows.price(allowed, &seen_now).ln();
        let held = self.price.unwrap_or(shadows::PRICE_FIRST).ln();
        self.price = Some((held + (aim - held).clamp(-PRICE_STEP, PRICE_STEP)).exp());
        let churn = (self.changes + CHURN_PRIOR) / (self.reference.changes() + CHURN_PRIOR);
        let calm = calm * ((churn / CHURN_AIM).ln().clamp(-1.0, 1.0) * CALM_GAIN).exp();
        self.calm = Some(calm.clamp(CALM.0, CALM.1));
    }

    fn calm(&self) -> f64 {
        self.calm.unwrap_or(CALM_FIRST)
    }

    /// Counts our own changes, as the ledger shows them.
    fn note_change(&mut self, line: &Line) {
        let asked = line.in_effect().and_then(|entry| entry.replicas());
        if asked.is_some() && asked != self.asked {
            self.changes += f64::from(u8::from(self.asked.is_some()));
            self.asked = asked;
        }
    }

    /// From the newest sample until replicas that are asked for now are ready, to the middle of the interval that they serve.
    fn ahead(&self, seen: &Assessment) -> Duration {
        let step = interval(seen);
        // What is seen is a step old when it is acted upon, and describes the middle of the step before.
        self.delay.expected(seen) + step * 2
    }

    /// The largest of the cheapest numbers from now until replicas that are asked for at the next step could be ready.
    fn longest_need(&self, seen: &Assessment, outlook: &Outlook, terms: &Terms<'_>, per_replica: f64) -> u32 {
        let asked = Asked { curve: &self.curve, per_replica, sheds: terms.sheds };
        let price = self.price.unwrap_or(shadows::PRICE_FIRST);
        let (step, ahead) = (interval(seen), self.ahead(seen));
        let moments = [step * 2, (ahead + step) / 2, ahead, ahead + step];
        let needs = moments.iter().filter_map(|ahead| Spread::at(outlook, *ahead));
        let need = |load: Spread| asked.best(&load, price, 1).0.min(self.most(&load, terms, per_replica));
        needs.map(need).max().unwrap_or(0)
    }

    /// The largest number that so little evidence may ask for.
    fn most(&self, load: &Spread, terms: &Terms<'_>, per_replica: f64) -> u32 {
        let usual = load.quantile(USUAL) / (per_replica * terms.policy.target_utilisation_ratio);
        (usual * (1.0 + self.shadows.settled() / USUAL_SAMPLES)).ceil().max(1.0) as u32
    }

    /// Requests per second and replica beyond which turning away serves more than queueing; `None` until capacity is known.
    #[must_use]
    pub fn admission(&self) -> Option<f64> {
        Some(self.admission? * self.per_replica?)
    }

    /// What the outlook asks for while `current` replicas are in force; `None` until there is one and capacity is known.
    pub fn advice(&self, seen: &Assessment, terms: &Terms<'_>, current: u32) -> Option<Advice> {
        let outlook = seen.outlook.as_deref().filter(|outlook| is_sound(outlook))?;
        let (per_replica, price) = (self.per_replica?, self.price?);
        let (_, lasting) = self.lately.iter().max_by_key(|(_, replicas)| *replicas)?;
        let asked = Asked { curve: &self.curve, per_replica, sheds: terms.sheds };
        let (first, second) = (self.ahead(seen), self.ahead(seen) + interval(seen));
        // Where replicas are ready sooner than the forecast begins, it says nothing of that time: the plan follows what it sees.
        if outlook.points.first()?.after > first {
            return None;
        }
        let ask = |ahead: Duration| {
            let load = Spread::at(outlook, ahead)?;
            let (replicas, cost) = asked.best(&load, price, current.max(1));
            Some((replicas, cost, load, ahead))
        };
        let (mut replicas, mut cost, load, ahead) =
            [ask(first), ask(second)].into_iter().flatten().max_by_key(|found| found.0)?;
        let most = self.most(&load, terms, per_replica);
        if replicas > most {
            // Where the declared target binds, little more than what runs is no change that it would make.
            let little = f64::from(most) <= f64::from(current) * (1.0 + CHANGE_SHARE);
            replicas = if little { current } else { most };
            cost = asked.cost(&load, price, replicas);
        }
        // While nothing is seen, calm is worth nothing: what may only be added is added for any gain.
        let calm = if is_whole(seen) { self.calm() } else { 0.0 };
        let worth = Worth::of(calm, f64::from(current));
        let advice = Advice {
            replicas,
            lasting: *lasting,
            cost,
            cost_now: asked.cost(&load, price, current),
            gain_min: worth.gain,
            give_back_min: worth.give_back,
            late: asked.late(&load, replicas),
            late_now: asked.late(&load, current),
            price: price / per_replica,
            load: (load.quantile(0.5), load.quantile(0.99)),
            ahead,
        };
        let Advice { cost, cost_now, late, late_now, price, load: (median, high), .. } = advice;
        [cost, cost_now, late, late_now, price, median, high].iter().all(|n| n.is_finite()).then_some(advice)
    }
}

/// Whether every number of it can be what it says: whatever learned from a broken one would be broken for good.
fn is_sound(outlook: &Outlook) -> bool {
    let rising = outlook.levels.windows(2).all(|pair| pair[0] < pair[1]);
    let shares = outlook.levels.iter().all(|level| *level > 0.0 && *level < 1.0);
    let rates = |point: &OutlookPoint| {
        point.values.len() == outlook.levels.len()
            && point.values.iter().all(|value| value.is_finite() && *value >= 0.0)
    };
    let counts = |point: &LatePoint| {
        let sound = |count: f64| count.is_finite() && count >= 0.0;
        sound(point.utilisation_ratio) && sound(point.requests) && sound(point.late)
    };
    rising && shares && outlook.points.iter().all(rates) && outlook.late.iter().all(counts)
}

/// What a change must gain to be worth it, in replicas.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Worth {
    gain: f64,
    give_back: f64,
}

impl Worth {
    fn of(calm: f64, current: f64) -> Self {
        let share = CHANGE_SHARE * current;
        Self { gain: calm * share, give_back: GIVE_BACK_MIN + calm * share }
    }
}

fn older(at: Timestamp, now: Timestamp, window: Duration) -> bool {
    now.duration_since(at).unsigned_abs() >= window
}

/// The load at one moment: values and how probable each is.
#[derive(Debug, Clone)]
struct Spread {
    values: Few<(f64, f64), LEVELS_MAX>,
    /// What would be late with a number of replicas, by its last digits: all prices ask about the same few numbers.
    late: [Cell<(u32, f64)>; REMEMBERED],
}

impl Spread {
    /// At this distance from the assessment, straight between the outlook's points. What the outlook rests on may be older.
    fn at(outlook: &Outlook, ahead: Duration) -> Option<Self> {
        let after =
            outlook.points.iter().position(|point| point.after >= ahead).unwrap_or(outlook.points.len());
        let last = outlook.points.len().checked_sub(1)?;
        let (low, high) = (&outlook.points[after.saturating_sub(1)], &outlook.points[after.min(last)]);
        let span = high.after.saturating_sub(low.after).as_secs_f64();
        let share =
            if span > 0.0 { (ahead.saturating_sub(low.after).as_secs_f64() / span).min(1.0) } else { 1.0 };
        let levels = &outlook.levels;
        if levels.len() > LEVELS_MAX {
            return None;
        }
        let bound = |index: usize| match (
            index.checked_sub(1).and_then(|below| levels.get(below)),
            levels.get(index),
        ) {
            (Some(below), Some(above)) => (below + above) / 2.0,
            (None, _) => 0.0,
            (_, None) => 1.0,
        };
        let pairs = low.values.iter().zip(&high.values).enumerate();
        let values =
            Few::of(pairs.map(|(i, (low, high))| (low + (high - low) * share, bound(i + 1) - bound(i))));
        let sound = |(value, _): &(f64, f64)| value.is_finite() && *value >= 0.0;
        let late = std::array::from_fn(|_| Cell::default());
        values.as_slice().iter().all(sound).then_some(Self { values, late })
    }

    fn quantile(&self, level: f64) -> f64 {
        let mut below = 0.0;
        let values = self.values.as_slice();
        let found = values.iter().find(|(_, weight)| {
            below += weight;
            below >= level
        });
        found.or(values.last()).map_or(0.0, |(value, _)| *value)
    }
}

/// The cost of a number of replicas.
struct Asked<'a> {
    curve: &'a Curve,
    per_replica: f64,
    sheds: bool,
}

impl Asked<'_> {
    /// Requests per second that are expected to be late.
    fn late(&self, load: &Spread, replicas: u32) -> f64 {
        let seat = &load.late[replicas as usize % REMEMBERED];
        if let (known, late) = seat.get()
            && known == replicas
            && known > 0
        {
            return late;
        }
        let values = load.values.as_slice().iter();
        let late = values.map(|(rate, weight)| weight * self.late_of(*rate, f64::from(replicas))).sum();
        seat.set((replicas, late));
        late
    }

    fn late_of(&self, rate: f64, replicas: f64) -> f64 {
        self.curve.late(rate, replicas * self.per_replica, self.sheds)
    }

    /// In replicas.
    fn cost(&self, load: &Spread, price: f64, replicas: u32) -> f64 {
        f64::from(replicas) + price / self.per_replica * self.late(load, replicas)
    }

    /// The cheapest number, from a guess on: the cost falls until there are enough and rises from there.
    fn best(&self, load: &Spread, price: f64, guess: u32) -> (u32, f64) {
        let cost = |replicas| self.cost(load, price, replicas);
        // Few of a thousand replicas are walked: the walk begins near what the median needs.
        let median = (load.quantile(0.5) / self.per_replica).min(f64::from(REPLICAS_MAX)) as u32;
        let mut replicas = guess.max(median).max(1);
        let mut least = cost(replicas);
        let mut rose = false;
        while replicas < REPLICAS_MAX {
            let next = cost(replicas + 1);
            if next >= least {
                break;
            }
            (replicas, least, rose) = (replicas + 1, next, true);
        }
        while !rose && replicas > 1 {
            let next = cost(replicas - 1);
            if next > least {
                break;
            }
            (replicas, least) = (replicas - 1, next);
        }
        (replicas, least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, policy_spec, service_assessment};
    use proto::model::Capacity;

    /// Five minutes of steady load, with an outlook whose first point lies so far away.
    fn advised(first: Duration) -> Option<Advice> {
        let (policy, line) = (policy_spec("catalog").scale.unwrap(), Line::default());
        let terms = Terms::of(&policy, None, false, &line);
        let mut economy = Economy::default();
        let mut newest = None;
        for second in 1..=300 {
            let signals =
                [("load", 100.0), ("ready_replicas", 2.0), ("utilisation", 0.5), ("bad_ratio", 0.0)];
            let mut seen = service_assessment("catalog", second, &signals);
            seen.capacity = Capacity { per_replica: Some(100.0), samples: 300, ..Capacity::default() };
            let point = |after| OutlookPoint { after, values: vec![90.0, 100.0, 110.0] };
            seen.outlook = Some(Box::new(Outlook {
                at: at(second),
                levels: vec![0.1, 0.5, 0.9],
                points: vec![point(first), point(first * 2)],
                late: Vec::new(),
                coverage_ratio: None,
            }));
            economy.observe(&seen, &terms);
            newest = Some(seen);
        }
        economy.advice(&newest?, &terms, 2)
    }

    #[test]
    fn a_forecast_that_begins_after_replicas_could_be_ready_is_not_followed() {
        assert!(advised(Duration::from_secs(5)).is_some());
        assert!(advised(Duration::from_secs(60)).is_none());
    }
}
