//! The replay itself: virtual time, no randomness. Replicas start late, policies see late, and nothing else couples them.

use super::{
    load::Load,
    service::{Backlog, Service},
};

/// Policies may change something at multiples of this.
pub const CONTROL_S: u32 = 15;
/// How old what policies see is.
pub const AGE_S: u32 = 15;
/// A minute is bad when more than this share of its requests is late.
const BAD_MINUTE: f64 = 0.01;

/// The world in which policies are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plant {
    /// One replica.
    pub service: Service,
    /// From the request for a replica until it is ready.
    pub start_up_s: u32,
    /// Never fewer.
    pub minimum: u32,
    /// Never more.
    pub maximum: u32,
    /// No metrics are seen that were measured in these seconds.
    pub blind: Option<(u32, u32)>,
}

impl Default for Plant {
    fn default() -> Self {
        Self { service: Service::default(), start_up_s: 60, minimum: 2, maximum: 500, blind: None }
    }
}

/// What a policy wants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wish {
    /// Replicas in all, ready and starting.
    pub replicas: u32,
    /// Requests per second and replica that are let in; `None`: all.
    pub admitted: Option<f64>,
}

/// What can be seen of the plant. Everything measured is as old as metrics are.
#[derive(Debug)]
pub struct View<'a> {
    /// Seconds since the beginning.
    pub now_s: u32,
    /// Replicas that are ready.
    pub ready: u32,
    /// Ready and starting ones.
    pub total: u32,
    /// When each ready one became so, oldest first; the initial ones at `None`.
    pub ready_at: &'a [Option<u32>],
    record: &'a Record,
    load: &'a Load,
    blind: Option<(u32, u32)>,
}

impl View<'_> {
    /// Whether anything measured just before `age_s` ago can be seen at all.
    #[must_use]
    pub fn is_blind(&self, age_s: u32) -> bool {
        self.is_hidden(self.now_s.saturating_sub(age_s))
    }

    /// Whether what was measured at this second was dropped, or never was measured.
    fn is_hidden(&self, second: u32) -> bool {
        self.blind.is_some_and(|(from, to)| (from..to).contains(&second)) || self.load.is_dark(second)
    }

    /// Mean arrivals per second from `from_s` to `to_s` ago; `None` before that much has passed.
    #[must_use]
    pub fn arrivals(&self, from_s: u32, to_s: u32) -> Option<f64> {
        self.mean(&self.load.rates, from_s, to_s)
    }

    /// Mean utilisation of the steps from `from_s` to `to_s` ago.
    #[must_use]
    pub fn utilisation(&self, from_s: u32, to_s: u32) -> Option<f64> {
        self.mean(&self.record.utilisation, from_s, to_s)
    }

    /// Share of the arrivals from `from_s` to `to_s` ago that was late.
    #[must_use]
    pub fn late_ratio(&self, from_s: u32, to_s: u32) -> Option<f64> {
        let steps = self.steps(from_s, to_s)?;
        let arrived: f64 = self.load.rates[steps.clone()].iter().sum();
        let late = steps.map(|step| self.record.late_ratio[step] * self.load.rates[step]).sum::<f64>();
        Some(if arrived > 0.0 { late / arrived } else { 0.0 })
    }

    /// The largest arrivals of one step in the `ahead_s` seconds that followed this moment a season ago.
    #[must_use]
    pub fn peak(&self, season_s: u32, ahead_s: u32) -> Option<f64> {
        let from = self.now_s.checked_sub(season_s)?;
        if self.is_hidden(from) {
            return None;
        }
        let steps = self.load.step_at(from)..self.load.step_at(from + ahead_s);
        self.load.rates[steps].iter().copied().reduce(f64::max)
    }

    /// Replicas ready and in all `ago_s` ago, after what was decided then.
    #[must_use]
    pub fn replicas(&self, ago_s: u32) -> Option<(u32, u32)> {
        let step = self.load.step_at(self.now_s.checked_sub(ago_s)?);
        Some((*self.record.ready.get(step)?, *self.record.total.get(step)?))
    }

    /// Seconds of one step.
    #[must_use]
    pub fn step_s(&self) -> u32 {
        self.load.step_s
    }

    fn steps(&self, from_s: u32, to_s: u32) -> Option<std::ops::Range<usize>> {
        let (from, to) = (self.now_s.checked_sub(from_s)?, self.now_s.checked_sub(to_s)?);
        (!self.is_blind(to_s)).then(|| self.load.step_at(from)..self.load.step_at(to))
    }

    fn mean(&self, values: &[f64], from_s: u32, to_s: u32) -> Option<f64> {
        let steps = self.steps(from_s, to_s)?;
        let count = steps.len() as f64;
        Some(values[steps].iter().sum::<f64>() / count)
    }
}

/// Something that scales.
pub trait Policy {
    /// As in `--compare`.
    fn name(&self) -> &str;
    /// Between two decisions.
    fn interval_s(&self) -> u32 {
        CONTROL_S
    }
    /// What it wants now; `None`: nothing is changed.
    fn decide(&mut self, view: &View<'_>) -> Option<Wish>;
}

/// A decision as the plant carried it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// When.
    pub at_s: u32,
    /// Ready ones after it.
    pub ready: u32,
    /// All before it.
    pub total: u32,
    /// All after it.
    pub wanted: u32,
}

/// What happened, step by step.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record {
    /// Served over what could be served.
    pub utilisation: Vec<f64>,
    /// Share of arrivals late.
    pub late_ratio: Vec<f64>,
    /// Replicas ready.
    pub ready: Vec<u32>,
    /// Replicas ready and starting.
    pub total: Vec<u32>,
    /// Every decision at which the policy wanted anything.
    pub decisions: Vec<Decision>,
}

/// A policy's score in the evaluated time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Score {
    /// Share of requests late or dropped.
    pub violation_ratio: f64,
    /// Share of minutes with more than 1 % late.
    pub bad_minutes_ratio: f64,
    /// Ready and starting replicas, in hours.
    pub replica_hours: f64,
    /// Changes of the number of replicas.
    pub scale_events: u32,
}

struct Fleet {
    ready_at: Vec<Option<u32>>,
    starting: Vec<u32>,
}

impl Fleet {
    fn settle(&mut self, now_s: u32) {
        let done = self.starting.iter().take_while(|at| **at <= now_s).count();
        self.ready_at.extend(self.starting.drain(..done).map(Some));
    }

    fn total(&self) -> u32 {
        (self.ready_at.len() + self.starting.len()) as u32
    }

    /// Those that start go first, the youngest of them before the others; then those that became ready last.
    fn resize(&mut self, wanted: u32, ready_from_s: u32) {
        while self.total() > wanted {
            if self.starting.pop().is_none() && self.ready_at.pop().is_none() {
                return;
            }
        }
        let missing = wanted.saturating_sub(self.total());
        self.starting.extend((0..missing).map(|_| ready_from_s));
    }
}

/// Runs one policy over the whole load.
pub fn replay(load: &Load, plant: &Plant, policy: &mut dyn Policy) -> Record {
    let steps = load.rates.len();
    let mut record = Record::default();
    record.utilisation.reserve_exact(steps);
    record.late_ratio.reserve_exact(steps);
    let mut fleet = Fleet { ready_at: vec![None; initial(load, plant) as usize], starting: Vec::new() };
    let (mut backlog, mut admitted) = (Backlog::default(), None);
    for (step, rate) in load.rates.iter().enumerate() {
        let now_s = step as u32 * load.step_s;
        fleet.settle(now_s);
        if now_s > 0 && now_s.is_multiple_of(policy.interval_s()) {
            let view = View {
                now_s,
                ready: fleet.ready_at.len() as u32,
                total: fleet.total(),
                ready_at: &fleet.ready_at,
                record: &record,
                load,
                blind: plant.blind,
            };
            let total = view.total;
            if let Some(wish) = policy.decide(&view) {
                let wanted = wish.replicas.clamp(plant.minimum, plant.maximum);
                admitted = wish.admitted;
                fleet.resize(wanted, now_s + plant.start_up_s);
                let ready = fleet.ready_at.len() as u32;
                record.decisions.push(Decision { at_s: now_s, ready, total, wanted });
            }
        }
        let ready = fleet.ready_at.len() as u32;
        let done = backlog.step(&plant.service, *rate, ready, f64::from(load.step_s), admitted);
        record.utilisation.push(done.utilisation);
        record.late_ratio.push(done.late_ratio);
        record.ready.push(ready);
        record.total.push(fleet.total());
    }
    record
}

/// Enough for the first step at 70 %.
fn initial(load: &Load, plant: &Plant) -> u32 {
    let first = load.rates.first().copied().unwrap_or(0.0);
    ((first / (0.7 * plant.service.rate)).ceil() as u32).clamp(plant.minimum, plant.maximum)
}

impl Record {
    /// Scores what happened from the evaluated time on.
    #[must_use]
    pub fn score(&self, load: &Load) -> Score {
        let from = load.step_at(load.evaluated_from_s);
        let dt = f64::from(load.step_s);
        let (mut arrived, mut late, mut replicas) = (0.0, 0.0, 0.0);
        let (mut minutes, mut bad) = (0u32, 0u32);
        let per_minute = (60 / load.step_s) as usize;
        let mut start = from;
        while start < self.ready.len() {
            let end = (start + per_minute).min(self.ready.len());
            let (mut arrived_in, mut late_in) = (0.0, 0.0);
            for step in start..end {
                arrived_in += load.rates[step] * dt;
                late_in += load.rates[step] * dt * self.late_ratio[step];
                replicas += f64::from(self.total[step]) * dt;
            }
            minutes += 1;
            bad += u32::from(late_in > BAD_MINUTE * arrived_in);
            arrived += arrived_in;
            late += late_in;
            start = end;
        }
        let changes =
            self.decisions.iter().filter(|d| d.at_s >= load.evaluated_from_s && d.wanted != d.total);
        Score {
            violation_ratio: if arrived > 0.0 { late / arrived } else { 0.0 },
            bad_minutes_ratio: f64::from(bad) / f64::from(minutes.max(1)),
            replica_hours: replicas / 3_600.0,
            scale_events: changes.count() as u32,
        }
    }
}
