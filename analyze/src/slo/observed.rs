//! What an assessment says of an indicator: the events of one tick, as far as its signals tell them.

use std::time::Duration;

use proto::model::{Assessment, Quality};

use super::composite::{self, Composite};
use super::indicator::Tick;
use super::measure;
use super::objective::{Indicator, ObjectiveSpec, Query};
use super::queried;

/// The label by which an objective can be grouped: who is called.
pub const CALLEE: &str = "callee";

/// The events of one tick.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observed {
    /// What happened.
    pub tick: Tick,
    /// Whether some sources were missing: there were more events than these.
    pub incomplete: bool,
}

/// Why an objective cannot be tracked from signals; `None`: it can.
#[must_use]
pub fn untracked(spec: &ObjectiveSpec) -> Option<String> {
    // The series of a Prometheus can be told apart by any of their labels.
    let of_signals = queried::queries(&spec.indicator).is_empty();
    let strange = spec.group_by.iter().find(|label| of_signals && *label != CALLEE);
    match strange {
        Some(label) => Some(format!("it is grouped by {label}: signals are told apart by {CALLEE} only")),
        None => untracked_indicator(&spec.indicator),
    }
}

fn untracked_indicator(indicator: &Indicator) -> Option<String> {
    let query = |query: &Query| match query {
        Query::Signal(_) | Query::Prometheus(_) => None,
        Query::Other(kind) => Some(format!("its indicator comes from {kind}, which is not spoken to")),
    };
    match indicator {
        Indicator::Events { part, total, .. } => query(part).or_else(|| query(total)),
        Indicator::Ratio { query: ratio, weight, .. } => {
            query(ratio).or_else(|| weight.as_ref().and_then(query))
        }
        Indicator::Number { query: number, events, .. } => {
            query(number).or_else(|| events.as_ref().and_then(query))
        }
        Indicator::Parts(_, parts) => parts.iter().find_map(|(_, part)| untracked_indicator(part)),
    }
}

/// What the assessment says of the indicator.
#[must_use]
pub fn observe(indicator: &Indicator, seen: &Assessment) -> Observed {
    let mut reader = Reader { seen, incomplete: false };
    let tick = reader.tick(indicator);
    Observed { tick, incomplete: reader.incomplete && tick != Tick::Unknown }
}

/// What the assessment says of each part of an indicator; of one without parts, of the whole.
#[must_use]
pub fn observe_parts(indicator: &Indicator, seen: &Assessment) -> Vec<Observed> {
    match indicator {
        Indicator::Parts(_, parts) => parts.iter().map(|(_, part)| observe(part, seen)).collect(),
        whole => vec![observe(whole, seen)],
    }
}

struct Reader<'a> {
    seen: &'a Assessment,
    incomplete: bool,
}

impl Reader<'_> {
    fn value(&mut self, query: &Query) -> Option<f64> {
        let name = match query {
            Query::Signal(name) => name,
            // What a server answered was put beside the signals.
            Query::Prometheus(promql) => promql.signal(),
            Query::Other(_) => return None,
        };
        let glance = self.seen.signal(name)?;
        self.incomplete |= glance.quality == Quality::Partial;
        glance.value.filter(|value| value.is_finite())
    }

    fn tick(&mut self, indicator: &Indicator) -> Tick {
        let interval = self.seen.interval;
        match indicator {
            Indicator::Events { part, part_is_bad, total, counter: _ } => {
                let (part, total) = (self.value(part), self.value(total));
                events(part, total, *part_is_bad, interval)
            }
            Indicator::Ratio { query, of_bad, weight } => {
                let bad = self.value(query).map(|ratio| if *of_bad { ratio } else { 1.0 - ratio });
                // Without a number of events each second counts alike.
                let weight = match weight {
                    Some(weight) => self.value(weight),
                    None => bad.map(|_| 1.0),
                };
                Tick::of(weight, bad, interval)
            }
            Indicator::Number { query, comparison, value, events, low, statistic: _ } => {
                let number = self.value(query);
                let events = events.as_ref().and_then(|events| self.value(events));
                let events = events.map(|rate| rate * interval.as_secs_f64());
                measure::tick(number, *comparison, *value, events, *low)
            }
            Indicator::Parts(join, parts) => self.joined(*join, parts),
        }
    }

    /// A part without traffic has nothing to say and is left out. Where all parts count events, the whole weighs as many as the
    /// busiest of them; else each second counts alike.
    fn joined(&mut self, join: composite::Join, parts: &[(f64, Indicator)]) -> Tick {
        let (mut leaves, mut most, mut counted) = (Vec::new(), 0.0_f64, true);
        for (weight, part) in parts {
            let tick = self.tick(part);
            counted &= counts_events(part);
            match tick {
                Tick::Known { total, .. } if total <= 0.0 => {}
                Tick::Known { total, .. } => {
                    most = most.max(total);
                    leaves.push((*weight, Composite::Leaf(tick.good_ratio())));
                }
                Tick::Unknown => leaves.push((*weight, Composite::Leaf(None))),
            }
        }
        if leaves.is_empty() {
            return Tick::Known { total: 0.0, bad: 0.0 };
        }
        let whole = Composite::Node(join, leaves);
        match composite::good_ratio(&whole, &|share: &Option<f64>| *share) {
            None => Tick::Unknown,
            Some(good) => {
                let total = if counted && most > 0.0 { most } else { self.seen.interval.as_secs_f64() };
                Tick::Known { total, bad: total * (1.0 - good) }
            }
        }
    }
}

/// From two rates.
fn events(part: Option<f64>, total: Option<f64>, part_is_bad: bool, interval: Duration) -> Tick {
    match (part, total) {
        (_, Some(total)) if total <= 0.0 => Tick::Known { total: 0.0, bad: 0.0 },
        (Some(part), Some(total)) => {
            let total = total * interval.as_secs_f64();
            let part = (part * interval.as_secs_f64()).clamp(0.0, total);
            Tick::Known { total, bad: if part_is_bad { part } else { total - part } }
        }
        _ => Tick::Unknown,
    }
}

fn counts_events(indicator: &Indicator) -> bool {
    match indicator {
        Indicator::Events { .. } => true,
        Indicator::Ratio { weight, .. } => weight.is_some(),
        Indicator::Number { .. } => false,
        Indicator::Parts(_, parts) => parts.iter().all(|(_, part)| counts_events(part)),
    }
}
