//! SATURATION: load nears or exceeds what the ready replicas can take.

use super::{View, percent, rate};
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};
use crate::symptom::{Finding, SUSPECT_LEVEL, Trouble};

/// Utilisation that is too high,
const BUSY: f64 = 0.85;
/// that is far too high,
const VERY_BUSY: f64 = 0.9;
/// and that is fine again.
const CALM: f64 = 0.8;
/// Load over capacity that is fine again.
const CALM_LOAD: f64 = 0.85;
/// A policy may aim at a utilisation between fine and too high: half a minute of it at 1 s is fine as well.
const BETWEEN_TICKS_MAX: u32 = 30;
/// What a tick of each adds: four, two and three of them open.
const BUSY_STEP: f64 = 0.25;
const VERY_BUSY_STEP: f64 = 0.5;
const FULL_STEP: f64 = 0.34;
/// Arrivals are random: the load of one tick is surely above capacity when it is by this many standard deviations.
const SURE: f64 = 2.0;

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct State {
    level: f64,
    between: u32,
}

impl State {
    pub(super) fn find(&mut self, view: &View<'_>) -> Finding {
        let (load, utilisation) = (view.value("load"), view.value("utilisation"));
        // Replicas that do not answer are not counted as ready: with some missing, capacity is not known.
        let ready = view.whole("ready_replicas");
        let capacity = view.capacity.per_replica.zip(ready).map(|(one, ready)| one * ready);
        let fill =
            load.zip(capacity.filter(|capacity| *capacity > 0.0)).map(|(load, capacity)| load / capacity);
        if utilisation.is_none() && fill.is_none() {
            return Finding::Unknown;
        }
        let sure = load.zip(capacity).is_some_and(|(load, capacity)| {
            load - SURE * (load / view.interval.as_secs_f64()).sqrt() > capacity
        });
        let busy = match utilisation {
            Some(busy) if busy > VERY_BUSY => VERY_BUSY_STEP,
            Some(busy) if busy > BUSY => BUSY_STEP,
            _ => 0.0,
        };
        let full = if fill.is_some_and(|fill| fill > 1.0) { FULL_STEP } else { 0.0 };
        let step = if sure { 1.0 } else { f64::max(busy, full) };
        if step == 0.0 {
            let calm = utilisation.is_none_or(|busy| busy < CALM) && fill.is_none_or(|fill| fill < CALM_LOAD);
            self.between = if calm { 0 } else { self.between.saturating_add(1) };
            if !calm && self.between <= BETWEEN_TICKS_MAX {
                return Finding::Between;
            }
            self.level = 0.0;
            return Finding::Clear;
        }
        self.between = 0;
        self.level = (self.level + step).min(1.0);
        if self.level < SUSPECT_LEVEL {
            return Finding::Between;
        }
        // What does not fit will fail or be late, soon if not yet.
        let excess = fill.map_or(0.0, |fill| (1.0 - 1.0 / fill).max(0.0));
        Finding::Trouble(Trouble {
            level: self.level,
            burn: view.burn().max(excess / view.allowed),
            confidence: self.level,
            text: text(load, ready, capacity, utilisation),
            evidence: view.evidence(&["load", "utilisation", "ready_replicas"]),
        })
    }
}

fn text(load: Option<f64>, ready: Option<f64>, capacity: Option<f64>, utilisation: Option<f64>) -> String {
    let busy = utilisation.map(|busy| format!("{} of the workers are busy", percent(busy)));
    let full = load.zip(capacity).zip(ready).map(|((load, capacity), ready)| {
        let replicas = if ready == 1.0 { "replica takes" } else { "replicas take" };
        format!("load is {}, {ready:.0} ready {replicas} about {}", rate(load), rate(capacity))
    });
    [full, busy].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

impl Stored for State {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.level).put(&self.between);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { level: reader.get()?, between: reader.get()? })
    }
}
